/* The actor's table, cell by cell: every pair either does exactly what is written here or is unexpected. The actions
 * are recorders; actor/actor.c is not linked. */
#include "actor/fsm.h"
#include "tests/kit/walk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RECORD(name) WALK_ACTION(name, #name)
RECORD(actor_restore)
RECORD(actor_ready)
RECORD(actor_begin)
RECORD(actor_ask)
RECORD(actor_judge)
RECORD(actor_run)
RECORD(actor_stop)
RECORD(actor_conclude)
RECORD(actor_settle)
RECORD(actor_kill_rest)
RECORD(actor_reply)

int64_t actor_patience_ms(void *self) {
    return 1;
}

void actor_entered(void *self, unsigned state) {
    walk_entered(self, state);
}

#define GO(from, event, to, action)                                                                                    \
    { ACTOR_##from, ACTOR_EV_##event, ACTOR_##to, action }
static const struct walk_row rows[] = {
    GO(LOADING, LOADED, RESTORING, "actor_restore"),
    GO(RESTORING, RESTORED, IDLE, "actor_ready"),
    GO(IDLE, TASK, WAITING_LLM, "actor_begin"),
    GO(WAITING_LLM, REPLY, THINKING, "actor_judge"),
    GO(WAITING_LLM, FAIL, REPLYING, "actor_conclude"),
    GO(WAITING_LLM, STOP, CANCELLING, "actor_stop"),
    GO(THINKING, SPEAK, REPLYING, "actor_conclude"),
    GO(THINKING, STEPS, RUNNING, "actor_run"),
    GO(THINKING, AGAIN, WAITING_LLM, "actor_ask"),
    GO(THINKING, FAIL, REPLYING, "actor_conclude"),
    GO(RUNNING, OBSERVED, WAITING_LLM, "actor_ask"),
    GO(RUNNING, FAIL, REPLYING, "actor_conclude"),
    GO(RUNNING, STOP, CANCELLING, "actor_stop"),
    GO(CANCELLING, REPLY, CANCELLING, NULL),
    GO(CANCELLING, OBSERVED, CANCELLING, NULL),
    GO(CANCELLING, FAIL, CANCELLING, NULL),
    GO(CANCELLING, STOP, CANCELLING, NULL),
    GO(CANCELLING, EMPTY, REPLYING, "actor_conclude"),
    GO(REPLYING, STOP, REPLYING, NULL),
    GO(REPLYING, EMPTY, REPLYING, "actor_settle"),
    GO(REPLYING, DURABLE, REPLYING, "actor_settle"),
    GO(REPLYING, PATIENCE, REPLYING, "actor_kill_rest"),
    GO(REPLYING, CONCLUDED, IDLE, "actor_reply"),
};

static const struct walk walk = WALK(&actor_fsm, rows, ACTOR_STATE__COUNT, ACTOR_EVENT__COUNT);

static void every_cell(void **state) {
    walk_cells(&walk);
}

/* Only what is left below a finished task is waited for. */
static void timeouts(void **state) {
    static const struct walk_timeout wanted[] = {{ACTOR_REPLYING, 1, ACTOR_EV_PATIENCE}};
    walk_timeouts(&walk, wanted, sizeof wanted / sizeof *wanted);
}

/* A task can be stopped wherever work may be alive below it, and every state but the last of a start can be left. */
static void stoppable(void **state) {
    assert_non_null(walk_find(&walk, ACTOR_WAITING_LLM, ACTOR_EV_STOP));
    assert_non_null(walk_find(&walk, ACTOR_RUNNING, ACTOR_EV_STOP));
    for (unsigned s = 0; s < ACTOR_STATE__COUNT; s++)
        assert_true(walk_leaves(&walk, s));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cell), cmocka_unit_test(timeouts),
                                       cmocka_unit_test(stoppable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
