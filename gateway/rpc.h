/* JSON-RPC 2.0 as this door speaks it (docs/API.md): one frame in, checked completely or refused by name; one frame
 * out. Pure: no sockets, no processes. To add an error name, start here: a line in RPC_ERRORS. */
#ifndef SOMA_GATEWAY_RPC_H
#define SOMA_GATEWAY_RPC_H

#include "common/buf.h"
#include "common/json.h"
#include "common/msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_ID_MAX 128u   /* bytes of a request's id as text */
#define RPC_WHY_SIZE 600u /* bytes of a reason, terminator included */

/* X(id, name, JSON-RPC code, exit code, what, what to do) */
#define RPC_ERRORS(X)                                                                                                  \
    X(PARSE, "E_BAD_REQUEST", -32700, 2, "the frame is not JSON", "send one UTF-8 JSON object per frame")              \
    X(BAD_REQUEST, "E_BAD_REQUEST", -32600, 2, "this is no JSON-RPC 2.0 request", "see docs/API.md")                   \
    X(NO_METHOD, "E_NO_METHOD", -32601, 2, "there is no such method", "see docs/API.md for the methods")               \
    X(BAD_PARAMS, "E_BAD_PARAMS", -32602, 2, "the parameters do not fit the method", "correct the parameters")         \
    X(INVALID_PLAN, "E_INVALID_PLAN", -32000, 2, "the plan was refused", "correct the plan; nothing was started")      \
    X(UNKNOWN_TOOL, "E_UNKNOWN_TOOL", -32000, 3, "the plan names an unknown tool",                                     \
      "`soma tool list` shows the tools; nothing was started")                                                         \
    X(NO_SUCH_RUN, "E_NO_SUCH_RUN", -32000, 3, "there is no such run", "`soma log` shows the runs")                    \
    X(NO_SUCH_TASK, "E_NO_SUCH_TASK", -32000, 3, "there is no such task", "`soma log` shows the tasks")                \
    X(NO_SUCH_ACTOR, "E_NO_SUCH_ACTOR", -32000, 3, "there is no such actor",                                           \
      "declare it in a definition file; `soma ps` shows the actors")                                                   \
    X(AMBIGUOUS, "E_AMBIGUOUS", -32000, 3, "the prefix stands for several runs", "give more characters of the id")     \
    X(SHORT_LIVED, "E_SHORT_LIVED", -32000, 5, "detached work needs a supervisor that stays",                          \
      "start one with `soma up`, or run without --detach")                                                             \
    X(FORBIDDEN, "E_FORBIDDEN", -32000, 6, "this supervisor belongs to somebody else", "start your own: `soma up`")    \
    X(ACTOR_DOWN, "E_ACTOR_DOWN", -32000, 7, "the actor is declared but not running",                                  \
      "try again; `soma log` says why it is down")                                                                     \
    X(RUNTIME, "E_RUNTIME", -32000, 7, "the runtime could not do it", "look at `soma log` and at `soma ps`")           \
    X(LOG_FULL, "E_LOG_FULL", -32000, 7, "the event log is full", "make room in the state folder")                     \
    X(CAPACITY, "E_CAPACITY", -32000, 7, "a limit of this supervisor is reached",                                      \
      "wait for other work to end, or raise the limit")

enum rpc_error {
#define X(id, ...) RPC_##id,
    RPC_ERRORS(X)
#undef X
        RPC__COUNT
};

struct rpc_fault {
    enum rpc_error error;
    char why[RPC_WHY_SIZE];
};

/* One parsed request. */
struct rpc_request {
    char id[RPC_ID_MAX + 1]; /* JSON text: an integer or a string; "null" while unknown */
    const char *method;      /* points into `frame` */
    json_t *params;          /* borrowed from `frame`; NULL = none */
    json_t *frame;           /* owned */
};
#define RPC_REQUEST_NULL ((struct rpc_request){.id = "null"})
void rpc_request_deinit(struct rpc_request *req); /* accepts a second call */

enum rpc_type { RPC_STR, RPC_INT, RPC_BOOL, RPC_OBJECT };

struct rpc_param {
    const char *name;
    enum rpc_type type;
    bool required;
    int64_t least, most; /* of an integer; of a string in bytes */
    const char *choices; /* words separated by blanks, or NULL */
};

/* Parses and checks one frame's text. 0, -EPROTO (PARSE: the frame is malformed, the connection is to end) or -EINVAL
 * (BAD_REQUEST: answered, the connection goes on) with *fault filled; out->id is then the request's id where it could
 * be read. */
int rpc_parse(const char *text, size_t n, struct rpc_request *out, struct rpc_fault *fault);

/* Checks params (NULL = none) against the rows. 0, or -EINVAL with *fault naming the place by JSON Pointer. */
int rpc_check_params(const struct rpc_param *rows, size_t n_rows, json_t *params, struct rpc_fault *fault);

/* Fills in a fault and returns -EINVAL. Bytes that are not UTF-8 and a character cut at the end are repaired. */
int rpc_fault_set(struct rpc_fault *fault, enum rpc_error error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends the text of an answer. `result` must be valid JSON. */
int rpc_put_result(struct buf *out, const char *id, struct json_span result);
int rpc_put_error(struct buf *out, const char *id, const struct rpc_fault *fault);

#endif
