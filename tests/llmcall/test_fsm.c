/* Every cell of the table: the wanted ones below, and all others must be refused without a change. The actions are
 * recording stubs, so this links fsm.c without the role. */
#include "common/err.h"
#include "llmcall/fsm.h"

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
    int llmcall_##name(void *self, const void *arg) {                                                                  \
        seen.action = #name;                                                                                           \
        seen.arg = arg;                                                                                                \
        seen.calls++;                                                                                                  \
        return 0;                                                                                                      \
    }
STUB(begin)
STUB(report)
STUB(cancelled)
STUB(expired)
STUB(answer)
STUB(answer_refused)
STUB(leave)
STUB(leave_untold)

int64_t llmcall_deadline_ms(void *self) {
    return 1234;
}
int64_t llmcall_flush_ms(void *self) {
    return 4321;
}
void llmcall_entered(void *self, unsigned state) {
    seen.entered++;
}

struct wanted {
    enum llmcall_state from;
    enum llmcall_event event;
    enum llmcall_state to;
    const char *action;
};

#define ROW(from, event, to, action)                                                                                   \
    { LLMCALL_##from, LLMCALL_EV_##event, LLMCALL_##to, action }
static const struct wanted table[] = {
    ROW(WAITING, REQUEST, CALLING, "begin"),
    ROW(WAITING, CANCEL, REPORTING, "cancelled"),
    ROW(WAITING, OWNER_GONE, DONE, "leave"),
    ROW(WAITING, LOG_GONE, DONE, "leave_untold"),
    ROW(CALLING, OUTCOME, REPORTING, "report"),
    ROW(CALLING, DEADLINE, REPORTING, "expired"),
    ROW(CALLING, CANCEL, REPORTING, "cancelled"),
    ROW(CALLING, OWNER_GONE, CALLING, NULL),
    ROW(CALLING, LOG_GONE, DONE, "leave_untold"),
    ROW(REPORTING, CANCEL, REPORTING, NULL),
    ROW(REPORTING, ACCEPTED, FLUSHING, "answer"),
    ROW(REPORTING, REFUSED, FLUSHING, "answer_refused"),
    ROW(REPORTING, OWNER_GONE, REPORTING, NULL),
    ROW(REPORTING, LOG_GONE, DONE, "leave_untold"),
    ROW(FLUSHING, DEADLINE, DONE, "leave"),
    ROW(FLUSHING, CANCEL, FLUSHING, NULL),
    ROW(FLUSHING, FLUSHED, DONE, "leave"),
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
    fsm_init(&fsm, &llmcall_fsm, NULL, NULL, state);
    memset(&seen, 0, sizeof seen);
    const struct wanted *want = find(state, event);
    int r = fsm_step(&fsm, event, &argument);
    print_message("%s x %s: %s\n", llmcall_fsm.state_names[state], llmcall_fsm.event_names[event],
                  want ? llmcall_fsm.state_names[want->to] : "refused");
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
    for (unsigned s = 0; s < LLMCALL_STATE__COUNT; s++)
        for (unsigned e = 0; e < LLMCALL_EVENT__COUNT; e++)
            check_cell(s, e);
}

/* Calling and flushing end by themselves; nothing else may, see fsm.c. */
static void timeouts(void **state) {
    for (unsigned s = 0; s < LLMCALL_STATE__COUNT; s++) {
        const struct fsm_timeout *t = &llmcall_fsm.timeouts[s];
        int64_t want = s == LLMCALL_CALLING ? 1234 : s == LLMCALL_FLUSHING ? 4321 : -1;
        assert_int_equal(t->ms ? t->ms(NULL) : -1, want);
        if (t->ms)
            assert_non_null(find(s, t->event));
    }
}

/* No path leads from a request to the owner past the log. */
static void nothing_is_told_before_it_is_journalled(void **state) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].action && strncmp(table[i].action, "answer", 6) == 0)
            assert_int_equal(table[i].from, LLMCALL_REPORTING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(nothing_is_told_before_it_is_journalled),
    };
    return cmocka_run_group_tests_name("llmcall-fsm", tests, NULL, NULL);
}
