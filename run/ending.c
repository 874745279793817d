/* How a run ends. Whatever ended it first decides the outcome; then everything below dies; then the terminal event goes
 * to disk; only then the owner is told. A successor and the log see the same order. */
#include "run/run_impl.h"

#include "common/err.h"
#include "common/json.h"
#include "common/log.h"

#include <string.h>

#define GUARD_SLACK_MS 1000

const struct status_info run_statuses[STATUS__COUNT] = {
    [STATUS_COMPLETED] = {"completed", "run.completed", EV_IS_COMPLETED},
    [STATUS_FAILED] = {"failed", "run.failed", EV_IS_FAILED},
    [STATUS_TIMEOUT] = {"timeout", "run.timeout", EV_IS_TIMEOUT},
    [STATUS_CANCELLED] = {"cancelled", "run.cancelled", EV_IS_CANCELLED},
};

void text_copy(char *out, size_t size, const char *text) {
    size_t n = text ? strlen(text) : 0;
    if (n >= size)
        n = json_utf8_floor(text, size - 1);
    if (n)
        memmove(out, text, n);
    out[n] = 0;
}

struct chan *run_owner(const struct run *run) {
    struct chan *link = run->ctx->link;
    uint32_t owners = M(SESSION) | M(ACTOR);
    return link && owners & UINT32_C(1) << chan_peer(link)->role ? link : NULL;
}

void run_decide(struct run *run, enum run_status status, const char *step, const char *name, const char *message) {
    run->status = status;
    text_copy(run->error_step, sizeof run->error_step, step);
    text_copy(run->error.name, sizeof run->error.name, name);
    text_copy(run->error.message, sizeof run->error.message, message);
}

/* ---- deciding ---- */

static const char *open_step(const struct run *run) {
    return run->step_open ? run_step(run)->id : NULL;
}

static void cut_call(struct run *run, const char *reason) {
    run->kill_reason = reason;
    if (run->call)
        child_cancel(run->call, reason);
}

int act_check_quiet(void *self, const void *arg) {
    struct run *run = self;
    if (run->live == 0)
        fsm_post(&run->ctx->fsm, run->unaccepted ? EV_NOT_ACCEPTED : EV_QUIET);
    return 0;
}

int act_end(void *self, const void *arg) {
    struct run *run = self;
    loop_timer_clear(run->ctx->loop, &run->deadline);
    return act_check_quiet(run, NULL);
}

int act_end_cancelled(void *self, const void *arg) {
    struct run *run = self;
    run_decide(run, STATUS_CANCELLED, open_step(run), "cancelled", run->reason);
    cut_call(run, "cancelled");
    return act_end(run, NULL);
}

int act_end_deadline(void *self, const void *arg) {
    struct run *run = self;
    char text[100];
    (void)snprintf(text, sizeof text, "the run's own deadline of %lld ms has passed", (long long)run->run_ms);
    run_decide(run, STATUS_TIMEOUT, open_step(run), "timeout", text);
    cut_call(run, "deadline");
    return act_end(run, NULL);
}

int act_end_refused(void *self, const void *arg) {
    struct run *run = self;
    const struct msg_refused *refused = arg;
    run_decide(run, STATUS_FAILED, open_step(run), refused->error, refused->why);
    cut_call(run, "cancelled");
    return act_end(run, NULL);
}

/* The disk refused the batch that run.accepted was in: this run never was. What it has begun is ended first; nothing
 * unsafe has left, since that waits for the same disk. */
int act_end_unaccepted(void *self, const void *arg) {
    cut_call(self, "cancelled");
    return act_end(self, NULL);
}

int act_stop_children(void *self, const void *arg) {
    struct run *run = self;
    loop_timer_clear(run->ctx->loop, &run->deadline);
    cut_call(run, "stopped");
    return act_check_quiet(run, NULL);
}

int64_t ms_ending(void *self) {
    const struct run *run = self;
    return run->ctx->spec->cancel_timeout + GUARD_SLACK_MS;
}

int act_kill_all(void *self, const void *arg) {
    struct run *run = self;
    for (struct child *child = run->ctx->children; child; child = child->next)
        child_kill(child, 0);
    return 0;
}

int act_hold_cancel(void *self, const void *arg) {
    ((struct run *)self)->cancel_held = true;
    return 0;
}

int act_hold_stop(void *self, const void *arg) {
    ((struct run *)self)->stop_held = true;
    return 0;
}

/* ---- the terminal event ---- */

static void put_end(const struct run *run, struct buf *b) {
    if (run->status == STATUS_COMPLETED) {
        (void)buf_addz(b, "{\"outputs\":");
        (void)buf_add(b, run->outputs_text.p, run->outputs_text.n);
        (void)buf_addz(b, "}}");
        return;
    }
    (void)buf_addz(b, "{\"error\":");
    run_put_error(b, &run->error, run->error_step);
    (void)buf_addz(b, "}");
}

int act_append_end(void *self, const void *arg) {
    struct run *run = self;
    int r = run->step_open ? run_log_step_failed(run, &run->error) : 0;
    if (r < 0)
        return err_up(r);
    auto_buf struct buf data = BUF_NULL(RUN_OUTPUTS_MAX + 16384);
    put_end(run, &data);
    struct msg_append event = {.type = run_statuses[run->status].event_type, .barrier = true};
    run->end_ref = run_log(run, &event, &data, true);
    return run->end_ref < 0 ? (int)run->end_ref : 0;
}

/* ---- telling the owner, and leaving ---- */

/* The process ends when its last words are written, or nobody is there to read them. */
static void on_turn(void *arg) {
    struct run *run = arg;
    if (!loop_stopping(run->ctx->loop) && (!run->ctx->link || chan_queued(run->ctx->link) == 0))
        (void)role_step(run->ctx, EV_FLUSHED, NULL);
}

static int say_last(struct run *run, enum msg_type type, const void *body) {
    loop_timer_clear(run->ctx->loop, &run->orphan);
    loop_on_turn(run->ctx->loop, on_turn, run);
    struct chan *owner = run_owner(run);
    int r = owner ? chan_send(owner, type, body) : 0;
    if (r < 0 && r != -EPIPE)
        log_warn("event=owner_not_told message=%s reason=\"%s\"", msg_name(type), err_text());
    return 0;
}

int act_announce(void *self, const void *arg) {
    struct run *run = self;
    auto_buf struct buf outputs = BUF_NULL(RUN_OUTPUTS_MAX + 16), error = BUF_NULL(8192);
    struct msg_run_done done = {.run = run->ctx->start->id, .status = run_statuses[run->status].name};
    if (run->status == STATUS_COMPLETED && run->outputs_text.n) {
        (void)buf_add(&outputs, run->outputs_text.p, run->outputs_text.n);
        (void)buf_addz(&outputs, "}");
        done.outputs = (struct json_span){outputs.p, outputs.n};
    } else if (run->status != STATUS_COMPLETED) {
        run_put_error(&error, &run->error, run->error_step);
        done.error = (struct json_span){error.p, error.n};
    }
    return say_last(run, MSG_RUN_DONE, &done);
}

int act_announce_unlogged(void *self, const void *arg) {
    struct run *run = self;
    const struct msg_refused *refused = arg;
    run_decide(run, STATUS_FAILED, NULL, refused->error, refused->why);
    return act_announce(run, NULL);
}

void run_set_reject(struct run *run, const char *error, const char *why) {
    text_copy(run->reject_error, sizeof run->reject_error, error);
    text_copy(run->reject_why, sizeof run->reject_why, why);
}

int act_reject(void *self, const void *arg) {
    struct run *run = self;
    struct msg_run_rejected rejected = {.run = run->ctx->start->id, .error = run->reject_error, .why = run->reject_why};
    return say_last(run, MSG_RUN_REJECTED, &rejected);
}

int64_t ms_flush(void *self) {
    const struct run *run = self;
    return run->ctx->spec->orphan_timeout;
}

/* `runs` restarts a run that did not end normally, unless it is stopping itself: then the next start finds the run. */
int act_leave_open(void *self, const void *arg) {
    struct run *run = self;
    role_exit(run->ctx, RUN_EXIT_OPEN);
    return 0;
}

int act_leave(void *self, const void *arg) {
    struct run *run = self;
    role_exit(run->ctx, 0);
    return 0;
}
