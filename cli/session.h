/* A connection that is known to work: the socket is the user's own, somebody listens, and it speaks our protocol. `run`
 * and `ask` bring a tree of their own when there is none. */
#ifndef SOMA_CLI_SESSION_H
#define SOMA_CLI_SESSION_H

#include "cli/cli.h"

#define SESSION_PROTOCOL 1
#define SESSION_CALL_MS 30000   /* patience for a plain request */
#define SESSION_ORPHAN_MS 60000 /* how long a run waits for a client that lost its gateway (orphan_timeout) */

struct session {
    struct rpc rpc;
    pid_t launcher;
    int launcher_fd; /* pidfd; -1 when the launcher was gone before it could be had */
    bool short_lived;
};
#define SESSION_NULL ((struct session){.rpc = RPC_NULL, .launcher_fd = -1})
void session_close(struct session *s); /* accepts a second call */
#define auto_session __attribute__((cleanup(session_close)))

/* Connects and says hello. 0, or a negative errno as rpc_open() and rpc_call() return it, text set. */
int session_open(const struct cli *cli, struct session *out);

/* The same; on failure says so on stderr. An exit code. */
int session_need(const struct cli *cli, struct session *out);

/* The same, with a short-lived tree started when nobody listens. An exit code; blocks for at most half a minute. */
int session_bring(const struct cli *cli, struct session *out);

/* One request: an exit code; failures are said on stderr. Takes `params`. *out is a new reference. */
int session_call(const struct cli *cli, struct session *s, const char *method, json_t *params, int timeout_ms,
                 json_t **out);

/* After the connection was lost: tries again until the gateway is back, within SESSION_ORPHAN_MS, and not beyond the
 * death of the launcher. 0; -ECONNRESET when there is no hope; -EINTR. */
int session_again(const struct cli *cli, struct session *s);

#endif
