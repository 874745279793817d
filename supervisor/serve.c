/* What requesters may ask of a supervisor: one table. A request is checked for its form by the catalogue and for its
 * right by the identity of the endpoint it came on; what is refused is answered on the monitor that came with it. */
#include "supervisor/internal.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"

#include <fcntl.h>
#include <string.h>

#define LISTING_BYTES 48000u

static struct sup *sup_of(void *self) {
    return *(struct sup **)self;
}

/* ---- new peers ---- */

static int on_introduce(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = sup_of(self);
    struct peer peer;
    int r = role_introduced(from, &m->introduce, &peer);
    if (r < 0)
        return err_up(r);
    if (peer.role == ROLE_GATEWAY && chan_peer(from)->role != ROLE_ROOT)
        return err_raise(-EPERM, "%s may not introduce a gateway here", role_name(chan_peer(from)->role));
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint)
        return err_raise(-ENOMEM, "an endpoint");
    endpoint->chan = role_chan(sup->ctx, take_fd(&m->fds[0]), CHAN_SEQPACKET, &peer, FRAME_CONTROL_MAX);
    if (!endpoint->chan) {
        free(endpoint);
        return -ENOMEM;
    }
    endpoint->grants = m->n_fds > 1 ? take_fd(&m->fds[1]) : -1;
    chan_set_user(endpoint->chan, endpoint);
    return 0;
}

void sup_endpoint_closed(struct sup *sup, struct chan *c) {
    struct endpoint *endpoint = chan_user(c);
    for (struct killer *killer = sup->killers; killer; killer = killer->next)
        if (killer->who == c)
            killer->who = NULL;
    if (!endpoint)
        return;
    (void)fd_close(endpoint->grants);
    free(endpoint);
}

/* ---- spawn ---- */

/* Who may ask for which worker. */
static bool may_spawn(enum role_id who, enum role_id worker) {
    switch (worker) {
    case ROLE_TOOLCALL:
        return who == ROLE_RUN;
    case ROLE_LLMCALL:
        return who == ROLE_ACTOR;
    case ROLE_RUN:
        return who == ROLE_SESSION || who == ROLE_ACTOR;
    case ROLE_SESSION:
        return who == ROLE_GATEWAY;
    default:
        return false;
    }
}

static const struct worker_kind *kind_of(const struct sup *sup, int role) {
    for (size_t i = 0; i < sup->kind->n_workers; i++)
        if ((int)sup->kind->workers[i].role->id == role)
            return &sup->kind->workers[i];
    return NULL;
}

static void identify(struct worker *worker, const struct peer *who) {
    struct worker_start *start = &worker->start;
    start->owner = *who;
    start->owner_known = true;
    (void)snprintf(start->run, sizeof start->run, "%.28s", start->role == ROLE_RUN ? start->id : who->run);
    copy_name(start->actor, start->role == ROLE_SESSION ? start->id : who->actor);
}

/* The reason for a refusal, or NULL. */
static const char *unfit(struct sup *sup, const struct worker_kind *kind, const struct msg *m, const struct peer *who) {
    static const char letters[ROLE__COUNT] = {
        [ROLE_TOOLCALL] = 'c', [ROLE_LLMCALL] = 'c', [ROLE_RUN] = 'r', [ROLE_SESSION] = 's'};
    if (!kind || !may_spawn(who->role, kind->role->id))
        return "this peer may not start such a worker";
    if (!id_valid(m->spawn.id, letters[kind->role->id]))
        return "not an id of that kind";
    if (sup->stopping)
        return "the supervisor is stopping";
    if (sup->workers.n >= sup->ctx->spec->max_workers)
        return "as many workers of this kind live as [limits] max_workers allows; wait for some to end or raise it";
    if (kind->role->id == ROLE_RUN && m->n_fds != 3)
        return "a run without grants";
    if (kind->role->id != ROLE_RUN && m->n_fds != 2) /* a call's grants are those pinned on its run's endpoint */
        return "a descriptor that nobody asked for";
    return NULL;
}

static int on_spawn(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = sup_of(self);
    const struct peer *who = chan_peer(from);
    const struct worker_kind *kind = kind_of(sup, role_by_name(m->spawn.role));
    const char *why = unfit(sup, kind, m, who);
    if (why)
        return sup_refuse(m->fds[1], m->spawn.id, "refused", why), 0;
    if (workers_find(&sup->workers, m->spawn.id))
        return sup_refuse(m->fds[1], m->spawn.id, "in_use", "a worker of this id lives"), 0;
    struct worker *worker = workers_add(&sup->workers, m->spawn.id);
    if (!worker)
        return sup_refuse(m->fds[1], m->spawn.id, "refused", "no memory"), 0;
    worker->sup = sup;
    worker->kind = kind;
    worker->start.role = kind->role->id;
    worker->start.spec = sup->ctx->spec;
    copy_name(worker->start.profile, m->spawn.profile);
    identify(worker, who);
    worker->monitor = take_fd(&m->fds[1]);
    const struct endpoint *endpoint = chan_user(from);
    int grants = m->n_fds == 3 ? m->fds[2] : endpoint ? endpoint->grants : -1;
    worker->grants = grants >= 0 ? fcntl(grants, F_DUPFD_CLOEXEC, SLOT__END) : -1;
    if (grants >= 0 && worker->grants < 0) {
        (void)sup_refuse(worker->monitor, m->spawn.id, "refused", "no descriptor is free for its grants");
        workers_remove(&sup->workers, worker);
        return 0;
    }
    return sup_begin(sup, worker, m->fds[0]);
}

/* ---- monitors ---- */

/* The gateway, supervisors; a run its own calls; an actor or session what works for it. */
static bool may_watch(const struct peer *who, const struct worker *worker) {
    bool trusted = who->role == ROLE_GATEWAY || M_KINDS & UINT32_C(1) << who->role;
    if (trusted)
        return true;
    if (who->role == ROLE_RUN)
        return who->run[0] && strcmp(who->run, worker->start.run) == 0;
    return who->actor[0] && strcmp(who->actor, worker->start.actor) == 0;
}

static int on_attach(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = sup_of(self);
    struct worker *worker = workers_find(&sup->workers, m->attach.id);
    if (!worker || !may_watch(chan_peer(from), worker))
        return sup_refuse(m->fds[0], m->attach.id, "noproc", NULL), 0;
    (void)fd_close(worker->monitor); /* of the dead incarnation of the owner */
    worker->monitor = take_fd(&m->fds[0]);
    sup_signal(worker, SIGUSR1);
    return 0;
}

static int on_monitor(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = sup_of(self);
    struct worker *worker = workers_find(&sup->workers, m->monitor.id);
    if (!worker || !may_watch(chan_peer(from), worker))
        return sup_refuse(m->fds[0], m->monitor.id, "noproc", NULL), 0;
    if (worker->n_watchers == WATCHERS_MAX)
        return sup_refuse(m->fds[0], m->monitor.id, "refused", "this worker has as many monitors as are allowed"), 0;
    worker->watchers[worker->n_watchers++] = take_fd(&m->fds[0]);
    return 0;
}

/* ---- list ---- */

static const char *state_of(const struct worker *worker) {
    if (worker->stopping || worker->killed)
        return "stopping";
    if (worker->policy)
        return restart_child_state_name(worker->policy->child[0].state);
    return worker->pid ? "up" : "down";
}

static void put_worker(struct buf *out, const struct worker *worker) {
    const struct worker_start *start = &worker->start;
    (void)buf_printf(out, "%s{\"role\":\"%s\",\"id\":\"%s\",\"pid\":%d,\"generation\":%u,\"restarts\":%u",
                     out->n > 1 ? "," : "", role_name(start->role), start->id, worker->pid ? worker->host_pid : 0,
                     start->generation, worker->restarts);
    (void)buf_printf(out, ",\"state\":\"%s\",\"age_ms\":%lld", state_of(worker),
                     (long long)(now_ms() - worker->started_ms));
    const struct {
        const char *key, *text;
    } optional[] = {{"run", start->run}, {"actor", start->actor}, {"profile", start->profile}};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (optional[i].text[0]) {
            (void)buf_json_key(out, optional[i].key);
            (void)buf_json_str(out, optional[i].text);
        }
    (void)buf_addz(out, "}");
}

static int on_list(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = sup_of(self);
    auto_free struct worker **list = workers_sorted(&sup->workers);
    auto_buf struct buf out = BUF_NULL(FRAME_PACKET_MAX);
    (void)buf_addz(&out, "[");
    struct msg_listing listing = {0};
    for (uint32_t i = 0; list && i < sup->workers.n; i++) {
        if (m->list.after && strcmp(list[i]->start.id, m->list.after) <= 0)
            continue;
        if (out.n > LISTING_BYTES) {
            listing.more = true;
            break;
        }
        put_worker(&out, list[i]);
    }
    (void)buf_addz(&out, "]");
    listing.children = (struct json_span){out.p, out.n};
    return buf_failed(&out) ? out.failure : chan_send(from, MSG_LISTING, &listing);
}

const struct accept sup_accepts[] = {
    {MSG_INTRODUCE, M(ROOT) | M_SUPERVISORS, 0, on_introduce},
    {MSG_SPAWN, M_REQUESTERS, 0, on_spawn},
    {MSG_ATTACH, M_REQUESTERS, 0, on_attach},
    {MSG_MONITOR, M_REQUESTERS | M_KINDS, 0, on_monitor},
    {MSG_KILL, M_REQUESTERS | M_KINDS, 0, sup_on_kill},
    {MSG_LIST, M(GATEWAY), 0, on_list},
};
const size_t sup_accepts_n = sizeof sup_accepts / sizeof *sup_accepts;
