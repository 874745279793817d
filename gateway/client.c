/* Frames become requests here. The struct outlives its channel until the end of the turn, so that a handler may lose
 * its client (a full queue) and still return through it. */
#include "gateway/client.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "gateway/methods.h"
#include "gateway/request.h"
#include "gateway/rpc.h"
#include "gateway/work.h"

#include <sys/socket.h>

static void bury(struct loop_grave *grave) {
    free((struct client *)(void *)grave);
}

void client_close(struct client *client) {
    if (!client->chan)
        return;
    struct gateway *gw = client->gw;
    chan_close(client->chan);
    client->chan = NULL;
    for (struct client **at = &gw->clients; *at; at = &(*at)->next)
        if (*at == client) {
            *at = client->next;
            break;
        }
    gw->n_clients--;
    log_debug("event=client_closed client=%d", (int)client->pid);
    works_abandon(client);
    requests_abandon(client);
    loop_bury(gw->ctx->loop, &client->grave);
    gateway_client_gone(gw);
}

void client_send(struct client *client, const struct buf *frame) {
    if (!client || !client->chan)
        return;
    int r = chan_send_text(client->chan, frame->p, frame->n, NULL, 0);
    if (r == 0)
        return;
    log_warn("event=client_dropped client=%d reason=%s why=\"%s\"", (int)client->pid,
             r == -ENOBUFS ? "does_not_read" : "send", r == -EPIPE ? "it is gone" : err_text());
    client_close(client);
}

static void send_fault(struct client *client, const char *id, const struct rpc_fault *fault) {
    auto_buf struct buf b = BUF_NULL(16384);
    if (rpc_put_error(&b, id, fault) == 0)
        client_send(client, &b);
    else
        client_close(client);
}

/* The chan's own checks ended it (length, patience), or the client left. A malformed frame is answered if it can be. */
static void on_close(void *arg, struct chan *c, int reason) {
    struct client *client = arg;
    if (reason < 0) {
        struct rpc_fault fault;
        (void)rpc_fault_set(&fault, RPC_PARSE, "%s", err_text());
        log_warn("event=client_dropped client=%d reason=malformed_frame", (int)client->pid);
        send_fault(client, "null", &fault);
    }
    client_close(client);
}

static int on_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct client *client = arg;
    struct rpc_request rpc;
    struct rpc_fault fault;
    int fds[MSG_FDS_MAX];
    for (unsigned i = 0, n_fds = chan_take_fds(c, fds); i < n_fds; i++)
        (void)fd_close(fds[i]); /* sent along by the client: nobody asked for it */
    int r = rpc_parse(text, n, &rpc, &fault);
    if (r == 0) {
        method_call(client, &rpc);
    } else {
        send_fault(client, rpc.id, &fault);
        if (r == -EPROTO) {
            log_warn("event=client_dropped client=%d reason=malformed_frame", (int)client->pid);
            client_close(client);
        }
    }
    rpc_request_deinit(&rpc);
    return 0;
}

static const struct chan_ops ops = {on_frame, on_close};

/* Written at once or not at all: a stranger is owed one line, no memory. */
static void refuse(int fd, enum rpc_error error, const char *why) {
    struct rpc_fault fault;
    (void)rpc_fault_set(&fault, error, "%s", why);
    auto_buf struct buf b = BUF_NULL(16384);
    if (rpc_put_error(&b, "null", &fault) == 0)
        (void)frame_write_once(fd, b.p, b.n, NULL, 0);
    log_warn("event=client_refused why=\"%s\"", why);
}

static bool may_enter(struct gateway *gw, int fd, struct ucred *peer) {
    socklen_t n = sizeof *peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &n) < 0) {
        refuse(fd, RPC_RUNTIME, "the peer's identity is unknown");
        return false;
    }
    if (peer->uid != geteuid() && peer->uid != 0) {
        refuse(fd, RPC_FORBIDDEN, "your uid is not the uid of this supervisor");
        return false;
    }
    if (gw->n_clients >= gw->ctx->spec->max_clients) {
        refuse(fd, RPC_CAPACITY, "as many clients as max_clients allows are connected");
        return false;
    }
    return true;
}

void client_accept(struct gateway *gw, int fd) {
    auto_close int owned = fd;
    struct ucred peer = {0};
    if (!may_enter(gw, fd, &peer))
        return;
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        refuse(fd, RPC_CAPACITY, "out of memory");
        return;
    }
    struct chan_config config = {.loop = gw->ctx->loop,
                                 .fd = take_fd(&owned),
                                 .kind = CHAN_STREAM,
                                 .peer = {.role = ROLE_CLIENT, .pid = peer.pid},
                                 .out_max = CLIENT_OUT_MAX,
                                 .ops = &ops,
                                 .arg = client};
    *client = (struct client){.grave = {.bury = bury}, .gw = gw, .pid = peer.pid, .next = gw->clients};
    client->chan = chan_new(&config);
    if (!client->chan) {
        log_warn("event=client_refused why=\"%s\"", err_text());
        free(client);
        return;
    }
    gw->clients = client;
    gw->n_clients++;
    gateway_client_came(gw);
}
