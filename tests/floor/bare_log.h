/* The rows of one event in LMDB and nothing else: no hash chain, no bookkeeping, no recovery. The least that a log with
 * our rows can cost. Per event: one record keyed by its number, one index row by run and one by correlation id; per
 * transaction also the head. Tables, keys and flags are those of eventlog/store_internal.h, since a commit costs by the
 * page: if they change there, change them here, or the floor is no floor. */
#ifndef SOMA_TESTS_FLOOR_BARE_LOG_H
#define SOMA_TESTS_FLOOR_BARE_LOG_H

#include "tests/floor/floor.h"

#include <lmdb.h>

struct bare_log {
    MDB_env *env;
    MDB_dbi head, events, index;
    MDB_txn *txn; /* between begin and commit */
    uint64_t seq; /* last number given */
};
#define BARE_LOG_NULL ((struct bare_log){0})

/* Creates the log in directory `dir`. To be called by the process that will write: LMDB does not survive a fork. */
int bare_log_open(struct bare_log *log, const char *dir);
void bare_log_close(struct bare_log *log);

/* Begin, put events, commit: synced when bare_log_commit() returns. After a failure only bare_log_close() is left to
 * do. bare_log_put() parses the event, which is the one JSON parse every event costs. */
int bare_log_begin(struct bare_log *log);
int bare_log_put(struct bare_log *log, const char *event, size_t n);
int bare_log_commit(struct bare_log *log);

/* The three of them for a single event. */
int bare_log_event(struct bare_log *log, const char *event, size_t n);

#endif
