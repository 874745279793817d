/* The bare transaction. Stamps are spliced before the text of the event, which is stored as sent; the parse only
 * vouches for it and finds the correlation id. */
#include "tests/floor/bare_log.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <endian.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAP_BYTES ((size_t)1 << 32) /* reserved, not used: a sparse file */
#define KEY_MAX 64u                 /* bytes of an indexed value */
#define ID_BYTES 28u                /* of an id */

/* LMDB's own codes (MDB_*) are below -30000, the system's are positive. */
static int raise_lmdb(int code, const char *doing) {
    return err_raise(code > 0 ? -code : -EIO, "%s: %s", doing, mdb_strerror(code));
}

/* The head lives in the unnamed table, whose page every commit rewrites anyway. */
static int open_tables(struct bare_log *log) {
    int r = mdb_txn_begin(log->env, NULL, 0, &log->txn);
    if (!r)
        r = mdb_dbi_open(log->txn, NULL, 0, &log->head);
    if (!r)
        r = mdb_dbi_open(log->txn, "events", MDB_CREATE | MDB_INTEGERKEY, &log->events);
    if (!r)
        r = mdb_dbi_open(log->txn, "index", MDB_CREATE, &log->index);
    return r ? raise_lmdb(r, "create the tables") : bare_log_commit(log);
}

int bare_log_open(struct bare_log *log, const char *dir) {
    auto_free char *path = NULL;
    if (asprintf(&path, "%s/log", dir) < 0) {
        path = NULL; /* asprintf leaves it undefined */
        return err_raise(-ENOMEM, "room for a path");
    }
    int r = mdb_env_create(&log->env);
    if (!r)
        r = mdb_env_set_mapsize(log->env, MAP_BYTES);
    if (!r)
        r = mdb_env_set_maxdbs(log->env, 2);
    if (!r) /* every commit is synced: no flag here says otherwise */
        r = mdb_env_open(log->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NOLOCK, 0600);
    return r ? raise_lmdb(r, "open the log") : open_tables(log);
}

void bare_log_close(struct bare_log *log) {
    if (log->txn)
        mdb_txn_abort(log->txn);
    if (log->env)
        mdb_env_close(log->env);
    *log = BARE_LOG_NULL;
}

int bare_log_begin(struct bare_log *log) {
    int r = mdb_txn_begin(log->env, NULL, 0, &log->txn);
    return r ? raise_lmdb(r, "begin a transaction") : 0;
}

/* One row: kind, value, 0, number big-endian, so that the rows of one value are in order; no data. */
static int put_index(struct bare_log *log, char kind, const char *value, size_t n) {
    char text[1 + KEY_MAX + 1 + sizeof(uint64_t)];
    uint64_t seq = htobe64(log->seq);
    text[0] = kind;
    memcpy(text + 1, value, n);
    text[1 + n] = 0;
    memcpy(text + 2 + n, &seq, sizeof seq);
    MDB_val key = {n + 2 + sizeof seq, text}, none = {0, NULL};
    int r = mdb_put(log->txn, log->index, &key, &none, 0);
    return r ? raise_lmdb(r, "put an index row") : 0;
}

static int put_record(struct bare_log *log, const char *run, const char *event, size_t n) {
    char record[FLOOR_FRAME_MAX + 256];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    int stamps = snprintf(record, sizeof record, "{\"v\":1,\"seq\":%llu,\"ts\":%lld%09ld,\"run\":\"%s\",\"pid\":%d,",
                          (unsigned long long)log->seq, (long long)now.tv_sec, now.tv_nsec, run, 4711);
    memcpy(record + stamps, event + 1, n - 1); /* without its opening brace */
    MDB_val key = {sizeof log->seq, &log->seq}, data = {(size_t)stamps + n - 1, record};
    int r = mdb_put(log->txn, log->events, &key, &data, MDB_APPEND);
    return r ? raise_lmdb(r, "put a record") : 0;
}

int bare_log_put(struct bare_log *log, const char *event, size_t n) {
    json_error_t error;
    json_t *parsed = n <= FLOOR_FRAME_MAX ? json_loadb(event, n, JSON_REJECT_DUPLICATES, &error) : NULL;
    const char *corr = json_string_value(json_object_get(parsed, "corr"));
    if (!corr || strlen(corr) != ID_BYTES) {
        json_decref(parsed);
        return err_raise(-EPROTO, "not an event: %.*s", (int)n, event);
    }
    char run[ID_BYTES + 1]; /* as in the real log a run's events share both ids; here one is derived from the other */
    (void)snprintf(run, sizeof run, "r%s", corr + 1);
    log->seq++;
    int r = put_record(log, run, event, n);
    if (!r)
        r = put_index(log, 'r', run, ID_BYTES);
    if (!r)
        r = put_index(log, 'c', corr, ID_BYTES);
    json_decref(parsed);
    return r;
}

static int put_head(struct bare_log *log) {
    static const char name[] = "head";
    struct {
        uint32_t format, zero;
        uint64_t seq;
        char hash[32];
    } head = {.format = 1, .seq = log->seq};
    MDB_val key = {sizeof name - 1, (void *)(uintptr_t)name}, data = {sizeof head, &head};
    int r = mdb_put(log->txn, log->head, &key, &data, 0);
    return r ? raise_lmdb(r, "put the head") : 0;
}

int bare_log_commit(struct bare_log *log) {
    int r = put_head(log);
    if (r)
        return err_up(r);
    r = mdb_txn_commit(log->txn);
    log->txn = NULL; /* freed, whether it succeeded or not */
    return r ? raise_lmdb(r, "commit") : 0;
}

int bare_log_event(struct bare_log *log, const char *event, size_t n) {
    int r = bare_log_begin(log);
    if (!r)
        r = bare_log_put(log, event, n);
    return r ? err_up(r) : bare_log_commit(log);
}
