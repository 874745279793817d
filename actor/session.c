/* The session's tables and what its states do. Until its grants are here it does not read its link: a plan that is
 * already under way waits in the socket. */
#include "actor/session.h"

#include <string.h>

#include "actor/session_fsm.h"
#include "actor/session_runs.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"

#define SESSION_GRANTS_MS 10000 /* the registry's patience; it answers from memory */

/* ---- states ---- */

void session_entered(void *self, unsigned state) {
    const struct session *s = self;
    if (s->ctx) /* the initial state is entered before start */
        title_set("session %s %s", s->ctx->start->id, session_fsm.state_names[state]);
}

int64_t session_start_ms(void *self) {
    return SESSION_GRANTS_MS; /* the initial state is entered before start: no specification to ask yet */
}

int64_t session_orphan_ms(void *self) {
    const struct session *s = self;
    return session_runs_undetached(s) ? s->ctx->spec->orphan_timeout : -1;
}

int64_t session_stop_ms(void *self) {
    return child_grace_ms(((struct session *)self)->ctx->spec, ROLE_RUN);
}

/* ---- a successor ---- */

/* Keeps of the past only what is needed to take runs back or to tell their ends. */
static void on_past(void *arg, const json_t *record) {
    struct session *s = arg;
    const char *type = json_str(record, "type"), *id = json_str(record, "run");
    if (!type || !id)
        return;
    json_t *run = json_object_get(s->past, id);
    if (strcmp(type, "run.accepted") == 0) {
        bool detached = json_flag(json_object_get(record, "data"), "detached", false);
        if (json_object_set_new(s->past, id, json_pack("{s:b}", "detached", detached)) < 0)
            die(1, "memory");
    } else if (run && history_terminal(type, "run.")) {
        (void)json_object_del(s->past, id);
        (void)session_tell_terminal(s, id, record);
    }
}

static void on_past_read(void *arg, int r) {
    struct session *s = arg;
    if (r < 0)
        die(1, "past of the session");
    const char *id;
    json_t *run;
    json_object_foreach(s->past, id, run) session_run_attach(s, id, json_flag(run, "detached", false));
    json_decref(take_ptr(&s->past));
    (void)role_step(s->ctx, SESSION_EV_RECOVERED, NULL);
}

int session_recover(void *self, const void *arg) {
    struct session *s = self;
    if (!s->ctx->start->recover) {
        fsm_post(&s->ctx->fsm, SESSION_EV_RECOVERED);
        return 0;
    }
    s->past = json_object();
    s->history = (struct history){.each = on_past, .done = on_past_read, .arg = s};
    if (!s->past || history_start(&s->history, s->ctx, "actor", s->ctx->start->id) < 0)
        die(1, "past of the session");
    return 0;
}

int session_open(void *self, const void *arg) {
    struct session *s = self;
    if (s->n_runs)
        fsm_post(&s->ctx->fsm, SESSION_EV_RUN);
    if (s->ctx->link)
        chan_pause(s->ctx->link, false);
    else
        fsm_post(&s->ctx->fsm, SESSION_EV_UNOWNED);
    if (s->adopted)
        fsm_post(&s->ctx->fsm, SESSION_EV_ADOPT);
    return 0;
}

/* ---- ending ---- */

int session_cancel(void *self, const void *arg) {
    struct session *s = self;
    session_runs_cancel(s, true, arg ? arg : "cancelled");
    return 0;
}

int session_owner_lost(void *self, const void *arg) {
    session_runs_cancel(self, false, "owner_lost");
    return 0;
}

int session_stop(void *self, const void *arg) {
    struct session *s = self;
    session_runs_cancel(s, false, "cancelled");
    if (!s->n_runs)
        fsm_post(&s->ctx->fsm, SESSION_EV_EMPTY);
    else if (!session_runs_undetached(s))
        fsm_post(&s->ctx->fsm, SESSION_EV_BACKGROUND);
    return 0;
}

static void leave_when_written(void *arg) {
    struct session *s = arg;
    if (!s->ctx->link || !chan_queued(s->ctx->link))
        role_exit(s->ctx, 0);
}

int session_leave(void *self, const void *arg) {
    struct session *s = self;
    loop_on_turn(s->ctx->loop, leave_when_written, s);
    return 0;
}

int session_give_up(void *self, const void *arg) {
    struct session *s = self;
    log_error("event=no_grants");
    role_exit(s->ctx, 1);
    return 0;
}

/* ---- messages ---- */

static int on_document(void *self, struct chan *from, struct msg *m) {
    struct session *s = self;
    if (m->document.ref != s->grants_ref || s->grants >= 0)
        return 0;
    s->grants = take_fd(&m->fds[0]);
    return role_step(s->ctx, SESSION_EV_GRANTS, NULL);
}

static int on_registry_refused(void *self, struct chan *from, struct msg *m) {
    log_error("event=grants_refused error=%s", m->refused.error);
    die(1, "grants");
}

static int on_page(void *self, struct chan *from, struct msg *m) {
    struct session *s = self;
    if (history_on_page(&s->history, &m->page))
        return 0;
    for (struct session_run *run = s->runs; run; run = run->next)
        if (history_on_page(&run->history, &m->page))
            return 0; /* and `run` may be gone */
    return 0;
}

static int on_log_refused(void *self, struct chan *from, struct msg *m) {
    struct session *s = self;
    if (history_on_refused(&s->history, &m->refused))
        return 0;
    for (struct session_run *run = s->runs; run; run = run->next)
        if (history_on_refused(&run->history, &m->refused))
            return 0;
    return 0;
}

static int on_session_run(void *self, struct chan *from, struct msg *m) {
    return session_run_start(self, &m->session_run);
}

static int on_cancel(void *self, struct chan *from, struct msg *m) {
    struct session *s = self;
    return role_step(s->ctx, SESSION_EV_CANCEL, m->cancel.reason);
}

static int on_hello(void *self, struct chan *from, struct msg *m) {
    return session_run_on_hello(self, from, m);
}

static int on_run_accepted(void *self, struct chan *from, struct msg *m) {
    return session_run_on_accepted(self, from, &m->run_accepted);
}

static int on_run_rejected(void *self, struct chan *from, struct msg *m) {
    return session_run_on_rejected(self, from, &m->run_rejected);
}

static int on_run_done(void *self, struct chan *from, struct msg *m) {
    return session_run_on_done(self, from, &m->run_done);
}

static int on_killed(void *self, struct chan *from, struct msg *m) {
    return 0; /* `down` says the same, with more */
}

static const struct accept accepts[] = {
    {MSG_DOCUMENT, M(REGISTRY), 0, on_document},
    {MSG_REFUSED, M(REGISTRY), 0, on_registry_refused},
    {MSG_PAGE, M(EVENTLOG), 0, on_page},
    {MSG_REFUSED, M(EVENTLOG), 0, on_log_refused},
    {MSG_SESSION_RUN, M(GATEWAY), 0, on_session_run},
    {MSG_CANCEL, M(GATEWAY), 0, on_cancel},
    {MSG_HELLO, M(RUN), 0, on_hello},
    {MSG_RUN_ACCEPTED, M(RUN), 0, on_run_accepted},
    {MSG_RUN_REJECTED, M(RUN), 0, on_run_rejected},
    {MSG_RUN_DONE, M(RUN), 0, on_run_done},
    {MSG_KILLED, M(RUNS), 0, on_killed},
};

/* ---- the role ---- */

static int start(struct role_ctx *ctx, void *self) {
    struct session *s = self;
    json_init();
    s->ctx = ctx;
    s->grants = -1;
    s->grants_ref = role_ref(ctx);
    session_entered(s, SESSION_STARTING);
    if (ctx->link)
        chan_pause(ctx->link, true);
    return chan_send(ctx->wire[ROLE_REGISTRY], MSG_GRANTS, &(struct msg_grants){.ref = s->grants_ref});
}

static void closed(void *self, struct chan *c, int reason) {
    struct session *s = self;
    switch (chan_peer(c)->role) {
    case ROLE_GATEWAY:
        (void)role_step(s->ctx, SESSION_EV_UNOWNED, NULL);
        break;
    case ROLE_EVENTLOG: /* whatever this session knew is there, and a successor will find it */
    case ROLE_REGISTRY:
    case ROLE_RUNS:
        log_error("event=wire_lost to=%s", role_name(chan_peer(c)->role));
        role_exit(s->ctx, 1);
        break;
    default: /* a run's link: its end is told by the monitor, unless it sent garbage and lives */
        if (reason < 0)
            session_run_kill(s, chan_peer(c)->run);
        break;
    }
}

static void term(void *self) {
    struct session *s = self;
    (void)role_step(s->ctx, SESSION_EV_TERM, NULL);
}

/* Not the tree's end but somebody's wish: detached runs are meant too. */
static void cancel_asked(void *self) {
    struct session *s = self;
    (void)role_step(s->ctx, SESSION_EV_CANCEL, NULL);
}

/* Its runs are stopped by their own supervisor and found in the log; nobody asked for their end. */
static void interrupt(void *self) {
    struct session *s = self;
    role_exit(s->ctx, 0);
}

static void adopted(void *self) {
    struct session *s = self;
    s->adopted = true;
    (void)role_step(s->ctx, SESSION_EV_ADOPT, NULL);
}

const struct role session_role = {
    .id = ROLE_SESSION,
    .self_size = sizeof(struct session),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .fsm = &session_fsm,
    .initial = SESSION_STARTING,
    .start = start,
    .closed = closed,
    .interrupt = interrupt,
    .term = term,
    .cancel = cancel_asked,
    .adopted = adopted,
};
