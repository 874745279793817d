/* The actor's table, cell by cell: every pair either does exactly what is written here or is unexpected. The actions
 * are recorders; actor/actor.c is not linked. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actor/fsm.h"

static const char *called;

#define RECORD(name)                                                                                                   \
    int name(void *self, const void *arg) {                                                                            \
        called = #name;                                                                                                \
        return 0;                                                                                                      \
    }
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
    return -1;
}

void actor_entered(void *self, unsigned state) {}

#define GO(from, event, to, action)                                                                                    \
    { ACTOR_##from, ACTOR_EV_##event, ACTOR_##to, action }
static const struct wanted {
    unsigned from, event, to;
    const char *action;
} wanted[] = {
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

static const struct wanted *find(unsigned state, unsigned event) {
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (wanted[i].from == state && wanted[i].event == event)
            return &wanted[i];
    return NULL;
}

static void every_cell(void **state) {
    unsigned seen = 0;
    for (unsigned s = 0; s < ACTOR_STATE__COUNT; s++)
        for (unsigned e = 0; e < ACTOR_EVENT__COUNT; e++) {
            struct fsm fsm;
            fsm_init(&fsm, &actor_fsm, NULL, NULL, s);
            const struct wanted *w = find(s, e);
            called = NULL;
            int r = fsm_step(&fsm, e, NULL);
            if (r != (w ? 0 : -EPROTO) || fsm.state != (w ? w->to : s) ||
                strcmp(called ? called : "", w && w->action ? w->action : "") != 0)
                fail_msg("%s x %s: %d, %s, %s", actor_fsm.state_names[s], actor_fsm.event_names[e], r,
                         actor_fsm.state_names[fsm.state], called ? called : "nothing");
            seen += w != NULL;
        }
    assert_int_equal(seen, sizeof wanted / sizeof *wanted);
}

/* A task can be stopped wherever work may be alive below it, and every state but the last of a start can be left. */
static void stoppable(void **state) {
    assert_non_null(find(ACTOR_WAITING_LLM, ACTOR_EV_STOP));
    assert_non_null(find(ACTOR_RUNNING, ACTOR_EV_STOP));
    for (unsigned s = 0; s < ACTOR_STATE__COUNT; s++) {
        bool leaves = false;
        for (unsigned e = 0; e < ACTOR_EVENT__COUNT; e++)
            leaves |= find(s, e) && find(s, e)->to != s;
        assert_true(leaves);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cell), cmocka_unit_test(stoppable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
