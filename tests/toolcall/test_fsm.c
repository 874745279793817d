/* Every cell of the table: the wanted ones below, and all others must be refused without a change. The actions are
 * recording stubs, so this links fsm.c without the role. */
#include "tests/kit/walk.h"
#include "toolcall/fsm.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STUB(name) WALK_ACTION(toolcall_##name, #name)
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
    walk_entered(self, state);
}

#define ROW(from, event, to, action)                                                                                   \
    { TOOLCALL_##from, TOOLCALL_EV_##event, TOOLCALL_##to, action }
static const struct walk_row rows[] = {
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

static const struct walk walk = WALK(&toolcall_fsm, rows, TOOLCALL_STATE__COUNT, TOOLCALL_EVENT__COUNT);

static void every_cell(void **state) {
    walk_cells(&walk);
}

/* Waiting, journalling and flushing depend on others and end by themselves. */
static void timeouts(void **state) {
    static const struct walk_timeout wanted[] = {
        {TOOLCALL_WAITING, 1, TOOLCALL_EV_TIMEOUT},
        {TOOLCALL_JOURNALLING, 2, TOOLCALL_EV_TIMEOUT},
        {TOOLCALL_FLUSHING, 3, TOOLCALL_EV_TIMEOUT},
    };
    walk_timeouts(&walk, wanted, sizeof wanted / sizeof *wanted);
}

/* No path leads from a call to the owner past the log. */
static void nothing_is_told_before_it_is_journalled(void **state) {
    walk_acts_only_from(&walk, "answer", TOOLCALL_JOURNALLING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(nothing_is_told_before_it_is_journalled),
    };
    return cmocka_run_group_tests_name("toolcall-fsm", tests, NULL, NULL);
}
