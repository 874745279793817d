/* Errors say what, why and what to do. Everything in them may come from far away, so all of it is escaped. */
#include "cli/cli.h"

#include "cli/text.h"
#include "common/cleanup.h"
#include "common/err.h"

#include <string.h>

static void say(const char *label, const char *text) {
    auto_buf struct buf line = BUF_NULL(TEXT_MAX);
    if (!text || !*text)
        return;
    (void)buf_addz(&line, label);
    (void)text_escape(&line, TEXT_LINES, text, strlen(text));
    if (line.n)
        (void)fwrite(line.p, 1, line.n, stderr);
}

static void fail_json(const struct failure *f) {
    auto_json json_t *error = json_pack("{s:{s:s, s:s, s:s?, s:s?, s:i}}", "error", "code", f->name, "message", f->what,
                                        "why", f->why && *f->why ? f->why : NULL, "fix", f->fix, "exit", f->exit);
    auto_free char *text = NULL;
    size_t n;
    if (!error || json_text(error, JSON_TEXT_MAX, &text, &n) < 0) {
        /* The texts are no UTF-8 (a path, say): what is left is fixed and always fits. */
        (void)fprintf(stderr, "{\"error\":{\"code\":\"%s\",\"message\":\"cannot be shown as JSON\",\"exit\":%d}}\n",
                      f->name, f->exit);
        return;
    }
    auto_buf struct buf line = BUF_NULL(TEXT_MAX);
    if (text_escape(&line, TEXT_JSON, text, n) == 0)
        (void)fprintf(stderr, "%.*s\n", (int)line.n, line.p);
}

int fail(const struct cli *cli, const struct failure *f) {
    (void)fflush(stdout); /* what was said before comes before */
    if (cli->json) {
        fail_json(f);
        return f->exit;
    }
    say("soma: ", f->what);
    say("\n  why: ", f->why);
    say("\n  fix: ", f->fix);
    (void)fprintf(stderr, "%s[%s, exit %d]\n", f->fix ? "  " : "\n  ", f->name, f->exit);
    return f->exit;
}

int fail_refused(const struct cli *cli, const json_t *error) {
    const json_t *data = json_object_get(error, "data");
    const char *name = json_str(data, "name"), *what = json_str(error, "message");
    int64_t code = json_i64(data, "exit", EXIT_FAILED);
    return fail(cli, &(struct failure){name ? name : "E_RPC", code > 0 && code < 256 ? (int)code : EXIT_FAILED,
                                       what ? what : "the gateway refused the request", json_str(data, "why"),
                                       json_str(data, "fix")});
}

static int nobody(const struct cli *cli, const char *why) {
    char what[SPEC_PATH + 64], more[ERR_TEXT_MAX + 64];
    (void)snprintf(what, sizeof what, "cannot reach the supervisor at %s", cli->places.socket);
    (void)snprintf(more, sizeof more, "%s (no supervisor is running for this user)", why);
    return fail(cli, &(struct failure){"E_NO_SUPERVISOR", EXIT_NO_SUPERVISOR, what, more,
                                       "start one with `soma up`; `soma run` and `soma ask` bring their own"});
}

int fail_rpc(const struct cli *cli, int code) {
    char why[ERR_TEXT_MAX];
    (void)snprintf(why, sizeof why, "%s", err_text());
    switch (code) {
    case -ENOENT:
    case -ECONNREFUSED:
        return nobody(cli, why);
    case -EPERM:
        return fail(cli, &(struct failure){"E_PLACES", EXIT_USAGE, "the runtime folder is not to be trusted", why,
                                           "remove it, or set [soma] runtime= to a folder of your own (0700)"});
    case -EACCES:
        return fail(cli, &(struct failure){"E_FORBIDDEN", EXIT_DENIED, "this supervisor belongs to somebody else", why,
                                           "be the user who started it, or start your own: `soma up`"});
    case -EUSERS:
        return fail(cli, &(struct failure){"E_CAPACITY", EXIT_RUNTIME, "the supervisor takes no more clients", why,
                                           "end one of its clients, or raise [limits] max_clients in soma.conf"});
    case -ECONNRESET:
        return fail(cli, &(struct failure){"E_LOST", EXIT_NO_SUPERVISOR, "the supervisor went away", why,
                                           "look with `soma ps`, and at what it did with `soma log -n 20`"});
    case -ETIMEDOUT:
        return fail(cli, &(struct failure){"E_SILENT", EXIT_RUNTIME, "the supervisor does not answer", why,
                                           "look at its processes with `ps f`, stop it with `soma stop`"});
    default:
        return fail_internal(cli, "talking to the supervisor failed");
    }
}

int fail_usage(const struct cli *cli, const char *why, const char *fix) {
    return fail(cli, &(struct failure){"E_USAGE", EXIT_USAGE, "wrong usage", why, fix});
}

int fail_internal(const struct cli *cli, const char *what) {
    char why[ERR_TEXT_MAX];
    (void)snprintf(why, sizeof why, "%s", err_text());
    return fail(cli, &(struct failure){"E_INTERNAL", EXIT_RUNTIME, what, why, NULL});
}

/* --- data ------------------------------------------------------------------------------------------------------ */

static int put(const struct cli *cli, const char *bytes, size_t n, bool newline) {
    bool done = fwrite(bytes, 1, n, stdout) == n && (!newline || putchar('\n') != EOF) && fflush(stdout) == 0;
    if (done)
        return EXIT_DONE;
    return fail(cli, &(struct failure){"E_OUTPUT", EXIT_FAILED, "cannot write to standard output", strerror(errno),
                                       "look at where it leads: a full disk, or a reader that is gone"});
}

static int put_as(const struct cli *cli, enum text_mode mode, const char *text, size_t n, bool newline) {
    if (!isatty(STDOUT_FILENO))
        return put(cli, text, n, newline);
    auto_buf struct buf shown = BUF_NULL(8 * TEXT_MAX);
    if (text_escape(&shown, mode, text, n) < 0)
        return fail_internal(cli, "the output cannot be shown");
    return put(cli, shown.p, shown.n, newline);
}

int put_json(const struct cli *cli, const json_t *value) {
    auto_free char *text = NULL;
    size_t n;
    if (json_text(value, 64 * JSON_TEXT_MAX, &text, &n) < 0)
        return fail_internal(cli, "the output cannot be shown");
    return put_as(cli, TEXT_JSON, text, n, true);
}

int put_text(const struct cli *cli, const char *text, size_t n) {
    return put_as(cli, TEXT_LINES, text, n, n == 0 || text[n - 1] != '\n');
}

int put_buf(const struct cli *cli, const struct buf *text) {
    if (buf_failed(text))
        return fail_internal(cli, "the output cannot be shown");
    return put(cli, text->p, text->n, false);
}
