/* The actor's tables, its clients, and its start and end. Until it is idle for the first time it does not read its
 * clients: what they ask waits in their sockets. */
#include "actor/actor_impl.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"

#define EVENT_DATA_MAX (768u * 1024)

/* ---- for the other files ---- */

int64_t actor_journal(struct actor *a, const char *type, struct journal_about about, json_t *data,
                      enum journal_how how) {
    auto_json json_t *owned = data;
    auto_free char *text = NULL;
    size_t n = 0;
    if (json_text(owned, EVENT_DATA_MAX, &text, &n) < 0)
        die(1, "event");
    struct msg_append event = {.type = type,
                               .task = about.task ? about.task->id : NULL,
                               .corr = about.task ? about.task->corr : NULL,
                               .call = about.call,
                               .barrier = how == JOURNAL_BARRIER,
                               .data = {text, n}};
    int64_t ref = role_event(a->ctx, &event, how != JOURNAL_RELAXED);
    if (ref < 0)
        die(1, "journal");
    return ref;
}

static void on_impatient(void *arg) {
    const struct actor *a = arg;
    log_error("event=no_answer state=%s", fsm_state_name(&a->ctx->fsm));
    role_exit(a->ctx, 1);
}

void actor_progress(struct actor *a) {
    if (loop_timer_set(a->ctx->loop, &a->patience, now_ms() + a->ctx->spec->start, on_impatient, a) < 0)
        die(1, "timer");
}

void actor_raise(struct actor *a, enum actor_event event) {
    if (a->ctx->fsm.stepping)
        fsm_post(&a->ctx->fsm, event);
    else
        (void)role_step(a->ctx, event, NULL);
}

/* ---- states ---- */

void actor_entered(void *self, unsigned state) {
    const struct actor *a = self;
    if (a->ctx) /* the initial state is entered before start */
        title_set("actor %s %s", a->name, actor_fsm.state_names[state]);
}

int64_t actor_patience_ms(void *self) {
    return ((const struct actor *)self)->ctx->spec->cancel_timeout;
}

static bool serving(const struct actor *a) {
    return a->ctx->fsm.state != ACTOR_LOADING && a->ctx->fsm.state != ACTOR_RESTORING;
}

int actor_ready(void *self, const void *arg) {
    struct actor *a = self;
    loop_timer_clear(a->ctx->loop, &a->patience);
    for (unsigned i = 0; i < a->n_clients; i++)
        chan_pause(a->clients[i], false);
    return 0;
}

/* ---- clients ---- */

static int on_introduce(void *self, struct chan *from, struct msg *m) {
    struct actor *a = self;
    struct peer peer;
    int r = role_introduced(from, &m->introduce, &peer);
    if (r < 0)
        return err_up(r);
    if (peer.role != ROLE_GATEWAY)
        return err_raise(-EPERM, "a client that is no gateway");
    if (a->n_clients == ACTOR_CLIENTS_MAX) {
        log_warn("event=client_refused reason=\"%u clients\"", ACTOR_CLIENTS_MAX);
        return 0;
    }
    struct chan *c = role_chan(a->ctx, take_fd(&m->fds[0]), CHAN_STREAM, &peer, 0);
    if (!c)
        die(1, "client");
    a->clients[a->n_clients++] = c;
    if (!serving(a))
        chan_pause(c, true);
    return 0;
}

static void drop_client(struct actor *a, const struct chan *c) {
    for (unsigned i = 0; i < a->n_clients; i++)
        if (a->clients[i] == c)
            a->clients[i] = a->clients[--a->n_clients];
    actor_client_gone(a, c);
}

/* ---- messages ---- */

static int on_document(void *self, struct chan *from, struct msg *m) {
    return actor_on_document(self, m);
}

static int on_registry_refused(void *self, struct chan *from, struct msg *m) {
    log_error("event=definition_refused error=%s", m->refused.error);
    die(1, "definition");
}

static int on_page(void *self, struct chan *from, struct msg *m) {
    struct actor *a = self;
    (void)history_on_page(&a->history, &m->page);
    return 0;
}

/* A relaxed event that was asked for its number gets this alone; a barrier gets `durable` later. */
static int on_accepted(void *self, struct chan *from, struct msg *m) {
    if (!actor_restore_answered(self, m->accepted.ref, false))
        (void)actor_think_accepted(self, m->accepted.ref);
    return 0;
}

static void leave(const struct actor *a) {
    role_exit(a->ctx, 0);
}

static int on_durable(void *self, struct chan *from, struct msg *m) {
    struct actor *a = self;
    int64_t ref = m->durable.ref;
    if (a->stopped_ref && ref == a->stopped_ref)
        leave(a);
    else if (!actor_restore_answered(a, ref, true) && !actor_task_durable(a, ref, m->durable.seq))
        (void)actor_think_durable(a, ref);
    return 0;
}

static int on_log_refused(void *self, struct chan *from, struct msg *m) {
    struct actor *a = self;
    if (history_on_refused(&a->history, &m->refused))
        return 0;
    log_warn("event=journal_refused error=%s", m->refused.error);
    if (a->stopped_ref && m->refused.ref == a->stopped_ref)
        leave(a); /* there is nothing better to do about it */
    else if (a->restored_ref && m->refused.ref == a->restored_ref)
        die(1, "restored"); /* tried again with the supervisor's backoff */
    else if (!actor_task_refused(a, &m->refused))
        (void)actor_think_refused(a, &m->refused);
    return 0;
}

static int on_ask(void *self, struct chan *from, struct msg *m) {
    return actor_on_ask(self, from, &m->ask);
}

static int on_task_cancel(void *self, struct chan *from, struct msg *m) {
    return actor_on_task_cancel(self, from, &m->task_cancel);
}

static int on_hello(void *self, struct chan *from, struct msg *m) {
    return actor_on_hello(self, from, m);
}

static int on_llm_reply(void *self, struct chan *from, struct msg *m) {
    return actor_on_llm_reply(self, from, &m->llm_reply);
}

static int on_llm_failed(void *self, struct chan *from, struct msg *m) {
    return actor_on_llm_failed(self, from, &m->llm_failed);
}

static int on_run_accepted(void *self, struct chan *from, struct msg *m) {
    return 0; /* an actor waits for the end only */
}

static int on_run_rejected(void *self, struct chan *from, struct msg *m) {
    return actor_on_run_rejected(self, from, &m->run_rejected);
}

static int on_run_done(void *self, struct chan *from, struct msg *m) {
    return actor_on_run_done(self, from, &m->run_done);
}

static int on_killed(void *self, struct chan *from, struct msg *m) {
    actor_restore_killed(self);
    return 0;
}

static void term(void *self) {
    struct actor *a = self;
    if (!serving(a)) {
        leave(a);
        return;
    }
    a->stopping = true;
    for (struct task *t = a->mailbox.head; t; t = t->next) {
        task_ends(t, TASK_CANCELLED, "stopped", "the actor was told to stop");
        actor_end_task(a, t);
    }
    actor_next(a);
}

/* Its next incarnation ends what is unfinished, as interrupted. */
static void interrupt(void *self) {
    struct actor *a = self;
    role_exit(a->ctx, 0);
}

static int on_cancel(void *self, struct chan *from, struct msg *m) {
    term(self);
    return 0;
}

static const struct accept accepts[] = {
    {MSG_INTRODUCE, M(ACTORS), 0, on_introduce},
    {MSG_CANCEL, M(ACTORS), 0, on_cancel},
    {MSG_DOCUMENT, M(REGISTRY), 0, on_document},
    {MSG_REFUSED, M(REGISTRY), 0, on_registry_refused},
    {MSG_PAGE, M(EVENTLOG), 0, on_page},
    {MSG_ACCEPTED, M(EVENTLOG), 0, on_accepted},
    {MSG_DURABLE, M(EVENTLOG), 0, on_durable},
    {MSG_REFUSED, M(EVENTLOG), 0, on_log_refused},
    {MSG_ASK, M(GATEWAY), 0, on_ask},
    {MSG_TASK_CANCEL, M(GATEWAY), 0, on_task_cancel},
    {MSG_HELLO, M(LLMCALL) | M(RUN), 0, on_hello},
    {MSG_LLM_REPLY, M(LLMCALL), 0, on_llm_reply},
    {MSG_LLM_FAILED, M(LLMCALL), 0, on_llm_failed},
    {MSG_RUN_ACCEPTED, M(RUN), 0, on_run_accepted},
    {MSG_RUN_REJECTED, M(RUN), 0, on_run_rejected},
    {MSG_RUN_DONE, M(RUN), 0, on_run_done},
    {MSG_KILLED, M(RUNS) | M(LLMCALLS), 0, on_killed},
};

/* ---- the role ---- */

static int start(struct role_ctx *ctx, void *self) {
    struct actor *a = self;
    json_init();
    a->ctx = ctx;
    a->grants = -1;
    (void)snprintf(a->name, sizeof a->name, "%s", ctx->start->actor[0] ? ctx->start->actor : ctx->start->id);
    actor_entered(a, ACTOR_LOADING);
    actor_progress(a);
    return actor_load(a);
}

/* A worker that sent garbage has lost its link, but not yet its life. */
static void end_offender(struct actor *a, const struct peer *peer) {
    const char *id = peer->role == ROLE_RUN ? peer->run : peer->call;
    for (struct child *child = a->ctx->children; child; child = child->next)
        if (strcmp(child->id, id) == 0)
            child_kill(child, 0);
}

static void closed(void *self, struct chan *c, int reason) {
    struct actor *a = self;
    const struct peer *peer = chan_peer(c);
    switch (peer->role) {
    case ROLE_GATEWAY:
        drop_client(a, c);
        break;
    case ROLE_LLMCALL:
    case ROLE_RUN: /* the end of a link is not a death: the monitor tells that */
        if (reason < 0)
            end_offender(a, peer);
        break;
    default: /* a supervisor or a server is gone, and everything after it in the start order goes with it */
        log_error("event=wire_lost to=%s", role_name(peer->role));
        role_exit(a->ctx, 1);
        break;
    }
}

const struct role actor_role = {
    .id = ROLE_ACTOR,
    .self_size = sizeof(struct actor),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .fsm = &actor_fsm,
    .initial = ACTOR_LOADING,
    .start = start,
    .closed = closed,
    .interrupt = interrupt,
    .term = term,
};
