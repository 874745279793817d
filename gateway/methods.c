/* The table. Limits repeat those of the catalogue (common/msg.def), so that a wrong parameter is refused here, by name,
 * and never by the codec. */
#include "gateway/methods.h"

#include "common/ids.h"
#include "gateway/request.h"

#include <string.h>

#define ANY_INT .least = 0, .most = INT64_MAX
#define TEXT(from, to) .least = (from), .most = (to)

static const struct rpc_param run_start_params[] = {
    {"plan", RPC_OBJECT, true},
    {"detached", RPC_BOOL, false},
    {"corr", RPC_STR, false, TEXT(1, 63)},
};
static const struct rpc_param run_params[] = {{"run", RPC_STR, true, TEXT(1, 63)}};
static const struct rpc_param task_params[] = {{"task", RPC_STR, true, TEXT(1, 63)}};
static const struct rpc_param ask_params[] = {
    {"actor", RPC_STR, true, TEXT(1, 63)},
    {"text", RPC_STR, true, TEXT(1, 65536)},
    {"corr", RPC_STR, false, TEXT(1, 63)},
};
static const struct rpc_param events_params[] = {
    {"by", RPC_STR, true, TEXT(1, 8), "all run actor task corr"},
    {"key", RPC_STR, false, TEXT(1, 63)},
    {"after", RPC_INT, false, ANY_INT},
    {"limit", RPC_INT, false, 0, 1000},
    {"tail", RPC_INT, false, 0, 1000},
    {"wait_ms", RPC_INT, false, 0, 60000},
};
static const struct rpc_param head_params[] = {{"verify", RPC_BOOL, false}};

#define PARAMS(rows) (rows), sizeof(rows) / sizeof *(rows)
static const struct method methods[] = {
    {"hello", NULL, 0, method_hello, false},
    {"run.start", PARAMS(run_start_params), method_run_start, false},
    {"run.own", PARAMS(run_params), method_run_own, false},
    {"run.cancel", PARAMS(run_params), method_run_cancel, true},
    {"ask", PARAMS(ask_params), method_ask, false},
    {"task.own", PARAMS(task_params), method_task_own, false},
    {"events", PARAMS(events_params), method_events, false},
    {"ps", NULL, 0, method_ps, false},
    {"tools", NULL, 0, method_tools, false},
    {"actors", NULL, 0, method_actors, false},
    {"head", PARAMS(head_params), method_head, false},
    {"stop", NULL, 0, method_stop, false},
};

static const struct method *find(const char *name) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

static int admit(const struct client *client, const struct rpc_request *rpc, const struct method *method,
                 struct rpc_fault *fault) {
    if (!method)
        return rpc_fault_set(fault, RPC_NO_METHOD, "/method: \"%.63s\" is unknown", rpc->method);
    int r = rpc_check_params(method->params, method->n_params, rpc->params, fault);
    if (r < 0)
        return r;
    if (client->n_requests >= CLIENT_REQUESTS_MAX)
        return rpc_fault_set(fault, RPC_CAPACITY, "%u requests of this connection wait for an answer",
                             client->n_requests);
    return 0;
}

void method_call(struct client *client, const struct rpc_request *rpc) {
    struct rpc_fault fault;
    const struct method *method = find(rpc->method);
    struct request *req = NULL;
    if (admit(client, rpc, method, &fault) == 0) {
        req = request_new(client, method, rpc);
        if (!req)
            (void)rpc_fault_set(&fault, RPC_CAPACITY, "out of memory");
    }
    if (req) {
        method->handle(req);
        return;
    }
    auto_buf struct buf b = BUF_NULL(16384);
    if (rpc_put_error(&b, rpc->id, &fault) == 0)
        client_send(client, &b);
    else
        client_close(client);
}
