/* A client of the door that does as it is told, wrong things included: frames are sent as given, answers are matched by
 * id, nothing is retried. Blocking, with deadlines. */
#ifndef SOMA_TESTS_TREE_RPC_H
#define SOMA_TESTS_TREE_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_ANSWER_MAX (1u << 20)

struct rpc {
    int fd;
    int64_t last_id;
    json_t *early; /* answers to requests that nobody waits for yet */
};
#define RPC_NULL ((struct rpc){.fd = -1})

/* Connects to `dir`/soma.sock, however long that path is. 0 or a negative errno. */
int rpc_open(const char *dir, struct rpc *out);
void rpc_close(struct rpc *rpc); /* a second call is harmless */

/* Sends a request; takes `params`, which may be NULL. Its id, or a negative errno. */
int64_t rpc_send(struct rpc *rpc, const char *method, json_t *params);

/* The answer to `id`: 0 and *out its result, or 1 and *out its error (a new reference); -ECONNRESET when the connection
 * ended, -ETIMEDOUT. */
int rpc_wait(struct rpc *rpc, int64_t id, int64_t timeout_ms, json_t **out);
int rpc_call(struct rpc *rpc, const char *method, json_t *params, int64_t timeout_ms, json_t **out);

/* Raw: n bytes as they are; a frame around them; one frame of the other side, NUL-terminated and the caller's. */
int rpc_write(struct rpc *rpc, const void *bytes, size_t n);
int rpc_write_frame(struct rpc *rpc, const void *body, size_t n);
int rpc_read_frame(struct rpc *rpc, int64_t timeout_ms, char **out);

#endif
