/* The run's state table, cell by cell: what is listed here happens, and everything else is refused without an action
 * and without leaving the state. fsm.c is linked with actions that only record that they were called. */
#include "run/fsm.h"
#include "tests/kit/walk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define X(name) WALK_ACTION(act_##name, #name)
RUN_ACTIONS(X)
#undef X

int64_t ms_call(void *self) {
    return 1;
}
int64_t ms_retry(void *self) {
    return 2;
}
int64_t ms_ending(void *self) {
    return 3;
}
int64_t ms_flush(void *self) {
    return 4;
}
void run_entered(void *self, unsigned state) {
    walk_entered(self, state);
}

#define W(from, event, to, action)                                                                                     \
    { RUN_##from, EV_##event, RUN_##to, action }
#define CUT(from)                                                                                                      \
    W(from, CANCEL, ENDING, "end_cancelled"), W(from, DEADLINE, ENDING, "end_deadline"),                               \
        W(from, LOG_REFUSED, ENDING, "end_refused"), W(from, ACCEPT_REFUSED, ENDING, "end_unaccepted"),                \
        W(from, STOP, STOPPING, "stop_children")
#define DONE(from)                                                                                                     \
    W(from, IS_COMPLETED, COMPLETED, "announce"), W(from, IS_FAILED, FAILED, "announce"),                              \
        W(from, IS_TIMEOUT, TIMEOUT, "announce"), W(from, IS_CANCELLED, CANCELLED, "announce")
#define LATE(state)                                                                                                    \
    W(state, CANCEL, state, NULL), W(state, STOP, state, NULL), W(state, DURABLE, state, NULL),                        \
        W(state, LOG_REFUSED, state, NULL)
#define OVER(state)                                                                                                    \
    W(state, FLUSHED, state, "leave"), W(state, GUARD, state, "leave"), W(state, END_REFUSED, state, NULL), LATE(state)

static const struct walk_row rows[] = {
    W(STARTING, PLAN_GOOD, ACCEPTED, "accept"),
    W(STARTING, PLAN_BAD, REJECTED, "reject"),
    W(STARTING, CANCEL, REJECTED, "reject"),
    W(STARTING, STOP, STOPPED, "leave"),
    W(STARTING, RECOVER, RECOVERING, "end_calls"),

    W(ACCEPTED, NUMBERED, EXECUTING, "begin"),
    W(ACCEPTED, ACCEPT_REFUSED, REJECTED, "reject"),
    W(ACCEPTED, CANCEL, ACCEPTED, "hold_cancel"),
    W(ACCEPTED, STOP, ACCEPTED, "hold_stop"),

    W(EXECUTING, NEXT, EXECUTING, "start_step"),
    W(EXECUTING, BOUND, EXECUTING, "try_go"),
    W(EXECUTING, DURABLE, EXECUTING, "try_go"),
    W(EXECUTING, GO, WAITING_TOOL, "send_call"),
    W(EXECUTING, CALL_BAD, EXECUTING, "take_failure"),
    W(EXECUTING, CALL_LOST, EXECUTING, "lose_call"),
    W(EXECUTING, CHILD_DOWN, EXECUTING, NULL),
    W(EXECUTING, RETRY, WAITING_RETRY, "await_retry"),
    W(EXECUTING, STEP_FAILED, ENDING, "end"),
    W(EXECUTING, FINISHED, ENDING, "end"),
    CUT(EXECUTING),

    W(WAITING_TOOL, CALL_OK, EXECUTING, "take_output"),
    W(WAITING_TOOL, CALL_BAD, EXECUTING, "take_failure"),
    W(WAITING_TOOL, CALL_LOST, EXECUTING, "lose_call"),
    W(WAITING_TOOL, GUARD, WAITING_TOOL, "kill_call"),
    W(WAITING_TOOL, CHILD_DOWN, WAITING_TOOL, NULL),
    W(WAITING_TOOL, DURABLE, WAITING_TOOL, NULL),
    CUT(WAITING_TOOL),

    W(WAITING_RETRY, RETRY_DUE, EXECUTING, "start_attempt"),
    W(WAITING_RETRY, CHILD_DOWN, WAITING_RETRY, NULL),
    W(WAITING_RETRY, DURABLE, WAITING_RETRY, NULL),
    CUT(WAITING_RETRY),

    W(ENDING, CALL_OK, ENDING, "late_answer"),
    W(ENDING, CALL_BAD, ENDING, "late_answer"),
    W(ENDING, CALL_LOST, ENDING, "check_quiet"),
    W(ENDING, CHILD_DOWN, ENDING, "check_quiet"),
    W(ENDING, NOT_ACCEPTED, REJECTED, "reject"),
    W(ENDING, ACCEPT_REFUSED, ENDING, NULL),
    W(STOPPING, NOT_ACCEPTED, STOPPED, "leave"),
    W(STOPPING, ACCEPT_REFUSED, STOPPING, NULL),
    W(JOURNALLING, ACCEPT_REFUSED, REJECTED, "reject"),
    W(ENDING, QUIET, JOURNALLING, "append_end"),
    W(ENDING, GUARD, ENDING, "kill_all"),
    W(ENDING, BOUND, ENDING, NULL),
    LATE(ENDING),

    DONE(JOURNALLING),
    W(JOURNALLING, END_REFUSED, STOPPED, "announce_unlogged"),
    LATE(JOURNALLING),

    W(STOPPING, CALL_OK, STOPPING, "late_answer"),
    W(STOPPING, CALL_BAD, STOPPING, "late_answer"),
    W(STOPPING, CALL_LOST, STOPPING, "check_quiet"),
    W(STOPPING, CHILD_DOWN, STOPPING, "check_quiet"),
    W(STOPPING, QUIET, STOPPED, "leave_open"),
    W(STOPPING, GUARD, STOPPING, "kill_all"),
    W(STOPPING, BOUND, STOPPING, NULL),
    LATE(STOPPING),

    W(RECOVERING, CALLS_ENDED, READING, "read_log"),
    W(RECOVERING, CANCEL, RECOVERING, NULL),
    W(RECOVERING, STOP, STOPPED, "leave_open"),

    W(READING, READ_ON, READING, "read_log"),
    W(READING, NOT_ACCEPTED, REJECTED, "reject"),
    W(READING, INTERRUPTED, ENDING, "end"),
    W(READING, CANCEL, READING, NULL),
    W(READING, STOP, STOPPED, "leave_open"),
    DONE(READING),

    OVER(COMPLETED),
    OVER(FAILED),
    OVER(TIMEOUT),
    OVER(CANCELLED),
    OVER(REJECTED),
    LATE(STOPPED),
    W(STOPPED, FLUSHED, STOPPED, "leave_open"),
    W(STOPPED, GUARD, STOPPED, "leave_open"),
    W(STOPPED, END_REFUSED, STOPPED, NULL),
};

static const struct walk walk = WALK(&run_fsm, rows, RUN_STATE__COUNT, EV__COUNT);

static void test_every_cell(void **state) {
    walk_cells(&walk);
}

static void test_rows_are_unique(void **state) {
    walk_rows(&walk);
}

/* A state nobody can leave by itself must have a timeout or nothing to wait for. */
static void test_timeouts(void **state) {
    static const struct walk_timeout wanted[] = {
        {RUN_WAITING_TOOL, 1, EV_GUARD}, {RUN_WAITING_RETRY, 2, EV_RETRY_DUE}, {RUN_ENDING, 3, EV_GUARD},
        {RUN_STOPPING, 3, EV_GUARD},     {RUN_COMPLETED, 4, EV_GUARD},         {RUN_FAILED, 4, EV_GUARD},
        {RUN_TIMEOUT, 4, EV_GUARD},      {RUN_CANCELLED, 4, EV_GUARD},         {RUN_REJECTED, 4, EV_GUARD},
        {RUN_STOPPED, 4, EV_GUARD},
    };
    walk_timeouts(&walk, wanted, sizeof wanted / sizeof *wanted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_rows_are_unique),
        cmocka_unit_test(test_timeouts),
    };
    return cmocka_run_group_tests_name("run-fsm", tests, NULL, NULL);
}
