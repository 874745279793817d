/* The gateway: the door between clients (JSON-RPC on a Unix socket) and the tree (messages on links). Think of four
 * lists: clients (connections), requests (a client's question on its way to an answer), calls (a question of ours to
 * one role, made for a request) and works (runs and tasks that belong to a connection and are cancelled with it).
 *
 *   client ──frames── client.c ── methods*.c ── request.c ──messages── eventlog, registry, root, kinds
 *                                      └─────── work.c ────links────── sessions, actors
 *
 * It keeps nothing that must survive it: after a restart clients come back and take their work back by run.own and
 * task.own; results are in the log. */
#ifndef SOMA_GATEWAY_GATEWAY_H
#define SOMA_GATEWAY_GATEWAY_H

#include "common/role.h"

#include <stdbool.h>

struct client;
struct request;
struct call;
struct work;
struct actor_link;

struct gateway {
    struct role_ctx *ctx;
    struct loop_source listening;
    struct loop_timer accept_timer; /* descriptors ran out: look again */
    struct client *clients;
    unsigned n_clients;
    struct request *requests;
    struct call *calls, **calls_tail; /* in the order asked: listings carry no number */
    unsigned n_calls;
    struct work *works;
    struct actor_link *actors;
    struct loop_timer idle_timer; /* nobody has come yet; or the last one's work will not end */
    bool came;                    /* a client has been here */
    bool idle_said;
    int64_t launcher; /* its pid, once known */
};

extern const struct role gateway_role;

/* A connection was admitted, or has ended; or work has ended. */
void gateway_client_came(struct gateway *gw);
void gateway_maybe_idle(struct gateway *gw);
void gateway_client_gone(struct gateway *gw);

#endif
