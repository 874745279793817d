/* Reading. A query is answered with one page of durable records, spliced as stored; what was accepted before it is
 * committed first, so that nobody is told less than he has already seen. Two kinds of queries wait in one list:
 *
 *   waiting   nothing to tell yet and `wait_ms` left: looked at again when a commit brought an event that may match
 *   stalled   its reader has not taken the pages it asked for before: looked at again when the turn ends
 *
 * Which commit concerns which waiting query is decided by 64 bits (query_bit): a miss is certain, a hit is checked. */
#include "eventlog/internal.h"

#include "common/buf.h"
#include "common/err.h"
#include "common/log.h"
#include "common/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG_BYTES                                                                                                  \
    (4u << 20)              /* unread by the asker: then its queries stall. A page more always fits CHAN_OUT_MAX       \
                             */
#define EVENTS_MAX 1000000u /* bytes of page.events (msg.def) */
#define PAGE_NODES (SCAN_NODES_MAX - 1000u) /* values of one page, which its reader scans as one text */
#define OPEN_RUNS_PAGE 100u

_Static_assert(PAGE_BYTES + 1002 <= EVENTS_MAX && 2 * EVENTS_MAX + BACKLOG_BYTES <= CHAN_OUT_MAX, "a page fits");

enum { PAGE_FULL = 1 };
enum answer { ANSWERED, NOTHING, STALLED };

struct query {
    TAILQ_ENTRY(query) in;
    struct eventlog *log;
    struct link *link;
    int64_t ref;
    enum store_index by;
    char key[STORE_KEY_MAX + 1];
    uint64_t after, bit;
    size_t limit, tail;
    int64_t until_ms; /* 0: does not wait */
    bool stalled;
    struct loop_timer timer;
};

uint64_t query_bit(enum store_index index, const char *key) {
    uint32_t hash = 2166136261u ^ (uint32_t)index; /* FNV-1a */
    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619u;
    return UINT64_C(1) << (hash >> 26);
}

/* ---- one page ---- */

struct page {
    struct buf text;
    uint64_t last; /* number told last */
    unsigned nodes;
    bool any;
};

/* Returns PAGE_FULL when another record would make the page more than its reader accepts. */
static int add_record(void *arg, uint64_t seq, const char *record, size_t n) {
    struct page *page = arg;
    unsigned nodes = scan_cost(record, n).nodes;
    if (page->any && page->nodes + nodes > PAGE_NODES)
        return PAGE_FULL;
    page->nodes += nodes;
    if (page->any)
        (void)buf_add(&page->text, ",", 1);
    page->any = true;
    page->last = seq;
    return buf_add(&page->text, record, n);
}

static int read_page(const struct query *q, struct page *page, bool *more) {
    (void)buf_addz(&page->text, "[");
    int r = q->tail ? store_tail(q->log->store, q->by, q->key, q->tail, PAGE_BYTES, add_record, page)
                    : store_query(q->log->store, q->by, q->key, q->after, q->limit, PAGE_BYTES, add_record, page, more);
    if (r == PAGE_FULL)
        *more = true;
    return r < 0 ? err_up(r) : buf_addz(&page->text, "]");
}

static bool reader_behind(const struct query *q) {
    return chan_queued(q->link->chan) > BACKLOG_BYTES;
}

/* Everything accepted has been committed by the caller: not here, since a commit answers other queries of the list. */
static enum answer answer(struct query *q) {
    if (reader_behind(q))
        return STALLED;
    struct page page = {.text = BUF_NULL(EVENTS_MAX), .last = q->after};
    bool more = false;
    int r = read_page(q, &page, &more);
    enum answer result = r == 0 && !page.any && q->until_ms > now_ms() ? NOTHING : ANSWERED;
    if (r < 0) {
        link_refuse(q->log, q->link, q->ref, error_name(r));
    } else if (result == ANSWERED) {
        struct msg_page m = {.ref = q->ref,
                             .events = {page.text.p, page.text.n},
                             .next = (int64_t)page.last,
                             .key = q->by == STORE_BY_RUN ? q->key : NULL,
                             .more = more};
        link_tell(q->log, q->link, MSG_PAGE, &m);
    }
    buf_deinit(&page.text);
    return result;
}

/* ---- waiting ---- */

static void query_free(struct query *q) {
    loop_timer_clear(q->log->ctx->loop, &q->timer);
    TAILQ_REMOVE(&q->log->queries, q, in);
    q->link->n_queries--;
    q->log->n_stalled -= q->stalled;
    free(q);
}

static void set_stalled(struct query *q, bool stalled) {
    q->log->n_stalled += stalled;
    q->log->n_stalled -= q->stalled;
    q->stalled = stalled;
}

static void again(struct query *q) {
    enum answer result = answer(q);
    if (result == ANSWERED)
        query_free(q);
    else
        set_stalled(q, result == STALLED);
}

/* The end of this turn answers it, after a commit that may do so before. */
static void on_until(void *arg) {
    struct query *q = arg;
    q->until_ms = 0;
    set_stalled(q, true);
}

static void park(struct query *asked, enum answer why) {
    struct eventlog *log = asked->log;
    if (asked->link->n_queries == QUERIES_MAX) {
        (void)err_raise(-ENOBUFS, "%u queries of this link wait already; ask again when one is answered", QUERIES_MAX);
        link_refuse(log, asked->link, asked->ref, "too_large");
        return;
    }
    struct query *q = malloc(sizeof *q);
    if (q)
        *q = *asked;
    if (!q || (q->until_ms && loop_timer_set(log->ctx->loop, &q->timer, q->until_ms, on_until, q) < 0)) {
        free(q);
        (void)err_raise(-ENOMEM, "a waiting query");
        link_refuse(log, asked->link, asked->ref, "io");
        return;
    }
    set_stalled(q, why == STALLED);
    q->link->n_queries++;
    TAILQ_INSERT_TAIL(&log->queries, q, in);
}

void queries_wake(struct eventlog *log, uint64_t fresh) {
    for (struct query *q = TAILQ_FIRST(&log->queries), *next; q; q = next) {
        next = TAILQ_NEXT(q, in); /* again() frees no other */
        if (!q->stalled && (q->by == STORE_ALL || q->bit & fresh))
            again(q);
    }
}

static bool any_servable(struct eventlog *log) {
    const struct query *q;
    TAILQ_FOREACH(q, &log->queries, in)
    if (q->stalled && !reader_behind(q))
        return true;
    return false;
}

/* A reader that takes bytes makes a turn (the socket is writable), so nothing stalled is forgotten. */
void queries_turn(struct eventlog *log) {
    if (!log->n_stalled || !any_servable(log))
        return;
    writer_commit(log);
    for (struct query *q = TAILQ_FIRST(&log->queries), *next; q; q = next) {
        next = TAILQ_NEXT(q, in);
        if (q->stalled)
            again(q);
    }
}

void queries_forget(struct eventlog *log, const struct link *link) {
    for (struct query *q = TAILQ_FIRST(&log->queries), *next; q; q = next) {
        next = TAILQ_NEXT(q, in);
        if (q->link == link)
            query_free(q);
    }
}

/* ---- the query as asked ---- */

static int index_by_name(const char *name) {
    static const char *const names[] = {[STORE_ALL] = "all",
                                        [STORE_BY_RUN] = "run",
                                        [STORE_BY_ACTOR] = "actor",
                                        [STORE_BY_TASK] = "task",
                                        [STORE_BY_CORR] = "corr"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

/* NULL, or the refusal's name. A whole id that is waited for need not be there yet, nor need one's own. */
static const char *resolve(struct query *q) {
    bool whole = id_valid(q->key, 'r');
    if (q->by != STORE_BY_RUN || (whole && (q->until_ms || chan_peer(q->link->chan)->role != ROLE_GATEWAY)))
        return NULL;
    writer_commit(q->log);
    int r = store_resolve_run(q->log->store, q->key, q->key);
    if (r == 0)
        return NULL;
    return r == -ENOTUNIQ ? "ambiguous" : r == -ENOENT || r == -EINVAL ? "not_found" : error_name(r);
}

static const char *understand(const struct msg_query *m, struct query *q) {
    int by = index_by_name(m->by);
    if (by < 0 || (by != STORE_ALL && (!m->key || !m->key[0]))) {
        (void)err_raise(-EPROTO, "a query is by all, or by run, actor, task or corr with a key");
        return "bad_event";
    }
    q->by = (enum store_index)by;
    if (by != STORE_ALL)
        (void)snprintf(q->key, sizeof q->key, "%s", m->key);
    if (!rights_ask(chan_peer(q->link->chan), q->by, q->key)) {
        (void)err_raise(-EPERM, "a %s may ask for its own events only", role_name(chan_peer(q->link->chan)->role));
        return "denied";
    }
    q->ref = m->ref;
    q->after = (uint64_t)m->after;
    q->tail = (size_t)m->tail;
    q->limit = m->limit ? (size_t)m->limit : PAGE_EVENTS;
    q->until_ms = m->wait_ms ? now_ms() + m->wait_ms : 0;
    return resolve(q);
}

int on_query(void *self, struct chan *from, struct msg *m) {
    struct query q = {.log = self, .link = link_of(from)};
    link_served(q.log, q.link);
    const char *error = understand(&m->query, &q);
    if (error) {
        link_refuse(q.log, q.link, m->query.ref, error);
        return 0;
    }
    q.bit = query_bit(q.by, q.key);
    writer_commit(q.log);
    enum answer result = answer(&q);
    if (result != ANSWERED)
        park(&q, result);
    return 0;
}

/* ---- the head, and the open runs ---- */

/* Walking the chain blocks the log as long as it lasts (about a second per GiB), so it is for people only. */
int on_head(void *self, struct chan *from, struct msg *m) {
    struct eventlog *log = self;
    struct link *link = link_of(from);
    link_served(log, link);
    if (m->head.verify && chan_peer(from)->role != ROLE_GATEWAY) {
        (void)err_raise(-EPERM, "a %s may not have the whole log checked", role_name(chan_peer(from)->role));
        link_refuse(log, link, m->head.ref, "denied");
        return 0;
    }
    writer_commit(log);
    uint64_t bad = 0;
    int r = m->head.verify ? store_verify(log->store, &bad) : 0;
    if (r < 0) {
        log_error("event=verify_failed seq=%llu why=\"%s\"", (unsigned long long)bad, err_text());
        link_refuse(log, link, m->head.ref, "io");
        return 0;
    }
    struct store_head head = store_durable(log->store);
    struct msg_head_is is = {.ref = m->head.ref, .seq = (int64_t)head.seq, .hash = head.hash};
    link_tell(log, link, MSG_HEAD_IS, &is);
    return 0;
}

struct open_page {
    const char *after;
    struct buf text;
    unsigned n;
};

#define PAGE_FULL 1 /* outcome of a walk */

static int add_run(void *arg, const char *run) {
    struct open_page *page = arg;
    if (page->after && strcmp(run, page->after) <= 0)
        return 0;
    if (page->n == OPEN_RUNS_PAGE)
        return PAGE_FULL;
    if (page->n++)
        (void)buf_add(&page->text, ",", 1);
    return buf_json_str(&page->text, run);
}

int on_open_runs(void *self, struct chan *from, struct msg *m) {
    struct eventlog *log = self;
    struct link *link = link_of(from);
    link_served(log, link);
    writer_commit(log);
    struct open_page page = {.after = m->open_runs.after, .text = BUF_NULL(3600)};
    (void)buf_addz(&page.text, "[");
    int r = store_open_runs(log->store, add_run, &page);
    bool more = r == PAGE_FULL;
    if (r >= 0)
        r = buf_addz(&page.text, "]");
    if (r < 0) {
        link_refuse(log, link, m->open_runs.ref, error_name(r));
    } else {
        struct msg_open_runs_are are = {.ref = m->open_runs.ref, .runs = {page.text.p, page.text.n}, .more = more};
        link_tell(log, link, MSG_OPEN_RUNS_ARE, &are);
    }
    buf_deinit(&page.text);
    return 0;
}
