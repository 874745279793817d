/* The event log's storage: the only code that calls LMDB. Single-threaded; opened after fork, by one process, which
 * every call asserts. Records are JSON text, immutable, numbered gap-free from 1, each carrying the SHA-256 of the
 * stored bytes of the one before it:
 *
 *   {"v":1,"seq":7,"ts":1700000000000000000,"prev":"<64 hex>","type":"tool.started","run":"r-…","step":"read",
 *    "call":"c-…","corr":"…","pid":4711,"data":{…}}
 *
 * Absent stamps are left out. An append is kept in memory with its number and hash ("accepted"); store_commit() writes
 * everything waiting in one transaction and syncs ("durable"). The map grows by doubling and the batch is retried.
 * LMDB 0.9.24, lmdb.h; notes on its traps are beside the code they shaped. */
#ifndef SOMA_EVENTLOG_STORE_H
#define SOMA_EVENTLOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STORE_RECORD_MAX (1u << 20)   /* bytes of one stored record; more is -EMSGSIZE */
#define STORE_PENDING_MAX (16u << 20) /* bytes accepted and not yet committed; more is -ENOBUFS */
#define STORE_KEY_MAX 64u             /* bytes of one indexed value */
#define STORE_FILE "events.mdb"       /* its name inside the directory; mode 0600; there is no lock file beside it */
#define STORE_MAP_FIRST                                                                                                \
    ((size_t)1 << 30)                   /* bytes of address space at the start; the file is as large as its content    \
                                         */
#define STORE_MAP_MAX ((size_t)1 << 40) /* the map is not doubled beyond this: then -ENOSPC */

struct store;

enum store_index { STORE_ALL, STORE_BY_RUN, STORE_BY_ACTOR, STORE_BY_TASK, STORE_BY_CORR };

/* What the log itself says about a record; NULL or 0 = absent. `type` and `data` are required. `data` is the text of
 * one JSON object that has already passed the strict scanner; it is stored as sent. Strings are not empty, contain no
 * character that JSON would escape (ids and names: checked by the caller) and, where indexed, have at most
 * STORE_KEY_MAX bytes; -EINVAL otherwise. run.accepted and the four ends of a run need `run`. */
struct store_event {
    const char *type, *actor, *task, *run, *step, *call, *corr;
    pid_t pid;
    const char *data;
    size_t data_n;
};

struct store_head {
    uint64_t seq;  /* of the last durable record; 0 = empty */
    char hash[65]; /* lower-case hex SHA-256 of its stored bytes; 64 zeros when empty */
};

/* Opens (creating when `writable`) the log inside directory `dirfd`; the descriptor stays the caller's, who holds the
 * flock that makes this process the only opener: LMDB's own locking is off (store_env.c says why). Checks that the
 * directory's file system is not NFS, overlay or another shared one (statfs(2) magic), that the file has all its pages
 * and records, and that the last record hashes to the stored head. Needs /proc. Returns -ENOENT (no log and not
 * `writable`), -EROFS/-EACCES/-ENOSPC, -ESTALE (network or overlay file system), -EUCLEAN (a shortened or altered file,
 * named in err_text()), -ENOMEM. */
int store_open(int dirfd, bool writable, struct store **out);
/* The same with other bounds of the map; a small `map_first` is how the tests reach growth. */
int store_open_sized(int dirfd, bool writable, size_t map_first, size_t map_max, struct store **out);
/* Drops what is not committed. Accepts NULL. */
void store_close(struct store *s);

/* Numbers, stamps (CLOCK_REALTIME, never going backwards) and queues one event. *seq is its number.
 * -ENOBUFS, -EMSGSIZE and -EINVAL leave everything as it was; -EROFS when not opened `writable`. */
int store_append(struct store *s, const struct store_event *event, uint64_t *seq);

/* Makes everything queued durable; 0 at once when nothing is. On failure (-ENOSPC for a full disk, quota or map, -EIO,
 * …) the queue is dropped as a whole, the numbers are free again, and the store stays usable: the caller refuses what
 * it had accepted. Only when the file cannot even be opened again, or LMDB cannot say which side of the commit it is
 * on, does every later call return that error too: the process should then end. Not from within a store_each. */
int store_commit(struct store *s);

size_t store_pending(const struct store *s); /* records queued */

struct store_head store_durable(const struct store *s);
uint64_t store_last_seq(const struct store *s); /* of the last accepted record, durable or not */

/* Calls `each` for durable records of `index` with the given key (ignored for STORE_ALL), seq > after, ascending, until
 * `limit` records or `max_bytes` of text or `each` returns non-zero (which is returned, *more untouched). The first
 * record is delivered even when it alone is above `max_bytes`, so paging always gets on. The record is valid during the
 * call only. The read transaction lasts as long as this call. *more says whether further records exist now. */
typedef int (*store_each)(void *arg, uint64_t seq, const char *record, size_t n);
int store_query(struct store *s, enum store_index index, const char *key, uint64_t after, size_t limit,
                size_t max_bytes, store_each each, void *arg, bool *more);

/* The last `limit` records of an index, in ascending order (for "tail"); fewer when `max_bytes` does not take them. */
int store_tail(struct store *s, enum store_index index, const char *key, size_t limit, size_t max_bytes,
               store_each each, void *arg);

/* Runs that are not over: a run.accepted without run.completed|failed|timeout|cancelled. Kept as an index of its own,
 * written in the same transaction. `run` is valid during the call; non-zero from `each` ends the walk, is returned. */
int store_open_runs(struct store *s, int (*each)(void *arg, const char *run), void *arg);

/* Walks the whole chain: gaps, hashes, head. Returns 0, or -EUCLEAN with the first bad seq in *bad and err_text(). */
int store_verify(struct store *s, uint64_t *bad);

/* Resolves a unique prefix of a run id (at least 4 characters after "r-", else -EINVAL) against STORE_BY_RUN keys; a
 * whole id is its own answer. 0: *out (STORE_KEY_MAX + 1 bytes) holds the id; -ENOENT; -ENOTUNIQ. */
int store_resolve_run(struct store *s, const char *prefix, char *out);

#endif
