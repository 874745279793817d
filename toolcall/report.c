/* jansson does the escaping: output and stderr of a tool are hostile bytes. */
#include "toolcall/report.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

#define DATA_MAX 786432u /* as `data` of append in the catalogue of messages */

void report_refusal(struct exec_result *result, const struct tool_failure *failure) {
    *result = (struct exec_result){.failed = true, .failure = *failure, .exit_status = -1};
}

void report_cancelled(struct exec_result *result, const char *reason) {
    (void)tool_fail(&result->failure, TOOL_SIGNALLED, "cancelled: %s", reason && *reason ? reason : "no reason given");
}

static int set(json_t *data, const char *key, json_t *value) {
    return json_object_set_new(data, key, value) == 0 ? 0 : err_raise(-ENOMEM, "event of a tool call");
}

static int add_failure(json_t *data, const struct exec_result *r) {
    int e = set(data, "failure", json_string(tool_failure_text(r->failure.name)));
    if (e == 0)
        e = set(data, "message", json_string(r->failure.message));
    if (e == 0 && r->cancelled)
        e = set(data, "cancelled", json_true());
    if (e == 0 && r->failure.name == TOOL_EXIT_STATUS)
        e = set(data, "exit", json_integer(r->exit_status));
    if (e == 0 && r->failure.name == TOOL_SIGNALLED && r->signal != 0)
        e = set(data, "signal", json_integer(r->signal));
    if (e == 0 && *r->stderr_tail)
        e = set(data, "stderr", json_string(r->stderr_tail));
    return e;
}

static int write_data(const struct exec_result *r, const char *tool, struct report *out) {
    auto_json json_t *data = json_pack("{s:s}", "tool", tool);
    if (!data)
        return err_raise(-ENOMEM, "event of a tool call");
    int e = r->failed ? add_failure(data, r) : set(data, "output", json_incref(r->value));
    const struct {
        const char *key;
        int64_t n;
    } facts[] = {
        {"wall_ms", r->wall_ms},
        {"user_us", r->user_us},
        {"system_us", r->system_us},
        {"maxrss_kb", r->max_rss_bytes / 1024},
    };
    for (size_t i = 0; e == 0 && i < sizeof facts / sizeof *facts; i++)
        e = set(data, facts[i].key, json_integer(facts[i].n));
    return e < 0 ? e : json_text(data, DATA_MAX, &out->data, &out->data_n);
}

int report_write(struct exec_result *result, const char *tool, struct report *out) {
    struct report made = {0};
    int r = result->failed ? 0 : json_text(result->value, TOOL_VALUE_MAX, &made.value, &made.value_n);
    if (r == -EMSGSIZE)
        result->failed =
            tool_fail(&result->failure, TOOL_OUTPUT_LIMIT, "the result is larger than %u bytes", TOOL_VALUE_MAX) != 0;
    else if (r < 0)
        return err_up(r);
    r = write_data(result, tool, &made);
    if (r < 0) {
        report_deinit(&made);
        return err_up(r);
    }
    *out = made;
    return 0;
}

void report_deinit(struct report *report) {
    free(take_ptr(&report->value));
    free(take_ptr(&report->data));
}

const char *report_event(const struct exec_result *result) {
    return result->failed ? "tool.failed" : "tool.succeeded";
}

struct msg_call_done report_answer(const struct exec_result *result, const struct report *report) {
    if (!result->failed)
        return (struct msg_call_done){
            .ok = true, .value = {report->value, report->value_n}, .wall_ms = result->wall_ms};
    return (struct msg_call_done){.failure = tool_failure_text(result->failure.name),
                                  .message = result->failure.message,
                                  .wall_ms = result->wall_ms};
}
