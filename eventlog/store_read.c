/* Everything that only reads. A walk hides that STORE_ALL is the events themselves while the others are rows of "index"
 * that name an event: it stands on one record, and moves to the next or the one before, in order of seq.
 *
 *   STORE_BY_RUN, "r-1":   'r' r-1 0 …0004 | 'r' r-1 0 …0009 | 'r' r-2 0 …0005        the prefix ends with the 0
 */
#include "eventlog/store_internal.h"

#include "common/err.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#define WALK_END 1        /* there is no such record (outcome) */
#define RUN_PREFIX_MIN 6u /* "r-" and four characters */

struct walk {
    struct store *store;
    MDB_txn *txn;
    MDB_cursor *cursor;
    enum store_index index;
    const char *value; /* of the index; NULL for STORE_ALL */
    size_t value_n;
    uint64_t seq; /* where it stands */
    MDB_val record;
};

static void walk_close(struct walk *w) {
    if (w->cursor)
        mdb_cursor_close(w->cursor);
    if (w->txn) {
        mdb_txn_abort(w->txn);
        w->store->reading--;
    }
    w->cursor = NULL;
    w->txn = NULL;
}
#define auto_walk __attribute__((cleanup(walk_close)))

/* A walk over nothing but a table: what the indexes and the open runs have in common. */
static int walk_begin(struct walk *w, struct store *s, MDB_dbi dbi) {
    int r = store_guard(s);
    if (r < 0)
        return err_up(r);
    w->store = s;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &w->txn);
    if (rc) {
        w->txn = NULL;
        return store_fail(s, rc, "read");
    }
    s->reading++;
    rc = mdb_cursor_open(w->txn, dbi, &w->cursor);
    if (rc) {
        w->cursor = NULL;
        return store_fail(s, rc, "read");
    }
    return 0;
}

static int walk_open(struct walk *w, struct store *s, enum store_index index, const char *value) {
    assert(index >= STORE_ALL && index <= STORE_BY_CORR);
    w->index = index;
    if (index == STORE_ALL)
        return walk_begin(w, s, s->events);
    w->value = value;
    w->value_n = value ? strnlen(value, STORE_KEY_MAX + 1) : 0;
    if (w->value_n == 0 || w->value_n > STORE_KEY_MAX)
        return err_raise(-EINVAL, "event log: a key has 1 to %u bytes", STORE_KEY_MAX);
    return walk_begin(w, s, s->index);
}

/* Is this index row one of ours? Then where does it point? */
static int walk_follow(struct walk *w, const MDB_val *key) {
    unsigned char mine[INDEX_KEY_BYTES];
    uint64_t big;
    size_t n = index_key(mine, w->index, w->value, w->value_n, 0);
    if (key->mv_size != n || memcmp(key->mv_data, mine, n - sizeof big) != 0)
        return WALK_END;
    memcpy(&big, (const char *)key->mv_data + n - sizeof big, sizeof big);
    w->seq = be64toh(big);
    MDB_val number = {sizeof w->seq, &w->seq};
    int rc = mdb_get(w->txn, w->store->events, &number, &w->record);
    if (rc)
        return err_raise(-EUCLEAN, "event log: index names record %llu: %s", (unsigned long long)w->seq,
                         mdb_strerror(rc));
    return 0;
}

/* Moves the cursor; 0: the walk stands on a record; WALK_END; negative. `key` is read by MDB_SET_RANGE only. */
static int walk_move(struct walk *w, MDB_cursor_op op, MDB_val key) {
    MDB_val value;
    int rc = mdb_cursor_get(w->cursor, &key, &value, op);
    if (rc == MDB_NOTFOUND)
        return WALK_END;
    if (rc)
        return store_fail(w->store, rc, "read");
    if (w->index != STORE_ALL)
        return walk_follow(w, &key);
    w->seq = seq_of(&key);
    w->record = value;
    return 0;
}

static int walk_step(struct walk *w, MDB_cursor_op op) {
    return walk_move(w, op, (MDB_val){0, NULL});
}

/* To the first record of the index with at least this number. */
static int walk_seek(struct walk *w, uint64_t seq) {
    unsigned char bytes[INDEX_KEY_BYTES];
    if (w->index == STORE_ALL)
        return walk_move(w, MDB_SET_RANGE, (MDB_val){sizeof seq, &seq});
    return walk_move(w, MDB_SET_RANGE, (MDB_val){index_key(bytes, w->index, w->value, w->value_n, seq), bytes});
}

/* To the last record of the index: the row before the first one behind it. */
static int walk_last(struct walk *w) {
    if (w->index == STORE_ALL)
        return walk_step(w, MDB_LAST);
    unsigned char bytes[INDEX_KEY_BYTES];
    MDB_val key = {index_key(bytes, w->index, w->value, w->value_n, UINT64_MAX), bytes}, value;
    int rc = mdb_cursor_get(w->cursor, &key, &value, MDB_SET_RANGE);
    if (rc && rc != MDB_NOTFOUND)
        return store_fail(w->store, rc, "read");
    return walk_step(w, rc ? MDB_LAST : MDB_PREV);
}

int store_query(struct store *s, enum store_index index, const char *key, uint64_t after, size_t limit,
                size_t max_bytes, store_each each, void *arg, bool *more) {
    auto_walk struct walk w = {0};
    int r = walk_open(&w, s, index, key);
    if (r < 0)
        return err_up(r);
    size_t sent = 0, bytes = 0;
    r = after == UINT64_MAX ? WALK_END : walk_seek(&w, after + 1);
    for (; r == 0; r = walk_step(&w, MDB_NEXT)) {
        bytes += w.record.mv_size;
        if (sent == limit || (sent > 0 && bytes > max_bytes))
            break;
        int stop = each(arg, w.seq, w.record.mv_data, w.record.mv_size);
        if (stop)
            return stop;
        sent++;
    }
    if (r < 0)
        return err_up(r);
    *more = r != WALK_END;
    return 0;
}

/* Goes back until `limit` or `max_bytes`; *first is the number of the first record that fits, 0 when there is none. */
static int tail_first(struct walk *w, size_t limit, size_t max_bytes, uint64_t *first) {
    size_t bytes = 0;
    uint64_t seq = 0;
    int r = limit > 0 ? walk_last(w) : WALK_END;
    for (size_t n = 1; r == 0; n++) {
        bytes += w->record.mv_size;
        if (n > 1 && bytes > max_bytes)
            break;
        seq = w->seq;
        r = n < limit ? walk_step(w, MDB_PREV) : WALK_END;
    }
    if (r < 0)
        return err_up(r);
    *first = seq;
    return 0;
}

int store_tail(struct store *s, enum store_index index, const char *key, size_t limit, size_t max_bytes,
               store_each each, void *arg) {
    auto_walk struct walk w = {0};
    uint64_t first = 0;
    int r = walk_open(&w, s, index, key);
    if (r == 0)
        r = tail_first(&w, limit, max_bytes, &first);
    if (r < 0)
        return err_up(r);
    for (r = first ? walk_seek(&w, first) : WALK_END; r == 0; r = walk_step(&w, MDB_NEXT)) {
        int stop = each(arg, w.seq, w.record.mv_data, w.record.mv_size);
        if (stop)
            return stop;
    }
    return r < 0 ? err_up(r) : 0;
}

int store_open_runs(struct store *s, int (*each)(void *arg, const char *run), void *arg) {
    auto_walk struct walk w = {0};
    int r = walk_begin(&w, s, s->open);
    if (r < 0)
        return err_up(r);
    MDB_val key, value;
    int rc;
    while ((rc = mdb_cursor_get(w.cursor, &key, &value, MDB_NEXT)) == 0) {
        char run[STORE_KEY_MAX + 1];
        if (key.mv_size > STORE_KEY_MAX)
            return err_raise(-EUCLEAN, "event log: a run's id of %zu bytes", key.mv_size);
        memcpy(run, key.mv_data, key.mv_size);
        run[key.mv_size] = '\0';
        int stop = each(arg, run);
        if (stop)
            return stop;
    }
    return rc == MDB_NOTFOUND ? 0 : store_fail(s, rc, "open runs");
}

/* Checks the record the walk stands on against the one before it, `tip`, and moves tip onto it. *bad is set when
 * another record is the suspect: the one whose hash its successor does not carry. */
static int verify_record(const struct walk *w, struct tip *tip, uint64_t *bad) {
    unsigned long long seq = tip->seq + 1;
    struct chain_link link;
    char prev[CHAIN_HEX_BYTES];
    if (w->seq != seq)
        return err_raise(-EUCLEAN, "event log: record %llu is missing", seq);
    if (chain_link_read(w->record.mv_data, w->record.mv_size, &link) < 0)
        return err_raise(-EUCLEAN, "event log: record %llu does not begin as records do", seq);
    if (link.seq != seq)
        return err_raise(-EUCLEAN, "event log: record %llu says it is %llu", seq, (unsigned long long)link.seq);
    chain_hex(&tip->hash, prev);
    if (strcmp(link.prev, prev) != 0) {
        if (seq == 1)
            return err_raise(-EUCLEAN, "event log: record 1 names one before it");
        *bad = seq - 1;
        return err_raise(-EUCLEAN, "event log: record %llu is not what record %llu vouches for", seq - 1, seq);
    }
    chain_hash(w->record.mv_data, w->record.mv_size, &tip->hash);
    tip->seq = seq;
    return 0;
}

static int verify_head(const struct tip *tip, const struct tip *head, uint64_t *bad) {
    unsigned long long seq = tip->seq;
    if (tip->seq != head->seq)
        return err_raise(-EUCLEAN, "event log: ends at record %llu, the head at %llu", seq,
                         (unsigned long long)head->seq);
    if (memcmp(&tip->hash, &head->hash, sizeof tip->hash) != 0) {
        *bad = seq;
        return err_raise(-EUCLEAN, "event log: record %llu is not what the head vouches for", seq);
    }
    return 0;
}

int store_verify(struct store *s, uint64_t *bad) {
    auto_walk struct walk w = {0};
    struct tip tip = {0};
    uint64_t suspect = 0;
    int r = walk_open(&w, s, STORE_ALL, NULL);
    if (r < 0)
        return err_up(r);
    for (r = walk_step(&w, MDB_FIRST); r == 0; r = walk_step(&w, MDB_NEXT))
        if ((r = verify_record(&w, &tip, &suspect)) < 0)
            break;
    if (r == WALK_END)
        r = verify_head(&tip, &s->durable, &suspect);
    if (r == -EUCLEAN)
        *bad = suspect ? suspect : tip.seq + 1; /* else the next one could not be read or judged */
    return err_up(r);
}

/* The run id of the first index row at or after `from`, if it begins with the prefix. */
static int run_at(struct walk *w, MDB_val from, const char *prefix, size_t n, char id[STORE_KEY_MAX + 1]) {
    MDB_val value;
    int rc = mdb_cursor_get(w->cursor, &from, &value, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND)
        return WALK_END;
    if (rc)
        return store_fail(w->store, rc, "run id");
    const char *row = from.mv_data;
    if (from.mv_size < 1 + n || row[0] != 'r' || memcmp(row + 1, prefix, n) != 0)
        return WALK_END;
    size_t id_n = strnlen(row + 1, from.mv_size - 1);
    if (id_n > STORE_KEY_MAX)
        return err_raise(-EUCLEAN, "event log: a run's id of %zu bytes", id_n);
    memcpy(id, row + 1, id_n);
    id[id_n] = '\0';
    return 0;
}

int store_resolve_run(struct store *s, const char *prefix, char *out) {
    size_t n = strnlen(prefix, STORE_KEY_MAX + 1);
    if (n < RUN_PREFIX_MIN || n > STORE_KEY_MAX || strncmp(prefix, "r-", 2) != 0)
        return err_raise(-EINVAL, "a run's id begins with r- and at least four of its characters are needed");
    auto_walk struct walk w = {0};
    char from[STORE_KEY_MAX + 2], first[STORE_KEY_MAX + 1], second[STORE_KEY_MAX + 1];
    int r = walk_begin(&w, s, s->index);
    if (r < 0)
        return err_up(r);
    from[0] = 'r';
    memcpy(from + 1, prefix, n);
    r = run_at(&w, (MDB_val){1 + n, from}, prefix, n, first);
    if (r)
        return r < 0 ? err_up(r) : err_raise(-ENOENT, "no run begins with %s", prefix);
    size_t whole = strlen(first);
    if (whole > n) { /* rows of one id continue with 0, so the next id begins behind (id, 1) */
        memcpy(from + 1, first, whole);
        from[1 + whole] = 1;
        r = run_at(&w, (MDB_val){2 + whole, from}, prefix, n, second);
        if (r <= 0)
            return r < 0 ? err_up(r) : err_raise(-ENOTUNIQ, "%s and %s begin with %s", first, second, prefix);
    }
    memcpy(out, first, whole + 1);
    return 0;
}
