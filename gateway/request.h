/* Requests and calls. A request is a client's question until it is answered or failed, which frees it: after
 * request_answer(), request_fail() and a request_ask() that returned false, it must not be touched. A call is one
 * message to a role whose answer a request waits for. Nothing waits for ever: a request has a deadline, and when
 * a peer is lost this gateway is about to be restarted too. */
#ifndef SOMA_GATEWAY_REQUEST_H
#define SOMA_GATEWAY_REQUEST_H

#include "gateway/client.h"
#include "gateway/methods.h"
#include "gateway/rpc.h"

#define CALLS_MAX 32768u /* questions on their way, of all clients */

struct request {
    struct request *next;
    struct gateway *gw;
    struct client *client; /* NULL: went away, and the method goes on without it */
    const struct method *method;
    char id[RPC_ID_MAX + 1];
    json_t *params; /* an object, owned */
    struct loop_timer deadline;
    enum rpc_error not_found; /* what `not_found` of the log means here */
    struct work *work;        /* that waits to be accepted */
    void *state;              /* the method's own */
    void (*release)(void *state);
};

/* NULL when memory is out. `params` may be NULL. */
struct request *request_new(struct client *client, const struct method *method, const struct rpc_request *rpc);
/* Moves the deadline; past it the request fails by name. */
void request_within(struct request *req, int64_t ms);
/* Zeroed memory for the method's state, freed with the request after `release` (may be NULL). NULL: failed, gone. */
void *request_state(struct request *req, size_t size, void (*release)(void *state));

void request_answer(struct request *req, const struct buf *result);
void request_fail(struct request *req, enum rpc_error error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The answer to a call; `arg` as given. The message is valid during the call. */
typedef void (*call_answer)(struct request *req, enum role_id from, struct msg *m, size_t arg);

/* Sends one message and waits for its answer. `ref` is the number inside `body`; 0 for list, whose answers come in
 * order. False: the request has failed and is gone. `refused` is dealt with here. */
bool request_ask(struct request *req, enum role_id peer, enum msg_type type, const void *body, int64_t ref,
                 call_answer answer, size_t arg);
/* The same for kill, whose answer names the id. */
bool request_kill(struct request *req, enum role_id kind, const char *id, int64_t grace_ms, call_answer answer);

/* One page of the log; *query is numbered here. `by` "run" or "task" decides what `not_found` means. */
bool request_query(struct request *req, struct msg_query *query, call_answer answer);

/* Whether `key` is a run's id or long enough a prefix of one; else the request has failed and is gone. */
bool request_run_key(struct request *req, const char *key);

/* For the accepts table: finds the call of an answer. */
int request_on_answer(void *self, struct chan *from, struct msg *m);
/* The log could not keep the end of this run: the client's waits for it fail by name. */
void requests_unlogged(struct client *client, const char *run);
/* A client is gone: its requests end, but for those whose method goes on. */
void requests_abandon(struct client *client);
void requests_clear(struct gateway *gw);

#endif
