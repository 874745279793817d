/* Dispatch in one place: decode, direction, descriptors, table row, state, handler. Whatever fails before the handler
 * costs the sender its channel. */
#include "common/role.h"

#include "common/child.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"

#include <fcntl.h>
#include <string.h>

static const struct accept *find_row(const struct role *role, enum msg_type type, enum role_id from) {
    for (size_t i = 0; i < role->n_accepts; i++)
        if (role->accepts[i].type == type && role->accepts[i].from & UINT32_C(1) << from)
            return &role->accepts[i];
    return NULL;
}

static int take_fds(struct chan *c, struct msg *m) {
    const struct msg_info *info = msg_info(m->type);
    m->n_fds = info->fds_max ? chan_take_fds(c, m->fds) : 0;
    if (m->n_fds < info->fds_min || m->n_fds > info->fds_max)
        return err_raise(-EPROTO, "%s with %u descriptors", info->name, m->n_fds);
    return 0;
}

static int dispatch(struct role_ctx *ctx, struct chan *c, struct msg *m) {
    enum role_id from = chan_peer(c)->role;
    int r = msg_allowed(m->type, from, ctx->role->id);
    if (r == 0)
        r = take_fds(c, m);
    if (r < 0)
        return err_up(r);
    const struct accept *row = find_row(ctx->role, m->type, from);
    if (!row)
        return err_raise(-EPROTO, "%s does not accept %s from %s", role_name(ctx->role->id), msg_name(m->type),
                         role_name(from));
    if (row->states && !(row->states & UINT32_C(1) << ctx->fsm.state))
        return err_raise(-EPROTO, "%s in state %s", msg_name(m->type), fsm_state_name(&ctx->fsm));
    return row->handle(ctx->self, c, m);
}

static int on_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct msg m = {.fds = {-1, -1, -1}};
    int r = msg_decode(text, n, &m);
    if (r < 0)
        return err_up(r);
    r = dispatch(arg, c, &m);
    for (unsigned i = 0; i < m.n_fds; i++)
        m.fds[i] = fd_close(m.fds[i]);
    return r;
}

static void forget(struct role_ctx *ctx, struct chan *c) {
    if (ctx->link == c)
        ctx->link = NULL;
    if (ctx->control == c)
        ctx->control = NULL;
    for (int i = 0; i < ROLE__COUNT; i++)
        if (ctx->wire[i] == c)
            ctx->wire[i] = NULL;
    child_link_closed(ctx, c);
}

static void on_close(void *arg, struct chan *c, int reason) {
    struct role_ctx *ctx = arg;
    if (reason < 0)
        log_warn("event=protocol_error peer=%s reason=\"%s\"", role_name(chan_peer(c)->role), err_text());
    bool control = ctx->control == c;
    forget(ctx, c);
    if (ctx->role->closed && ctx->self) /* a static child's wire may end before begin */
        ctx->role->closed(ctx->self, c, reason);
    if (control) /* root is gone; the kernel is about to end this process too */
        role_exit(ctx, 1);
}

static const struct chan_ops ops = {on_frame, on_close};

struct chan *role_chan(struct role_ctx *ctx, int fd, enum chan_kind kind, const struct peer *peer, size_t in_max) {
    struct chan_config config = {
        .loop = ctx->loop, .fd = fd, .kind = kind, .peer = *peer, .in_max = in_max, .ops = &ops, .arg = ctx};
    return chan_new(&config);
}

static void copy(char *out, size_t size, const char *text) {
    (void)snprintf(out, size, "%s", text ? text : "");
}

int role_introduced(const struct chan *by, const struct msg_introduce *m, struct peer *out) {
    static const struct {
        enum role_id by;
        uint32_t may;
    } table[] = {
        {ROLE_ROOT, M_STATIC | M(ROOT)},
        {ROLE_TOOLCALLS, M(TOOLCALL)},
        {ROLE_LLMCALLS, M(LLMCALL)},
        {ROLE_RUNS, M(RUN)},
        {ROLE_ACTORS, M(ACTOR) | M(SESSION) | M(GATEWAY)},
    };
    int role = role_by_name(m->role);
    if (role < 0)
        return err_raise(-EPROTO, "introduction of an unknown role");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].by != chan_peer(by)->role || !(table[i].may & UINT32_C(1) << role))
            continue;
        struct peer peer = {.role = (enum role_id)role, .pid = (pid_t)m->pid, .generation = (uint32_t)m->generation};
        copy(peer.run, sizeof peer.run, m->run);
        copy(peer.call, sizeof peer.call, m->call);
        copy(peer.actor, sizeof peer.actor, m->actor);
        *out = peer;
        return 0;
    }
    return err_raise(-EPERM, "%s may not introduce a %s", role_name(chan_peer(by)->role), m->role);
}

int64_t role_ref(struct role_ctx *ctx) {
    return ++ctx->ref;
}

int64_t role_event(struct role_ctx *ctx, struct msg_append *event, bool reply) {
    event->ref = reply ? role_ref(ctx) : 0;
    int r = chan_send(ctx->wire[ROLE_EVENTLOG], MSG_APPEND, event);
    return r < 0 ? r : event->ref;
}

int role_step(struct role_ctx *ctx, unsigned event, const void *arg) {
    return fsm_step(&ctx->fsm, event, arg);
}

void role_exit(struct role_ctx *ctx, int code) {
    loop_stop(ctx->loop, code);
}

/* The first process of a PID namespace sees senders from outside as pid 0. From inside, a worker or a tool that signals
 * its own keeper forges an order of somebody entitled. */
static bool forged(const struct signalfd_siginfo *info) {
    bool inside = getpid() == 1 && info->ssi_pid != 0;
    if (inside)
        log_warn("event=signal_ignored signo=%u sender=%u", info->ssi_signo, info->ssi_pid);
    return inside;
}

static void on_term(void *arg, const struct signalfd_siginfo *info) {
    struct role_ctx *ctx = arg;
    if (forged(info))
        return;
    if (ctx->self && ctx->role->term)
        ctx->role->term(ctx->self);
    else
        role_exit(ctx, 0);
}

/* A kill with grace: the supervisor has no channel into its workers, so the wish to cancel is a signal. */
static void on_cancel(void *arg, const struct signalfd_siginfo *info) {
    struct role_ctx *ctx = arg;
    if (forged(info))
        return;
    if (ctx->self && ctx->role->cancel)
        ctx->role->cancel(ctx->self);
    else
        on_term(arg, info);
}

/* Something before us in the start order has died, and we are stopped to be started again: not the tree's end. */
static void on_interrupt(void *arg, const struct signalfd_siginfo *info) {
    struct role_ctx *ctx = arg;
    if (forged(info))
        return;
    if (ctx->self && ctx->role->interrupt)
        ctx->role->interrupt(ctx->self);
    else
        on_term(arg, info);
}

/* From this worker's supervisor: a new incarnation of the owner has attached. */
static void on_adopted(void *arg, const struct signalfd_siginfo *info) {
    struct role_ctx *ctx = arg;
    if (!forged(info) && ctx->self && ctx->role->adopted)
        ctx->role->adopted(ctx->self);
}

static int start_role(struct role_ctx *ctx) {
    ctx->self = calloc(1, ctx->role->self_size ? ctx->role->self_size : 1);
    if (!ctx->self)
        return err_raise(-ENOMEM, "role");
    if (ctx->role->fsm)
        fsm_init(&ctx->fsm, ctx->role->fsm, ctx->loop, ctx->self, ctx->role->initial);
    return ctx->role->start(ctx, ctx->self);
}

static void ctx_deinit(struct role_ctx *ctx) {
    fsm_deinit(&ctx->fsm);
    while (ctx->children)
        child_release(ctx->children);
    chan_close(ctx->control);
    chan_close(ctx->link);
    for (int i = 0; i < ROLE__COUNT; i++)
        chan_close(ctx->wire[i]);
    loop_free(ctx->loop);
    ctx->extra_fd = fd_close(ctx->extra_fd);
    free(ctx->self);
}

/* ---- static children ---- */

/* Before begin only root speaks, and only these two messages; afterwards the role's own table is in force. */
static int on_wire(struct role_ctx *ctx, struct msg *m) {
    int to = role_by_name(m->wire.to);
    if (to < 0 || ctx->wire[to])
        return err_raise(-EPROTO, "a wire to %s", m->wire.to);
    struct peer peer = {.role = (enum role_id)to};
    enum chan_kind kind = to == ROLE_EVENTLOG ? CHAN_STREAM : CHAN_SEQPACKET;
    ctx->wire[to] = role_chan(ctx, take_fd(&m->fds[0]), kind, &peer, 0);
    return ctx->wire[to] ? 0 : -ENOMEM;
}

static int on_begin(struct role_ctx *ctx, struct msg *m) {
    int r = spec_map(m->fds[0], &ctx->spec);
    if (r < 0)
        return err_up(r);
    ctx->generation = (uint32_t)m->begin.generation;
    ctx->extra_fd = m->n_fds > 1 ? take_fd(&m->fds[1]) : -1;
    log_init(role_name(ctx->role->id), NULL, ctx->generation, ctx->spec->debug);
    title_set("%s", role_name(ctx->role->id));
    return start_role(ctx);
}

static int on_control_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct role_ctx *ctx = arg;
    if (ctx->spec)
        return on_frame(arg, c, text, n);
    struct msg m = {.fds = {-1, -1, -1}};
    int r = msg_decode(text, n, &m);
    if (r == 0)
        r = take_fds(c, &m);
    if (r == 0)
        r = m.type == MSG_WIRE    ? on_wire(ctx, &m)
            : m.type == MSG_BEGIN ? on_begin(ctx, &m)
                                  : err_raise(-EPROTO, "%s before begin", msg_name(m.type));
    for (unsigned i = 0; i < m.n_fds; i++)
        m.fds[i] = fd_close(m.fds[i]);
    if (r < 0)
        die(1, "start");
    return r;
}

static const struct chan_ops control_ops = {on_control_frame, on_close};

/* Supervisors place a worker's descriptors in the low slots: nothing else may ever land there, so they are held by
 * /dev/null and the control link moves above them. Returns the control link's descriptor. */
static int reserve_slots(void) {
    auto_close int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int control = fcntl(CONTROL_FD, F_DUPFD_CLOEXEC, SLOT__END);
    if (null_fd < 0 || control < 0)
        return err_raise(-errno, "descriptors at start");
    for (int fd = 3; fd < SLOT__END; fd++)
        if (fd != null_fd && dup3(null_fd, fd, O_CLOEXEC) < 0)
            return err_raise(-errno, "descriptor %d", fd);
    if (null_fd < SLOT__END)
        (void)take_fd(&null_fd); /* it holds its own slot */
    return control;
}

int role_main(const struct role *role, int argc, char **argv) {
    title_init(argc, argv);
    log_init(role_name(role->id), NULL, 0, 0);
    title_set("%s starting", role_name(role->id));
    if (profile_apply(&role->profile) < 0)
        die(1, "profile");
    int control = reserve_slots();
    if (control < 0)
        die(1, "descriptors (this program is started by somad only)");
    struct role_ctx ctx = {.role = role, .loop = loop_new(SLOT__END), .extra_fd = -1};
    if (!ctx.loop || loop_signal(ctx.loop, SIGTERM, on_term, &ctx) < 0 ||
        loop_signal(ctx.loop, SIGQUIT, on_interrupt, &ctx) < 0)
        die(1, "loop");
    struct chan_config config = {.loop = ctx.loop,
                                 .fd = control,
                                 .kind = CHAN_STREAM,
                                 .peer = {.role = ROLE_ROOT},
                                 .in_max = FRAME_CONTROL_MAX,
                                 .ops = &control_ops,
                                 .arg = &ctx};
    ctx.control = chan_new(&config);
    if (!ctx.control)
        die(1, "control link (this program is started by somad only)");
    int code = loop_run(ctx.loop);
    ctx_deinit(&ctx);
    return code < 0 ? 1 : code;
}

int role_ready(struct role_ctx *ctx) {
    return chan_send(ctx->control, MSG_READY, &(struct msg_ready){0});
}

/* ---- workers ---- */

static int open_wires(struct role_ctx *ctx) {
    static const struct {
        enum role_id role;
        enum slot slot;
    } slots[] = {{ROLE_EVENTLOG, SLOT_LOG},
                 {ROLE_REGISTRY, SLOT_REGISTRY},
                 {ROLE_TOOLCALLS, SLOT_TOOLCALLS},
                 {ROLE_LLMCALLS, SLOT_LLMCALLS},
                 {ROLE_RUNS, SLOT_RUNS}};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        if (!(ctx->start->wires & UINT32_C(1) << slots[i].role))
            continue;
        struct peer peer = {.role = slots[i].role};
        enum chan_kind kind = slots[i].role == ROLE_EVENTLOG ? CHAN_STREAM : CHAN_SEQPACKET;
        ctx->wire[slots[i].role] = role_chan(ctx, slots[i].slot, kind, &peer, 0);
        if (!ctx->wire[slots[i].role])
            return -EBADF;
    }
    return 0;
}

static int open_link(struct role_ctx *ctx) {
    const struct worker_start *start = ctx->start;
    if (!start->owner_known)
        return 0;
    ctx->link = role_chan(ctx, SLOT_LINK, CHAN_STREAM, &start->owner, 0);
    if (!ctx->link)
        return -EBADF;
    struct msg_hello hello = {.id = start->id, .pid = host_pid(), .generation = start->generation};
    int r = chan_send(ctx->link, MSG_HELLO, &hello);
    return r == -EPIPE ? 0 : r; /* an owner that is gone is no reason to die */
}

int role_worker(const struct role *role, const struct worker_start *start) {
    log_init(role_name(role->id), start->id, start->generation, start->spec->debug);
    title_set("%s %s starting", role_name(role->id), start->id);
    if (profile_apply(&role->profile) < 0)
        die(1, "profile");
    struct role_ctx ctx = {.role = role,
                           .spec = start->spec,
                           .generation = start->generation,
                           .start = start,
                           .loop = loop_new(SLOT__END),
                           .extra_fd = -1};
    if (!ctx.loop || loop_signal(ctx.loop, SIGTERM, on_term, &ctx) < 0 ||
        loop_signal(ctx.loop, SIGQUIT, on_interrupt, &ctx) < 0 ||
        loop_signal(ctx.loop, SIGUSR1, on_adopted, &ctx) < 0 || loop_signal(ctx.loop, SIGUSR2, on_cancel, &ctx) < 0)
        die(1, "loop");
    if (open_wires(&ctx) < 0 || open_link(&ctx) < 0)
        die(1, "wires");
    if (start_role(&ctx) < 0)
        die(1, "start");
    int code = loop_run(ctx.loop);
    ctx_deinit(&ctx);
    return code < 0 ? 1 : code;
}

/* ---- built with AddressSanitizer ---- */

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
/* At exit LeakSanitizer stops the process from a clone of it, and waits for ever when the process is the first of its
 * PID namespace. Roles are started without an environment, so ASAN_OPTIONS cannot tell them. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}
#endif
