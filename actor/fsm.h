/* The states of an actor. One task at a time moves through them:
 *
 *   loading → restoring → idle → waiting_llm ⇄ thinking ⇄ running
 *                          ↑         └────────────┴──────────┴→ (cancelling →) replying → idle
 *
 * `thinking` is left in the step that enters it: judging a proposal raises one of speak, steps, again, fail. Anything
 * that ends a task while work is alive below it goes through `cancelling`, which is left when all of it is dead.
 * Actions are declared here and defined by the role (tests define recorders); none of them changes the state. */
#ifndef SOMA_ACTOR_FSM_H
#define SOMA_ACTOR_FSM_H

#include "common/fsm.h"

#define ACTOR_STATES(X)                                                                                                \
    X(LOADING, "loading")                                                                                              \
    X(RESTORING, "restoring")                                                                                          \
    X(IDLE, "idle")                                                                                                    \
    X(WAITING_LLM, "waiting_llm")                                                                                      \
    X(THINKING, "thinking")                                                                                            \
    X(RUNNING, "running")                                                                                              \
    X(CANCELLING, "cancelling")                                                                                        \
    X(REPLYING, "replying")

#define ACTOR_EVENTS(X)                                                                                                \
    X(LOADED, "loaded")       /* definition, catalogue and grants are here */                                          \
    X(RESTORED, "restored")   /* nothing of an earlier incarnation is left open */                                     \
    X(TASK, "task")           /* an accepted task waits */                                                             \
    X(REPLY, "reply")         /* the model answered */                                                                 \
    X(SPEAK, "speak")         /* its proposal is a reply */                                                            \
    X(STEPS, "steps")         /* its proposal holds steps that may run */                                              \
    X(AGAIN, "again")         /* every step it proposed was answered with an error */                                  \
    X(OBSERVED, "observed")   /* the run is over, its results are in the conversation */                               \
    X(FAIL, "fail")           /* the task has failed and nothing of it is alive */                                     \
    X(STOP, "stop")           /* the task has to end, whatever is alive below it */                                    \
    X(EMPTY, "empty")         /* the last child was reaped */                                                          \
    X(DURABLE, "durable")     /* the task's terminal event is on disk */                                               \
    X(CONCLUDED, "concluded") /* both */                                                                               \
    X(PATIENCE, "patience")   /* children that are done still live */

enum actor_state {
#define X(id, name) ACTOR_##id,
    ACTOR_STATES(X)
#undef X
        ACTOR_STATE__COUNT
};

enum actor_event {
#define X(id, name) ACTOR_EV_##id,
    ACTOR_EVENTS(X)
#undef X
        ACTOR_EVENT__COUNT
};

extern const struct fsm_def actor_fsm;

int actor_restore(void *self, const void *arg);   /* reads the log for unfinished tasks */
int actor_ready(void *self, const void *arg);     /* lets clients in */
int actor_begin(void *self, const void *arg);     /* takes the next task up: conversation, deadline, first request */
int actor_ask(void *self, const void *arg);       /* one LLM call with the conversation so far, within the budget */
int actor_judge(void *self, const void *arg);     /* raises speak, steps, again or fail */
int actor_run(void *self, const void *arg);       /* starts the approved plan */
int actor_stop(void *self, const void *arg);      /* cancels everything below; raises empty when there is nothing */
int actor_conclude(void *self, const void *arg);  /* appends the terminal event */
int actor_settle(void *self, const void *arg);    /* raises concluded when durable and without children */
int actor_kill_rest(void *self, const void *arg); /* ends children that should have ended by themselves */
int actor_reply(void *self, const void *arg);     /* tells the asker, forgets the task, looks for the next */

int64_t actor_patience_ms(void *self);
void actor_entered(void *self, unsigned state);

#endif
