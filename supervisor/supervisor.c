/* The loop of every kind: requests, deaths, deadlines become events of the restart policy; its actions become forks and
 * signals. A temporary worker (a call) has no policy: it starts once and its end is told. The supervisor is PID 1 of
 * its PID namespace, so whatever it leaves behind dies with it, and its own end is the barrier for root. */
#include "supervisor/internal.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"
#include "supervisor/spawn.h"

#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#define ACCEPTS_MAX 24u
#define LOST_WIRE_MS 1000 /* root gets this long to stop us first */

static const struct kind *the_kind; /* of this process; set once in main */
static struct sup *the_sup;

struct role_ctx *sup_ctx(struct sup *sup) {
    return sup->ctx;
}

static void retitle(struct sup *sup) {
    title_set("%s%s live=%u", role_name(sup->kind->id), sup->stopping ? " stopping" : "", sup->workers.n);
}

void copy_name(char out[NAME_SIZE], const char *text) {
    (void)snprintf(out, NAME_SIZE, "%s", text ? text : "");
}

/* ---- forking ---- */

struct body {
    const struct kind *kind;
    const struct worker_kind *worker;
    const struct worker_start *start;
};

static int run_worker(void *arg) {
    const struct body *body = arg;
    if (body->kind->child_init && body->kind->child_init(body->start) < 0)
        die(125, "worker set-up");
    return role_worker(body->worker->role, body->start);
}

static int slot_of(enum role_id wire) {
    switch (wire) {
    case ROLE_EVENTLOG:
        return SLOT_LOG;
    case ROLE_REGISTRY:
        return SLOT_REGISTRY;
    case ROLE_TOOLCALLS:
        return SLOT_TOOLCALLS;
    case ROLE_LLMCALLS:
        return SLOT_LLMCALLS;
    default:
        return SLOT_RUNS;
    }
}

/* One socketpair per wire; theirs go to the servers when the fork has succeeded and the pid is known. */
struct wiring {
    int ours[ROLE__COUNT], theirs[ROLE__COUNT];
};

static void wiring_close(struct wiring *w) {
    for (int i = 0; i < ROLE__COUNT; i++) {
        w->ours[i] = fd_close(w->ours[i]);
        w->theirs[i] = fd_close(w->theirs[i]);
    }
}
#define auto_wiring __attribute__((cleanup(wiring_close)))

static int wiring_open(uint32_t wires, struct wiring *w) {
    for (int i = 0; i < ROLE__COUNT; i++) {
        int pair[2];
        if (!(wires & UINT32_C(1) << i))
            continue;
        int r = chan_pair(i == ROLE_EVENTLOG ? CHAN_STREAM : CHAN_SEQPACKET, pair);
        if (r < 0)
            return err_up(r);
        w->ours[i] = pair[0];
        w->theirs[i] = pair[1];
    }
    return 0;
}

static int introduce_all(struct sup *sup, struct worker *worker, struct wiring *w) {
    for (int i = 0; i < ROLE__COUNT; i++) {
        if (w->theirs[i] < 0)
            continue;
        int grants = i == ROLE_TOOLCALLS ? worker->grants : -1;
        int r = sup_introduce(sup, worker, (enum role_id)i, w->theirs[i], grants);
        if (r < 0) {
            log_warn("event=introduce_failed to=%s error=%s", role_name((enum role_id)i), strerror(-r));
            return r;
        }
    }
    return 0;
}

/* Forks the next incarnation. `link` is the worker's end of its link or -1. */
static int fork_worker(struct sup *sup, struct worker *worker, int link) {
    struct sup_spawn ask = {.start = worker->start, .grants = worker->grants, .secret = -1};
    auto_wiring struct wiring wiring;
    memset(&wiring, -1, sizeof wiring);
    int r = sup->kind->prepare ? sup->kind->prepare(sup, &ask) : 0;
    auto_close int secret = ask.secret;
    if (r == 0)
        r = wiring_open(worker->kind->wires, &wiring);
    if (r < 0)
        return err_up(r);
    ask.start.wires = worker->kind->wires;
    ask.start.has_grants = worker->grants >= 0;
    ask.start.has_secret = secret >= 0;
    struct body body = {sup->kind, worker->kind, &ask.start};
    bool scope = worker->kind->scope;
    struct spawn spawn = {.new_pid = scope,
                          .new_ipc = scope,
                          .new_user = scope && !sup->ctx->spec->privileged,
                          .body = run_worker,
                          .arg = &body};
    memset(spawn.slot, -1, sizeof spawn.slot);
    spawn.slot[SLOT_LINK] = link;
    spawn.slot[SLOT_GRANTS] = scope ? worker->grants : -1;
    spawn.slot[SLOT_SECRET] = secret;
    for (int i = 0; i < ROLE__COUNT; i++)
        if (wiring.ours[i] >= 0)
            spawn.slot[slot_of((enum role_id)i)] = wiring.ours[i];
    for (uint32_t i = 0; i < ask.n_roots; i++)
        spawn.slot[SLOT_ROOTS + i] = ask.roots[i];
    struct spawned child;
    r = spawn_worker(&spawn, &child);
    if (r < 0)
        return err_up(r);
    workers_set_pid(&sup->workers, worker, child.pid);
    worker->host_pid = child.host_pid;
    worker->started_ms = now_ms();
    if (introduce_all(sup, worker, &wiring) <
        0) /* it runs, but nobody would hear it: its end is an end like any other */
        sup_signal(worker, SIGKILL);
    sup_log_worker(sup, worker, "process.started", NULL);
    if (sup->kind->up)
        sup->kind->up(sup, &worker->start, child.host_pid);
    retitle(sup);
    return 0;
}

/* ---- ends ---- */

void sup_signal(struct worker *worker, int signo) {
    if (!worker->pid)
        return;
    (void)kill(worker->pid, signo); /* not reaped yet, so the number is still its own */
    if (signo != SIGKILL)
        (void)kill(worker->pid, SIGCONT); /* a stopped one could not obey */
}

static void on_grace(void *arg) {
    struct worker *worker = arg;
    sup_signal(worker, SIGKILL);
}

void sup_end(struct sup *sup, struct worker *worker, int64_t grace_ms) {
    worker->killed = true;
    if (!worker->pid) { /* waiting for its next start: that start cleans up, or there is nothing to end */
        return;
    }
    if (grace_ms <= 0) {
        sup_signal(worker, SIGKILL);
        return;
    }
    sup_signal(worker, SIGUSR2);
    if (worker->policy) /* its timer is the policy's; the kill deadline has one of its own there only while stopping */
        loop_timer_clear(sup->ctx->loop, &worker->timer);
    if (loop_timer_set(sup->ctx->loop, &worker->timer, now_ms() + grace_ms, on_grace, worker) < 0)
        sup_signal(worker, SIGKILL);
}

/* The spec is over: nothing will run under this id again. */
static void finish(struct sup *sup, struct worker *worker, const struct ended *end, const char *reason) {
    loop_timer_clear(sup->ctx->loop, &worker->timer);
    sup_tell_down(worker, end, reason);
    if (sup->kind->down)
        sup->kind->down(sup, &worker->start, true);
    sup_kill_answered(sup, worker);
    workers_remove(&sup->workers, worker);
    retitle(sup);
    if (sup->stopping && !sup->workers.n)
        role_exit(sup->ctx, 0);
}

/* ---- the policy of one worker ---- */

static void on_policy_timer(void *arg) {
    struct worker *worker = arg;
    sup_policy(worker->sup, worker, (struct restart_event){.type = RESTART_EV_TIMER});
}

static int start_next(struct sup *sup, struct worker *worker, uint32_t generation) {
    worker->start.generation = generation;
    worker->start.recover = worker->start.recover || generation > 1;
    if (generation > 1)
        worker->restarts++;
    worker->killed = false;
    bool owned = worker->start.role == ROLE_ACTOR;
    int pair[2] = {-1, -1};
    if (worker->monitor >= 0 || owned) {
        int r = chan_pair(CHAN_STREAM, pair);
        if (r < 0)
            return err_up(r);
    }
    auto_close int ours = pair[0], theirs = pair[1];
    worker->start.owner_known = theirs >= 0;
    int r = fork_worker(sup, worker, theirs);
    if (r < 0)
        return err_up(r);
    if (owned) {
        struct peer peer = {.role = ROLE_ACTOR, .generation = generation};
        copy_name(peer.actor, worker->start.actor);
        chan_close(worker->own_link);
        worker->own_link = role_chan(sup->ctx, take_fd(&ours), CHAN_STREAM, &peer, FRAME_CONTROL_MAX);
    } else if (ours >= 0) {
        sup_tell_up(worker, ours);
    }
    return 0;
}

static bool for_want(int r) {
    return r == -EAGAIN || r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOSPC; /* the last: namespaces */
}

/* Performs one action; its outcome, if there is one at once, is the next event. */
static bool perform(struct sup *sup, struct worker *worker, const struct restart_action *action,
                    struct restart_event *next) {
    int r = 0;
    switch (action->type) {
    case RESTART_ACT_START:
        r = start_next(sup, worker, action->generation);
        *next = (struct restart_event){.generation = action->generation,
                                       .type = r == 0        ? RESTART_EV_READY
                                               : for_want(r) ? RESTART_EV_AGAIN
                                                             : RESTART_EV_FAILED};
        if (r < 0)
            log_warn("event=start_failed id=%s why=\"%s\"", worker->start.id, err_text());
        return true;
    case RESTART_ACT_STOP:
        sup_signal(worker, sup->stop_signal);
        return false;
    case RESTART_ACT_KILL:
        sup_signal(worker, SIGKILL);
        return false;
    case RESTART_ACT_GAVE_UP:
        sup_log_worker(sup, worker, "process.gave_up", NULL);
        return false;
    case RESTART_ACT_SHUTDOWN:
        return false;
    }
    return false;
}

static void arm(struct sup *sup, struct worker *worker) {
    int64_t due = restart_next_ms(worker->policy);
    if (worker->killed && worker->pid)
        return; /* the grace of a kill holds the timer */
    if (due == INT64_MAX)
        loop_timer_clear(sup->ctx->loop, &worker->timer);
    else if (loop_timer_set(sup->ctx->loop, &worker->timer, due, on_policy_timer, worker) < 0)
        log_error("event=no_timer id=%s", worker->start.id);
}

void sup_policy(struct sup *sup, struct worker *worker, struct restart_event event) {
    struct restart_policy *policy = worker->policy;
    bool again = true;
    while (again) {
        struct restart_actions actions;
        restart_step(policy, event, now_ms(), &actions);
        again = false;
        for (uint32_t i = 0; i < actions.n; i++)
            again = perform(sup, worker, &actions.list[i], &event) || again;
    }
    if (policy->child[0].state == CHILD_BACKOFF && event.type != RESTART_EV_TIMER)
        sup_log_worker(sup, worker, "process.restarting", NULL);
    if (policy->child[0].state == CHILD_DONE || policy->shut_down)
        finish(sup, worker, &worker->last, policy->gave_up ? "gave_up" : worker->last.signal ? "signalled" : "exited");
    else
        arm(sup, worker);
}

static int make_policy(struct sup *sup, struct worker *worker) {
    const struct spec *spec = sup->ctx->spec;
    struct restart_config config = {
        .strategy = ONE_FOR_ONE,
        .intensity = spec->restart_intensity,
        .period_ms = spec->restart_period,
        .backoff_ms = spec->backoff,
        .backoff_max_ms = spec->backoff_max,
        .stable_ms = spec->stable,
        .start_ms = spec->start,
        .stop_ms = spec->stop,
        .children = 1,
        .type = {worker->kind->restart},
    };
    uint64_t seed = 0;
    (void)!getrandom(&seed, sizeof seed, 0); /* only spreads retries */
    worker->policy = calloc(1, sizeof *worker->policy);
    return worker->policy ? restart_init(worker->policy, &config, seed) : err_raise(-ENOMEM, "a restart policy");
}

int sup_begin(struct sup *sup, struct worker *worker, int link) {
    worker->start.generation = 1;
    int r = worker->kind->restart == TEMPORARY ? 0 : make_policy(sup, worker);
    if (r == 0)
        r = fork_worker(sup, worker, link);
    if (r < 0) {
        char why[200];
        (void)snprintf(why, sizeof why, "%.199s", err_text());
        log_warn("event=spawn_failed id=%s why=\"%s\"", worker->start.id, why);
        (void)sup_refuse(worker->monitor, worker->start.id, "refused", why);
        workers_remove(&sup->workers, worker);
        return 0;
    }
    if (worker->policy) {
        /* the first start was made here, with the requester's own link: tell the policy so */
        struct restart_actions actions;
        restart_step(worker->policy, (struct restart_event){.type = RESTART_EV_BOOT}, now_ms(), &actions);
        sup_policy(sup, worker, (struct restart_event){.type = RESTART_EV_READY, .generation = 1});
    }
    return 0;
}

/* ---- workers without a requester ---- */

int sup_start(struct sup *sup, enum role_id role, const char *id, const char *actor, bool recover) {
    const struct worker_kind *kind = NULL;
    for (size_t i = 0; i < sup->kind->n_workers; i++)
        if (sup->kind->workers[i].role->id == role)
            kind = &sup->kind->workers[i];
    if (sup->stopping)
        return err_raise(-ESHUTDOWN, "the supervisor is stopping");
    if (!kind || workers_find(&sup->workers, id))
        return err_raise(-EEXIST, "worker %s", id);
    struct worker *worker = workers_add(&sup->workers, id);
    if (!worker)
        return -ENOMEM;
    worker->sup = sup;
    worker->kind = kind;
    worker->start.role = role;
    worker->start.spec = sup->ctx->spec;
    worker->start.owner = (struct peer){.role = sup->kind->id};
    worker->start.recover = recover;
    copy_name(worker->start.actor, actor);
    if (role == ROLE_RUN)
        (void)snprintf(worker->start.run, sizeof worker->start.run, "%.28s", id);
    int r = make_policy(sup, worker);
    if (r < 0) {
        workers_remove(&sup->workers, worker);
        return err_up(r);
    }
    sup_policy(sup, worker, (struct restart_event){.type = RESTART_EV_BOOT});
    return 0;
}

int sup_tell(struct sup *sup, const char *id, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    struct worker *worker = workers_find(&sup->workers, id);
    if (!worker || !worker->own_link)
        return -ESRCH;
    return chan_send_fds(worker->own_link, type, body, fds, n_fds);
}

/* ---- deaths ---- */

static void reaped(struct sup *sup, pid_t pid, int status, const struct rusage *usage) {
    struct worker *worker = workers_find_pid(&sup->workers, pid);
    if (!worker)
        return; /* it died before it could begin, and was refused then */
    struct ended end = {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                        .core = WIFSIGNALED(status) && WCOREDUMP(status),
                        .usage = *usage};
    worker->last = end;
    workers_set_pid(&sup->workers, worker, 0);
    loop_timer_clear(sup->ctx->loop, &worker->timer);
    sup_log_worker(sup, worker, "process.exited", &end);
    if (!worker->policy) {
        finish(sup, worker, &end, end.signal ? "signalled" : "exited");
        return;
    }
    if (sup->kind->down)
        sup->kind->down(sup, &worker->start, false);
    if (worker->kind->restart == PERMANENT)
        sup_kill_answered(sup, worker);
    bool normal = !end.signal && end.code == 0;
    sup_policy(
        sup, worker,
        (struct restart_event){.type = RESTART_EV_EXIT, .generation = worker->start.generation, .normal = normal});
}

/* One SIGCHLD may stand for many deaths: the one it names first, then a sweep. */
static void on_child(void *arg, const struct signalfd_siginfo *info) {
    int status;
    struct rusage usage;
    pid_t pid = wait4((pid_t)info->ssi_pid, &status, WNOHANG, &usage);
    while (pid > 0) {
        reaped(the_sup, pid, status, &usage);
        pid = wait4(-1, &status, WNOHANG, &usage);
    }
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
        reaped(the_sup, pid, status, &usage);
}

/* ---- stop ---- */

static void stop_one(struct worker *worker, void *arg) {
    worker->stopping = true;
    if (worker->policy)
        sup_policy(worker->sup, worker, (struct restart_event){.type = RESTART_EV_STOP});
    else
        sup_signal(worker, worker->sup->stop_signal);
}

static void kill_one(struct worker *worker, void *arg) {
    sup_signal(worker, SIGKILL);
}

static void on_stop_deadline(void *arg) {
    struct sup *sup = arg;
    log_warn("event=stop_deadline left=%u", sup->workers.n);
    workers_each(&sup->workers, kill_one, NULL);
}

/* All workers at once, one shared deadline. */
static void stop_all(struct sup *sup, int signo) {
    if (sup->stopping)
        return;
    sup->stopping = true;
    sup->stop_signal = signo;
    retitle(sup);
    int64_t due = now_ms() + sup->ctx->spec->stop;
    if (loop_timer_set(sup->ctx->loop, &sup->stop_timer, due, on_stop_deadline, sup) < 0)
        on_stop_deadline(sup);
    workers_each(&sup->workers, stop_one, NULL);
    if (!sup->workers.n)
        role_exit(sup->ctx, 0);
}

static void on_term(void *self) {
    stop_all(*(struct sup **)self, SIGTERM);
}

static void on_interrupt(void *self) {
    stop_all(*(struct sup **)self, SIGQUIT);
}

/* ---- the role ---- */

static int on_start(struct role_ctx *ctx, void *self) {
    static struct sup sup;
    sup.ctx = ctx;
    sup.kind = the_kind;
    the_sup = &sup;
    for (int i = 0; i < ROLE__COUNT; i++)
        sup.wires |= ctx->wire[i] ? UINT32_C(1) << i : 0u;
    *(struct sup **)self = &sup;
    int r = loop_signal(ctx->loop, SIGCHLD, on_child, &sup);
    if (r == 0 && the_kind->boot)
        r = the_kind->boot(&sup);
    if (r < 0)
        return err_up(r);
    retitle(&sup);
    return the_kind->boot_ready ? 0 : role_ready(ctx);
}

/* Its server died, and root is stopping us too; or it lives and closed this wire for a reason of its own, and nothing
 * started here could work any more: a fresh start can. */
static void on_lost_wire(void *arg) {
    struct sup *sup = arg;
    log_error("event=wire_lost");
    role_exit(sup->ctx, 1);
}

static void on_closed(void *self, struct chan *c, int reason) {
    struct sup *sup = *(struct sup **)self;
    struct worker *worker = chan_peer(c)->role == ROLE_ACTOR ? workers_find(&sup->workers, chan_peer(c)->actor) : NULL;
    if (worker && worker->own_link == c)
        worker->own_link = NULL;
    bool wire = !chan_user(c) && sup->wires & UINT32_C(1) << chan_peer(c)->role;
    if (wire && loop_timer_set(sup->ctx->loop, &sup->lost_wire, now_ms() + LOST_WIRE_MS, on_lost_wire, sup) < 0)
        on_lost_wire(sup);
    sup_endpoint_closed(sup, c);
}

int sup_main(const struct kind *kind, int argc, char **argv) {
    static struct accept accepts[ACCEPTS_MAX];
    static struct role role;
    size_t n = 0;
    for (size_t i = 0; i < sup_accepts_n; i++)
        accepts[n++] = sup_accepts[i];
    for (size_t i = 0; i < kind->n_accepts && n < ACCEPTS_MAX; i++)
        accepts[n++] = kind->accepts[i];
    role = (struct role){.id = kind->id,
                         .self_size = sizeof(struct sup *),
                         .accepts = accepts,
                         .n_accepts = n,
                         .profile = kind->profile,
                         .start = on_start,
                         .closed = on_closed,
                         .interrupt = on_interrupt,
                         .term = on_term};
    the_kind = kind;
    return role_main(&role, argc, argv);
}
