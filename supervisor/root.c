/* The loop of root: signals, deaths and ready frames become events of the restart policy (rest_for_one over the table
 * in tree.c); its actions become starts and signals. Root dies with its launcher: PDEATHSIG is set first, then the
 * launcher's pidfd is polled once, which closes the window before it; afterwards it stays in the loop. */
#include "supervisor/root.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"
#include "supervisor/restart.h"
#include "supervisor/spawn.h"
#include "supervisor/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>

#define EARLY_EVENTS_MAX 64u /* events kept while no event log runs; later ones are counted and dropped */
#define EVENT_DATA_MAX 512u

struct early_event {
    char type[40];
    char data[EVENT_DATA_MAX];
};

struct root {
    struct role_ctx ctx;
    struct restart_policy policy;
    struct tree_child children[TREE_CHILDREN];
    struct loop_source launcher;
    struct loop_timer timer;
    struct early_event early[EARLY_EVENTS_MAX];
    uint32_t n_early, dropped;
    struct chan *log;
    int64_t stop_ref; /* of system.stop, while its durability is awaited */
    struct loop_timer stop_wait;
    int64_t booted_ms;
    bool said_ready, stopping;
    int exit_code;
};

static struct root root;

/* ---- the log ---- */

static void send_event(const char *type, const char *data, bool barrier) {
    struct msg_append event = {
        .type = type, .barrier = barrier, .data = {data, strlen(data)}, .ref = barrier ? role_ref(&root.ctx) : 0};
    if (chan_send(root.log, MSG_APPEND, &event) == 0 && barrier)
        root.stop_ref = event.ref;
}

static void note(const char *type, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(const char *type, const char *fmt, ...) {
    char data[EVENT_DATA_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(data, sizeof data, fmt, ap);
    va_end(ap);
    log_info("event=%s data=%s", type, data);
    if (root.log) {
        send_event(type, data, false);
        return;
    }
    if (root.n_early == EARLY_EVENTS_MAX) {
        root.dropped++;
        return;
    }
    struct early_event *e = &root.early[root.n_early++];
    (void)snprintf(e->type, sizeof e->type, "%s", type);
    (void)snprintf(e->data, sizeof e->data, "%s", data);
}

/* A link of root's own to the log, once it serves. */
static void open_log(void) {
    int pair[2];
    if (chan_pair(CHAN_STREAM, pair) < 0)
        return;
    auto_close int theirs = pair[0], ours = pair[1];
    struct msg_introduce introduce = {.role = role_name(ROLE_ROOT), .pid = host_pid(), .generation = 1};
    if (chan_send_fds(root.children[0].control, MSG_INTRODUCE, &introduce, &theirs, 1) < 0)
        return;
    struct peer peer = {.role = ROLE_EVENTLOG};
    root.log = role_chan(&root.ctx, take_fd(&ours), CHAN_STREAM, &peer, FRAME_CONTROL_MAX);
    for (uint32_t i = 0; root.log && i < root.n_early; i++)
        send_event(root.early[i].type, root.early[i].data, false);
    if (root.log)
        root.n_early = 0;
    if (root.dropped)
        log_warn("event=early_events_dropped n=%u", root.dropped);
    root.dropped = 0;
}

/* ---- policy ---- */

static void step(struct restart_event event);

static void on_timer(void *arg) {
    step((struct restart_event){.type = RESTART_EV_TIMER});
}

static int extra_fd_of(enum role_id role) {
    return role == ROLE_EVENTLOG ? ROOT_FD_STATE : role == ROLE_GATEWAY ? ROOT_FD_LISTEN : -1;
}

static void say(const char *text) {
    (void)!write(ROOT_FD_STATUS, text, strlen(text)); /* a launcher that is gone takes us along anyway */
}

static bool start(const struct restart_action *action, struct restart_event *next) {
    uint32_t i = action->child;
    if (i == 0) { /* the log's successor gets a new link of ours */
        chan_close(root.log);
        root.log = NULL;
    }
    int r = tree_start(&root.ctx, root.children, i, action->generation, ROOT_FD_SPEC, extra_fd_of(tree[i].role));
    if (r == 0) {
        if (action->generation > 1)
            root.children[i].restarts++;
        note("process.started", "{\"role\":\"%s\",\"generation\":%u,\"pid\":%d,\"delay_ms\":%lld}",
             role_name(tree[i].role), action->generation, root.children[i].host_pid, (long long)action->delay_ms);
        return false;
    }
    log_error("event=start_failed child=%s why=\"%s\"", tree[i].program, err_text());
    bool want = r == -EAGAIN || r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOSPC;
    *next = (struct restart_event){
        .type = want ? RESTART_EV_AGAIN : RESTART_EV_FAILED, .child = i, .generation = action->generation};
    return true;
}

static void signal_child(uint32_t i, int signo) {
    if (root.children[i].pid)
        (void)kill(root.children[i].pid, signo);
}

static void stop_log_now(void *arg) {
    root.stop_ref = 0;
    signal_child(0, SIGTERM);
}

/* The last record of an orderly stop is the stop itself: the log is told to end when that record is on disk. */
static void stop_log(void) {
    if (root.log)
        send_event("system.stop", root.policy.gave_up ? "{\"reason\":\"gave_up\"}" : "{\"reason\":\"stopped\"}", true);
    if (!root.stop_ref ||
        loop_timer_set(root.ctx.loop, &root.stop_wait, now_ms() + root.ctx.spec->stop / 2, stop_log_now, NULL) < 0)
        stop_log_now(NULL);
}

static void stop(uint32_t i) {
    bool whole = root.policy.stopping || root.policy.gave_up;
    if (i == 0 && whole)
        stop_log();
    else
        signal_child(i, whole ? SIGTERM : SIGQUIT); /* a victim of another's death is started again */
    signal_child(i, SIGCONT);
}

static bool perform(const struct restart_action *action, struct restart_event *next) {
    switch (action->type) {
    case RESTART_ACT_START:
        return start(action, next);
    case RESTART_ACT_STOP:
        stop(action->child);
        return false;
    case RESTART_ACT_KILL:
        log_warn("event=stop_deadline child=%s", tree[action->child].program);
        signal_child(action->child, SIGKILL);
        return false;
    case RESTART_ACT_GAVE_UP:
        note("process.gave_up", "{\"role\":\"%s\"}", role_name(tree[action->child].role));
        if (!root.said_ready)
            say("a child keeps failing to start; its reason is on standard error\n");
        return false;
    case RESTART_ACT_SHUTDOWN:
        root.exit_code = action->failed ? 7 : 0;
        loop_stop(root.ctx.loop, root.exit_code);
        return false;
    }
    return false;
}

static void retitle(void) {
    uint32_t up = 0;
    for (uint32_t i = 0; i < TREE_CHILDREN; i++)
        up += root.policy.child[i].state == CHILD_UP;
    title_set("root rest_for_one %u/%u up%s", up, TREE_CHILDREN, root.policy.stopping ? " stopping" : "");
    if (up == TREE_CHILDREN && !root.said_ready) {
        root.said_ready = true;
        note("system.ready", "{\"children\":%u}", TREE_CHILDREN);
        say("ready\n");
    }
}

static void step(struct restart_event event) {
    bool again = true;
    while (again) {
        struct restart_actions actions;
        restart_step(&root.policy, event, now_ms(), &actions);
        again = false;
        for (uint32_t i = 0; i < actions.n; i++)
            again = perform(&actions.list[i], &event) || again;
    }
    int64_t due = restart_next_ms(&root.policy);
    if (due == INT64_MAX)
        loop_timer_clear(root.ctx.loop, &root.timer);
    else if (loop_timer_set(root.ctx.loop, &root.timer, due, on_timer, NULL) < 0)
        die(1, "timer");
    retitle();
}

static void stop_all(const char *why) {
    if (root.stopping)
        return;
    root.stopping = true;
    note("system.stopping", "{\"reason\":\"%s\"}", why);
    step((struct restart_event){.type = RESTART_EV_STOP});
}

/* ---- messages ---- */

static int child_of_chan(const struct chan *c) {
    for (uint32_t i = 0; i < TREE_CHILDREN; i++)
        if (root.children[i].control == c)
            return (int)i;
    return -1;
}

static int on_ready(void *self, struct chan *from, struct msg *m) {
    int i = child_of_chan(from);
    if (i < 0)
        return err_raise(-EPROTO, "ready from a stranger");
    if (i == 0 && !root.log)
        open_log();
    step((struct restart_event){
        .type = RESTART_EV_READY, .child = (uint32_t)i, .generation = root.children[i].generation});
    return 0;
}

static int on_idle(void *self, struct chan *from, struct msg *m) {
    if (root.ctx.spec->short_lived)
        stop_all("idle");
    return 0;
}

static int on_stop_tree(void *self, struct chan *from, struct msg *m) {
    stop_all("asked");
    return 0;
}

static int on_list(void *self, struct chan *from, struct msg *m) {
    auto_buf struct buf out = BUF_NULL(FRAME_PACKET_MAX);
    (void)buf_printf(&out,
                     "[{\"role\":\"launcher\",\"id\":\"launcher\",\"pid\":%d,\"generation\":1,\"restarts\":0,"
                     "\"state\":\"up\",\"age_ms\":%lld}",
                     spawn_host_pid(ROOT_FD_LAUNCHER), (long long)(now_ms() - root.booted_ms));
    (void)buf_printf(&out,
                     ",{\"role\":\"root\",\"id\":\"root\",\"pid\":%d,\"generation\":1,\"restarts\":0,"
                     "\"state\":\"up\",\"age_ms\":%lld}",
                     host_pid(), (long long)(now_ms() - root.booted_ms));
    for (uint32_t i = 0; i < TREE_CHILDREN; i++)
        (void)buf_printf(&out,
                         ",{\"role\":\"%s\",\"id\":\"%s\",\"pid\":%d,\"generation\":%u,\"restarts\":%u,"
                         "\"state\":\"%s\",\"age_ms\":%lld}",
                         role_name(tree[i].role), role_name(tree[i].role),
                         root.children[i].pid ? root.children[i].host_pid : 0, root.children[i].generation,
                         root.children[i].restarts, restart_child_state_name(root.policy.child[i].state),
                         (long long)(now_ms() - root.children[i].started_ms));
    (void)buf_addz(&out, "]");
    struct msg_listing listing = {.children = {out.p, out.n}};
    return buf_failed(&out) ? out.failure : chan_send(from, MSG_LISTING, &listing);
}

static int on_durable(void *self, struct chan *from, struct msg *m) {
    if (root.stop_ref && m->durable.ref == root.stop_ref) {
        loop_timer_clear(root.ctx.loop, &root.stop_wait);
        stop_log_now(NULL);
    }
    return 0;
}

static int on_accepted(void *self, struct chan *from, struct msg *m) {
    return 0;
}

static int on_refused(void *self, struct chan *from, struct msg *m) {
    log_warn("event=log_refused error=%s", m->refused.error);
    if (root.stop_ref && m->refused.ref == root.stop_ref) {
        loop_timer_clear(root.ctx.loop, &root.stop_wait);
        stop_log_now(NULL);
    }
    return 0;
}

static const struct accept accepts[] = {
    {MSG_READY, M_STATIC, 0, on_ready},           {MSG_IDLE, M(GATEWAY), 0, on_idle},
    {MSG_STOP_TREE, M(GATEWAY), 0, on_stop_tree}, {MSG_LIST, M(GATEWAY), 0, on_list},
    {MSG_DURABLE, M(EVENTLOG), 0, on_durable},    {MSG_ACCEPTED, M(EVENTLOG), 0, on_accepted},
    {MSG_REFUSED, M(EVENTLOG), 0, on_refused},
};

static void on_closed(void *self, struct chan *c, int reason) {
    if (root.log == c)
        root.log = NULL;
    int i = child_of_chan(c);
    if (i < 0)
        return;
    root.children[i].control = NULL;
    if (reason < 0) { /* garbage on a control link costs the child its life; its exit is the event */
        note("process.protocol_error", "{\"role\":\"%s\"}", role_name(tree[i].role));
        signal_child((uint32_t)i, SIGKILL);
    }
}

static const struct role root_role = {
    .id = ROLE_ROOT,
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .profile = {.keep_capabilities = true, .data_bytes = UINT64_MAX}, /* inherited: tools have limits of their own */
    .closed = on_closed,
};

/* ---- signals ---- */

static void reaped(pid_t pid, int status) {
    for (uint32_t i = 0; i < TREE_CHILDREN; i++) {
        struct tree_child *child = &root.children[i];
        if (child->pid != pid)
            continue;
        bool signalled = WIFSIGNALED(status);
        note("process.exited", "{\"role\":\"%s\",\"generation\":%u,\"pid\":%d,\"%s\":%d}", role_name(tree[i].role),
             child->generation, child->host_pid, signalled ? "signal" : "code",
             signalled ? WTERMSIG(status) : WEXITSTATUS(status));
        child->pid = 0;
        chan_close(child->control);
        child->control = NULL;
        if (i == 0) {
            chan_close(root.log);
            root.log = NULL;
        }
        step((struct restart_event){.type = RESTART_EV_EXIT,
                                    .child = i,
                                    .generation = child->generation,
                                    .normal = !signalled && WEXITSTATUS(status) == 0});
    }
}

static void on_child(void *arg, const struct signalfd_siginfo *info) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) /* orphans of the tree end here too */
        reaped(pid, status);
}

static void on_term(void *arg, const struct signalfd_siginfo *info) {
    stop_all("signal");
}

/* The registry alone has something to read again. */
static void on_hup(void *arg, const struct signalfd_siginfo *info) {
    for (uint32_t i = 0; i < TREE_CHILDREN; i++)
        if (tree[i].role == ROLE_REGISTRY)
            signal_child(i, SIGHUP);
}

static void on_launcher(void *arg, uint32_t events) {
    _exit(1); /* the kernel kills everything in this namespace */
}

static int die_with_launcher(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_raise(-errno, "PDEATHSIG");
    struct pollfd fd = {ROOT_FD_LAUNCHER, POLLIN, 0};
    if (poll(&fd, 1, 0) != 0) /* it died before we asked to be told; getppid() says 0 here and nothing else */
        _exit(1);
    return loop_add(root.ctx.loop, &root.launcher, ROOT_FD_LAUNCHER, EPOLLIN, on_launcher, NULL);
}

static int make_policy(const struct spec *spec) {
    struct restart_config config = {
        .strategy = REST_FOR_ONE,
        .intensity = spec->restart_intensity,
        .period_ms = spec->restart_period,
        .backoff_ms = spec->backoff,
        .backoff_max_ms = spec->backoff_max,
        .stable_ms = spec->stable,
        .start_ms = spec->start,
        .stop_ms = spec->stop,
        .children = TREE_CHILDREN,
    };
    for (uint32_t i = 0; i < TREE_CHILDREN; i++) {
        config.type[i] = PERMANENT;
        if (tree[i].supervisor) /* its own workers have stop_ms; ours is the deadline behind theirs */
            config.child_stop_ms[i] = spec->stop + spec->cancel_timeout + 1000;
    }
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof seed, 0); /* only spreads retries */
    return restart_init(&root.policy, &config, seed);
}

int root_main(int argc, char **argv) {
    title_init(argc, argv);
    log_init("root", NULL, 1, 0);
    title_set("root starting");
    root.ctx = (struct role_ctx){.role = &root_role, .self = &root, .generation = 1, .extra_fd = -1};
    root.launcher = LOOP_SOURCE_NULL;
    root.booted_ms = now_ms();
    root.ctx.loop = loop_new(ROOT_FD__END);
    if (!root.ctx.loop || die_with_launcher() < 0 || profile_apply(&root_role.profile) < 0)
        die(7, "root");
    if (spec_map(ROOT_FD_SPEC, &root.ctx.spec) < 0 || make_policy(root.ctx.spec) < 0)
        die(7, "specification");
    (void)setsid(); /* a terminal's ^C is the launcher's business alone; fails only if we lead a session already */
    for (int fd = ROOT_FD_SPEC; fd < ROOT_FD__END; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct loop *loop = root.ctx.loop;
    if (loop_signal(loop, SIGCHLD, on_child, NULL) < 0 || loop_signal(loop, SIGTERM, on_term, NULL) < 0 ||
        loop_signal(loop, SIGHUP, on_hup, NULL) < 0)
        die(7, "signals");
    note("system.boot", "{\"version\":\"%s\",\"launcher\":\"%s\"}", SOMA_VERSION,
         root.ctx.spec->short_lived ? "short_lived" : "up");
    note("system.tier", "{\"death\":1,\"what\":\"pid_namespaces\",\"user_namespace\":%s,\"tools\":\"uncontained\"}",
         root.ctx.spec->privileged ? "false" : "true");
    step((struct restart_event){.type = RESTART_EV_BOOT});
    int code = loop_run(loop);
    return code < 0 ? 7 : code;
}
