/* Events of a run. Bodies are written straight into a buffer: they are small, and what they embed (plan, arguments,
 * outputs) is text already. A log that cannot be reached ends the process: nothing may happen that is not announced,
 * and the successor closes the trail. */
#include "run/run_impl.h"

#include "common/err.h"
#include "common/log.h"

#include <string.h>

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

int64_t run_log(struct run *run, struct msg_append *event, const struct buf *data, bool reply) {
    if (run->unaccepted) /* it never was: nothing is told of it */
        return 0;
    event->corr = or_null(run->corr);
    event->task = or_null(run->task);
    event->data = (struct json_span){data->p, data->n};
    int64_t ref = buf_failed(data) ? data->failure : role_event(run->ctx, event, reply);
    if (ref < 0) {
        log_error("event=log_unreachable type=%s reason=%lld", event->type, (long long)ref);
        role_exit(run->ctx, 1);
    }
    return ref;
}

void run_put_error(struct buf *b, const struct failure *failure, const char *step) {
    (void)buf_addz(b, "{");
    (void)buf_json_key(b, "name");
    (void)buf_json_str(b, failure->name);
    if (*step) {
        (void)buf_json_key(b, "step");
        (void)buf_json_str(b, step);
    }
    (void)buf_json_key(b, "message");
    (void)buf_json_str(b, failure->message);
    (void)buf_addz(b, "}");
}

int run_log_step_failed(struct run *run, const struct failure *failure) {
    auto_buf struct buf data = BUF_NULL(16384);
    (void)buf_addz(&data, "{\"error\":");
    run_put_error(&data, failure, "");
    (void)buf_addz(&data, "}");
    run->step_open = false;
    int64_t r = run_log(run, &(struct msg_append){.type = "step.failed", .step = run_step(run)->id}, &data, false);
    return r < 0 ? (int)r : 0;
}

int run_log_step_succeeded(struct run *run) {
    auto_buf struct buf data = BUF_NULL(16);
    (void)buf_addz(&data, "{}");
    run->step_open = false;
    int64_t r = run_log(run, &(struct msg_append){.type = "step.succeeded", .step = run_step(run)->id}, &data, false);
    return r < 0 ? (int)r : 0;
}

int run_log_tool_killed(struct run *run, const char *reason) {
    auto_buf struct buf data = BUF_NULL(1024);
    const struct step *step = run_step(run);
    (void)buf_addz(&data, "{\"tool\":");
    (void)buf_json_str(&data, step->tool->name);
    (void)buf_addz(&data, ",\"reason\":");
    (void)buf_json_str(&data, reason);
    (void)buf_addz(&data, "}");
    struct msg_append event = {.type = "tool.killed", .step = step->id, .call = run->call_id};
    int64_t r = run_log(run, &event, &data, false);
    return r < 0 ? (int)r : 0;
}
