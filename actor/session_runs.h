/* The runs of a session, between the role's table (session.c) and the work (session_runs.c). */
#ifndef SOMA_ACTOR_SESSION_RUNS_H
#define SOMA_ACTOR_SESSION_RUNS_H

#include "actor/history.h"
#include "actor/session.h"
#include "common/child.h"

struct session;

struct session_run {
    struct session_run *next;
    struct session *session;
    struct child *child; /* NULL once it is reaped */
    char id[ID_SIZE];
    char corr[NAME_SIZE];
    bool detached;
    bool accepted; /* run.accepted is durable, and the owner was told */
    bool reported; /* its last message went to the owner */
    char *plan;    /* until it is handed over; then NULL */
    size_t plan_n;
    /* When a run ended without a word: what the log says. */
    struct history history;
    char *terminal; /* a run_done made from its terminal event, as a frame's text */
    size_t terminal_n;
};

struct session {
    struct role_ctx *ctx;
    int grants; /* sealed memfd; -1 until it came */
    int64_t grants_ref;
    bool adopted;
    struct session_run *runs;
    unsigned n_runs;
    struct history history; /* of a successor */
    json_t *past;           /* successor: run id -> {accepted: seq, detached, terminal?: event} */
};

/* Starts a run, or tells the owner why not. -EPROTO for a request no gateway of ours makes. */
int session_run_start(struct session *s, const struct msg_session_run *m);

int session_run_on_hello(struct session *s, struct chan *from, const struct msg *m);
int session_run_on_accepted(struct session *s, const struct chan *from, const struct msg_run_accepted *m);
int session_run_on_rejected(struct session *s, const struct chan *from, const struct msg_run_rejected *m);
int session_run_on_done(struct session *s, const struct chan *from, const struct msg_run_done *m);

/* Takes back a run of an earlier incarnation, that the log knows as accepted and not ended. */
void session_run_attach(struct session *s, const char *id, bool detached);

/* Cancels all runs, or only those that are not detached. */
void session_runs_cancel(struct session *s, bool detached_too, const char *reason);
void session_run_kill(struct session *s, const char *id);
unsigned session_runs_undetached(const struct session *s);

/* run_done to the owner from a record of the log; false when the record ends no run. */
bool session_tell_terminal(struct session *s, const char *run, const json_t *record);

#endif
