/* The life of a tool call as a table. The table knows nothing of tools, namespaces or channels: it says when the
 * actions below, which toolcall.c defines, are due.
 *
 *   waiting --call--> running --ended--> journalling --accepted, refused--> flushing --> done
 *                        \--cancel--> cancelling --ended--/
 *
 * `ended` means that nothing but PID 1 is alive in the scope, so every answer is given over dead processes, and every
 * path to an answer leads through the log. A lost owner changes nothing once there is a call; a lost log ends the call,
 * since nothing may be told then. */
#ifndef SOMA_TOOLCALL_FSM_H
#define SOMA_TOOLCALL_FSM_H

#include "common/fsm.h"

#define TOOLCALL_JOURNAL_MS 30000 /* a log that is silent for so long ends the call untold */

#define TOOLCALL_STATES(X)                                                                                             \
    X(WAITING, "waiting")         /* for the owner's call */                                                           \
    X(RUNNING, "running")         /* the tool is at work; exec.c watches its limits */                                 \
    X(CANCELLING, "cancelling")   /* everything in the scope is being killed */                                        \
    X(JOURNALLING, "journalling") /* the event is on its way to the log */                                             \
    X(FLUSHING, "flushing")       /* the answer is on its way to the owner */                                          \
    X(DONE, "done")

enum toolcall_state {
#define X(id, name) TOOLCALL_##id,
    TOOLCALL_STATES(X)
#undef X
        TOOLCALL_STATE__COUNT
};

#define TOOLCALL_EVENTS(X)                                                                                             \
    X(CALL, "call")             /* argument: struct msg_call */                                                        \
    X(ENDED, "ended")           /* there is a result, and the scope is empty */                                        \
    X(CANCEL, "cancel")         /* argument: the reason, or NULL */                                                    \
    X(ACCEPTED, "accepted")     /* by the log */                                                                       \
    X(REFUSED, "refused")       /* by the log; argument: struct msg_refused */                                         \
    X(FLUSHED, "flushed")       /* the owner's socket took everything */                                               \
    X(TIMEOUT, "timeout")       /* of a state */                                                                       \
    X(OWNER_GONE, "owner_gone") /* its link has ended */                                                               \
    X(LOG_GONE, "log_gone")

enum toolcall_event {
#define X(id, name) TOOLCALL_EV_##id,
    TOOLCALL_EVENTS(X)
#undef X
        TOOLCALL_EVENT__COUNT
};

extern const struct fsm_def toolcall_fsm;

/* What the table calls; `self` is the role's. */
int toolcall_begin(void *self, const void *arg);          /* check the call and start the tool, or end with a failure */
int toolcall_stop(void *self, const void *arg);           /* kill everything in the scope; `ended` follows */
int toolcall_journal(void *self, const void *arg);        /* append the event of the result */
int toolcall_answer(void *self, const void *arg);         /* the result to the owner */
int toolcall_answer_refused(void *self, const void *arg); /* the log's refusal to the owner, in place of the result */
int toolcall_leave(void *self, const void *arg);          /* exit 0 */
int toolcall_leave_untold(void *self, const void *arg);   /* exit 1 */

int64_t toolcall_call_ms(void *self);    /* how long to wait for the call */
int64_t toolcall_journal_ms(void *self); /* for the log */
int64_t toolcall_flush_ms(void *self);   /* for an owner that does not read */
void toolcall_entered(void *self, unsigned state);

#endif
