/* What a record of the log looks like and how records are tied together. Pure functions over bytes: no file, no clock,
 * no allocation. The text of a record is made once, here, and never re-encoded: stamps are spliced before a body that
 * is copied as sent, so the bytes that are hashed are the bytes that are stored.
 *
 *   {"v":1,"seq":N,"ts":NS,"prev":"<hash of record N-1>","type":"…"[,"actor"|"task"|"run"|"step"|"call"|"corr":"…"]…
 *    [,"pid":P],"data":{…}}
 */
#ifndef SOMA_EVENTLOG_CHAIN_H
#define SOMA_EVENTLOG_CHAIN_H

#include "eventlog/store.h"

#define CHAIN_HASH_BYTES 32u
#define CHAIN_HEX_BYTES (2u * CHAIN_HASH_BYTES + 1u) /* with the terminator */

struct chain_hash {
    uint8_t byte[CHAIN_HASH_BYTES]; /* all zero: the hash before the first record */
};

/* SHA-256 (FIPS 180-4) of `n` bytes. */
void chain_hash(const void *bytes, size_t n, struct chain_hash *out);
/* Lower-case hex, NUL-terminated. */
void chain_hex(const struct chain_hash *hash, char out[CHAIN_HEX_BYTES]);

/* Where an indexed value stands inside a record's text; n = 0: the record has none. */
struct chain_span {
    uint32_t at, n;
};
enum chain_key { CHAIN_RUN, CHAIN_ACTOR, CHAIN_TASK, CHAIN_CORR, CHAIN_KEY__COUNT };

struct chain_text {
    size_t n; /* bytes of the record */
    struct chain_span key[CHAIN_KEY__COUNT];
};

/* Writes the text of record `seq` into `buf`, not NUL-terminated. Returns -EINVAL (a stamp that is empty, needs
 * escaping, or is indexed and above STORE_KEY_MAX; no type; `data` without its braces), -EMSGSIZE above
 * STORE_RECORD_MAX, -ENOBUFS above `room`; `buf` then holds garbage and *out is untouched. */
int chain_splice(const struct store_event *event, uint64_t seq, uint64_t ts, const struct chain_hash *prev, char *buf,
                 size_t room, struct chain_text *out);

/* The link part of a stored record, as chain_splice() writes it. */
struct chain_link {
    uint64_t seq, ts;
    char prev[CHAIN_HEX_BYTES];
};

/* Reads it back. Returns -EUCLEAN when the text does not begin as a record must. */
int chain_link_read(const char *record, size_t n, struct chain_link *out);

#endif
