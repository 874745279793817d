/* The worker of a run, as seen from outside: who may say what, and what it means. Frames, timers and signals become
 * events here; fsm.c decides; steps.c, ending.c and recover.c do the work. A run trusts its owner and the log; what its
 * calls say is hostile. */
#include "run/run.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "common/title.h"
#include "run/run_impl.h"

#include <string.h>

#define IN(state) (UINT32_C(1) << RUN_##state)

/* ---- the plan arrives ---- */

static int read_grants(struct run *run, int fd) {
    auto_free char *text = NULL;
    size_t n;
    int r = memfd_read(fd, JSON_TEXT_MAX, &text, &n);
    if (r == 0)
        r = grants_parse(text, n, &run->grants);
    if (r < 0)
        run_set_reject(run, "runtime", err_text());
    return r;
}

static int read_plan(struct run *run, struct json_span text) {
    auto_json json_t *doc = NULL;
    int r = json_parse(text.p, text.n, JSON_TEXT_MAX, &doc);
    if (r < 0) {
        char why[300];
        (void)snprintf(why, sizeof why, "the plan: %s", err_text());
        run_set_reject(run, "invalid_plan", why);
        return err_up(r);
    }
    r = plan_check(doc, &run->grants, &run->plan);
    if (r < 0)
        run_set_reject(run, r == -EINVAL ? "invalid_plan" : r == -ENOENT ? "unknown_tool" : "runtime", err_text());
    return r;
}

static int on_run_start(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    if (read_grants(run, m->fds[0]) < 0 || read_plan(run, m->run_start.plan) < 0)
        return role_step(run->ctx, EV_PLAN_BAD, NULL);
    run->detached = m->run_start.detached;
    text_copy(run->corr, sizeof run->corr, m->run_start.corr);
    text_copy(run->task, sizeof run->task, m->run_start.task);
    return role_step(run->ctx, EV_PLAN_GOOD, &m->run_start.plan);
}

/* Whose run it is: an actor's name or a session's id. */
static const char *owner_name(const struct run *run) {
    const struct worker_start *start = run->ctx->start;
    return *start->actor ? start->actor : start->owner.actor;
}

/* run.accepted needs no sync of its own when another barrier follows at once: the announcement of a first tool that is
 * not safe to repeat, or the end of a plan without steps. So n steps cost n+1 syncs at most. */
int act_accept(void *self, const void *arg) {
    struct run *run = self;
    const struct json_span *plan = arg;
    auto_buf struct buf data = BUF_NULL(plan->n + 1024);
    (void)buf_addz(&data, "{\"plan\":");
    (void)buf_add(&data, plan->p, plan->n);
    (void)buf_addz(&data, ",\"owner\":");
    (void)buf_json_str(&data, owner_name(run));
    (void)buf_printf(&data, ",\"detached\":%s}", run->detached ? "true" : "false");
    bool barrier = run->plan.n > 0 && grant_safe(run->plan.steps[0].tool);
    int64_t ref = run_log(run, &(struct msg_append){.type = "run.accepted", .barrier = barrier}, &data, true);
    run->accept_ref = ref;
    return ref < 0 ? (int)ref : 0;
}

static void on_deadline(void *arg) {
    (void)role_step(((struct run *)arg)->ctx, EV_DEADLINE, NULL);
}

int act_begin(void *self, const void *arg) {
    struct run *run = self;
    run->run_ms = run->plan.timeout_ms ? run->plan.timeout_ms : run->ctx->spec->run_timeout;
    run->deadline_ms = now_ms() + run->run_ms;
    auto_buf struct buf data = BUF_NULL(128);
    (void)buf_printf(&data, "{\"steps\":%zu,\"timeout_ms\":%lld}", run->plan.n, (long long)run->run_ms);
    int64_t r = run_log(run, &(struct msg_append){.type = "run.started"}, &data, false);
    if (r == 0)
        r = loop_timer_set(run->ctx->loop, &run->deadline, run->deadline_ms, on_deadline, run);
    fsm_post(&run->ctx->fsm, run->cancel_held ? EV_CANCEL : run->stop_held ? EV_STOP : EV_NEXT);
    return r < 0 ? (int)r : 0;
}

/* ---- the log ---- */

static int on_accepted(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    if (m->accepted.ref != run->accept_ref || run->accept_seq)
        return 0;
    run->accept_seq = m->accepted.seq;
    return role_step(run->ctx, EV_NUMBERED, NULL);
}

static void tell_accepted(struct run *run) {
    run->accept_durable = true;
    struct msg_run_accepted accepted = {.run = run->ctx->start->id, .seq = run->accept_seq};
    struct chan *owner = run_owner(run);
    int r = owner ? chan_send(owner, MSG_RUN_ACCEPTED, &accepted) : 0;
    if (r < 0 && r != -EPIPE)
        log_warn("event=owner_not_told message=run_accepted reason=\"%s\"", err_text());
}

static int on_durable(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    if (!run->accept_durable && run->accept_seq && m->durable.seq >= run->accept_seq)
        tell_accepted(run);
    if (m->durable.ref == run->tool_ref)
        run->tool_durable = true;
    if (m->durable.ref == run->end_ref)
        return role_step(run->ctx, run_statuses[run->status].event, NULL);
    return role_step(run->ctx, EV_DURABLE, NULL);
}

static bool one_of(const char *text, const char *a, const char *b) {
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static int on_refused(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    const struct msg_refused *refused = &m->refused;
    log_warn("event=log_refused error=%s", refused->error);
    if (refused->ref == run->query_ref && run->ctx->fsm.state == RUN_READING) {
        if (strcmp(refused->error, "not_found") != 0)
            return err_raise(-EIO, "the log cannot be read: %s", refused->error);
        run_set_reject(run, "runtime", "the log knows no such run; nothing was started, send the plan again");
        return role_step(run->ctx, EV_NOT_ACCEPTED, NULL);
    }
    if (refused->ref == run->accept_ref) {
        run->unaccepted = true;
        run_set_reject(run, one_of(refused->error, "run_in_use", "log_full") ? refused->error : "runtime",
                       refused->why);
        return role_step(run->ctx, EV_ACCEPT_REFUSED, NULL);
    }
    return role_step(run->ctx, refused->ref == run->end_ref ? EV_END_REFUSED : EV_LOG_REFUSED, refused);
}

static int on_page(void *self, struct chan *from, struct msg *m) {
    return run_on_page(self, &m->page);
}

/* ---- the call ---- */

static int on_hello(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    int r = child_on_hello(run->ctx, from, m);
    if (r < 0 || !run->call || run->call->link != from)
        return r;
    if (run->bound)
        return err_raise(-EPROTO, "a second hello");
    run->bound = true;
    return role_step(run->ctx, EV_BOUND, NULL);
}

static int on_call_done(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    if (!run->call || run->call->link != from)
        return err_raise(-EPROTO, "an answer of a call that has answered");
    if (m->call_done.ok && run->ctx->fsm.state == RUN_EXECUTING)
        return err_raise(-EPROTO, "an answer before the question");
    run->call = NULL; /* what it says from here on is noise; its end is awaited with all others' */
    run->kill_reason = NULL;
    return role_step(run->ctx, m->call_done.ok ? EV_CALL_OK : EV_CALL_BAD, &m->call_done);
}

static int on_killed(void *self, struct chan *from, struct msg *m) {
    struct run *run = self;
    if (run->ctx->fsm.state != RUN_RECOVERING || strcmp(m->killed.id, run->ctx->start->id) != 0)
        return 0; /* a call that was killed: its monitor tells */
    return role_step(run->ctx, EV_CALLS_ENDED, NULL);
}

/* ---- cancel, and owners that go away ---- */

static void cancel(struct run *run, const char *reason) {
    if (!*run->reason)
        text_copy(run->reason, sizeof run->reason, reason);
    if (run->ctx->fsm.state == RUN_STARTING)
        run_set_reject(run, "runtime", "the run was cancelled before its plan came; nothing was started");
    (void)role_step(run->ctx, EV_CANCEL, NULL);
}

static int on_cancel(void *self, struct chan *from, struct msg *m) {
    cancel(self, m->cancel.reason ? m->cancel.reason : "cancelled");
    return 0;
}

static void on_orphaned(void *arg) {
    cancel(arg, "owner_lost");
}

static void owner_closed(struct run *run) {
    if (run->ctx->fsm.state == RUN_STARTING) {
        cancel(run, "owner_lost");
        return;
    }
    int64_t due = now_ms() + run->ctx->spec->orphan_timeout;
    if (!run->detached && loop_timer_set(run->ctx->loop, &run->orphan, due, on_orphaned, run) < 0)
        cancel(run, "owner_lost");
}

static void on_hung_up(void *arg) {
    struct run *run = arg;
    if (run->call && !run->call->link)
        child_kill(run->call, 0);
}

/* A call whose link has ended can never answer. It is usually dying, and `down` is on its way; one that lied is not
 * waited for. */
static void call_closed(struct run *run, const struct chan *c, int reason) {
    if (!run->call || strcmp(chan_peer(c)->call, run->call->id) != 0)
        return;
    int64_t due = now_ms() + run->ctx->spec->cancel_timeout;
    if (reason < 0 || loop_timer_set(run->ctx->loop, &run->hung_up, due, on_hung_up, run) < 0)
        child_kill(run->call, 0);
}

static void on_closed(void *self, struct chan *c, int reason) {
    struct run *run = self;
    if (loop_stopping(run->ctx->loop))
        return;
    switch (chan_peer(c)->role) {
    case ROLE_SESSION:
    case ROLE_ACTOR:
        owner_closed(run);
        break;
    case ROLE_TOOLCALL:
        call_closed(run, c, reason);
        break;
    case ROLE_EVENTLOG:
        role_exit(run->ctx, 1); /* nothing can be announced any more; the successor closes the trail */
        break;
    case ROLE_TOOLCALLS:
        if (run->ctx->fsm.state == RUN_RECOVERING)
            role_exit(run->ctx, 1);
        break;
    default:
        break;
    }
}

/* A detached run is found open by the next start and taken up from there; any other ends with its tree. */
static void on_term(void *self) {
    struct run *run = self;
    if (run->detached || run->ctx->start->recover)
        (void)role_step(run->ctx, EV_STOP, NULL);
    else
        cancel(run, "stopped");
}

/* Stopped to be started again: the next `runs` closes the trail of every run, as interrupted, which is what it was. */
static void on_interrupt(void *self) {
    struct run *run = self;
    (void)role_step(run->ctx, EV_STOP, NULL);
}

/* Somebody entitled asks through our supervisor: the end is journalled, detached or not. */
static void on_cancel_asked(void *self) {
    struct run *run = self;
    if (!run->ctx->start->recover) /* a successor is on its way to the end already */
        cancel(run, "cancelled");
}

static void on_adopted(void *self) {
    struct run *run = self;
    loop_timer_clear(run->ctx->loop, &run->orphan);
}

/* ---- the role ---- */

void run_entered(void *self, unsigned state) {
    const struct run *run = self;
    if (run->ctx)
        title_set("run %s %s %zu/%zu", run->ctx->start->id, fsm_state_name(&run->ctx->fsm), run->at, run->plan.n);
}

static int start(struct role_ctx *ctx, void *self) {
    struct run *run = self;
    run->ctx = ctx;
    run->outputs = json_object();
    run->outputs_text = BUF_NULL(RUN_OUTPUTS_MAX);
    if (!run->outputs || buf_addz(&run->outputs_text, "{") < 0)
        return err_raise(-ENOMEM, "a run");
    if (!ctx->wire[ROLE_EVENTLOG] || !ctx->wire[ROLE_TOOLCALLS])
        return err_raise(-EINVAL, "a run needs endpoints to eventlog and toolcalls");
    if (ctx->start->recover)
        return role_step(ctx, EV_RECOVER, NULL);
    if (!run_owner(run))
        return err_raise(-EINVAL, "a run without an owner");
    return 0;
}

#define OWNERS (M(SESSION) | M(ACTOR))

static const struct accept accepts[] = {
    {MSG_RUN_START, OWNERS, IN(STARTING), on_run_start},
    {MSG_CANCEL, OWNERS, 0, on_cancel},
    {MSG_ACCEPTED, M(EVENTLOG), 0, on_accepted},
    {MSG_DURABLE, M(EVENTLOG), 0, on_durable},
    {MSG_REFUSED, M(EVENTLOG), 0, on_refused},
    {MSG_PAGE, M(EVENTLOG), IN(READING), on_page},
    {MSG_HELLO, M(TOOLCALL), 0, on_hello},
    {MSG_CALL_DONE, M(TOOLCALL), IN(EXECUTING) | IN(WAITING_TOOL) | IN(ENDING) | IN(STOPPING), on_call_done},
    {MSG_KILLED, M(TOOLCALLS), 0, on_killed},
};

const struct role run_role = {
    .id = ROLE_RUN,
    .self_size = sizeof(struct run),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .fsm = &run_fsm,
    .initial = RUN_STARTING,
    .profile = {.data_bytes = UINT64_C(256) << 20},
    .start = start,
    .closed = on_closed,
    .interrupt = on_interrupt,
    .term = on_term,
    .cancel = on_cancel_asked,
    .adopted = on_adopted,
};
