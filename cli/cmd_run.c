/* `soma run` and `soma ask`: the same way with different ends. stdout gets the result and nothing else. */
#include "cli/follow.h"
#include "cli/interrupt.h"
#include "cli/text.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#define PLAN_MAX (256u << 10) /* bytes */

/* --- the plan -------------------------------------------------------------------------------------------------- */

static int read_all(int fd, struct buf *out) {
    for (;;) {
        int r = buf_reserve(out, 1);
        if (r < 0)
            return r == -EMSGSIZE ? err_raise(r, "a plan has at most %u bytes", PLAN_MAX) : err_up(r);
        ssize_t got = read(fd, out->p + out->n, out->cap - out->n);
        if (got < 0 && errno != EINTR)
            return err_raise(-errno, "read: %s", strerror(errno));
        if (got == 0)
            return 0;
        out->n += got > 0 ? (size_t)got : 0;
    }
}

static int plan_failed(const struct cli *cli, const char *path) {
    char what[512], why[ERR_TEXT_MAX];
    (void)snprintf(why, sizeof why, "%s", err_text());
    (void)snprintf(what, sizeof what, "the plan %.400s cannot be used",
                   strcmp(path, "-") == 0 ? "on standard input" : path);
    return fail(cli, &(struct failure){"E_PLAN", EXIT_USAGE, what, why, "correct the plan; soma(1) shows one"});
}

static int plan_read(const struct cli *cli, const char *path, json_t **out) {
    bool from_stdin = strcmp(path, "-") == 0;
    auto_close int fd = from_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    auto_buf struct buf text = BUF_NULL(PLAN_MAX + 1);
    auto_json json_t *plan = NULL;
    int r = fd < 0 ? err_raise(-errno, "%s", strerror(errno)) : read_all(fd, &text);
    if (r == 0)
        r = json_parse(text.p, text.n, PLAN_MAX, &plan);
    if (r == 0 && !json_is_object(plan))
        r = err_raise(-EPROTO, "a plan is a JSON object");
    if (r < 0)
        return plan_failed(cli, path);
    *out = json_incref(plan);
    return EXIT_DONE;
}

/* The runtime enforces the time, so that it holds for detached runs too and ends what hangs. */
static int plan_limit(const struct cli *cli, json_t *plan) {
    const char *timeout = cli->value[OPT_TIMEOUT];
    if (!timeout)
        return EXIT_DONE;
    if (json_duration_ms(timeout) <= 0) {
        char why[256];
        (void)snprintf(why, sizeof why, "--timeout %.64s: digits and one unit of ms, s, m, h; at most 30 days",
                       timeout);
        return fail_usage(cli, why, "for example --timeout 30s");
    }
    return json_object_set_new(plan, "timeout", json_string(timeout)) < 0 ? fail_internal(cli, "out of memory")
                                                                          : EXIT_DONE;
}

/* --- ends ------------------------------------------------------------------------------------------------------ */

static int exit_of(const struct follow *f, const char *status, const char *error) {
    static const struct {
        const char *error;
        int exit;
    } codes[] = {
        {"denied", EXIT_DENIED},          {"policy_denied", EXIT_DENIED},    {"approval_denied", EXIT_DENIED},
        {"budget_exceeded", EXIT_DENIED}, {"credentials", EXIT_CREDENTIALS}, {"sandbox_unavailable", EXIT_RUNTIME},
        {"interrupted", EXIT_RUNTIME}, /* the run's own process died */
        {"owner_lost", EXIT_RUNTIME},
    };
    if (strcmp(status, "completed") == 0)
        return EXIT_DONE;
    if (strcmp(status, "timeout") == 0)
        return EXIT_TIMEOUT;
    if (strcmp(status, "cancelled") == 0 && f->interrupts)
        return EXIT_INTERRUPTED;
    for (size_t i = 0; error && i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i].error, error) == 0)
            return codes[i].exit;
    return EXIT_FAILED;
}

/* What people see of a failed run or task. */
static int say_failed(const struct follow *f, const char *status, const json_t *error, int code) {
    char what[256], why[ERR_TEXT_MAX], fix[128];
    const char *name = json_str(error, "name"), *step = json_str(error, "step"), *message = json_str(error, "message");
    (void)snprintf(what, sizeof what, "%s %s: %s%s%s", f->kind->name, f->id, status, step ? " at step " : "",
                   step ? step : "");
    (void)snprintf(why, sizeof why, "%s%s%s", name ? name : "no error was named", message ? ": " : "",
                   message ? message : "");
    (void)snprintf(fix, sizeof fix, "`soma show %s` and `soma trace %s` say what happened", f->id, f->id);
    char label[64];
    (void)snprintf(label, sizeof label, "E_%s_%.30s", f->kind->name, status);
    for (char *c = label; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return fail(f->cli, &(struct failure){label, code, what, why, fix});
}

/* "text" of a text tool's output, else compact JSON. */
static int put_output(const struct cli *cli, const json_t *output) {
    const json_t *text = json_is_object(output) ? json_object_get(output, "text") : output;
    if (json_is_string(text))
        return put_text(cli, json_string_value(text), json_string_length(text));
    return put_json(cli, output);
}

static int put_outputs(const struct cli *cli, json_t *outputs) {
    const char *step;
    json_t *output;
    int r = EXIT_DONE;
    json_object_foreach(outputs, step, output) {
        char head[NAME_SIZE + 8];
        int n = snprintf(head, sizeof head, "[%.63s]", step);
        if (json_object_size(outputs) > 1)
            r = put_text(cli, head, (size_t)n);
        if (r == EXIT_DONE)
            r = put_output(cli, output);
        if (r != EXIT_DONE)
            return r;
    }
    return EXIT_DONE;
}

/* `member` of the last event's data is the result: outputs, or reply. */
static int finish(const struct follow *f, const json_t *record, const char *member) {
    json_t *data = json_object_get(record, "data"), *error = json_object_get(data, "error");
    json_t *result = json_object_get(data, member);
    const char *status = follow_ends(f->kind, record);
    int code = exit_of(f, status, json_str(error, "name")), r = EXIT_DONE;
    if (f->cli->json) {
        auto_json json_t *all =
            json_pack("{s:s, s:s, s:O*, s:O*}", f->kind->name, f->id, "status", status, member, result, "error", error);
        r = put_json(f->cli, all);
        return r != EXIT_DONE ? r : code;
    }
    if (code != EXIT_DONE)
        return say_failed(f, status, error, code);
    return strcmp(member, "outputs") == 0 ? put_outputs(f->cli, result) : put_output(f->cli, result);
}

static int foreground(struct cli *cli, struct session *s, const struct follow_kind *kind, json_t *params,
                      const char *member) {
    auto_progress struct progress p;
    auto_json json_t *last = NULL;
    struct follow f = {.kind = kind, .cli = cli, .session = s, .progress = &p};
    progress_init(&p, cli);
    int r = follow_start(&f, params);
    if (r == EXIT_DONE)
        r = follow_to_end(&f, &last);
    return r == EXIT_DONE ? finish(&f, last, member) : r;
}

/* --- the commands ---------------------------------------------------------------------------------------------- */

static int detached(struct cli *cli, json_t *plan) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    int r = session_need(cli, &s);
    if (r == EXIT_DONE)
        r = session_call(cli, &s, "run.start", json_pack("{s:O, s:b}", "plan", plan, "detached", 1), SESSION_CALL_MS,
                         &answer);
    if (r != EXIT_DONE)
        return r;
    const char *run = json_str(answer, "run");
    return cli->json ? put_json(cli, answer) : put_text(cli, run ? run : "", run ? strlen(run) : 0);
}

int cmd_run(struct cli *cli) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *plan = NULL;
    int r = plan_read(cli, cli->rest[0], &plan);
    if (r == EXIT_DONE)
        r = plan_limit(cli, plan);
    if (r != EXIT_DONE)
        return r;
    if (cli->value[OPT_DETACH])
        return detached(cli, plan);
    interrupt_init();
    r = session_bring(cli, &s);
    return r != EXIT_DONE ? r : foreground(cli, &s, &follow_run, json_pack("{s:O}", "plan", plan), "outputs");
}

int cmd_ask(struct cli *cli) {
    auto_session struct session s = SESSION_NULL;
    json_t *params = json_pack("{s:s, s:s}", "actor", cli->rest[0], "text", cli->rest[1]);
    if (!params)
        return fail_usage(cli, "actor and text must be UTF-8", NULL);
    interrupt_init();
    int r = session_bring(cli, &s);
    if (r == EXIT_DONE)
        return foreground(cli, &s, &follow_task, params, "reply");
    json_decref(params);
    return r;
}
