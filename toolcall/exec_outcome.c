/* What a call amounts to. The questions are asked in the order of who knows best: the one who ended it (cancel, a
 * limit), the set-up, the way the main process ended, and only then its output. */
#include "common/cleanup.h"
#include "common/json.h"
#include "toolcall/bytes.h"
#include "toolcall/exec_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_ENVELOPE 11u /* {"text":""} */

static int64_t usage_us(struct timeval t) {
    return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

static size_t output_limit(const struct exec *x) {
    return x->spec.builtin ? x->output_max - EXEC_ENVELOPE : x->output_max;
}

static int too_large(const struct exec *x, struct tool_failure *failure) {
    return tool_fail(failure, TOOL_OUTPUT_LIMIT, "the result is larger than %zu bytes", output_limit(x));
}

/* The failure of a set-up, read from the status pipe; 0 when there is none. */
static int setup_outcome(const struct exec *x, struct tool_failure *failure) {
    struct exec_setup_report report;
    if (read(x->status, &report, sizeof report) != (ssize_t)sizeof report)
        return 0; /* closed by execve, or died before it could say anything: its wait status tells */
    if (report.step == EXEC_STEP_SETUP)
        return tool_fail(failure, TOOL_SANDBOX_UNAVAILABLE, "the process of the tool could not be set up: %s",
                         strerror(report.error));
    const char *program = x->spec.argv[0];
    switch (report.error) {
    case ENOENT:
    case ENOTDIR:
        return tool_fail(failure, TOOL_NOT_FOUND, "%.150s: there is no such program, or its interpreter is missing",
                         program);
    case E2BIG:
        return tool_fail(failure, TOOL_INVALID_ARGS, "the arguments are too large for a command line");
    default:
        return tool_fail(failure, TOOL_NOT_EXECUTABLE, "%.150s: %s", program, strerror(report.error));
    }
}

/* Died over memory without having been sampled in the act: the allocation failed at the backstop, or the kernel was
 * faster. Only an end that went wrong is looked at. */
static bool memory_exceeded(const struct exec *x) {
    uint64_t max = x->spec.limits.memory_bytes;
    return max > 0 && (uint64_t)x->usage.ru_maxrss * 1024 > max;
}

static int memory_outcome(const struct exec *x, struct tool_failure *failure) {
    return tool_fail(failure, TOOL_MEMORY_LIMIT, "the tool went over %" PRIu64 " bytes of memory",
                     x->spec.limits.memory_bytes);
}

static int signal_outcome(const struct exec *x, int sig, struct tool_failure *failure) {
    const struct tool_limits *limits = &x->spec.limits;
    int64_t cpu_us = usage_us(x->usage.ru_utime) + usage_us(x->usage.ru_stime);
    if (limits->cpu_ms > 0 && (sig == SIGXCPU || (sig == SIGKILL && (uint64_t)cpu_us / 1000 >= limits->cpu_ms)))
        return tool_fail(failure, TOOL_TIMEOUT, "the tool used more than %" PRIu64 " ms of processor time",
                         limits->cpu_ms);
    if (limits->file_bytes > 0 && sig == SIGXFSZ)
        return tool_fail(failure, TOOL_OUTPUT_LIMIT, "the tool wrote a file larger than %" PRIu64 " bytes",
                         limits->file_bytes);
    if (memory_exceeded(x))
        return memory_outcome(x, failure);
    return tool_fail(failure, TOOL_SIGNALLED, "the tool was ended by signal %d (%s)", sig, strsignal(sig));
}

/* The way the main process ended; 0 for exit status 0. */
static int end_outcome(const struct exec *x, struct tool_failure *failure) {
    if (!x->main_ended)
        return tool_fail(failure, TOOL_TOOL_ERROR, "the exit status of the tool was lost");
    if (WIFSIGNALED(x->wait_status))
        return signal_outcome(x, WTERMSIG(x->wait_status), failure);
    if (WEXITSTATUS(x->wait_status) == 0)
        return 0;
    if (memory_exceeded(x))
        return memory_outcome(x, failure);
    return tool_fail(failure, TOOL_EXIT_STATUS, "the tool ended with exit status %d", WEXITSTATUS(x->wait_status));
}

static int text_outcome(const struct exec *x, json_t **value, struct tool_failure *failure) {
    if (bytes_utf8_prefix(x->output, x->output_n) != x->output_n)
        return tool_fail(failure, TOOL_BAD_OUTPUT, "the output is not text (UTF-8 without NUL)");
    if (bytes_json_length(x->output, x->output_n) + TEXT_ENVELOPE > TOOL_VALUE_MAX)
        return too_large(x, failure);
    *value = json_pack("{s:s%}", "text", x->output, x->output_n);
    return *value ? 0 : tool_fail(failure, TOOL_TOOL_ERROR, "out of memory");
}

static int json_outcome(const struct exec *x, json_t **value, struct tool_failure *failure) {
    auto_free char *text = NULL;
    size_t n;
    int r = json_parse(x->output, x->output_n, x->output_max, value);
    if (r < 0)
        return tool_fail(failure, TOOL_BAD_OUTPUT, "the output is not acceptable JSON");
    /* Encoded again it may be longer than it came (numbers are written out in full), and what travels is that. */
    r = json_text(*value, TOOL_VALUE_MAX, &text, &n);
    if (r == 0)
        return 0;
    json_decref(*value);
    *value = NULL;
    return r == -EMSGSIZE ? too_large(x, failure) : tool_fail(failure, TOOL_TOOL_ERROR, "out of memory");
}

/* Opens the envelope of a built-in. Its process handles hostile data, so the envelope is hostile too. */
static int builtin_outcome(const struct exec *x, json_t **value, struct tool_failure *failure) {
    auto_json json_t *answer = NULL;
    if (json_parse(x->output, x->output_n, x->output_max, &answer) < 0 || !json_is_object(answer))
        return tool_fail(failure, TOOL_BAD_OUTPUT, "the built-in gave no proper answer");
    json_t *inner = json_object_get(answer, EXEC_KEY_VALUE);
    if (inner) {
        *value = json_incref(inner);
        return 0;
    }
    enum tool_failure_name name = tool_failure_parse(json_str(answer, EXEC_KEY_FAILURE));
    const char *message = json_str(answer, EXEC_KEY_MESSAGE);
    if (name == TOOL_FAILURE__COUNT || !message)
        return tool_fail(failure, TOOL_BAD_OUTPUT, "the built-in gave no proper answer");
    return tool_fail(failure, name, "%s", message);
}

static int output_outcome(const struct exec *x, json_t **value, struct tool_failure *failure) {
    if (x->spec.builtin)
        return builtin_outcome(x, value, failure);
    return x->spec.json_output ? json_outcome(x, value, failure) : text_outcome(x, value, failure);
}

/* The ring in order, as text. A character cut at its beginning becomes '?'. */
static void copy_tail(const struct exec *x, struct exec_result *out) {
    size_t n = x->tail_n < sizeof x->tail ? (size_t)x->tail_n : sizeof x->tail;
    for (size_t i = 0; i < n; i++)
        out->stderr_tail[i] = x->tail[(x->tail_n - n + i) % sizeof x->tail];
    bytes_scrub(out->stderr_tail, n);
    out->stderr_tail[n] = '\0';
    out->stderr_truncated = x->tail_n > n;
}

void exec_outcome(struct exec *x, struct exec_result *out) {
    *out = (struct exec_result){
        .cancelled = x->cancelled,
        .exit_status = x->main_ended && WIFEXITED(x->wait_status) ? WEXITSTATUS(x->wait_status) : -1,
        .signal = x->main_ended && WIFSIGNALED(x->wait_status) ? WTERMSIG(x->wait_status) : 0,
        .user_us = usage_us(x->usage.ru_utime),
        .system_us = usage_us(x->usage.ru_stime),
        .max_rss_bytes = (int64_t)x->usage.ru_maxrss * 1024,
        .wall_ms = x->ended_ms - x->started_ms,
        .memory_sampled = x->proc >= 0,
        .failure = x->cause,
    };
    copy_tail(x, out);
    out->failed = x->has_cause || setup_outcome(x, &out->failure) != 0 || end_outcome(x, &out->failure) != 0 ||
                  output_outcome(x, &out->value, &out->failure) != 0;
}

static int report_end(json_t *report, const struct exec_result *r) {
    if (r->signal != 0)
        return json_object_set_new(report, "signal", json_integer(r->signal));
    return r->exit_status < 0 ? 0 : json_object_set_new(report, "exit_status", json_integer(r->exit_status));
}

json_t *exec_report(const struct exec_result *r) {
    auto_json json_t *report =
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I}", "stderr", r->stderr_tail, "stderr_truncated", r->stderr_truncated,
                  "user_us", (json_int_t)r->user_us, "system_us", (json_int_t)r->system_us, "max_rss_bytes",
                  (json_int_t)r->max_rss_bytes, "wall_ms", (json_int_t)r->wall_ms);
    if (!report || report_end(report, r) != 0)
        return NULL;
    if (r->failed && (json_object_set_new(report, "failure", json_string(tool_failure_text(r->failure.name))) != 0 ||
                      json_object_set_new(report, "message", json_string(r->failure.message)) != 0))
        return NULL;
    return take_ptr(&report);
}

void exec_result_deinit(struct exec_result *result) {
    if (!result)
        return;
    json_decref(result->value);
    result->value = NULL;
}
