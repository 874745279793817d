/* The methods of the door, one const table. To add a method, start here: a handler, a row in methods.c, a row in
 * docs/API.md. A handler is given checked parameters and ends by answering, failing or asking on. */
#ifndef SOMA_GATEWAY_METHODS_H
#define SOMA_GATEWAY_METHODS_H

#include "gateway/rpc.h"

#include <stdbool.h>
#include <stddef.h>

struct client;
struct gateway;
struct request;

struct method {
    const char *name;
    const struct rpc_param *params;
    size_t n_params;
    void (*handle)(struct request *req);
    bool goes_on; /* also when its client is gone: what was begun is finished */
};

/* Serves one parsed request: an answer is sent now or later. */
void method_call(struct client *client, const struct rpc_request *rpc);

/* A session has told how its run ended: who cancels that run need not ask the log. */
void cancels_told(struct gateway *gw, const char *run, const char *status);

void method_hello(struct request *req);
void method_run_start(struct request *req);
void method_run_own(struct request *req);
void method_run_cancel(struct request *req);
void method_ask(struct request *req);
void method_task_own(struct request *req);
void method_events(struct request *req);
void method_ps(struct request *req);
void method_tools(struct request *req);
void method_actors(struct request *req);
void method_head(struct request *req);
void method_stop(struct request *req);

#endif
