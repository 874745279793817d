/* The life of a run as a table. What an event means in a state is decided here and nowhere else; the actions do the
 * work and say by posted events (fsm_post) what came of it.
 *
 *   starting ─ accepted ─ executing ⇄ waiting_tool ─ ending ─ journalling ─ completed | failed | timeout | cancelled
 *                             ⇅ waiting_retry
 *
 * executing       a step is being made ready: its scope is requested while the announcing event goes to disk
 * ending          the outcome is known; whatever still lives below is awaited (and killed, if it takes too long)
 * journalling     everything below is dead; the terminal event goes to disk
 * stopping        the tree stops and the run is detached: no terminal event, the next start finds it open
 * recovering, reading   a successor: ends what its predecessor left behind, then asks the log what is missing
 * rejected              over: the log knows nothing of this run
 * stopped               over without a terminal event: a successor, or the next start, writes it */
#ifndef SOMA_RUN_FSM_H
#define SOMA_RUN_FSM_H

#include "common/fsm.h"

#define RUN_STATES(X)                                                                                                  \
    X(STARTING, "starting")                                                                                            \
    X(ACCEPTED, "accepted")                                                                                            \
    X(EXECUTING, "executing")                                                                                          \
    X(WAITING_TOOL, "waiting_tool")                                                                                    \
    X(WAITING_RETRY, "waiting_retry")                                                                                  \
    X(ENDING, "ending")                                                                                                \
    X(JOURNALLING, "journalling")                                                                                      \
    X(STOPPING, "stopping")                                                                                            \
    X(RECOVERING, "recovering")                                                                                        \
    X(READING, "reading")                                                                                              \
    X(COMPLETED, "completed")                                                                                          \
    X(FAILED, "failed")                                                                                                \
    X(TIMEOUT, "timeout")                                                                                              \
    X(CANCELLED, "cancelled")                                                                                          \
    X(REJECTED, "rejected")                                                                                            \
    X(STOPPED, "stopped")

#define RUN_EVENTS(X)                                                                                                  \
    X(PLAN_GOOD, "plan_good") /* run_start came, and the plan is sound */                                              \
    X(PLAN_BAD, "plan_bad")                                                                                            \
    X(RECOVER, "recover")               /* this process is a successor */                                              \
    X(NUMBERED, "numbered")             /* the log has taken run.accepted */                                           \
    X(ACCEPT_REFUSED, "accept_refused") /* ... or not */                                                               \
    X(NEXT, "next")                     /* posted: go on with the step at the cursor */                                \
    X(BOUND, "bound")                   /* the call's process says hello */                                            \
    X(DURABLE, "durable")               /* something of ours is on disk */                                             \
    X(GO, "go")                         /* posted: bound, and the log allows it */                                     \
    X(CALL_OK, "call_ok")                                                                                              \
    X(CALL_BAD, "call_bad")                                                                                            \
    X(CALL_LOST, "call_lost")   /* down before it answered */                                                          \
    X(CHILD_DOWN, "child_down") /* down after it answered */                                                           \
    X(RETRY, "retry")           /* posted: the attempt failed, another is allowed */                                   \
    X(RETRY_DUE, "retry_due")                                                                                          \
    X(STEP_FAILED, "step_failed") /* posted: no further attempt */                                                     \
    X(FINISHED, "finished")       /* posted: no further step */                                                        \
    X(QUIET, "quiet")             /* posted: nothing lives below */                                                    \
    X(GUARD, "guard")             /* somebody takes longer than they were given */                                     \
    X(DEADLINE, "deadline")       /* the run's own */                                                                  \
    X(CANCEL, "cancel")                                                                                                \
    X(STOP, "stop")                 /* the tree stops (detached), or restarts */                                       \
    X(LOG_REFUSED, "log_refused")   /* an event between the first and the last one */                                  \
    X(END_REFUSED, "end_refused")   /* the terminal event */                                                           \
    X(IS_COMPLETED, "is_completed") /* the terminal event is on disk; it says so */                                    \
    X(IS_FAILED, "is_failed")                                                                                          \
    X(IS_TIMEOUT, "is_timeout")                                                                                        \
    X(IS_CANCELLED, "is_cancelled")                                                                                    \
    X(CALLS_ENDED, "calls_ended")   /* the predecessor's calls are dead */                                             \
    X(READ_ON, "read_on")           /* a page was read, and there are more */                                          \
    X(NOT_ACCEPTED, "not_accepted") /* the log knows nothing of this run */                                            \
    X(INTERRUPTED, "interrupted")   /* the log has no end of this run */                                               \
    X(FLUSHED, "flushed")           /* the owner has been told, or is gone */

enum run_state {
#define X(id, name) RUN_##id,
    RUN_STATES(X)
#undef X
        RUN_STATE__COUNT
};

enum run_event {
#define X(id, name) EV_##id,
    RUN_EVENTS(X)
#undef X
        EV__COUNT
};

extern const struct fsm_def run_fsm;

/* The actions; `self` is the struct run. NULL `arg` unless said. */
#define RUN_ACTIONS(X)                                                                                                 \
    X(accept)      /* append run.accepted */                                                                           \
    X(reject)      /* tell the owner run_rejected */                                                                   \
    X(hold_cancel) /* remember it until the log has answered */                                                        \
    X(hold_stop)                                                                                                       \
    X(begin)         /* append run.started; post NEXT, or what was held */                                             \
    X(start_step)    /* append step.started, make the arguments; then start_attempt, or post FINISHED, STEP_FAILED */  \
    X(start_attempt) /* append tool.started, ask for the scope */                                                      \
    X(try_go)        /* post GO when the call may go */                                                                \
    X(send_call)                                                                                                       \
    X(take_output)  /* arg: struct msg_call_done; post NEXT or STEP_FAILED */                                          \
    X(take_failure) /* arg: struct msg_call_done; post RETRY or STEP_FAILED */                                         \
    X(lose_call)    /* arg: struct msg_down; post RETRY or STEP_FAILED */                                              \
    X(await_retry)  /* append step.retrying */                                                                         \
    X(kill_call)                                                                                                       \
    X(end) /* the outcome is set; post QUIET or wait for it */                                                         \
    X(end_cancelled)                                                                                                   \
    X(end_deadline)                                                                                                    \
    X(end_refused) /* arg: struct msg_refused */                                                                       \
    X(end_unaccepted)                                                                                                  \
    X(stop_children)                                                                                                   \
    X(late_answer) /* arg: struct msg_call_done; the step's own end for the log */                                     \
    X(check_quiet) /* post QUIET when nothing lives below */                                                           \
    X(kill_all)                                                                                                        \
    X(append_end)        /* append the terminal event */                                                               \
    X(announce)          /* tell the owner run_done */                                                                 \
    X(announce_unlogged) /* arg: struct msg_refused; the same, when the log would not have it */                       \
    X(leave)             /* end the process */                                                                         \
    X(leave_open)        /* the same, the trail being open: not a normal end, so a successor closes it */              \
    X(end_calls)         /* have toolcalls end what lives under this id */                                             \
    X(read_log)          /* ask for the next page */

#define X(name) int act_##name(void *self, const void *arg);
RUN_ACTIONS(X)
#undef X

int64_t ms_call(void *self);   /* patience with a call that was let go */
int64_t ms_retry(void *self);  /* until the next attempt */
int64_t ms_ending(void *self); /* patience with children that should be ending */
int64_t ms_flush(void *self);  /* patience with an owner that does not read */
void run_entered(void *self, unsigned state);

#endif
