/* From append to durable. store_append() gives an event its number and its place in the chain; it waits in memory until
 * the commit that makes everything waiting durable at once.
 *
 *   append{barrier}    accepted ─┐
 *   append             accepted ─┤ end of the turn: one transaction, one sync ── durable (barriers), in order of number
 *   append{barrier}    accepted ─┘
 *
 * A relaxed event alone starts no commit: the barrier behind it would wait for two. It rides with the next, or 2 ms.
 * When a commit fails, all that waited is refused by name, and the process goes on: reads, and later appends. */
#include "eventlog/internal.h"

#include "common/err.h"
#include "common/log.h"
#include "common/title.h"

#include <stdlib.h>
#include <string.h>

#define LOOP_TURN_LINKS 64u /* the loop serves at most so many descriptors a turn: after a full one, look again */
#define LOOKS_MAX 64u       /* … but no more often than this before a commit */
#define TITLE_MS 250

/* ---- the life of a run ---- */

static enum run_life life_after(const char *type, size_t n) {
    static const struct {
        const char *type;
        enum run_life life;
    } edges[] = {
        {"run.accepted", LIFE_BEGUN}, {"run.completed", LIFE_OVER}, {"run.failed", LIFE_OVER},
        {"run.timeout", LIFE_OVER},   {"run.cancelled", LIFE_OVER},
    };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        if (strlen(edges[i].type) == n && memcmp(edges[i].type, type, n) == 0)
            return edges[i].life;
    return LIFE_UNKNOWN;
}

/* One stored record. Before its type a record holds only numbers and a hash (chain.h), so the first match is it. */
static int see_record(void *arg, uint64_t seq, const char *record, size_t n) {
    static const char mark[] = "\"type\":\"";
    enum run_life *life = arg;
    const char *type = memmem(record, n, mark, sizeof mark - 1);
    if (!type)
        return err_raise(-EUCLEAN, "event log: record %llu has no type", (unsigned long long)seq);
    type += sizeof mark - 1;
    const char *end = memchr(type, '"', n - (size_t)(type - record));
    enum run_life after = end ? life_after(type, (size_t)(end - type)) : LIFE_UNKNOWN;
    if (after != LIFE_UNKNOWN)
        *life = after;
    return *life == LIFE_OVER;
}

/* Once per link: what the disk says of this run, then what waits to be written. */
static int life_find(struct eventlog *log, const char *run, enum run_life *out) {
    enum run_life life = LIFE_FRESH;
    bool more;
    int r = store_query(log->store, STORE_BY_RUN, run, 0, SIZE_MAX, SIZE_MAX, see_record, &life, &more);
    if (r < 0)
        return err_up(r);
    for (size_t i = 0; i < log->n_waiting; i++)
        if (log->waiting[i].life > life && strcmp(log->waiting[i].run, run) == 0)
            life = log->waiting[i].life;
    *out = life;
    return 0;
}

/* NULL, or the name of the refusal. */
static const char *life_judge(struct eventlog *log, struct link *link, const struct msg_append *event) {
    const char *run = chan_peer(link->chan)->run;
    if (link->intruder) {
        (void)err_raise(-EBUSY, "run %s has a live owner; end this one, or wait and start a successor", run);
        return "run_in_use";
    }
    if (link->life == LIFE_UNKNOWN && life_find(log, run, &link->life) < 0)
        return "io";
    if (link->life == LIFE_OVER) {
        (void)err_raise(-EPROTO, "%s after the end of run %s", event->type, run);
        /* its id being asked for again is a different mistake than a word too many */
        return strcmp(event->type, "run.accepted") == 0 ? "run_in_use" : "bad_event";
    }
    if (link->life == LIFE_BEGUN && strcmp(event->type, "run.accepted") == 0) {
        (void)err_raise(-EEXIST, "run %s has been accepted before; run ids are never used again", run);
        return "run_in_use";
    }
    return NULL;
}

/* ---- accepting ---- */

static int waiting_room(struct eventlog *log) {
    if (log->n_waiting < log->cap_waiting)
        return 0;
    size_t cap = log->cap_waiting ? log->cap_waiting * 2 : 256; /* STORE_PENDING_MAX bounds the records behind it */
    struct waiting *grown = realloc(log->waiting, cap * sizeof *grown);
    if (!grown)
        return err_raise(-ENOMEM, "%zu waiting events", cap);
    log->waiting = grown;
    log->cap_waiting = cap;
    return 0;
}

static const char *either(const char *pinned, const char *said) {
    return pinned[0] ? pinned : said;
}

static struct store_event stamped(const struct peer *peer, const struct msg_append *a) {
    return (struct store_event){
        .type = a->type,
        .actor = either(peer->actor, NULL),
        .task = a->task,
        .run = either(peer->run, a->run),
        .step = a->step,
        .call = either(peer->call, a->call),
        .corr = a->corr,
        .pid = peer->pid,
        .data = a->data.p,
        .data_n = a->data.n,
    };
}

static int number(struct eventlog *log, const struct store_event *event, uint64_t *seq) {
    int r = waiting_room(log);
    if (r < 0)
        return err_up(r);
    r = store_append(log->store, event, seq);
    if (r != -ENOBUFS)
        return err_up(r);
    writer_commit(log); /* the queue is full: make room */
    r = waiting_room(log);
    return r < 0 ? err_up(r) : store_append(log->store, event, seq);
}

static uint64_t bits_of(const struct store_event *e) {
    return (e->run ? query_bit(STORE_BY_RUN, e->run) : 0) | (e->actor ? query_bit(STORE_BY_ACTOR, e->actor) : 0) |
           (e->task ? query_bit(STORE_BY_TASK, e->task) : 0) | (e->corr ? query_bit(STORE_BY_CORR, e->corr) : 0);
}

static void on_relaxed(void *arg) {
    writer_commit(arg);
}

static void keep_waiting(struct eventlog *log, struct link *link, const struct msg_append *a,
                         const struct store_event *event, uint64_t seq) {
    struct waiting *w = &log->waiting[log->n_waiting++];
    *w = (struct waiting){.link = link, .ref = a->ref, .seq = seq, .barrier = a->barrier};
    if (chan_peer(link->chan)->role == ROLE_RUN)
        w->life = life_after(a->type, strlen(a->type));
    if (w->life != LIFE_UNKNOWN) {
        link->life = w->life;
        memcpy(w->run, chan_peer(link->chan)->run, sizeof w->run);
    }
    log->fresh |= bits_of(event);
    log->barrier |= a->barrier;
    /* Without memory for a timer it must be now. */
    if (!a->barrier && !log->relaxed.index &&
        loop_timer_set(log->ctx->loop, &log->relaxed, now_ms() + RELAXED_MS, on_relaxed, log) < 0)
        log->barrier = true;
}

int on_append(void *self, struct chan *from, struct msg *m) {
    struct eventlog *log = self;
    struct link *link = link_of(from);
    const struct msg_append *a = &m->append;
    const struct peer *peer = chan_peer(from);
    link_served(log, link);
    const char *error = rights_judge(peer, a);
    if (!error && peer->role == ROLE_RUN)
        error = life_judge(log, link, a);
    if (error) {
        link_refuse(log, link, a->ref, error);
        return 0;
    }
    struct store_event event = stamped(peer, a);
    uint64_t seq;
    int r = number(log, &event, &seq);
    if (r < 0) {
        link_refuse(log, link, a->ref, error_name(r));
        return 0;
    }
    keep_waiting(log, link, a, &event, seq);
    if (a->ref > 0)
        link_tell(log, link, MSG_ACCEPTED, &(struct msg_accepted){.ref = a->ref, .seq = (int64_t)seq});
    return 0;
}

/* ---- committing ---- */

static void on_title(void *arg) {
    struct eventlog *log = arg;
    title_set("eventlog seq=%llu", (unsigned long long)store_last_seq(log->store));
}

static void committed(struct eventlog *log) {
    for (size_t i = 0; i < log->n_waiting; i++) {
        const struct waiting *w = &log->waiting[i];
        if (w->link && w->barrier && w->ref > 0)
            link_tell(log, w->link, MSG_DURABLE, &(struct msg_durable){.ref = w->ref, .seq = (int64_t)w->seq});
    }
    log->n_waiting = 0;
    if (!log->title.index) /* a title that is late is no failure */
        (void)loop_timer_set(log->ctx->loop, &log->title, now_ms() + TITLE_MS, on_title, log);
    uint64_t fresh = log->fresh;
    log->fresh = 0;
    queries_wake(log, fresh);
}

static void failed(struct eventlog *log, int r) {
    log_error("event=commit_failed events=%zu why=\"%s\"", log->n_waiting, err_text());
    for (size_t i = 0; i < log->n_waiting; i++)
        if (log->waiting[i].link && log->waiting[i].ref > 0)
            link_refuse(log, log->waiting[i].link, log->waiting[i].ref, error_name(r));
    log->n_waiting = 0;
    log->fresh = 0;
    struct link *link;
    TAILQ_FOREACH(link, &log->links, in)
    link->life = LIFE_UNKNOWN;        /* what was known may rest on an event that is gone */
    if (store_commit(log->store) < 0) /* nothing waits: this only asks whether the store is still usable */
        die(1, "event log");
}

void writer_commit(struct eventlog *log) {
    loop_timer_clear(log->ctx->loop, &log->relaxed);
    loop_timer_clear(log->ctx->loop, &log->look_again);
    log->barrier = false;
    log->n_looks = 0;
    if (store_pending(log->store) == 0)
        return;
    int r = store_commit(log->store);
    if (r < 0)
        failed(log, r);
    else
        committed(log);
}

static void on_look_again(void *arg) {
    (void)arg; /* it only keeps the next turn from sleeping */
}

void writer_turn(struct eventlog *log) {
    if (!log->barrier)
        return;
    if (log->n_served >= LOOP_TURN_LINKS && log->n_looks++ < LOOKS_MAX &&
        loop_timer_set(log->ctx->loop, &log->look_again, now_ms(), on_look_again, log) == 0)
        return;
    writer_commit(log);
}

void writer_forget(struct eventlog *log, const struct link *link) {
    for (size_t i = 0; i < log->n_waiting; i++)
        if (log->waiting[i].link == link)
            log->waiting[i].link = NULL;
}

void writer_deinit(struct eventlog *log) {
    loop_timer_clear(log->ctx->loop, &log->relaxed);
    loop_timer_clear(log->ctx->loop, &log->look_again);
    loop_timer_clear(log->ctx->loop, &log->title);
    free(log->waiting);
    log->waiting = NULL;
    log->n_waiting = log->cap_waiting = 0;
}
