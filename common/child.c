/* The monitor is its own channel with its own small dispatch (down, up); the link is dispatched to the role's table. */
#include "common/child.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"

#include <string.h>

enum role_id child_kind(enum role_id worker) {
    switch (worker) {
    case ROLE_TOOLCALL:
        return ROLE_TOOLCALLS;
    case ROLE_LLMCALL:
        return ROLE_LLMCALLS;
    case ROLE_RUN:
        return ROLE_RUNS;
    default:
        return ROLE_ACTORS;
    }
}

int64_t child_grace_ms(const struct spec *spec, enum role_id worker) {
    int64_t levels = worker == ROLE_RUN ? 2 : worker == ROLE_SESSION || worker == ROLE_ACTOR ? 3 : 1;
    return levels * spec->cancel_timeout;
}

static void put_id(struct peer *peer, const char *id) {
    switch (peer->role) {
    case ROLE_RUN:
        (void)snprintf(peer->run, sizeof peer->run, "%.28s", id);
        break;
    case ROLE_SESSION:
    case ROLE_ACTOR:
        (void)snprintf(peer->actor, sizeof peer->actor, "%.63s", id);
        break;
    default:
        (void)snprintf(peer->call, sizeof peer->call, "%.28s", id);
    }
}

static struct chan *open_link(struct child *child, int fd) {
    struct peer peer = {.role = child->role, .generation = child->generation};
    put_id(&peer, child->id);
    return role_chan(child->ctx, fd, CHAN_STREAM, &peer, 0);
}

void child_release(struct child *child) {
    struct child **at = &child->ctx->children;
    while (*at && *at != child)
        at = &(*at)->next;
    if (*at)
        *at = child->next;
    loop_timer_clear(child->ctx->loop, &child->kill_timer);
    chan_close(child->link);
    chan_close(child->monitor);
    free(child);
}

static void deliver_down(struct child *child, const struct msg_down *down) {
    struct chan *monitor = child->monitor;
    chan_drain(child->link); /* everything the dead process had sent comes first */
    loop_timer_clear(child->ctx->loop, &child->kill_timer);
    if (child->on_down)
        child->on_down(child, down);
    child->monitor = NULL;
    chan_close(monitor);
    child_release(child);
}

static int take_up(struct child *child, struct chan *c, const struct msg *m) {
    int fds[MSG_FDS_MAX] = {-1, -1, -1};
    unsigned n = chan_take_fds(c, fds);
    if (n != 1) {
        for (unsigned i = 0; i < n; i++)
            (void)fd_close(fds[i]);
        return err_raise(-EPROTO, "up with %u descriptors", n);
    }
    chan_drain(child->link);
    chan_close(child->link);
    child->generation = (uint32_t)m->up.generation;
    child->link = open_link(child, fds[0]);
    if (child->on_up)
        child->on_up(child);
    return 0;
}

static int monitor_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct child *child = arg;
    struct msg m;
    int r = msg_decode(text, n, &m);
    if (r < 0)
        return err_up(r);
    if (m.type == MSG_UP)
        return take_up(child, c, &m);
    if (m.type != MSG_DOWN)
        return err_raise(-EPROTO, "%s on a monitor", msg_name(m.type));
    deliver_down(child, &m.down);
    return 0;
}

static void monitor_closed(void *arg, struct chan *c, int reason) {
    struct child *child = arg;
    struct msg_down lost = {.id = child->id, .reason = "supervisor_lost", .generation = child->generation};
    child->monitor = NULL; /* it frees itself */
    deliver_down(child, &lost);
}

static const struct chan_ops monitor_ops = {monitor_frame, monitor_closed};

static struct child *child_new(struct role_ctx *ctx, enum role_id role, const char *id,
                               void (*on_down)(struct child *, const struct msg_down *), void *user) {
    struct child *child = calloc(1, sizeof *child);
    if (!child) {
        (void)err_raise(-ENOMEM, "child");
        return NULL;
    }
    child->ctx = ctx;
    child->role = role;
    child->generation = 1;
    child->user = user;
    child->on_down = on_down;
    (void)snprintf(child->id, sizeof child->id, "%s", id);
    child->next = ctx->children;
    ctx->children = child;
    return child;
}

static int open_monitor(struct child *child, int fd) {
    struct chan_config config = {.loop = child->ctx->loop,
                                 .fd = fd,
                                 .kind = CHAN_STREAM,
                                 .peer = {.role = child_kind(child->role)},
                                 .in_max = FRAME_CONTROL_MAX,
                                 .ops = &monitor_ops,
                                 .arg = child};
    child->monitor = chan_new(&config);
    return child->monitor ? 0 : -ENOMEM;
}

static int ask_spawn(struct child *child, const char *profile, int grants_fd) {
    int link[2], monitor[2];
    int r = chan_pair(CHAN_STREAM, link);
    if (r < 0)
        return err_up(r);
    auto_close int theirs = link[1], ours = link[0];
    r = chan_pair(CHAN_STREAM, monitor);
    if (r < 0)
        return err_up(r);
    auto_close int watch = monitor[1];
    r = open_monitor(child, monitor[0]);
    if (r < 0)
        return err_up(r);
    child->link = open_link(child, take_fd(&ours));
    if (!child->link)
        return -ENOMEM;
    int fds[3] = {theirs, watch, grants_fd};
    struct msg_spawn spawn = {.id = child->id, .role = role_name(child->role), .profile = profile};
    return chan_send_fds(child->ctx->wire[child_kind(child->role)], MSG_SPAWN, &spawn, fds, grants_fd >= 0 ? 3 : 2);
}

struct child *child_spawn(struct role_ctx *ctx, enum role_id role, const char *id, const char *profile, int grants_fd,
                          void (*on_down)(struct child *, const struct msg_down *), void *user) {
    struct child *child = child_new(ctx, role, id, on_down, user);
    if (child && ask_spawn(child, profile, grants_fd) < 0) {
        child_release(child);
        return NULL;
    }
    return child;
}

struct child *child_attach(struct role_ctx *ctx, enum role_id role, const char *id,
                           void (*on_down)(struct child *, const struct msg_down *), void *user) {
    struct child *child = child_new(ctx, role, id, on_down, user);
    int monitor[2];
    if (!child)
        return NULL;
    if (chan_pair(CHAN_STREAM, monitor) < 0) {
        child_release(child);
        return NULL;
    }
    auto_close int watch = monitor[1];
    struct msg_attach attach = {.id = child->id};
    if (open_monitor(child, monitor[0]) < 0 ||
        chan_send_fds(ctx->wire[child_kind(role)], MSG_ATTACH, &attach, &watch, 1) < 0) {
        child_release(child);
        return NULL;
    }
    return child;
}

int child_send(struct child *child, enum msg_type type, const void *body) {
    return chan_send(child->link, type, body);
}

static void on_kill_timer(void *arg) {
    struct child *child = arg;
    log_warn("event=cancel_unanswered child=%s id=%s", role_name(child->role), child->id);
    child_kill(child, 0);
}

void child_kill(struct child *child, int64_t grace_ms) {
    struct msg_kill kill = {.id = child->id, .grace_ms = grace_ms};
    (void)chan_send(child->ctx->wire[child_kind(child->role)], MSG_KILL, &kill); /* lost only with that supervisor */
}

void child_cancel(struct child *child, const char *reason) {
    if (child->kill_timer.index)
        return;
    if (!child->link) {
        child_kill(child, child_grace_ms(child->ctx->spec, child->role));
        return;
    }
    (void)child_send(child, MSG_CANCEL, &(struct msg_cancel){.reason = reason});
    int64_t due = now_ms() + child_grace_ms(child->ctx->spec, child->role);
    if (loop_timer_set(child->ctx->loop, &child->kill_timer, due, on_kill_timer, child) < 0)
        child_kill(child, 0);
}

struct child *child_of(struct role_ctx *ctx, const struct chan *c) {
    for (struct child *child = ctx->children; child && c; child = child->next)
        if (child->link == c || child->monitor == c)
            return child;
    return NULL;
}

void child_link_closed(struct role_ctx *ctx, struct chan *c) {
    struct child *child = child_of(ctx, c);
    if (child && child->link == c)
        child->link = NULL;
}

int child_on_hello(struct role_ctx *ctx, struct chan *from, const struct msg *m) {
    struct child *child = child_of(ctx, from);
    if (!child || strcmp(m->hello.id, child->id) != 0)
        return err_raise(-EPROTO, "hello of a stranger");
    child->pid = (pid_t)m->hello.pid;
    child->generation = (uint32_t)m->hello.generation;
    return 0;
}
