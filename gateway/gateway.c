/* The role's table, the listening socket, and when the tree is idle. */
#include "gateway/gateway.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "gateway/client.h"
#include "gateway/request.h"
#include "gateway/work.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define ACCEPTS_PER_TURN 16
#define ACCEPT_AGAIN_MS 100

/* ---- idle: the tree of `soma run` ends with its last client ---- */

static void say_idle(void *arg) {
    struct gateway *gw = arg;
    loop_timer_clear(gw->ctx->loop, &gw->idle_timer);
    if (gw->idle_said || gw->n_clients)
        return;
    gw->idle_said = true;
    loop_remove(gw->ctx->loop, &gw->listening); /* the tree ends: who comes now starts one of his own */
    if (chan_send(gw->ctx->control, MSG_IDLE, &(struct msg_idle){0}) < 0)
        log_warn("event=idle_not_said why=\"%s\"", err_text());
}

static void idle_after(struct gateway *gw, int64_t ms) {
    if (loop_timer_set(gw->ctx->loop, &gw->idle_timer, now_ms() + ms, say_idle, gw) < 0)
        say_idle(gw);
}

/* The last client's runs are being cancelled: their terminal events are worth a short wait. */
void gateway_maybe_idle(struct gateway *gw) {
    if (gw->ctx->spec->short_lived && gw->n_clients == 0 && gw->came && !gw->works)
        say_idle(gw);
}

void gateway_client_gone(struct gateway *gw) {
    if (!gw->ctx->spec->short_lived || gw->n_clients)
        return;
    if (gw->works)
        idle_after(gw, 2 * gw->ctx->spec->cancel_timeout);
    gateway_maybe_idle(gw);
}

void gateway_client_came(struct gateway *gw) {
    gw->came = true;
    loop_timer_clear(gw->ctx->loop, &gw->idle_timer);
}

/* ---- the listening socket ---- */

static void accept_again(void *arg) {
    struct gateway *gw = arg;
    (void)loop_change(gw->ctx->loop, &gw->listening, EPOLLIN);
}

/* Without descriptors the waiting connection would wake us for ever. */
static void accept_pause(struct gateway *gw, int error) {
    log_warn("event=accept_failed errno=%d", error);
    if (loop_timer_set(gw->ctx->loop, &gw->accept_timer, now_ms() + ACCEPT_AGAIN_MS, accept_again, gw) == 0)
        (void)loop_change(gw->ctx->loop, &gw->listening, 0);
}

static void on_listening(void *arg, uint32_t events) {
    struct gateway *gw = arg;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(gw->ctx->extra_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            client_accept(gw, fd);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR)
            continue;
        if (errno != EAGAIN)
            accept_pause(gw, errno);
        return;
    }
}

/* ---- the role ---- */

static int start(struct role_ctx *ctx, void *self) {
    struct gateway *gw = self;
    gw->ctx = ctx;
    gw->calls_tail = &gw->calls;
    gw->listening = LOOP_SOURCE_NULL;
    json_init();
    if (ctx->extra_fd < 0)
        return err_raise(-EBADF, "no listening socket came with begin");
    int flags = fcntl(ctx->extra_fd, F_GETFL);
    if (flags < 0 || fcntl(ctx->extra_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_raise(-errno, "listening socket");
    int r = loop_add(ctx->loop, &gw->listening, ctx->extra_fd, EPOLLIN, on_listening, gw);
    if (r < 0)
        return err_up(r);
    if (ctx->spec->short_lived) /* the clients of a former incarnation may come back */
        idle_after(gw, ctx->generation > 1 ? ctx->spec->orphan_timeout : ctx->spec->start);
    return role_ready(ctx);
}

static void clear(struct gateway *gw) {
    gw->idle_said = true; /* whatever ends now, root knows */
    works_clear(gw);      /* first: nothing is cancelled by our own end, clients come back and take their work back */
    requests_clear(gw);
    while (gw->clients)
        client_close(gw->clients);
    loop_timer_clear(gw->ctx->loop, &gw->idle_timer);
    loop_timer_clear(gw->ctx->loop, &gw->accept_timer);
    loop_remove(gw->ctx->loop, &gw->listening);
}

static void closed(void *self, struct chan *c, int reason) {
    struct gateway *gw = self;
    enum role_id role = chan_peer(c)->role;
    if (role == ROLE_ACTOR)
        work_actor_closed(gw, c);
    else if (role == ROLE_ROOT || M_SERVERS & UINT32_C(1) << role)
        clear(gw); /* all of them stand before us: root is about to stop us, and clients come back to our successor */
}

static void term(void *self) {
    struct gateway *gw = self;
    clear(gw);
    role_exit(gw->ctx, 0);
}

static const struct accept accepts[] = {
    {.type = MSG_LISTING, .from = M(ROOT) | M_KINDS, .handle = request_on_answer},
    {.type = MSG_KILLED, .from = M_KINDS, .handle = request_on_answer},
    {.type = MSG_PAGE, .from = M(EVENTLOG), .handle = request_on_answer},
    {.type = MSG_HEAD_IS, .from = M(EVENTLOG), .handle = request_on_answer},
    {.type = MSG_REFUSED, .from = M(EVENTLOG) | M(REGISTRY), .handle = request_on_answer},
    {.type = MSG_DOCUMENT, .from = M(REGISTRY), .handle = request_on_answer},
    {.type = MSG_NAME_IS, .from = M(REGISTRY), .handle = request_on_answer},
    {.type = MSG_HELLO, .from = M(SESSION), .handle = work_on_hello},
    {.type = MSG_RUN_ACCEPTED, .from = M(SESSION), .handle = work_on_run_accepted},
    {.type = MSG_RUN_REJECTED, .from = M(SESSION), .handle = work_on_run_rejected},
    {.type = MSG_RUN_DONE, .from = M(SESSION), .handle = work_on_run_done},
    {.type = MSG_TASK_ACCEPTED, .from = M(ACTOR), .handle = work_on_task_accepted},
    {.type = MSG_TASK_DONE, .from = M(ACTOR), .handle = work_on_task_done},
};

const struct role gateway_role = {
    .id = ROLE_GATEWAY,
    .self_size = sizeof(struct gateway),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .start = start,
    .closed = closed,
    .term = term,
};
