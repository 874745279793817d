/* Every cell of the table: the wanted ones below, and all others must be refused without a change. The actions are
 * recording stubs, so this links fsm.c without the role. */
#include "common/err.h"
#include "toolcall/fsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct {
    const char *action; /* last one called */
    const void *arg;
    unsigned calls, entered;
} seen;

#define STUB(name)                                                                                                     \
    int toolcall_##name(void *self, const void *arg) {                                                                 \
        seen.action = #name;                                                                                           \
        seen.arg = arg;                                                                                                \
        seen.calls++;                                                                                                  \
        return 0;                                                                                                      \
    }
STUB(begin)
STUB(stop)
STUB(journal)
STUB(answer)
STUB(answer_refused)
STUB(leave)
STUB(leave_untold)

int64_t toolcall_call_ms(void *self) {
    return 1;
}
int64_t toolcall_journal_ms(void *self) {
    return 2;
}
int64_t toolcall_flush_ms(void *self) {
    return 3;
}
void toolcall_entered(void *self, unsigned state) {
    seen.entered++;
}

struct wanted {
    enum toolcall_state from;
    enum toolcall_event event;
    enum toolcall_state to;
    const char *action;
};

#define ROW(from, event, to, action)                                                                                   \
    { TOOLCALL_##from, TOOLCALL_EV_##event, TOOLCALL_##to, action }
static const struct wanted table[] = {
    ROW(WAITING, CALL, RUNNING, "begin"),
    ROW(WAITING, CANCEL, DONE, "leave"),
    ROW(WAITING, TIMEOUT, DONE, "leave_untold"),
    ROW(WAITING, OWNER_GONE, DONE, "leave"),
    ROW(WAITING, LOG_GONE, DONE, "leave_untold"),
    ROW(RUNNING, ENDED, JOURNALLING, "journal"),
    ROW(RUNNING, CANCEL, CANCELLING, "stop"),
    ROW(RUNNING, OWNER_GONE, RUNNING, NULL),
    ROW(RUNNING, LOG_GONE, DONE, "leave_untold"),
    ROW(CANCELLING, ENDED, JOURNALLING, "journal"),
    ROW(CANCELLING, CANCEL, CANCELLING, NULL),
    ROW(CANCELLING, OWNER_GONE, CANCELLING, NULL),
    ROW(CANCELLING, LOG_GONE, DONE, "leave_untold"),
    ROW(JOURNALLING, CANCEL, JOURNALLING, NULL),
    ROW(JOURNALLING, ACCEPTED, FLUSHING, "answer"),
    ROW(JOURNALLING, REFUSED, FLUSHING, "answer_refused"),
    ROW(JOURNALLING, TIMEOUT, DONE, "leave_untold"),
    ROW(JOURNALLING, OWNER_GONE, JOURNALLING, NULL),
    ROW(JOURNALLING, LOG_GONE, DONE, "leave_untold"),
    ROW(FLUSHING, CANCEL, FLUSHING, NULL),
    ROW(FLUSHING, FLUSHED, DONE, "leave"),
    ROW(FLUSHING, TIMEOUT, DONE, "leave"),
    ROW(FLUSHING, OWNER_GONE, DONE, "leave"),
    ROW(FLUSHING, LOG_GONE, FLUSHING, NULL),
    ROW(DONE, CANCEL, DONE, NULL),
    ROW(DONE, OWNER_GONE, DONE, NULL),
    ROW(DONE, LOG_GONE, DONE, NULL),
};

static const struct wanted *find(unsigned state, unsigned event) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].from == state && table[i].event == event)
            return &table[i];
    return NULL;
}

static void check_cell(unsigned state, unsigned event) {
    struct fsm fsm;
    int argument;
    fsm_init(&fsm, &toolcall_fsm, NULL, NULL, state);
    memset(&seen, 0, sizeof seen);
    const struct wanted *want = find(state, event);
    int r = fsm_step(&fsm, event, &argument);
    print_message("%s x %s: %s\n", toolcall_fsm.state_names[state], toolcall_fsm.event_names[event],
                  want ? toolcall_fsm.state_names[want->to] : "refused");
    assert_int_equal(r, want ? 0 : -EPROTO);
    assert_int_equal(fsm.state, want ? want->to : state);
    assert_int_equal(seen.calls, want && want->action);
    assert_int_equal(seen.entered, want && want->to != state);
    if (want && want->action) {
        assert_string_equal(seen.action, want->action);
        assert_ptr_equal(seen.arg, &argument);
    }
}

static void every_cell(void **state) {
    for (unsigned s = 0; s < TOOLCALL_STATE__COUNT; s++)
        for (unsigned e = 0; e < TOOLCALL_EVENT__COUNT; e++)
            check_cell(s, e);
}

/* Waiting, journalling and flushing depend on others and end by themselves. */
static void timeouts(void **state) {
    static const int64_t want[TOOLCALL_STATE__COUNT] = {
        [TOOLCALL_WAITING] = 1, [TOOLCALL_JOURNALLING] = 2, [TOOLCALL_FLUSHING] = 3};
    for (unsigned s = 0; s < TOOLCALL_STATE__COUNT; s++) {
        const struct fsm_timeout *t = &toolcall_fsm.timeouts[s];
        assert_int_equal(t->ms ? t->ms(NULL) : 0, want[s]);
        if (t->ms)
            assert_non_null(find(s, t->event));
    }
}

/* No path leads from a call to the owner past the log. */
static void nothing_is_told_before_it_is_journalled(void **state) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].action && strncmp(table[i].action, "answer", 6) == 0)
            assert_int_equal(table[i].from, TOOLCALL_JOURNALLING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(nothing_is_told_before_it_is_journalled),
    };
    return cmocka_run_group_tests_name("toolcall-fsm", tests, NULL, NULL);
}
