/* The life of an LLM call as a table. The table knows nothing of HTTP, scripts or channels: it says when the actions
 * below, which llmcall.c defines, are due.
 *
 *   waiting --request--> calling --outcome, deadline, cancel--> reporting --accepted, refused--> flushing --> done
 *
 * Every path from `calling` leads through `reporting`: the owner never hears of a result that the log does not have.
 * A lost owner changes nothing while there is a request; a lost log ends the call, since nothing may be told then. */
#ifndef SOMA_LLMCALL_FSM_H
#define SOMA_LLMCALL_FSM_H

#include "common/fsm.h"

#define LLMCALL_STATES(X)                                                                                              \
    X(WAITING, "waiting")     /* for the owner's request */                                                            \
    X(CALLING, "calling")     /* the provider is at work; the deadline runs */                                         \
    X(REPORTING, "reporting") /* the result's event is on its way to the log */                                        \
    X(FLUSHING, "flushing")   /* the result is on its way to the owner */                                              \
    X(DONE, "done")

enum llmcall_state {
#define X(id, name) LLMCALL_##id,
    LLMCALL_STATES(X)
#undef X
        LLMCALL_STATE__COUNT
};

#define LLMCALL_EVENTS(X)                                                                                              \
    X(REQUEST, "request")                                                                                              \
    X(OUTCOME, "outcome")       /* the provider's reply, or its failure */                                             \
    X(DEADLINE, "deadline")     /* a state's timeout */                                                                \
    X(CANCEL, "cancel")         /* argument: the reason, or NULL */                                                    \
    X(ACCEPTED, "accepted")     /* by the log */                                                                       \
    X(REFUSED, "refused")       /* by the log; argument: struct msg_refused */                                         \
    X(FLUSHED, "flushed")       /* the owner's socket took everything */                                               \
    X(OWNER_GONE, "owner_gone") /* its link has ended */                                                               \
    X(LOG_GONE, "log_gone")

enum llmcall_event {
#define X(id, name) LLMCALL_EV_##id,
    LLMCALL_EVENTS(X)
#undef X
        LLMCALL_EVENT__COUNT
};

extern const struct fsm_def llmcall_fsm;

/* What the table calls; `self` is the role's. */
int llmcall_begin(void *self, const void *arg);          /* ask the provider */
int llmcall_report(void *self, const void *arg);         /* journal the outcome */
int llmcall_cancelled(void *self, const void *arg);      /* stop asking; the outcome is `cancelled`; journal it */
int llmcall_expired(void *self, const void *arg);        /* the same with `timeout` */
int llmcall_answer(void *self, const void *arg);         /* the outcome to the owner */
int llmcall_answer_refused(void *self, const void *arg); /* the log's refusal to the owner */
int llmcall_leave(void *self, const void *arg);          /* exit 0 */
int llmcall_leave_untold(void *self, const void *arg);   /* exit 1 */

int64_t llmcall_deadline_ms(void *self);
int64_t llmcall_flush_ms(void *self);
void llmcall_entered(void *self, unsigned state);

#endif
