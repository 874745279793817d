/* Inside of an actor, for the files of this folder:
 *
 *   actor.c     tables, clients, start and end of the process
 *   load.c      definition, catalogue, grants
 *   restore.c   what an earlier incarnation left open
 *   task.c      asks, cancels, ends
 *   think.c     the loop: request, proposal, run, observations */
#ifndef SOMA_ACTOR_ACTOR_IMPL_H
#define SOMA_ACTOR_ACTOR_IMPL_H

#include "actor/actor.h"
#include "actor/fsm.h"
#include "actor/history.h"
#include "actor/mailbox.h"
#include "actor/proposal.h"
#include "common/child.h"

#define TOOLS_TEXT_MAX (192u * 1024) /* bytes of a request's tools */

struct actor {
    struct role_ctx *ctx;
    char name[NAME_SIZE];
    struct loop_timer patience; /* with whoever must answer before the actor can serve */

    /* load.c */
    int64_t definition_ref, catalog_ref, grants_ref;
    json_t *definition, *catalog;
    json_t *tools;      /* name -> schema: what a model may call */
    json_t *tools_list; /* the same as a request has it; empty without tools */
    int grants;         /* sealed memfd; -1 until it came */
    char provider[NAME_SIZE], model[129];
    int64_t llm_timeout_ms;
    int64_t llm_calls_max, steps_max, timeout_ms;

    /* restore.c */
    struct history history;
    json_t *unfinished; /* task -> {corr, run?, call?} */
    unsigned kills;     /* unanswered */
    int64_t restored_ref;
    bool restored_barrier; /* what was left open has been ended, and that has to be on disk first */

    /* task.c */
    struct mailbox mailbox;
    struct chan *clients[ACTOR_CLIENTS_MAX];
    unsigned n_clients;
    bool stopping;
    int64_t stopped_ref;

    /* think.c: what lives below the current task */
    unsigned n_children; /* including those that are done and not reaped */
    struct child *llm, *run;
    bool llm_hello, llm_durable, run_hello, run_announced;
    int64_t llm_ref, executed_ref;
    char *request, *plan; /* until they are sent */
    size_t request_n, plan_n;
    json_t *reply; /* the model's last message */
    struct proposal proposal;
};

/* ---- actor.c ---- */
/* Appends an event and takes `data` over. JOURNAL_ANSWERED and JOURNAL_BARRIER return the number that accepted,
 * durable or refused will carry. Without its log an actor cannot go on: failing to send ends the process. */
enum journal_how { JOURNAL_RELAXED, JOURNAL_ANSWERED, JOURNAL_BARRIER };
struct journal_about {
    const struct task *task;
    const char *call;
};
int64_t actor_journal(struct actor *a, const char *type, struct journal_about about, json_t *data,
                      enum journal_how how);
void actor_progress(struct actor *a); /* moves `patience` on */
/* One event: posted from inside an action, else taken at once. */
void actor_raise(struct actor *a, enum actor_event event);

/* ---- load.c ---- */
int actor_load(struct actor *a);
int actor_on_document(struct actor *a, struct msg *m);

/* ---- restore.c ---- */
bool actor_restore_answered(struct actor *a, int64_t ref, bool durable);
void actor_restore_killed(struct actor *a);

/* ---- task.c ---- */
int actor_on_ask(struct actor *a, struct chan *from, const struct msg_ask *m);
int actor_on_task_cancel(struct actor *a, struct chan *from, const struct msg_task_cancel *m);
/* The log answered an append of some task's: whether it was one. */
bool actor_task_durable(struct actor *a, int64_t ref, int64_t seq);
bool actor_task_refused(struct actor *a, const struct msg_refused *m);
/* How the task ends, unless that is settled already. */
void task_ends(struct task *t, enum task_status status, const char *error, const char *why);
/* Ends a task in whatever stage it is. */
void actor_end_task(struct actor *a, struct task *t);
void actor_client_gone(struct actor *a, const struct chan *c);
/* Takes the next task up when the actor is idle, or leaves when the process is to stop. */
void actor_next(struct actor *a);

/* ---- think.c ---- */
void actor_think_reset(struct actor *a);
int actor_on_hello(struct actor *a, struct chan *from, const struct msg *m);
int actor_on_llm_reply(struct actor *a, const struct chan *from, const struct msg_llm_reply *m);
int actor_on_llm_failed(struct actor *a, const struct chan *from, const struct msg_llm_failed *m);
int actor_on_run_rejected(struct actor *a, const struct chan *from, const struct msg_run_rejected *m);
int actor_on_run_done(struct actor *a, const struct chan *from, const struct msg_run_done *m);
bool actor_think_accepted(struct actor *a, int64_t ref);
bool actor_think_durable(struct actor *a, int64_t ref);
bool actor_think_refused(struct actor *a, const struct msg_refused *m);

#endif
