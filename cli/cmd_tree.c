/* The short ones: the tree's beginning and end, cancelling, tools. */
#include "cli/interrupt.h"
#include "cli/launch.h"
#include "cli/session.h"
#include "cli/text.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"

#include <poll.h>
#include <string.h>

#define STOP_MS 120000 /* every supervisor may take its T_stop, one after the other */

int cmd_up(struct cli *cli) {
    const char *config = cli->value[OPT_CONFIG];
    char *argv[] = {(char[]){"somad"}, config ? (char[]){"--config"} : NULL, (char *)(uintptr_t)config, NULL};
    return launch_exec(cli, argv);
}

int cmd_tool_check(struct cli *cli) {
    char *argv[] = {(char[]){"soma-registry"}, (char[]){"--check"}, (char *)(uintptr_t)cli->rest[0], NULL};
    return launch_exec(cli, argv);
}

int cmd_cancel(struct cli *cli) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    int r = session_need(cli, &s);
    if (r == EXIT_DONE)
        r = session_call(cli, &s, "run.cancel", json_pack("{s:s}", "run", cli->rest[0]), SESSION_CALL_MS, &answer);
    if (r != EXIT_DONE)
        return r;
    char line[128];
    const char *run = json_str(answer, "run"), *status = json_str(answer, "status");
    int n = snprintf(line, sizeof line, "%.40s %.40s", run ? run : cli->rest[0], status ? status : "cancelled");
    return cli->json ? put_json(cli, answer) : put_text(cli, line, (size_t)n);
}

/* --- stop ------------------------------------------------------------------------------------------------------ */

/* The launcher dies last, so its end is the tree's; without it, the end of the connection has to do. */
static int wait_end(struct session *s) {
    auto_json json_t *ignored = NULL;
    if (s->launcher_fd >= 0) {
        int r = interrupt_poll(s->launcher_fd, POLLIN, STOP_MS);
        return r > 0 ? 0 : r < 0 ? r : err_raise(-ETIMEDOUT, "pid %d still lives", (int)s->launcher);
    }
    int r = rpc_wait(&s->rpc, -1, STOP_MS, &ignored);
    return r == -ECONNRESET ? 0 : r;
}

int cmd_stop(struct cli *cli) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    int r = session_need(cli, &s);
    if (r != EXIT_DONE)
        return r;
    int e = rpc_call(&s.rpc, "stop", NULL, SESSION_CALL_MS, &answer);
    if (e == RPC_REFUSED)
        return fail_refused(cli, answer);
    if (e == 0 || e == -ECONNRESET) /* an ending tree may take its answer along */
        e = wait_end(&s);
    if (e < 0)
        return fail_rpc(cli, e);
    if (cli->json) {
        auto_json json_t *done = json_pack("{s:b, s:i}", "stopped", 1, "launcher", (int)s.launcher);
        return put_json(cli, done);
    }
    (void)fprintf(stderr, "soma: the supervisor (pid %d) has ended\n", (int)s.launcher);
    return EXIT_DONE;
}

/* --- tools ----------------------------------------------------------------------------------------------------- */

static void say_problems(const json_t *problems) {
    size_t i;
    const json_t *problem;
    json_array_foreach(problems, i, problem) {
        auto_buf struct buf line = BUF_NULL(TEXT_MAX);
        const char *file = json_str(problem, "file"), *why = json_str(problem, "why");
        (void)buf_addz(&line, "soma: skipped ");
        (void)text_escape(&line, TEXT_LINE, file ? file : "?", file ? strlen(file) : 1);
        (void)buf_addz(&line, ": ");
        (void)text_escape(&line, TEXT_LINE, why ? why : "?", why ? strlen(why) : 1);
        if (!buf_failed(&line))
            (void)fprintf(stderr, "%.*s\n", (int)line.n, line.p);
    }
}

int cmd_tool_list(struct cli *cli) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    auto_table struct text_table t = {.columns = 2};
    auto_buf struct buf out = BUF_NULL(TEXT_MAX);
    size_t i;
    const json_t *tool;
    int r = session_need(cli, &s);
    if (r == EXIT_DONE)
        r = session_call(cli, &s, "tools", NULL, SESSION_CALL_MS, &answer);
    if (r != EXIT_DONE)
        return r;
    if (cli->json)
        return put_json(cli, answer);
    say_problems(json_object_get(answer, "problems"));
    json_array_foreach(json_object_get(answer, "tools"), i, tool) {
        text_table_add(&t, json_str(tool, "name"));
        text_table_add(&t, json_str(tool, "description"));
    }
    return text_table_print(&t, &out) < 0 ? fail_internal(cli, "the table cannot be shown") : put_buf(cli, &out);
}
