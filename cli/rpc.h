/* The client's end of the door (docs/API.md): JSON-RPC 2.0 in frames over soma.sock. Blocking, one connection, several
 * requests may be in flight; answers are matched by id. */
#ifndef SOMA_CLI_RPC_H
#define SOMA_CLI_RPC_H

#include "common/buf.h"
#include "common/json.h"

#include <stdint.h>

#define RPC_FRAME_MAX (1u << 20)
#define RPC_INBOX_MAX 16u /* answers waiting to be asked for */

/* Positive outcome of rpc_wait() and rpc_call(): the gateway answered with an error, *out is its `error` object. */
#define RPC_REFUSED 1

struct rpc {
    int fd;
    int64_t last_id;
    struct buf in;
    json_t *inbox; /* array of answers to other requests */
};
#define RPC_NULL ((struct rpc){.fd = -1, .in = BUF_NULL(RPC_FRAME_MAX + 4)})

/* Connects to the socket, whatever the length of its path (sun_path takes 107 bytes). Returns 0; -ENOENT or
 * -ECONNREFUSED when nobody listens; -EPERM when the socket's folder is not to be trusted with `uid` checks by the
 * caller; other errno. */
int rpc_open(const char *socket_path, struct rpc *out);
void rpc_close(struct rpc *rpc); /* accepts a second call */
#define auto_rpc __attribute__((cleanup(rpc_close)))

/* Sends one request; takes `params` (NULL = none) also on failure. *id names it. -ECONNRESET when the gateway is gone.
 */
int rpc_send(struct rpc *rpc, const char *method, json_t *params, int64_t *id);

/* Waits up to timeout_ms (-1 = for ever) for the answer to `id`. 0: *out is the result, a new reference; RPC_REFUSED;
 * -ECONNRESET when the connection ended; -ETIMEDOUT; -EINTR when interrupt_take() has something; -EPROTO. */
int rpc_wait(struct rpc *rpc, int64_t id, int timeout_ms, json_t **out);

/* Takes the answer to `id` if it has already arrived: as rpc_wait(), -EAGAIN when not. Does not block. */
int rpc_poll(struct rpc *rpc, int64_t id, json_t **out);

int rpc_call(struct rpc *rpc, const char *method, json_t *params, int timeout_ms, json_t **out);

#endif
