/* The states of a session: does anyone own it, and does anything run?
 *
 *   starting → recovering → idle ⇄ running → orphaned → adopted
 *                             └───────┴─ ending | stopping ─┴→ leaving
 *
 * An owner's cancel ends every run (ending); the supervisor's SIGTERM ends only what has a client in the foreground and
 * leaves detached runs to `runs` (stopping). Actions are declared here and defined by the role. */
#ifndef SOMA_ACTOR_SESSION_FSM_H
#define SOMA_ACTOR_SESSION_FSM_H

#include "common/fsm.h"

#define SESSION_STATES(X)                                                                                              \
    X(STARTING, "starting")                                                                                            \
    X(RECOVERING, "recovering")                                                                                        \
    X(IDLE, "idle")                                                                                                    \
    X(RUNNING, "running")                                                                                              \
    X(ORPHANED, "orphaned") /* the owner is gone, runs live */                                                         \
    X(ADOPTED, "adopted")   /* a new owner watches; it reads results from the log */                                   \
    X(ENDING, "ending")                                                                                                \
    X(STOPPING, "stopping")                                                                                            \
    X(LEAVING, "leaving") /* the last words are being written */

#define SESSION_EVENTS(X)                                                                                              \
    X(GRANTS, "grants")         /* sealed grants are here */                                                           \
    X(RECOVERED, "recovered")   /* the log was read, live runs are attached */                                         \
    X(RUN, "run")               /* a run lives */                                                                      \
    X(BACKGROUND, "background") /* a run ended, only detached ones are left */                                         \
    X(EMPTY, "empty")           /* a run ended, none is left */                                                        \
    X(UNOWNED, "unowned")       /* the link closed */                                                                  \
    X(ADOPT, "adopt")           /* SIGUSR1 */                                                                          \
    X(CANCEL, "cancel")         /* the owner's word */                                                                 \
    X(TERM, "term")             /* the supervisor's */                                                                 \
    X(LATE, "late")             /* a state's time is over */

enum session_state {
#define X(id, name) SESSION_##id,
    SESSION_STATES(X)
#undef X
        SESSION_STATE__COUNT
};

enum session_event {
#define X(id, name) SESSION_EV_##id,
    SESSION_EVENTS(X)
#undef X
        SESSION_EVENT__COUNT
};

extern const struct fsm_def session_fsm;

int session_recover(void *self, const void *arg);    /* a successor reads the log; raises recovered */
int session_open(void *self, const void *arg);       /* listens to the owner; raises run, unowned, adopt as they are */
int session_cancel(void *self, const void *arg);     /* cancels every run; raises empty when there is none */
int session_owner_lost(void *self, const void *arg); /* cancels the runs that need a client */
int session_stop(void *self, const void *arg);  /* the same for SIGTERM; raises empty or background when none is left */
int session_leave(void *self, const void *arg); /* ends with 0 once everything is written */
int session_give_up(void *self, const void *arg); /* ends with 1: no grants */

int64_t session_start_ms(void *self);
int64_t session_orphan_ms(void *self); /* -1 when every run is detached */
int64_t session_stop_ms(void *self);
void session_entered(void *self, unsigned state);

#endif
