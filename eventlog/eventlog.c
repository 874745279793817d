/* Links and turns. A link comes with an introduction, has its identity from there for life, and is forgotten when it
 * ends: with it go its waiting queries and its claim on a run id. Nothing is ended in the middle of a turn; a link that
 * cannot be told something is marked and ended when the turn is over, so that no pointer dies under anyone's feet.
 *
 *   root ──control── introduce{toolcalls, fd} ──> link of toolcalls ── introduce{toolcall, fd} ──> link of a call
 */
#include "eventlog/eventlog.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"
#include "eventlog/internal.h"

#include <poll.h>
#include <string.h>

/* ---- talking ---- */

void link_tell(struct eventlog *log, struct link *link, enum msg_type type, const void *body) {
    if (link->doomed)
        return;
    int r = chan_send(link->chan, type, body);
    if (r == 0 || r == -EPIPE) /* gone: reading the link will say so, after what it still holds */
        return;
    log_warn("event=link_lost peer=%s msg=%s why=\"%s\"", role_name(chan_peer(link->chan)->role), msg_name(type),
             err_text());
    link->doomed = log->any_doomed = true;
}

void link_refuse(struct eventlog *log, struct link *link, int64_t ref, const char *error) {
    char why[401];
    (void)snprintf(why, sizeof why, "%s", err_text());
    if (ref > 0) {
        link_tell(log, link, MSG_REFUSED, &(struct msg_refused){.ref = ref, .error = error, .why = why});
    } else if (!link->scolded) {
        link->scolded = true; /* once: what a peer can cause at will must not fill the disk */
        log_warn("event=refused peer=%s error=%s why=\"%s\"", role_name(chan_peer(link->chan)->role), error, why);
    }
}

const char *error_name(int r) {
    switch (r) {
    case -ENOSPC:
    case -ENOBUFS:
        return "log_full";
    case -EMSGSIZE:
        return "too_large";
    case -EINVAL:
        return "bad_event";
    default:
        return "io";
    }
}

void link_served(struct eventlog *log, struct link *link) {
    if (link->turn != log->turn)
        log->n_served++;
    link->turn = log->turn;
}

/* ---- one live owner per run id ---- */

static struct link **claim_bucket(struct eventlog *log, const char *run) {
    uint32_t hash = 2166136261u; /* FNV-1a; whoever floods one bucket pays for it with slow introductions only */
    for (; *run; run++)
        hash = (hash ^ (unsigned char)*run) * 16777619u;
    return &log->claims[hash % CLAIM_BUCKETS];
}

static struct link *claim_owner(struct eventlog *log, const char *run) {
    struct link *link = *claim_bucket(log, run);
    while (link && strcmp(chan_peer(link->chan)->run, run) != 0)
        link = link->claim_next;
    return link;
}

static void claim_drop(struct eventlog *log, struct link *link) {
    struct link **at = claim_bucket(log, chan_peer(link->chan)->run);
    while (*at != link)
        at = &(*at)->claim_next;
    *at = link->claim_next;
    link->owner = false;
}

/* A dead owner may have left frames and the end of its link unread: those come first, then its claim is free. A link
 * whose other end is open is not drained: a sender that never pauses would keep us there. */
static void drain_if_dead(struct link *owner) {
    struct pollfd p = {.fd = chan_fd(owner->chan), .events = POLLRDHUP};
    if (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLRDHUP | POLLERR))
        chan_drain(owner->chan);
}

static void claim(struct eventlog *log, struct link *link) {
    const char *run = chan_peer(link->chan)->run;
    struct link *owner = claim_owner(log, run);
    if (owner) {
        drain_if_dead(owner);
        owner = claim_owner(log, run);
    }
    if (owner) {
        link->intruder = true;
        log_warn("event=run_in_use run=%s owner_pid=%d pid=%d", run, chan_peer(owner->chan)->pid,
                 chan_peer(link->chan)->pid);
        return;
    }
    struct link **bucket = claim_bucket(log, run);
    link->claim_next = *bucket;
    *bucket = link;
    link->owner = true;
}

/* ---- links ---- */

static int link_add(struct eventlog *log, struct chan *c) {
    struct link *link = calloc(1, sizeof *link);
    if (!link)
        return err_raise(-ENOMEM, "a link");
    link->chan = c;
    chan_set_user(c, link);
    TAILQ_INSERT_TAIL(&log->links, link, in);
    if (chan_peer(c)->role == ROLE_RUN)
        claim(log, link);
    return 0;
}

static void link_forget(struct eventlog *log, struct link *link) {
    if (link->owner)
        claim_drop(log, link);
    queries_forget(log, link);
    writer_forget(log, link);
    chan_set_user(link->chan, NULL);
    TAILQ_REMOVE(&log->links, link, in);
    free(link);
}

static void close_doomed(struct eventlog *log) {
    if (!log->any_doomed)
        return;
    log->any_doomed = false;
    for (struct link *link = TAILQ_FIRST(&log->links), *next; link; link = next) {
        next = TAILQ_NEXT(link, in);
        if (!link->doomed)
            continue;
        struct chan *c = link->chan;
        link_forget(log, link);
        if (c == log->ctx->control)
            die(1, "control link"); /* root reads nothing any more: it starts us and the rest anew */
        chan_close(c);
    }
}

/* What concerns the introducer ends its link; what concerns the new peer only, ends the new link: the closed end tells
 * that worker, and its supervisor is no worse for it. */
static int on_introduce(void *self, struct chan *from, struct msg *m) {
    struct eventlog *log = self;
    struct peer peer;
    int r = role_introduced(from, &m->introduce, &peer);
    if (r < 0)
        return err_up(r);
    if (chan_peer(from)->role != ROLE_ROOT && !(M_WORKERS & UINT32_C(1) << peer.role))
        return err_raise(-EPERM, "%s may not introduce a %s here", role_name(chan_peer(from)->role),
                         role_name(peer.role));
    if (!rights_identity(&peer)) {
        log_warn("event=bad_identity peer=%s by=%s", role_name(peer.role), role_name(chan_peer(from)->role));
        return 0;
    }
    struct chan *c = role_chan(log->ctx, take_fd(&m->fds[0]), CHAN_STREAM, &peer, 0);
    if (c && link_add(log, c) == 0)
        return 0;
    log_warn("event=link_lost peer=%s why=\"%s\"", role_name(peer.role), err_text());
    chan_close(c);
    return 0;
}

static void on_closed(void *self, struct chan *c, int reason) {
    struct eventlog *log = self;
    if (link_of(c))
        link_forget(log, link_of(c));
}

/* ---- turns ---- */

/* Reads what is already in the sockets. A link that has been read moves to the front, introductions among it add links
 * at the end, so the last link is an unread one until there is none. */
static void drain_all(struct eventlog *log) {
    for (struct link *link; (link = TAILQ_LAST(&log->links, links)) && !link->drained;) {
        TAILQ_REMOVE(&log->links, link, in);
        TAILQ_INSERT_HEAD(&log->links, link, in);
        link->drained = true;
        chan_drain(link->chan);
    }
}

static void finish(struct eventlog *log) {
    if (log->stopping)
        drain_all(log);
    writer_commit(log);
    store_close(log->store);
    log->store = NULL;
    for (struct link *link; (link = TAILQ_FIRST(&log->links));) {
        struct chan *c = link->chan;
        link_forget(log, link);
        if (c != log->ctx->control) /* closed by role_main(), like the loop's own */
            chan_close(c);
    }
    writer_deinit(log);
    role_exit(log->ctx, log->ctx->control ? 0 : 1);
}

static void on_turn(void *arg) {
    struct eventlog *log = arg;
    if (log->stopping || loop_stopping(log->ctx->loop)) {
        finish(log);
        return;
    }
    writer_turn(log);
    queries_turn(log);
    close_doomed(log);
    log->turn++;
    log->n_served = 0;
}

/* Only noted here: other links of this turn are still to be served. */
static void on_term(void *self) {
    ((struct eventlog *)self)->stopping = true;
}

/* ---- start ---- */

static const char *fix_for(int r) {
    switch (r) {
    case -EUCLEAN:
        return "restore the state folder from a backup; soma-eventlog --read DIR --verify names the first bad record";
    case -ENOSPC:
        return "free space on the file system of the state folder";
    case -ESTALE:
        return "set the state folder to a local file system";
    case -EACCES:
    case -EROFS:
        return "make the state folder writable for the user who starts soma";
    default:
        return "see the log of the kernel; soma doctor checks the state folder";
    }
}

static int start(struct role_ctx *ctx, void *self) {
    struct eventlog *log = self;
    log->ctx = ctx;
    TAILQ_INIT(&log->links);
    TAILQ_INIT(&log->queries);
    log->turn = 1;
    (void)nofile_raise();
    if (ctx->extra_fd < 0)
        return err_raise(-EBADF, "begin without the state folder");
    /* ctx->extra_fd carries the lock of the whole state folder (flock(2)): it stays open as long as this process. */
    int r = store_open(ctx->extra_fd, true, &log->store);
    if (r < 0) {
        log_error("event=log_unusable why=\"%s\" fix=\"%s\"", err_text(), fix_for(r));
        return err_up(r);
    }
    r = link_add(log, ctx->control);
    if (r < 0)
        return err_up(r);
    loop_on_turn(ctx->loop, on_turn, log);
    title_set("eventlog seq=%llu", (unsigned long long)store_last_seq(log->store));
    return role_ready(ctx);
}

static const struct accept accepts[] = {
    {MSG_INTRODUCE, M(ROOT) | M_SUPERVISORS, 0, on_introduce},
    {MSG_APPEND, M_LOGGERS, 0, on_append},
    {MSG_QUERY, M_READERS, 0, on_query},
    {MSG_HEAD, M_READERS, 0, on_head},
    {MSG_OPEN_RUNS, M(RUNS), 0, on_open_runs},
};

const struct role eventlog_role = {
    .id = ROLE_EVENTLOG,
    .self_size = sizeof(struct eventlog),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .start = start,
    .closed = on_closed,
    .term = on_term,
};
