/* One connection of a client. What it sends is hostile; what it does not read is bounded: then it is dropped by name.
 */
#ifndef SOMA_GATEWAY_CLIENT_H
#define SOMA_GATEWAY_CLIENT_H

#include "common/buf.h"
#include "common/chan.h"
#include "gateway/gateway.h"

#define CLIENT_REQUESTS_MAX 64u   /* unanswered requests of one connection */
#define CLIENT_OUT_MAX (4u << 20) /* bytes that wait for a client to read */

struct client {
    struct loop_grave grave; /* first: freed after the current turn */
    struct client *next;
    struct gateway *gw;
    struct chan *chan; /* NULL once it has ended */
    pid_t pid;         /* for people */
    unsigned n_requests;
};

/* Admits or refuses (with a named error) the accepted connection `fd`, which is taken over. */
void client_accept(struct gateway *gw, int fd);

/* Sends one answer. A client whose queue is full is dropped. Accepts one that has ended. */
void client_send(struct client *client, const struct buf *frame);

/* Ends the connection and what belongs to it. Accepts a second call. */
void client_close(struct client *client);

#endif
