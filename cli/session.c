/* The socket belongs to the runtime folder and survives the gateway; the launcher's life is the tree's life. */
#include "cli/session.h"

#include "cli/interrupt.h"
#include "cli/launch.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#define BRING_MS 30000 /* until a tree is up, ours or that of another client */

void session_close(struct session *s) {
    rpc_close(&s->rpc);
    s->launcher_fd = fd_close(s->launcher_fd);
}

static int hello(struct session *s) {
    auto_json json_t *answer = NULL;
    int r = rpc_call(&s->rpc, "hello", NULL, SESSION_CALL_MS, &answer);
    if (r == RPC_REFUSED) {
        const char *why = json_str(json_object_get(answer, "data"), "why"), *what = json_str(answer, "message");
        const char *name = json_str(json_object_get(answer, "data"), "name");
        bool denied = json_i64(json_object_get(answer, "data"), "exit", 0) == EXIT_DENIED;
        bool full = name && strcmp(name, "E_CAPACITY") == 0;
        return err_raise(denied ? -EACCES
                         : full ? -EUSERS
                                : -EPROTO,
                         "%s: %s", what ? what : "hello was refused", why ? why : "");
    }
    if (r < 0)
        return err_up(r);
    int64_t protocol = json_i64(answer, "protocol", 0);
    if (protocol != SESSION_PROTOCOL)
        return err_raise(-EPROTO, "the supervisor speaks protocol %d, this program %d: they are of different versions",
                         (int)protocol, SESSION_PROTOCOL);
    s->launcher = (pid_t)json_i64(answer, "launcher", 0);
    s->short_lived = json_flag(answer, "short_lived", false);
    if (s->launcher > 0)
        s->launcher_fd = (int)syscall(SYS_pidfd_open, s->launcher, 0);
    return 0;
}

int session_open(const struct cli *cli, struct session *out) {
    struct session s = SESSION_NULL;
    int r = places_check_runtime(&cli->places);
    if (r == 0)
        r = rpc_open(cli->places.socket, &s.rpc);
    if (r == 0)
        r = hello(&s);
    if (r < 0)
        session_close(&s);
    else
        *out = s;
    return r;
}

int session_need(const struct cli *cli, struct session *out) {
    int r = session_open(cli, out);
    return r < 0 ? fail_rpc(cli, r) : EXIT_DONE;
}

int session_call(const struct cli *cli, struct session *s, const char *method, json_t *params, int timeout_ms,
                 json_t **out) {
    auto_json json_t *answer = NULL;
    int r = rpc_call(&s->rpc, method, params, timeout_ms, &answer);
    if (r == RPC_REFUSED)
        return fail_refused(cli, answer);
    if (r == -EINTR)
        return interrupt_take() == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
    if (r < 0)
        return fail_rpc(cli, r);
    *out = json_incref(answer);
    return EXIT_DONE;
}

/* --- bringing a tree ------------------------------------------------------------------------------------------- */

static bool nobody(int r) {
    /* ECONNRESET: a short-lived tree that was just ending took the connection down with it. */
    return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET;
}

static int start_failed(const struct cli *cli, const struct launch *l) {
    return fail(cli, &(struct failure){"E_START", l->exit, l->what, l->why, l->fix});
}

int session_bring(const struct cli *cli, struct session *out) {
    struct launch l = {.exit = EXIT_RUNTIME};
    int64_t until = now_ms() + BRING_MS, pause = 10;
    for (;;) {
        int r = session_open(cli, out);
        if (r == 0 || !nobody(r))
            return r == 0 ? EXIT_DONE : fail_rpc(cli, r);
        r = launch_tree(cli, &l);
        if (now_ms() > until && r >= 0)
            return r == LAUNCH_BUSY ? start_failed(cli, &l) : fail_rpc(cli, -ETIMEDOUT);
        /* Busy: another client's tree holds the state folder. Either it is about to listen, or about to end. */
        if (r == LAUNCH_BUSY) {
            r = interrupt_poll(-1, 0, pause);
            pause = pause < 200 ? pause * 2 : pause;
        }
        if (r == -EINTR)
            return interrupt_take() == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
        if (r < 0)
            return start_failed(cli, &l);
    }
}

/* --- coming back ----------------------------------------------------------------------------------------------- */

static bool tree_dead(const struct session *s) {
    struct pollfd p = {.fd = s->launcher_fd, .events = POLLIN};
    return s->launcher_fd < 0 || poll(&p, 1, 0) == 1;
}

/* Waits a little for the next try, no longer than the launcher lives. */
static int linger(const struct session *s, int64_t ms) {
    int r = interrupt_poll(s->launcher_fd, POLLIN, ms);
    return r > 0 ? 0 : r;
}

int session_again(const struct cli *cli, struct session *s) {
    int64_t until = now_ms() + SESSION_ORPHAN_MS;
    for (int64_t pause = 10; !tree_dead(s); pause = pause < 1000 ? pause * 2 : pause) {
        struct session fresh = SESSION_NULL;
        int r = session_open(cli, &fresh);
        if (r == 0) {
            session_close(s);
            *s = fresh;
            return 0;
        }
        if (!nobody(r) && r != -ETIMEDOUT)
            return err_up(r);
        if (now_ms() > until)
            return err_raise(-ECONNRESET, "the gateway did not come back within %d s", SESSION_ORPHAN_MS / 1000);
        r = linger(s, pause);
        if (r < 0)
            return err_up(r);
    }
    return err_raise(-ECONNRESET, "its launcher (pid %d) has ended", (int)s->launcher);
}
