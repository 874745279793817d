/* Splicing is counting: the writer below always advances its length and copies only while there is room, so one pass
 * finds both the text and whether it was too long. Nothing here is formatted by stdio: this runs for every event in
 * the one process that all others wait for. */
#include "eventlog/chain.h"

#include "common/err.h"

#include <assert.h>
#include <nettle/sha2.h>
#include <string.h>

_Static_assert(CHAIN_HASH_BYTES == SHA256_DIGEST_SIZE, "the chain is SHA-256");

#define DIGITS_MAX 20u /* of a uint64_t */

static const char hex_digit[] = "0123456789abcdef";

void chain_hash(const void *bytes, size_t n, struct chain_hash *out) {
    struct sha256_ctx ctx;
    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    sha256_digest(&ctx, sizeof out->byte, out->byte);
}

void chain_hex(const struct chain_hash *hash, char out[CHAIN_HEX_BYTES]) {
    for (size_t i = 0; i < CHAIN_HASH_BYTES; i++) {
        out[2 * i] = hex_digit[hash->byte[i] >> 4];
        out[2 * i + 1] = hex_digit[hash->byte[i] & 15];
    }
    out[CHAIN_HEX_BYTES - 1] = '\0';
}

struct writer {
    char *buf;
    size_t room, n; /* n may pass room: then nothing more is copied */
};

static void put(struct writer *w, const char *text, size_t n) {
    if (w->n <= w->room && n <= w->room - w->n)
        memcpy(w->buf + w->n, text, n);
    w->n += n;
}

static void put_text(struct writer *w, const char *text) {
    put(w, text, strlen(text));
}

static void put_u64(struct writer *w, uint64_t value) {
    char digits[DIGITS_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put(w, digits + at, sizeof digits - at);
}

/* The text stamps in the order they are written. To add a stamp, start here. */
static const struct stamp {
    const char *lead; /* what stands before the value; a quote follows it */
    size_t field;     /* offset of the pointer in struct store_event */
    int key;          /* enum chain_key, or -1: not indexed */
} stamps[] = {
    {",\"type\":\"", offsetof(struct store_event, type), -1},
    {",\"actor\":\"", offsetof(struct store_event, actor), CHAIN_ACTOR},
    {",\"task\":\"", offsetof(struct store_event, task), CHAIN_TASK},
    {",\"run\":\"", offsetof(struct store_event, run), CHAIN_RUN},
    {",\"step\":\"", offsetof(struct store_event, step), -1},
    {",\"call\":\"", offsetof(struct store_event, call), -1},
    {",\"corr\":\"", offsetof(struct store_event, corr), CHAIN_CORR},
};

/* Control characters, the quote and the backslash are all that JSON makes us escape (RFC 8259, section 7). Refusing
 * them also keeps NUL, the separator of index keys, out of every value. */
static bool is_plain(const char *value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c < 0x20 || c == '"' || c == '\\')
            return false;
    }
    return n > 0;
}

static int put_stamp(struct writer *w, const struct stamp *stamp, const char *value, struct chain_text *text) {
    size_t n = strlen(value);
    if (!is_plain(value, n))
        return err_raise(-EINVAL, "event: stamp %s is empty or would need escaping", stamp->lead + 1);
    if (stamp->key >= 0 && n > STORE_KEY_MAX)
        return err_raise(-EINVAL, "event: stamp %s is above %u bytes", stamp->lead + 1, STORE_KEY_MAX);
    put_text(w, stamp->lead);
    if (stamp->key >= 0)
        text->key[stamp->key] = (struct chain_span){.at = (uint32_t)w->n, .n = (uint32_t)n};
    put(w, value, n);
    put(w, "\"", 1);
    return 0;
}

static int put_stamps(struct writer *w, const struct store_event *event, struct chain_text *text) {
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        const char *value;
        memcpy(&value, (const char *)event + stamps[i].field, sizeof value);
        int r = value ? put_stamp(w, &stamps[i], value, text) : 0;
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

static void put_link(struct writer *w, uint64_t seq, uint64_t ts, const struct chain_hash *prev) {
    char hex[CHAIN_HEX_BYTES];
    chain_hex(prev, hex);
    put_text(w, "{\"v\":1,\"seq\":");
    put_u64(w, seq);
    put_text(w, ",\"ts\":");
    put_u64(w, ts);
    put_text(w, ",\"prev\":\"");
    put(w, hex, sizeof hex - 1);
    put(w, "\"", 1);
}

int chain_splice(const struct store_event *event, uint64_t seq, uint64_t ts, const struct chain_hash *prev, char *buf,
                 size_t room, struct chain_text *out) {
    if (!event->type)
        return err_raise(-EINVAL, "event without a type");
    /* Not a check of the body, which has passed the scanner: it catches a caller that hands over the wrong bytes. */
    if (!event->data || event->data_n < 2 || event->data[0] != '{' || event->data[event->data_n - 1] != '}')
        return err_raise(-EINVAL, "event %s: data is not the text of an object", event->type);
    if (event->pid < 0)
        return err_raise(-EINVAL, "event %s: pid %d", event->type, (int)event->pid);
    if (event->data_n > STORE_RECORD_MAX) /* also keeps the sums below far from overflow */
        return err_raise(-EMSGSIZE, "event %s: %zu bytes of data", event->type, event->data_n);

    struct writer w = {.buf = buf, .room = room};
    struct chain_text text = {0};
    put_link(&w, seq, ts, prev);
    int r = put_stamps(&w, event, &text);
    if (r < 0)
        return err_up(r);
    if (event->pid) {
        put_text(&w, ",\"pid\":");
        put_u64(&w, (uint64_t)event->pid);
    }
    put_text(&w, ",\"data\":");
    put(&w, event->data, event->data_n);
    put(&w, "}", 1);
    if (w.n > STORE_RECORD_MAX)
        return err_raise(-EMSGSIZE, "event %s: a record of %zu bytes, at most %u", event->type, w.n, STORE_RECORD_MAX);
    if (w.n > room)
        return err_raise(-ENOBUFS, "event %s: no room for a record of %zu bytes", event->type, w.n);
    text.n = w.n;
    *out = text;
    return 0;
}

struct reader {
    const char *at, *end;
    bool bad;
};

static void want(struct reader *r, const char *text) {
    size_t n = strlen(text);
    r->bad = r->bad || (size_t)(r->end - r->at) < n || memcmp(r->at, text, n) != 0;
    if (!r->bad)
        r->at += n;
}

static uint64_t want_u64(struct reader *r) {
    uint64_t value = 0;
    const char *first = r->at;
    while (!r->bad && r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        uint64_t digit = (uint64_t)(*r->at++ - '0');
        r->bad = value > (UINT64_MAX - digit) / 10;
        value = value * 10 + digit;
    }
    r->bad = r->bad || r->at == first;
    return value;
}

static void want_hex(struct reader *r, char out[CHAIN_HEX_BYTES]) {
    size_t n = CHAIN_HEX_BYTES - 1;
    r->bad = r->bad || (size_t)(r->end - r->at) < n;
    for (size_t i = 0; i < n && !r->bad; i++) {
        out[i] = *r->at++;
        r->bad = out[i] == '\0' || !strchr(hex_digit, out[i]);
    }
    out[n] = '\0';
}

int chain_link_read(const char *record, size_t n, struct chain_link *out) {
    struct reader r = {.at = record, .end = record + n};
    struct chain_link link = {0};
    want(&r, "{\"v\":1,\"seq\":");
    link.seq = want_u64(&r);
    want(&r, ",\"ts\":");
    link.ts = want_u64(&r);
    want(&r, ",\"prev\":\"");
    want_hex(&r, link.prev);
    want(&r, "\",\"type\":\"");
    if (r.bad)
        return err_raise(-EUCLEAN, "a record does not begin as records do");
    *out = link;
    return 0;
}
