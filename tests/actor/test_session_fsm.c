/* The session's table, cell by cell: every pair either does exactly what is written here or is unexpected. The actions
 * are recorders; actor/session.c is not linked. */
#include "actor/session_fsm.h"
#include "tests/kit/walk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RECORD(name) WALK_ACTION(name, #name)
RECORD(session_recover)
RECORD(session_open)
RECORD(session_cancel)
RECORD(session_owner_lost)
RECORD(session_stop)
RECORD(session_leave)
RECORD(session_give_up)

int64_t session_start_ms(void *self) {
    return 1;
}

int64_t session_orphan_ms(void *self) {
    return 2;
}

int64_t session_stop_ms(void *self) {
    return 3;
}

void session_entered(void *self, unsigned state) {
    walk_entered(self, state);
}

#define GO(from, event, to, action)                                                                                    \
    { SESSION_##from, SESSION_EV_##event, SESSION_##to, action }
static const struct walk_row rows[] = {
    GO(STARTING, GRANTS, RECOVERING, "session_recover"),
    GO(STARTING, UNOWNED, STARTING, NULL),
    GO(STARTING, ADOPT, STARTING, NULL),
    GO(STARTING, CANCEL, LEAVING, "session_leave"),
    GO(STARTING, TERM, LEAVING, "session_leave"),
    GO(STARTING, LATE, LEAVING, "session_give_up"),
    GO(RECOVERING, RECOVERED, IDLE, "session_open"),
    GO(RECOVERING, RUN, RECOVERING, NULL),
    GO(RECOVERING, BACKGROUND, RECOVERING, NULL),
    GO(RECOVERING, EMPTY, RECOVERING, NULL),
    GO(RECOVERING, UNOWNED, RECOVERING, NULL),
    GO(RECOVERING, ADOPT, RECOVERING, NULL),
    GO(RECOVERING, CANCEL, STOPPING, "session_stop"),
    GO(RECOVERING, TERM, STOPPING, "session_stop"),
    GO(IDLE, RUN, RUNNING, NULL),
    GO(IDLE, UNOWNED, LEAVING, "session_leave"),
    GO(IDLE, ADOPT, IDLE, NULL),
    GO(IDLE, CANCEL, LEAVING, "session_leave"),
    GO(IDLE, TERM, LEAVING, "session_leave"),
    GO(RUNNING, RUN, RUNNING, NULL),
    GO(RUNNING, BACKGROUND, RUNNING, NULL),
    GO(RUNNING, EMPTY, IDLE, NULL),
    GO(RUNNING, UNOWNED, ORPHANED, NULL),
    GO(RUNNING, ADOPT, ADOPTED, NULL),
    GO(RUNNING, CANCEL, ENDING, "session_cancel"),
    GO(RUNNING, TERM, STOPPING, "session_stop"),
    GO(ORPHANED, BACKGROUND, ORPHANED, NULL),
    GO(ORPHANED, CANCEL, ENDING, "session_cancel"),
    GO(ORPHANED, EMPTY, LEAVING, "session_leave"),
    GO(ORPHANED, ADOPT, ADOPTED, NULL),
    GO(ORPHANED, LATE, ORPHANED, "session_owner_lost"),
    GO(ORPHANED, TERM, STOPPING, "session_stop"),
    GO(ADOPTED, BACKGROUND, ADOPTED, NULL),
    GO(ADOPTED, EMPTY, LEAVING, "session_leave"),
    GO(ADOPTED, UNOWNED, ADOPTED, NULL),
    GO(ADOPTED, ADOPT, ADOPTED, NULL),
    GO(ADOPTED, CANCEL, ENDING, "session_cancel"),
    GO(ADOPTED, TERM, STOPPING, "session_stop"),
    GO(ENDING, BACKGROUND, ENDING, NULL),
    GO(ENDING, EMPTY, LEAVING, "session_leave"),
    GO(ENDING, UNOWNED, ENDING, NULL),
    GO(ENDING, ADOPT, ENDING, NULL),
    GO(ENDING, CANCEL, ENDING, NULL),
    GO(ENDING, TERM, STOPPING, "session_stop"),
    GO(STOPPING, BACKGROUND, LEAVING, "session_leave"),
    GO(STOPPING, EMPTY, LEAVING, "session_leave"),
    GO(STOPPING, RECOVERED, STOPPING, NULL),
    GO(STOPPING, UNOWNED, STOPPING, NULL),
    GO(STOPPING, ADOPT, STOPPING, NULL),
    GO(STOPPING, CANCEL, STOPPING, NULL),
    GO(STOPPING, TERM, STOPPING, NULL),
    GO(STOPPING, LATE, LEAVING, "session_leave"),
    GO(LEAVING, GRANTS, LEAVING, NULL),
    GO(LEAVING, RECOVERED, LEAVING, NULL),
    GO(LEAVING, BACKGROUND, LEAVING, NULL),
    GO(LEAVING, EMPTY, LEAVING, NULL),
    GO(LEAVING, UNOWNED, LEAVING, NULL),
    GO(LEAVING, ADOPT, LEAVING, NULL),
    GO(LEAVING, CANCEL, LEAVING, NULL),
    GO(LEAVING, TERM, LEAVING, NULL),
};

static const struct walk walk = WALK(&session_fsm, rows, SESSION_STATE__COUNT, SESSION_EVENT__COUNT);

static void every_cell(void **state) {
    walk_cells(&walk);
}

/* What a session waits for without being able to hurry it: its grants, its owner, its runs. */
static void timeouts(void **state) {
    static const struct walk_timeout wanted[] = {
        {SESSION_STARTING, 1, SESSION_EV_LATE},
        {SESSION_ORPHANED, 2, SESSION_EV_LATE},
        {SESSION_STOPPING, 3, SESSION_EV_LATE},
    };
    walk_timeouts(&walk, wanted, sizeof wanted / sizeof *wanted);
}

/* Whoever goes away, the session can end: SIGTERM is understood in every state, and only the last one is never left. */
static void ends(void **state) {
    for (unsigned s = 0; s < SESSION_STATE__COUNT; s++) {
        assert_non_null(walk_find(&walk, s, SESSION_EV_TERM));
        assert_true(walk_leaves(&walk, s) == (s != SESSION_LEAVING));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cell), cmocka_unit_test(timeouts),
                                       cmocka_unit_test(ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
