/* The codec is one loop over the rows that msg.def expands to; no message has code of its own. */
#include "common/msg.h"

#include "common/err.h"
#include "common/scan.h"

#include <string.h>

/* -- expansions: for each message a function that holds its rows (a scope in which `body` names its struct) -- */
#define REQUIRED true
#define OPTIONAL false
#define MSG_BEGIN(ID, name, ...)                                                                                       \
    static const struct field_info *fields_##ID(void) {                                                                \
        typedef struct msg_##name body;                                                                                \
        static const struct field_info rows[] = {
#define MSG_END(ID)                                                                                                    \
    { .name = NULL, .offset = sizeof(body) }                                                                           \
    }                                                                                                                  \
    ;                                                                                                                  \
    return rows;                                                                                                       \
    }
#define ROW(field, kind, need, text)                                                                                   \
    .name = #field, .type = kind, .required = need, .offset = offsetof(body, field), .doc = text
#define F_STR(field, most, need, text) {ROW(field, FIELD_STR, need, text), .max_bytes = most},
#define F_INT(field, lo, hi, need, text) {ROW(field, FIELD_INT, need, text), .min = lo, .max = hi},
#define F_BOOL(field, text) {ROW(field, FIELD_BOOL, OPTIONAL, text)},
#define F_JSON(field, most, need, text) {ROW(field, FIELD_JSON, need, text), .max_bytes = most},
#include "common/msg.def"
#undef MSG_BEGIN
#undef MSG_END
#undef F_STR
#undef F_INT
#undef F_BOOL
#undef F_JSON

#define F_STR(...)
#define F_INT(...)
#define F_BOOL(...)
#define F_JSON(...)
#define MSG_END(ID)
static const struct msg_info table[MSG__COUNT] = {
#define MSG_BEGIN(ID, label, senders, receivers, least, most, text)                                                    \
    [MSG_##ID] = {.name = #label,                                                                                      \
                  .from = senders,                                                                                     \
                  .to = receivers,                                                                                     \
                  .fds_min = least,                                                                                    \
                  .fds_max = most,                                                                                     \
                  .doc = text,                                                                                         \
                  .fields = fields_##ID},
#include "common/msg.def"
#undef MSG_BEGIN
};

static const char *const role_names[ROLE__COUNT] = {
#define X(id, name) [ROLE_##id] = name,
    ROLES(X)
#undef X
};

const char *role_name(enum role_id role) {
    return (unsigned)role < ROLE__COUNT ? role_names[role] : "?";
}

int role_by_name(const char *name) {
    for (int i = 0; i < ROLE__COUNT; i++)
        if (name && strcmp(role_names[i], name) == 0)
            return i;
    return -1;
}

const struct msg_info *msg_info(enum msg_type type) {
    return &table[type];
}

const char *msg_name(enum msg_type type) {
    return (unsigned)type < MSG__COUNT ? table[type].name : "?";
}

int msg_allowed(enum msg_type type, enum role_id from, enum role_id to) {
    if (!(table[type].from & UINT32_C(1) << from) || !(table[type].to & UINT32_C(1) << to))
        return err_raise(-EPERM, "%s may not send %s to %s", role_name(from), msg_name(type), role_name(to));
    return 0;
}

/* -- encoding -- */

static int wrong_field(enum msg_type type, const struct field_info *f, const char *what) {
    return err_raise(-EINVAL, "message %s: %s %s", msg_name(type), f->name, what);
}

static int encode_str(enum msg_type type, const struct field_info *f, const char *text, struct buf *out) {
    if (!text)
        return f->required ? wrong_field(type, f, "is missing") : 0;
    size_t n = strlen(text);
    if (n > f->max_bytes)
        return wrong_field(type, f, "is too long");
    if (!scan_utf8(text, n))
        return wrong_field(type, f, "is not UTF-8");
    (void)buf_json_key(out, f->name);
    return buf_json_strn(out, text, n);
}

static int encode_int(enum msg_type type, const struct field_info *f, int64_t v, struct buf *out) {
    if (!f->required && v == 0)
        return 0;
    if (v < f->min || v > f->max)
        return wrong_field(type, f, "is out of range");
    (void)buf_json_key(out, f->name);
    return buf_printf(out, "%lld", (long long)v);
}

static int encode_json(enum msg_type type, const struct field_info *f, struct json_span v, struct buf *out) {
    if (!v.p)
        return f->required ? wrong_field(type, f, "is missing") : 0;
    if (v.n > f->max_bytes)
        return wrong_field(type, f, "is too long");
    (void)buf_json_key(out, f->name);
    return buf_add(out, v.p, v.n);
}

static int encode_field(enum msg_type type, const struct field_info *f, const char *at, struct buf *out) {
    switch (f->type) {
    case FIELD_STR:
        return encode_str(type, f, *(const char *const *)(const void *)at, out);
    case FIELD_INT:
        return encode_int(type, f, *(const int64_t *)(const void *)at, out);
    case FIELD_BOOL:
        if (!*(const bool *)at)
            return 0;
        (void)buf_json_key(out, f->name);
        return buf_addz(out, "true");
    case FIELD_JSON:
        return encode_json(type, f, *(const struct json_span *)(const void *)at, out);
    }
    return -EINVAL;
}

int msg_encode(enum msg_type type, const void *body, struct buf *out) {
    (void)buf_addz(out, "{\"msg\":");
    (void)buf_json_str(out, table[type].name);
    for (const struct field_info *f = table[type].fields(); f->name; f++) {
        int r = encode_field(type, f, (const char *)body + f->offset, out);
        if (r < 0)
            return err_up(r);
    }
    return buf_add(out, "}", 1);
}

/* -- decoding -- */

static int find_type(void *arg, const char *key, size_t key_n, struct scan_value *v) {
    if (key_n != 3 || memcmp(key, "msg", 3) != 0)
        return 0;
    if (v->type != SCAN_STRING)
        return err_raise(-EPROTO, "message: \"msg\" is not a string");
    for (unsigned i = 0; i < MSG__COUNT; i++)
        if (strlen(table[i].name) == v->n && memcmp(table[i].name, v->text, v->n) == 0) {
            *(int *)arg = (int)i;
            return 1;
        }
    return err_raise(-EPROTO, "message of an unknown type");
}

struct decoding {
    struct msg *msg;
    uint64_t seen; /* bit per row */
};

static int refuse(enum msg_type type, const struct field_info *f, const char *what) {
    return err_raise(-EPROTO, "message %s: %s %s", msg_name(type), f->name, what);
}

static int decode_field(enum msg_type type, const struct field_info *f, struct scan_value *v, char *at) {
    static const enum scan_type wanted[] = {
        [FIELD_STR] = SCAN_STRING, [FIELD_INT] = SCAN_INT, [FIELD_BOOL] = SCAN_BOOL, [FIELD_JSON] = SCAN_OBJECT};
    if (f->type != FIELD_JSON && v->type != wanted[f->type])
        return refuse(type, f, "is of the wrong type");
    switch (f->type) {
    case FIELD_STR: {
        const char *text = scan_string(v);
        if (v->n > f->max_bytes)
            return refuse(type, f, "is too long");
        memcpy(at, &text, sizeof text);
        return 0;
    }
    case FIELD_INT: {
        int64_t n = scan_int(v);
        if (n < f->min || n > f->max)
            return refuse(type, f, "is out of range");
        memcpy(at, &n, sizeof n);
        return 0;
    }
    case FIELD_BOOL:
        *(bool *)at = *v->text == 't';
        return 0;
    case FIELD_JSON: {
        size_t quotes = v->type == SCAN_STRING; /* the scanner leaves them out, the text of a value has them */
        struct json_span span = {v->text - quotes, v->n + 2 * quotes};
        if (span.n > f->max_bytes)
            return refuse(type, f, "is too long");
        memcpy(at, &span, sizeof span);
        return 0;
    }
    }
    return -EPROTO;
}

static int decode_member(void *arg, const char *key, size_t key_n, struct scan_value *v) {
    struct decoding *d = arg;
    if (key_n == 3 && memcmp(key, "msg", 3) == 0)
        return 0;
    const struct field_info *rows = table[d->msg->type].fields();
    for (const struct field_info *f = rows; f->name; f++) {
        if (strlen(f->name) != key_n || memcmp(f->name, key, key_n) != 0)
            continue;
        d->seen |= UINT64_C(1) << (f - rows);
        return decode_field(d->msg->type, f, v, (char *)&d->msg->begin + f->offset);
    }
    return err_raise(-EPROTO, "message %s: unknown member", msg_name(d->msg->type));
}

int msg_decode(char *text, size_t n, struct msg *out) {
    int r = scan_check(text, n, SCAN_OBJECT);
    if (r < 0)
        return err_up(r);
    int type = -1;
    r = scan_members(text, n, find_type, &type);
    if (r < 0)
        return err_up(r);
    if (type < 0)
        return err_raise(-EPROTO, "message without \"msg\"");
    struct msg msg = {.type = (enum msg_type)type, .fds = {-1, -1, -1}};
    struct decoding d = {&msg, 0};
    r = scan_members(text, n, decode_member, &d);
    if (r < 0)
        return err_up(r);
    const struct field_info *rows = table[type].fields();
    for (const struct field_info *f = rows; f->name; f++)
        if (f->required && !(d.seen & UINT64_C(1) << (f - rows)))
            return refuse(msg.type, f, "is missing");
    *out = msg;
    return 0;
}
