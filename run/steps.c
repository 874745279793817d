/* One step: arguments, announcement, scope, call, output. The order is the point of this file:
 *
 *   run                       log                       toolcalls / call
 *   tool.started  ──────────▶ (accepted)
 *   spawn         ───────────────────────────────────▶  forks the scope
 *                             durable ─▶  ◀── hello
 *   call          ───────────────────────────────────▶  only now, when the tool is not safe to repeat
 *
 * so the scope is made while the disk works, and no effect is older than the event that announces it. A tool that is
 * safe to repeat waits for run.accepted only. */
#include "run/run_impl.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "run/resolve.h"

#include <string.h>

#define GUARD_SLACK_MS 2000

static int post(struct run *run, enum run_event event) {
    fsm_post(&run->ctx->fsm, event);
    return 0;
}

const struct step *run_step(const struct run *run) {
    return &run->plan.steps[run->at];
}

/* ---- failure of an attempt ---- */

static void set_failure(struct run *run, const char *name, const char *message) {
    text_copy(run->failure.name, sizeof run->failure.name, name);
    text_copy(run->failure.message, sizeof run->failure.message, message);
}

static int give_up(struct run *run) {
    int r = run_log_step_failed(run, &run->failure);
    bool timeout = strcmp(run->failure.name, "timeout") == 0;
    run_decide(run, timeout ? STATUS_TIMEOUT : STATUS_FAILED, run_step(run)->id, run->failure.name,
               run->failure.message);
    (void)post(run, EV_STEP_FAILED);
    return r;
}

/* Another attempt would meet the same answer. */
static bool permanent(const char *failure) {
    static const char *const names[] = {"invalid_args", "denied", "sandbox_unavailable", "not_executable"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], failure) == 0)
            return true;
    return false;
}

static int fail_attempt(struct run *run) {
    if (run->attempts <= run_step(run)->repeats && !permanent(run->failure.name))
        return post(run, EV_RETRY);
    return give_up(run);
}

/* ---- arguments ---- */

static int make_args(struct run *run, json_t **out) {
    const struct step *step = run_step(run);
    char base[40];
    size_t nodes;
    (void)snprintf(base, sizeof base, "/steps/%zu/args", run->at);
    *out = NULL;
    if (!step->refs) {
        *out = json_incref(step->args);
        return 0;
    }
    int r = refs_resolve(step->args, run->outputs, base, out);
    if (r == 0 && value_measure(*out, &nodes) < 0)
        r = err_raise(-EMSGSIZE, "%s: too large or too deep after substitution", base);
    return r < 0 ? r : plan_check_args(&run->plan, run->at, *out);
}

static int encode_args(struct run *run) {
    auto_json json_t *args = NULL;
    int r = make_args(run, &args);
    if (r < 0)
        return err_up(r);
    free(take_ptr(&run->args));
    r = json_text(args, RUN_ARGS_MAX, &run->args, &run->args_n);
    return r < 0 ? err_raise(r, "/steps/%zu/args: above the limit of %u bytes", run->at, RUN_ARGS_MAX) : 0;
}

/* ---- starting ---- */

static int announce_step(struct run *run) {
    auto_buf struct buf data = BUF_NULL(1024);
    (void)buf_addz(&data, "{\"tool\":");
    (void)buf_json_str(&data, run_step(run)->tool->name);
    (void)buf_addz(&data, "}");
    run->step_open = true;
    int64_t r = run_log(run, &(struct msg_append){.type = "step.started", .step = run_step(run)->id}, &data, false);
    return r < 0 ? (int)r : 0;
}

int act_start_step(void *self, const void *arg) {
    struct run *run = self;
    if (run->at == run->plan.n) {
        run->status = STATUS_COMPLETED;
        return post(run, EV_FINISHED);
    }
    run->attempts = 0;
    int r = announce_step(run);
    if (r < 0)
        return err_up(r);
    r = encode_args(run);
    if (r < 0) {
        set_failure(run, r == -EINVAL ? "invalid_args" : r == -EMSGSIZE ? "args_limit" : "runtime", err_text());
        return give_up(run);
    }
    return act_start_attempt(run, NULL);
}

/* The step's own time, else the tool's, else the configured one; never more than the run has left. */
static int64_t attempt_ms(const struct run *run) {
    const struct step *step = run_step(run);
    int64_t ms = step->timeout_ms         ? step->timeout_ms
                 : step->tool->timeout_ms ? step->tool->timeout_ms
                                          : run->ctx->spec->step_timeout;
    int64_t left = run->deadline_ms - now_ms();
    ms = ms < left ? ms : left;
    return ms > 0 ? ms : 1;
}

static int announce_tool(struct run *run) {
    const struct step *step = run_step(run);
    bool safe = grant_safe(step->tool);
    auto_buf struct buf data = BUF_NULL(RUN_ARGS_MAX + 4096);
    (void)buf_addz(&data, "{\"tool\":");
    (void)buf_json_str(&data, step->tool->name);
    (void)buf_addz(&data, ",\"args\":");
    (void)buf_add(&data, run->args, run->args_n);
    (void)buf_addz(&data, ",\"profile\":");
    (void)buf_json_str(&data, step->tool->profile);
    (void)buf_addz(&data, ",\"effect\":");
    (void)buf_json_str(&data, step->tool->effect);
    (void)buf_printf(&data, ",\"idempotent\":%s,\"timeout_ms\":%lld}", step->tool->idempotent ? "true" : "false",
                     (long long)run->call_ms);
    struct msg_append event = {.type = "tool.started", .step = step->id, .call = run->call_id, .barrier = !safe};
    run->tool_durable = false;
    run->tool_ref = run_log(run, &event, &data, true); /* a safe one too: the log may refuse it */
    return run->tool_ref < 0 ? (int)run->tool_ref : 0;
}

int act_start_attempt(void *self, const void *arg) {
    struct run *run = self;
    run->attempts++;
    run->bound = run->overdue = false;
    run->call_ms = attempt_ms(run);
    id_make('c', run->call_id);
    int r = announce_tool(run);
    if (r < 0)
        return err_up(r);
    run->call = child_spawn(run->ctx, ROLE_TOOLCALL, run->call_id, run_step(run)->tool->profile, -1, run_on_down, run);
    if (run->call) {
        run->live++;
        return 0;
    }
    set_failure(run, "call_lost", "no process could be requested from the supervisor of tool calls");
    r = run_log_tool_killed(run, "not_spawned");
    return r < 0 ? r : fail_attempt(run);
}

int act_try_go(void *self, const void *arg) {
    struct run *run = self;
    if (!run->call || !run->bound || !run->accept_durable)
        return 0;
    if (!grant_safe(run_step(run)->tool) && !run->tool_durable)
        return 0;
    return post(run, EV_GO);
}

int act_send_call(void *self, const void *arg) {
    struct run *run = self;
    const struct step *step = run_step(run);
    struct msg_call call = {.tool = step->tool->name,
                            .step = step->id,
                            .args = {run->args, run->args_n},
                            .timeout_ms = run->call_ms,
                            .corr = *run->corr ? run->corr : NULL,
                            .task = *run->task ? run->task : NULL};
    int r = child_send(run->call, MSG_CALL, &call);
    if (r < 0 && r != -EPIPE) /* it can never be told; of a peer that is gone, `down` will tell */
        child_kill(run->call, 0);
    return 0;
}

/* ---- what came of it ---- */

static int keep_output(struct run *run, const struct msg_call_done *done) {
    json_t *value = NULL;
    size_t nodes;
    if (!done->value.p)
        return err_raise(-EPROTO, "the call reports success without a value");
    int r = json_parse(done->value.p, done->value.n, RUN_VALUE_MAX, &value);
    if (r < 0)
        return err_up(r);
    r = value_measure(value, &nodes);
    const char *id = run_step(run)->id;
    if (r == 0 && json_object_set(run->outputs, id, value) < 0)
        r = err_raise(-ENOMEM, "an output");
    json_decref(value);
    if (r < 0)
        return err_up(r);
    run->output_nodes += nodes + 1;
    (void)buf_json_key(&run->outputs_text, id);
    r = buf_add(&run->outputs_text, done->value.p, done->value.n);
    if (r == -ENOMEM)
        return err_raise(r, "an output");
    if (r < 0 || run->output_nodes > VALUE_NODES_MAX)
        return err_raise(-EMSGSIZE, "the outputs of the steps together exceed %u bytes or %u values", RUN_OUTPUTS_MAX,
                         VALUE_NODES_MAX);
    return 0;
}

int act_take_output(void *self, const void *arg) {
    struct run *run = self;
    int r = keep_output(run, arg);
    if (r < 0) {
        set_failure(run, r == -EMSGSIZE ? "output_limit" : r == -EPROTO ? "bad_output" : "runtime", err_text());
        return give_up(run); /* not retried: the tool has succeeded */
    }
    r = run_log_step_succeeded(run);
    run->at++;
    (void)post(run, EV_NEXT);
    return r;
}

static void failure_of(const struct msg_call_done *done, struct failure *out) {
    bool named = name_valid(done->failure);
    text_copy(out->name, sizeof out->name, named ? done->failure : "bad_result");
    text_copy(out->message, sizeof out->message, done->message ? done->message : "the call gave no reason");
}

int act_take_failure(void *self, const void *arg) {
    struct run *run = self;
    failure_of(arg, &run->failure);
    return fail_attempt(run);
}

int act_lose_call(void *self, const void *arg) {
    struct run *run = self;
    const struct msg_down *down = arg;
    char text[256];
    if (run->overdue)
        (void)snprintf(text, sizeof text, "the call did not answer within its %lld ms and was killed",
                       (long long)run->call_ms);
    else if (strcmp(down->reason, "signalled") == 0)
        (void)snprintf(text, sizeof text, "the call's process was ended by signal %d%s before it answered",
                       (int)down->signal, down->core ? " (core dumped)" : "");
    else if (strcmp(down->reason, "exited") == 0)
        (void)snprintf(text, sizeof text, "the call's process exited with status %d before it answered",
                       (int)down->code);
    else
        (void)snprintf(text, sizeof text, "%s: %s", down->reason,
                       down->why ? down->why : "the call was lost before it answered");
    set_failure(run, run->overdue ? "timeout" : "call_lost", text);
    return fail_attempt(run);
}

/* An answer when the end is already decided: it changes nothing, but the trail says what became of the step. */
int act_late_answer(void *self, const void *arg) {
    struct run *run = self;
    const struct msg_call_done *done = arg;
    if (!run->step_open)
        return 0;
    if (done->ok)
        return run_log_step_succeeded(run);
    struct failure failure;
    failure_of(done, &failure);
    return run_log_step_failed(run, &failure);
}

int act_await_retry(void *self, const void *arg) {
    struct run *run = self;
    auto_buf struct buf data = BUF_NULL(1024);
    (void)buf_printf(&data, "{\"attempt\":%u,\"next_ms\":%lld,\"failure\":", run->attempts + 1,
                     (long long)ms_retry(run));
    (void)buf_json_str(&data, run->failure.name);
    (void)buf_addz(&data, "}");
    int64_t r = run_log(run, &(struct msg_append){.type = "step.retrying", .step = run_step(run)->id}, &data, false);
    return r < 0 ? (int)r : 0;
}

int64_t ms_retry(void *self) {
    const struct run *run = self;
    int64_t ms = run_step(run)->backoff_ms << (run->attempts - 1); /* at most 30 days << PLAN_REPEATS_MAX */
    int64_t most = run->ctx->spec->backoff_max;
    most = most > run_step(run)->backoff_ms ? most : run_step(run)->backoff_ms; /* a plan may ask for longer pauses */
    return ms < most ? ms : most;
}

/* ---- its process ---- */

int64_t ms_call(void *self) {
    const struct run *run = self;
    return run->call_ms + run->ctx->spec->cancel_timeout + GUARD_SLACK_MS;
}

int act_kill_call(void *self, const void *arg) {
    struct run *run = self;
    run->overdue = true;
    run->kill_reason = "timeout";
    child_kill(run->call, 0);
    return 0;
}

void run_on_down(struct child *child, const struct msg_down *down) {
    struct run *run = child->user;
    run->live--;
    if (child != run->call) {
        (void)role_step(run->ctx, EV_CHILD_DOWN, NULL);
        return;
    }
    run->call = NULL;
    (void)run_log_tool_killed(run, run->kill_reason ? run->kill_reason : down->reason);
    run->kill_reason = NULL;
    (void)role_step(run->ctx, EV_CALL_LOST, down);
}
