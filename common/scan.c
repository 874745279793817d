/* A recursive descent with a depth limit. Duplicate keys: the keys of every open object lie on one static stack as
 * (seeded hash, place); when an object closes, its slice is sorted by hash and equal neighbours are compared decoded.
 */
#include "common/scan.h"

#include "common/err.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct key {
    uint64_t hash;
    const char *p;
    uint32_t n;
};

static struct key keys[SCAN_NODES_MAX];
static size_t n_keys;
static uint64_t hash_seed;

struct scanner {
    const char *start, *p, *end;
    unsigned depth;
    unsigned nodes;
};

static int bad(const struct scanner *s, const char *what) {
    return err_raise(-EPROTO, "JSON: %s at byte %zu", what, (size_t)(s->p - s->start));
}

static int too_much(const struct scanner *s, const char *what) {
    return err_raise(-EMSGSIZE, "JSON: %s at byte %zu", what, (size_t)(s->p - s->start));
}

static void skip_space(struct scanner *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

/* Length of the well-formed UTF-8 sequence at p, or 0 (RFC 3629, table of section 4). */
static unsigned utf8_len(const unsigned char *p, const unsigned char *end) {
    if (p[0] < 0x80)
        return 1;
    static const struct {
        unsigned char lo, hi, second_lo, second_hi, len;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (p[0] < forms[i].lo || p[0] > forms[i].hi)
            continue;
        if (end - p < forms[i].len || p[1] < forms[i].second_lo || p[1] > forms[i].second_hi)
            return 0;
        for (unsigned k = 2; k < forms[i].len; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

int scan_utf8(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    while (p < end) {
        unsigned len = *p ? utf8_len(p, end) : 0;
        if (!len)
            return 0;
        p += len;
    }
    return 1;
}

static int hex4(const char *p, uint32_t *out) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        if (c >= '0' && c <= '9')
            v = v * 16 + (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v * 16 + (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    *out = v;
    return 0;
}

/* Reads one escape at *p (behind the backslash), moving *p past it; returns the code point or -1. */
static int64_t read_escape(const char **p, const char *end) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*p >= end)
        return -1;
    char c = *(*p)++;
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
        return (unsigned char)to[at - from];
    uint32_t hi, lo;
    if (c != 'u' || end - *p < 4 || hex4(*p, &hi) < 0)
        return -1;
    *p += 4;
    if (hi >= 0xdc00 && hi <= 0xdfff)
        return -1;
    if (hi < 0xd800 || hi > 0xdbff)
        return hi ? (int64_t)hi : -1;
    if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || hex4(*p + 2, &lo) < 0 || lo < 0xdc00 || lo > 0xdfff)
        return -1;
    *p += 6;
    return 0x10000 + (int64_t)((hi - 0xd800) << 10) + (lo - 0xdc00);
}

/* A string at s->p (on its opening quote): checked; *from and *n are the raw bytes between the quotes. */
static int check_string(struct scanner *s, const char **from, size_t *n) {
    s->p++;
    *from = s->p;
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '"') {
            *n = (size_t)(s->p - *from);
            s->p++;
            return 0;
        }
        if (c == '\\') {
            const char *p = s->p + 1;
            if (read_escape(&p, s->end) < 0)
                return bad(s, "bad escape");
            s->p = p;
            continue;
        }
        unsigned len = c < 0x20 ? 0 : utf8_len((const unsigned char *)s->p, (const unsigned char *)s->end);
        if (!len)
            return bad(s, c < 0x20 ? "control character in a string" : "bad UTF-8");
        s->p += len;
    }
    return bad(s, "string without end");
}

static int check_number(struct scanner *s, enum scan_type *type) {
    const char *from = s->p;
    *type = SCAN_INT;
    if (s->p < s->end && *s->p == '-')
        s->p++;
    const char *digits = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    if (s->p == digits || (*digits == '0' && s->p - digits > 1))
        return bad(s, "bad number");
    if (s->p < s->end && *s->p == '.') {
        *type = SCAN_REAL;
        const char *fraction = ++s->p;
        while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
            s->p++;
        if (s->p == fraction)
            return bad(s, "bad number");
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        *type = SCAN_REAL;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        const char *exponent = s->p;
        while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
            s->p++;
        if (s->p == exponent)
            return bad(s, "bad number");
    }
    size_t n = (size_t)(s->p - from);
    if (n > SCAN_NUMBER_MAX)
        return too_much(s, "number too long");
    char copy[SCAN_NUMBER_MAX + 1];
    memcpy(copy, from, n);
    copy[n] = 0;
    errno = 0;
    if (*type == SCAN_INT) {
        (void)strtoll(copy, NULL, 10);
        return errno ? bad(s, "integer outside 64 bits") : 0;
    }
    return isfinite(strtod(copy, NULL)) ? 0 : bad(s, "number out of range");
}

static int64_t next_point(const char **p, const char *end) {
    if (**p == '\\') {
        (*p)++;
        return read_escape(p, end);
    }
    unsigned len = utf8_len((const unsigned char *)*p, (const unsigned char *)end);
    uint32_t v = (unsigned char)**p;
    if (len > 1)
        v &= 0xffu >> (len + 1);
    for (unsigned i = 1; i < len; i++)
        v = v << 6 | ((unsigned char)(*p)[i] & 0x3f);
    *p += len ? len : 1;
    return v;
}

static uint64_t hash_key(const char *p, size_t n) {
    uint64_t h = 0xcbf29ce484222325u ^ hash_seed;
    for (const char *end = p + n; p < end;) {
        h ^= (uint64_t)next_point(&p, end);
        h *= 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

static bool same_key(const struct key *a, const struct key *b) {
    const char *p = a->p, *q = b->p, *pe = p + a->n, *qe = q + b->n;
    while (p < pe && q < qe)
        if (next_point(&p, pe) != next_point(&q, qe))
            return false;
    return p == pe && q == qe;
}

static int by_hash(const void *a, const void *b) {
    uint64_t x = ((const struct key *)a)->hash, y = ((const struct key *)b)->hash;
    return (x > y) - (x < y);
}

static int check_keys(struct scanner *s, size_t from) {
    size_t n = n_keys - from;
    n_keys = from;
    if (n > 1)
        qsort(keys + from, n, sizeof *keys, by_hash);
    /* equal hashes may come in any order within their group: each is compared with all of the group */
    for (size_t i = from; i < from + n; i++)
        for (size_t k = i + 1; k < from + n && keys[k].hash == keys[i].hash; k++)
            if (same_key(&keys[i], &keys[k]))
                return bad(s, "duplicate key");
    return 0;
}

static int check_value(struct scanner *s, enum scan_type *type);

static int check_object(struct scanner *s) {
    size_t from = n_keys;
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return 0;
    }
    for (;;) {
        skip_space(s);
        const char *key;
        size_t key_n;
        if (s->p >= s->end || *s->p != '"')
            return bad(s, "a key expected");
        int r = check_string(s, &key, &key_n);
        if (r < 0)
            return err_up(r);
        if (n_keys == SCAN_NODES_MAX)
            return too_much(s, "too many keys");
        keys[n_keys++] = (struct key){hash_key(key, key_n), key, (uint32_t)key_n};
        skip_space(s);
        if (s->p >= s->end || *s->p != ':')
            return bad(s, "':' expected");
        s->p++;
        enum scan_type type;
        r = check_value(s, &type);
        if (r < 0)
            return err_up(r);
        skip_space(s);
        if (s->p < s->end && *s->p == ',') {
            s->p++;
            continue;
        }
        if (s->p >= s->end || *s->p != '}')
            return bad(s, "',' or '}' expected");
        s->p++;
        return check_keys(s, from);
    }
}

static int check_array(struct scanner *s) {
    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == ']') {
        s->p++;
        return 0;
    }
    for (;;) {
        enum scan_type type;
        int r = check_value(s, &type);
        if (r < 0)
            return err_up(r);
        skip_space(s);
        if (s->p < s->end && *s->p == ',') {
            s->p++;
            continue;
        }
        if (s->p >= s->end || *s->p != ']')
            return bad(s, "',' or ']' expected");
        s->p++;
        return 0;
    }
}

static int check_word(struct scanner *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return bad(s, "a value expected");
    s->p += n;
    return 0;
}

static int check_value(struct scanner *s, enum scan_type *type) {
    skip_space(s);
    if (s->p >= s->end)
        return bad(s, "a value expected");
    if (++s->nodes > SCAN_NODES_MAX)
        return too_much(s, "too many values");
    const char *from;
    size_t n;
    int r;
    switch (*s->p) {
    case '{':
    case '[':
        *type = *s->p == '{' ? SCAN_OBJECT : SCAN_ARRAY;
        if (++s->depth > SCAN_DEPTH_MAX)
            return too_much(s, "nested too deep");
        r = *type == SCAN_OBJECT ? check_object(s) : check_array(s);
        s->depth--;
        return r;
    case '"':
        *type = SCAN_STRING;
        return check_string(s, &from, &n);
    case 't':
    case 'f':
        *type = SCAN_BOOL;
        return check_word(s, *s->p == 't' ? "true" : "false");
    case 'n':
        *type = SCAN_NULL;
        return check_word(s, "null");
    default:
        return check_number(s, type);
    }
}

int scan_check(const char *text, size_t n, enum scan_type want) {
    if (!hash_seed && (getrandom(&hash_seed, sizeof hash_seed, 0) != sizeof hash_seed || !hash_seed))
        hash_seed = 1;
    struct scanner s = {.start = text, .p = text, .end = text + n};
    enum scan_type type;
    n_keys = 0;
    int r = check_value(&s, &type);
    if (r < 0)
        return err_up(r);
    skip_space(&s);
    if (s.p != s.end)
        return bad(&s, "bytes behind the value");
    return type == want ? 0 : err_raise(-EPROTO, "JSON: not the type expected");
}

struct scan_cost scan_cost(const char *text, size_t n) {
    struct scan_cost cost = {.nodes = 1}; /* a value stands first, behind an opening bracket or behind a comma */
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        cost.nodes += c == ',' || c == '[' || c == '{';
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
        if (depth > cost.depth)
            cost.depth = depth;
    }
    return cost;
}

/* Moves s->p over a checked value and describes it. */
static void walk_value(struct scanner *s, struct scan_value *v) {
    skip_space(s);
    const char *from = s->p;
    enum scan_type type = SCAN_NULL;
    size_t mark = n_keys;
    (void)check_value(s, &type);
    n_keys = mark;
    bool quoted = type == SCAN_STRING;
    *v = (struct scan_value){type, (char *)(uintptr_t)(from + quoted), (size_t)(s->p - from) - 2u * quoted};
}

int scan_members(char *text, size_t n, scan_member each, void *arg) {
    struct scanner s = {.start = text, .p = text, .end = text + n};
    n_keys = 0;
    skip_space(&s);
    s.p++; /* the opening brace */
    for (;;) {
        skip_space(&s);
        if (s.p >= s.end || *s.p == '}')
            return 0;
        if (*s.p == ',')
            s.p++;
        skip_space(&s);
        const char *key;
        size_t key_n;
        if (check_string(&s, &key, &key_n) < 0)
            return -EPROTO;
        skip_space(&s);
        s.p++; /* the colon */
        struct scan_value v;
        walk_value(&s, &v);
        int r = each(arg, key, key_n, &v);
        if (r)
            return r;
    }
}

static char *put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

char *scan_string(struct scan_value *value) {
    char *end = value->text + value->n;
    char *out = memchr(value->text, '\\', value->n);
    if (out) { /* an escape is never shorter than what it stands for */
        for (const char *p = out; p < end;)
            out = put_utf8(out, (uint32_t)next_point(&p, end));
        end = out;
    }
    value->n = (size_t)(end - value->text);
    *end = 0;
    return value->text;
}

int64_t scan_int(const struct scan_value *value) {
    char copy[SCAN_NUMBER_MAX + 1];
    size_t n = value->n < SCAN_NUMBER_MAX ? value->n : SCAN_NUMBER_MAX;
    memcpy(copy, value->text, n);
    copy[n] = 0;
    return strtoll(copy, NULL, 10);
}
