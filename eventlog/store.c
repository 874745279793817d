/* Accepting and committing. Between the two an event lives in one flat queue, its text already final, and where its
 * indexed values stand in that text is all a commit needs to know: no allocation per event.
 *
 *   queue  [struct queued | text | pad][struct queued | text | pad] …      s->used bytes, s->records entries
 *
 * `accepted` is the end of the chain in memory, `durable` its end on disk. A commit moves durable up to accepted, a
 * failed one moves accepted back to durable. */
#include "eventlog/store_internal.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <assert.h>
#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <time.h>

#define QUEUE_KEEP (1u << 20) /* bytes of the queue's memory that stay resident after a large batch */

enum run_edge { RUN_SAME, RUN_OPENS, RUN_ENDS };

struct queued {
    uint32_t next; /* bytes to the following entry */
    uint32_t edge; /* enum run_edge */
    struct chain_text text;
};
_Static_assert(sizeof(struct queued) % _Alignof(struct queued) == 0 && _Alignof(struct queued) <= 8, "queue alignment");

int store_guard(const struct store *s) {
    assert(s->pid == getpid());
    return s->broken ? err_raise(s->broken, "the event log had to be closed") : 0;
}

static int errno_of(int rc) {
    switch (rc) {
    case EDQUOT:
    case MDB_MAP_FULL:
        return -ENOSPC;
    case MDB_PANIC:
        return -EIO;
    case MDB_TXN_FULL:
        return -ENOBUFS;
    default:
        return rc > 0 ? -rc : -EUCLEAN; /* all other codes of LMDB's say that the file is not what it wrote */
    }
}

/* LMDB reports a write cut short by a full disk as EIO (mdb_page_flush: "short write, filesystem full?"). */
static bool disk_is_full(const struct store *s) {
    struct statfs fs;
    return fstatfs(s->dirfd, &fs) == 0 && fs.f_bavail * (uint64_t)fs.f_bsize < s->used + 16 * s->page_bytes;
}

int store_fail(const struct store *s, int rc, const char *what) {
    int code = errno_of(rc);
    if (code == -EIO && disk_is_full(s))
        code = -ENOSPC;
    return err_raise(code, "event log: %s: %s", what, mdb_strerror(rc));
}

static enum run_edge run_edge(const char *type) {
    static const char *const ends[] = {"run.completed", "run.failed", "run.timeout", "run.cancelled"};
    if (strncmp(type, "run.", 4) != 0)
        return RUN_SAME;
    if (strcmp(type, "run.accepted") == 0)
        return RUN_OPENS;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(type, ends[i]) == 0)
            return RUN_ENDS;
    return RUN_SAME;
}

/* The wall clock may be set back; the log's time stands still until it has caught up. */
static uint64_t stamp_now(const struct store *s) {
    struct timespec now;
    int r = clock_gettime(CLOCK_REALTIME, &now);
    assert(r == 0); /* the clock exists and the pointer is ours: clock_gettime(2) has no other failure */
    uint64_t ts = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return ts > s->ts ? ts : s->ts;
}

int store_append(struct store *s, const struct store_event *event, uint64_t *seq) {
    int r = store_guard(s);
    if (r < 0)
        return err_up(r);
    if (!s->writable)
        return err_raise(-EROFS, "event log: opened for reading");
    enum run_edge edge = event->type ? run_edge(event->type) : RUN_SAME;
    if (edge != RUN_SAME && !event->run)
        return err_raise(-EINVAL, "event %s without a run", event->type);
    if (STORE_PENDING_MAX - s->used <= sizeof(struct queued))
        return err_raise(-ENOBUFS, "event log: %zu events wait to be written", s->records);

    struct queued *q = (struct queued *)(void *)(s->queue + s->used);
    char *text = (char *)(q + 1);
    uint64_t ts = stamp_now(s);
    struct chain_text spliced;
    r = chain_splice(event, s->accepted.seq + 1, ts, &s->accepted.hash, text, STORE_PENDING_MAX - s->used - sizeof *q,
                     &spliced);
    if (r < 0)
        return err_up(r);
    size_t next = (sizeof *q + spliced.n + 7) & ~(size_t)7;
    *q = (struct queued){.next = (uint32_t)next, .edge = edge, .text = spliced};
    chain_hash(text, spliced.n, &s->accepted.hash);
    s->used += next; /* the ceiling is a multiple of 8, so padding never passes it */
    s->records++;
    s->ts = ts;
    *seq = ++s->accepted.seq;
    return 0;
}

size_t index_key(unsigned char *out, enum store_index index, const char *value, size_t n, uint64_t seq) {
    static const unsigned char kind[] = {
        [STORE_BY_RUN] = 'r', [STORE_BY_ACTOR] = 'a', [STORE_BY_TASK] = 't', [STORE_BY_CORR] = 'c'};
    uint64_t big = htobe64(seq); /* LMDB compares bytes, so numbers must sort as bytes */
    out[0] = kind[index];
    memcpy(out + 1, value, n);
    out[1 + n] = 0;
    memcpy(out + 2 + n, &big, sizeof big);
    return n + 2 + sizeof big;
}

static int put_index(struct store *s, MDB_txn *txn, const struct queued *q, const char *text, uint64_t seq) {
    static const enum store_index index[] = {[CHAIN_RUN] = STORE_BY_RUN,
                                             [CHAIN_ACTOR] = STORE_BY_ACTOR,
                                             [CHAIN_TASK] = STORE_BY_TASK,
                                             [CHAIN_CORR] = STORE_BY_CORR};
    int rc = 0;
    for (size_t i = 0; i < CHAIN_KEY__COUNT && rc == 0; i++) {
        unsigned char bytes[INDEX_KEY_BYTES];
        struct chain_span span = q->text.key[i];
        if (span.n == 0)
            continue;
        MDB_val key = {index_key(bytes, index[i], text + span.at, span.n, seq), bytes}, none = {0, NULL};
        rc = mdb_put(txn, s->index, &key, &none, 0);
    }
    return rc;
}

static int put_run_edge(struct store *s, MDB_txn *txn, const struct queued *q, const char *text, uint64_t seq) {
    struct chain_span run = q->text.key[CHAIN_RUN];
    MDB_val key = {run.n, (void *)(uintptr_t)(text + run.at)}, value = {sizeof seq, &seq};
    int rc = 0;
    if (q->edge == RUN_OPENS)
        rc = mdb_put(txn, s->open, &key, &value, MDB_NOOVERWRITE); /* accepted twice: the first stands */
    else if (q->edge == RUN_ENDS)
        rc = mdb_del(txn, s->open, &key, NULL); /* ended twice: the log keeps both records, the run ended once */
    return rc == MDB_KEYEXIST || rc == MDB_NOTFOUND ? 0 : rc;
}

static int put_record(struct store *s, MDB_txn *txn, const struct queued *q, uint64_t seq) {
    const char *text = (const char *)(q + 1);
    MDB_val key = {sizeof seq, &seq}, value = {q->text.n, (void *)(uintptr_t)text};
    int rc = mdb_put(txn, s->events, &key, &value, MDB_APPEND); /* a number that is not the next is MDB_KEYEXIST */
    if (rc == 0)
        rc = put_index(s, txn, q, text, seq);
    return rc ? rc : put_run_edge(s, txn, q, text, seq);
}

static int put_head(struct store *s, MDB_txn *txn) {
    struct head_row row = {.format = STORE_FORMAT, .tip = s->accepted};
    MDB_val key = {4, (void *)(uintptr_t) "head"}, value = {sizeof row, &row};
    return mdb_put(txn, s->head, &key, &value, 0);
}

/* One transaction for the whole queue. Returns LMDB's code; the transaction is gone in every case. STORE_PENDING_MAX
 * keeps it below LMDB's list of dirty pages (512 MiB), so that none is spilled: 0.9.24 leaks pages there (ITS#9155). */
static int write_queue(struct store *s) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return rc;
    uint64_t seq = s->durable.seq;
    for (size_t at = 0; at < s->used && rc == 0;) {
        const struct queued *q = (const struct queued *)(const void *)(s->queue + at);
        rc = put_record(s, txn, q, ++seq);
        at += q->next;
    }
    if (rc == 0)
        rc = put_head(s, txn);
    if (rc == 0)
        return mdb_txn_commit(txn); /* frees the transaction even when it fails */
    mdb_txn_abort(txn);
    return rc;
}

static void queue_clear(struct store *s) {
    if (s->used > QUEUE_KEEP)
        (void)madvise(s->queue + QUEUE_KEEP, STORE_PENDING_MAX - QUEUE_KEEP, MADV_DONTNEED); /* only a saving */
    s->used = 0;
    s->records = 0;
}

/* After a failed commit LMDB may refuse all further writing (MDB_FATAL_ERROR, when it was the meta page that failed),
 * and the page cache may show either side of the commit. Opening afresh clears the first and answers the second. What
 * was written beside the meta page is harmless: no page points to it. Returns 0 when the batch turns out to be whole
 * and syncs now, else `why`. */
static int recover(struct store *s, int why) {
    struct tip before = s->durable, wanted = s->accepted;
    char text[ERR_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%s", err_text());
    queue_clear(s);
    store_env_close(s);
    int r = store_env_open(s); /* reads the head: durable and accepted are what the file says */
    if (r < 0) {
        s->broken = r;
        return err_raise(why, "%s; and it cannot be opened again", text);
    }
    if (memcmp(&s->durable, &before, sizeof before) == 0)
        return err_raise(why, "%s", text);
    if (memcmp(&s->durable, &wanted, sizeof wanted) == 0 && mdb_env_sync(s->env, 1) == 0)
        return 0;
    s->broken = why;
    return err_raise(why, "%s; whether the last batch is on disk is not known", text);
}

/* Address space for the batch before it is needed, at 80 % of the map; MDB_MAP_FULL is then the exception. */
static int prepare(struct store *s) {
    size_t wanted = store_env_used(s) + 2 * s->used;
    if (wanted / 4 * 5 > s->map_bytes && s->map_bytes < s->map_max) {
        int r = store_env_grow(s, wanted / 4 * 5);
        if (r < 0 && r != -ENOSPC) /* at the ceiling: the batch may still fit */
            return err_up(r);
    }
    return store_env_lengthen(s, wanted);
}

static int commit_queue(struct store *s) {
    int r = prepare(s);
    while (r == 0) {
        int rc = write_queue(s);
        if (rc == 0)
            return 0;
        r = store_fail(s, rc, "commit");
        if (rc == MDB_MAP_FULL)
            r = store_env_grow(s, s->map_bytes + 1);
    }
    return err_up(r);
}

int store_commit(struct store *s) {
    int r = store_guard(s);
    if (r < 0 || s->records == 0)
        return err_up(r);
    /* Without LMDB's lock file nothing else keeps a writer from reusing pages that a reader still looks at. */
    assert(s->reading == 0);
    r = commit_queue(s);
    if (r < 0)
        r = recover(s, r);
    if (r < 0)
        return err_up(r);
    s->durable = s->accepted;
    queue_clear(s);
    return 0;
}

size_t store_pending(const struct store *s) {
    assert(s->pid == getpid());
    return s->records;
}

struct store_head store_durable(const struct store *s) {
    assert(s->pid == getpid());
    struct store_head head = {.seq = s->durable.seq};
    chain_hex(&s->durable.hash, head.hash);
    return head;
}

uint64_t store_last_seq(const struct store *s) {
    assert(s->pid == getpid());
    return s->accepted.seq;
}

/* The queue is mapped whole, once: the ceiling is a fact instead of a sum, and untouched pages cost nothing. */
int store_open_sized(int dirfd, bool writable, size_t map_first, size_t map_max, struct store **out) {
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_raise(-ENOMEM, "event log");
    *s = (struct store){.pid = getpid(), .dirfd = -1, .writable = writable, .map_bytes = map_first, .map_max = map_max};
    s->queue = mmap(NULL, STORE_PENDING_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r = 0;
    if (s->queue == MAP_FAILED) {
        s->queue = NULL;
        r = err_raise(-errno, "event log: queue");
    }
    if (r == 0) {
        /* Ours, to open again after a failure; fsync(2) wants a real descriptor where the caller's may be O_PATH. */
        s->dirfd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = s->dirfd < 0 ? err_raise(-errno, "event log: directory") : 0;
    }
    if (r == 0)
        r = store_env_find(s);
    if (r == 0)
        r = store_env_open(s);
    if (r < 0) {
        store_close(s);
        return err_up(r);
    }
    *out = s;
    return 0;
}

int store_open(int dirfd, bool writable, struct store **out) {
    return store_open_sized(dirfd, writable, STORE_MAP_FIRST, STORE_MAP_MAX, out);
}

void store_close(struct store *s) {
    if (!s)
        return;
    assert(s->pid == getpid() && s->reading == 0);
    store_env_close(s);
    if (s->queue)
        munmap(s->queue, STORE_PENDING_MAX);
    s->dirfd = fd_close(s->dirfd);
    free(s);
}
