/* Every cell of the table: the wanted ones below, and all others must be refused without a change. The actions are
 * recording stubs, so this links fsm.c without the role. */
#include "llmcall/fsm.h"
#include "tests/kit/walk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STUB(name) WALK_ACTION(llmcall_##name, #name)
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
    walk_entered(self, state);
}

#define ROW(from, event, to, action)                                                                                   \
    { LLMCALL_##from, LLMCALL_EV_##event, LLMCALL_##to, action }
static const struct walk_row rows[] = {
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

static const struct walk walk = WALK(&llmcall_fsm, rows, LLMCALL_STATE__COUNT, LLMCALL_EVENT__COUNT);

static void every_cell(void **state) {
    walk_cells(&walk);
}

/* Calling and flushing end by themselves; nothing else may, see fsm.c. */
static void timeouts(void **state) {
    static const struct walk_timeout wanted[] = {
        {LLMCALL_CALLING, 1234, LLMCALL_EV_DEADLINE},
        {LLMCALL_FLUSHING, 4321, LLMCALL_EV_DEADLINE},
    };
    walk_timeouts(&walk, wanted, sizeof wanted / sizeof *wanted);
}

/* No path leads from a request to the owner past the log. */
static void nothing_is_told_before_it_is_journalled(void **state) {
    walk_acts_only_from(&walk, "answer", LLMCALL_REPORTING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(nothing_is_told_before_it_is_journalled),
    };
    return cmocka_run_group_tests_name("llmcall-fsm", tests, NULL, NULL);
}
