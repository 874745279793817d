/* What the three files of the store share: store.c (accepting and committing), store_env.c (the LMDB environment:
 * opening, checking, growing) and store_read.c (everything that only reads). Nobody else includes this.
 *
 *   unnamed database   "head" -> struct head_row, beside the three below
 *   "events"           seq, native uint64_t (MDB_INTEGERKEY), always appended -> record text
 *   "index"            kind byte, value, 0, seq big-endian -> nothing
 *   "open"             run id -> seq of its run.accepted
 *
 * A row costs one page written per commit whatever its size. So the head lives in the unnamed database: that page is
 * rewritten by every commit anyway, since it holds the roots of the other three. */
#ifndef SOMA_EVENTLOG_STORE_INTERNAL_H
#define SOMA_EVENTLOG_STORE_INTERNAL_H

#include "eventlog/chain.h"

#include <lmdb.h>

#define STORE_FORMAT 1u
#define INDEX_KEY_BYTES (1u + STORE_KEY_MAX + 1u + 8u)

struct tip {
    uint64_t seq;
    struct chain_hash hash;
};

struct head_row {
    uint32_t format, zero;
    struct tip tip;
};

struct store {
    pid_t pid; /* of the process that opened it: LMDB works on, silently and wrongly, in a forked child */
    int dirfd;
    bool writable;
    int broken;       /* 0, or the error every call returns */
    unsigned reading; /* read transactions open: see store_commit() */
    MDB_env *env;     /* NULL while closed */
    MDB_dbi head, events, index, open;
    size_t page_bytes, map_bytes, map_max, file_bytes;
    struct tip durable, accepted;
    uint64_t ts; /* of the last accepted record */
    char *queue; /* STORE_PENDING_MAX bytes: struct queued and its text, one after the other */
    size_t used, records;
};

/* Every public call begins with this: asserts the process, returns 0 or why the store is beyond use. */
int store_guard(const struct store *s);

/* Turns an LMDB return code (errno or MDB_*) into a raised negative errno. */
int store_fail(const struct store *s, int rc, const char *what);

/* store_env.c. Finding judges the directory and makes an empty log where there is none and s->writable. Opening reads
 * the head into s->durable and s->accepted and checks it; a failed opening leaves s->env NULL. */
int store_env_find(struct store *s);
int store_env_open(struct store *s);
void store_env_close(struct store *s);
/* Doubles the map until `bytes` fit, never above map_max. No transaction may be open. -ENOSPC at the ceiling. */
int store_env_grow(struct store *s, size_t bytes);
size_t store_env_used(const struct store *s); /* bytes of pages in use or free for reuse */
/* Makes the file at least `bytes` long, so that a shorter one is always a damaged one. */
int store_env_lengthen(struct store *s, size_t bytes);

static inline uint64_t seq_of(const MDB_val *key) {
    uint64_t seq = 0;
    if (key->mv_size == sizeof seq)
        __builtin_memcpy(&seq, key->mv_data, sizeof seq);
    return seq; /* 0, no record's number, for a key that is none */
}

/* Writes the index key of (kind, value, seq) and returns its length; without the last 8 bytes it is the prefix. */
size_t index_key(unsigned char *out, enum store_index index, const char *value, size_t n, uint64_t seq);

#endif
