/* Every message of the catalogue, through msg_info(): a new one is covered by itself. Bodies are filled field by field,
 * encoded, decoded and compared; texts are built with one thing wrong and must be refused. */
#include "tests/common/probe.h"

#include "common/chan.h"
#include "common/err.h"
#include "common/msg.h"
#include "common/scan.h"

#define F_STR(...)
#define F_INT(...)
#define F_BOOL(...)
#define F_JSON(...)
#define MSG_END(ID)

/* The catalogue's own words on who may say what to whom, expanded once more and apart from msg.c. */
static const struct {
    uint32_t from, to;
} ways[] = {
#define MSG_BEGIN(ID, name, senders, receivers, ...) {(senders), (receivers)},
#include "common/msg.def"
#undef MSG_BEGIN
};

enum fill { ABSENT, LEAST, MOST, FILL__COUNT };

/* Memory of the largest texts: a string of 'x', and a JSON string of them. */
static char *xs(size_t n) {
    char *p = malloc(n + 1);
    assert_non_null(p);
    memset(p, 'x', n);
    p[n] = 0;
    return p;
}

static char *json_xs(size_t n) {
    char *p = xs(n);
    p[0] = p[n - 1] = '"';
    return p;
}

struct body {
    union {
        struct msg msg; /* only for its size */
        char bytes[sizeof(struct msg)];
    };
    char *texts[64];
    size_t n_texts;
};

static void body_deinit(struct body *b) {
    while (b->n_texts)
        free(b->texts[--b->n_texts]);
}
#define auto_body __attribute__((cleanup(body_deinit)))

static char *own(struct body *b, char *text) {
    assert_true(b->n_texts < LENGTH(b->texts));
    return b->texts[b->n_texts++] = text;
}

static void fill_field(struct body *b, const struct field_info *f, enum fill fill) {
    char *at = b->bytes + f->offset;
    const char *text = NULL;
    struct json_span span = {0};
    int64_t number = 0;
    bool flag = fill == MOST;
    switch (f->type) {
    case FIELD_STR:
        text = fill == ABSENT ? NULL : own(b, xs(fill == MOST ? f->max_bytes : 0));
        memcpy(at, &text, sizeof text);
        break;
    case FIELD_INT:
        number = fill == ABSENT ? 0 : fill == MOST ? f->max : f->min;
        memcpy(at, &number, sizeof number);
        break;
    case FIELD_BOOL:
        memcpy(at, &flag, sizeof flag);
        break;
    case FIELD_JSON:
        if (fill == MOST)
            span = (struct json_span){own(b, json_xs(f->max_bytes)), f->max_bytes};
        else if (fill == LEAST)
            span = SPAN("0");
        memcpy(at, &span, sizeof span);
        break;
    }
}

/* Every field as `others`, `special` (may be NULL) as `fill`; an absent required one is at its least. */
static void fill_body(struct body *b, enum msg_type type, enum fill others, const struct field_info *special,
                      enum fill fill) {
    for (const struct field_info *f = msg_info(type)->fields(); f->name; f++) {
        enum fill how = f == special ? fill : others;
        fill_field(b, f, how == ABSENT && f->required ? LEAST : how);
    }
}

static void assert_same_field(enum msg_type type, const struct field_info *f, const char *a, const char *b) {
    const char *s, *t;
    struct json_span u, v;
    bool same = false;
    memcpy(&s, a + f->offset, sizeof s);
    memcpy(&t, b + f->offset, sizeof t);
    switch (f->type) {
    case FIELD_STR:
        same = s && t ? strcmp(s, t) == 0 : s == t;
        break;
    case FIELD_INT:
        same = memcmp(a + f->offset, b + f->offset, sizeof(int64_t)) == 0;
        break;
    case FIELD_BOOL:
        same = *(const bool *)(a + f->offset) == *(const bool *)(b + f->offset);
        break;
    case FIELD_JSON:
        memcpy(&u, a + f->offset, sizeof u);
        memcpy(&v, b + f->offset, sizeof v);
        same = u.n == v.n && (u.p != NULL) == (v.p != NULL) && (!u.n || memcmp(u.p, v.p, u.n) == 0);
        break;
    }
    if (!same)
        fail_msg("%s.%s did not survive", msg_name(type), f->name);
}

static size_t round_trip(enum msg_type type, const struct body *b) {
    auto_buf struct buf text = BUF_NULL(FRAME_MAX);
    int r = msg_encode(type, b->bytes, &text);
    if (r < 0)
        fail_msg("%s: %s", msg_name(type), err_text());
    size_t n = text.n;
    struct msg out;
    r = msg_decode(text.p, text.n, &out);
    if (r < 0)
        fail_msg("%s: %s", msg_name(type), err_text());
    assert_int_equal(out.type, type);
    assert_int_equal(out.n_fds, 0);
    for (unsigned i = 0; i < MSG_FDS_MAX; i++)
        assert_int_equal(out.fds[i], -1);
    for (const struct field_info *f = msg_info(type)->fields(); f->name; f++)
        assert_same_field(type, f, b->bytes, (const char *)&out.begin);
    return n;
}

static void test_round_trips(void **state) {
    (void)state;
    for (unsigned type = 0; type < MSG__COUNT; type++) {
        for (unsigned others = 0; others < FILL__COUNT; others++) {
            auto_body struct body b = {0};
            fill_body(&b, type, others, NULL, ABSENT);
            (void)round_trip(type, &b);
        }
        for (const struct field_info *f = msg_info(type)->fields(); f->name; f++)
            for (unsigned fill = 0; fill < FILL__COUNT; fill++) {
                auto_body struct body b = {0};
                fill_body(&b, type, ABSENT, f, fill);
                (void)round_trip(type, &b);
            }
    }
}

/* With every member at its limit a message fits the frames of its way: 4 KiB to root and supervisors. */
static void test_largest_fits_its_frame(void **state) {
    (void)state;
    for (unsigned type = 0; type < MSG__COUNT; type++) {
        auto_body struct body b = {0};
        fill_body(&b, type, MOST, NULL, MOST);
        size_t n = round_trip(type, &b);
        size_t most = msg_info(type)->to & (M(ROOT) | M_KINDS) ? FRAME_CONTROL_MAX : FRAME_MAX;
        if (n > most)
            fail_msg("%s: %zu bytes at its largest, frames have %zu", msg_name(type), n, most);
    }
}

static void test_escapes_survive(void **state) {
    (void)state;
    static const char all[] = "\x01\t\n\r\"\\/\x1f\x7f\xc2\x80\xe2\x82\xac\xf0\x9f\x8c\xb1";
    for (unsigned type = 0; type < MSG__COUNT; type++)
        for (const struct field_info *f = msg_info(type)->fields(); f->name; f++) {
            auto_body struct body b = {0};
            if (f->type != FIELD_STR || f->max_bytes < sizeof all)
                continue;
            fill_body(&b, type, ABSENT, NULL, ABSENT);
            const char *p = all;
            memcpy(b.bytes + f->offset, &p, sizeof p);
            (void)round_trip(type, &b);
        }
}

/* ---- encoding refuses the caller's mistakes ---- */

static void encode_refuses(enum msg_type type, const struct field_info *f, const struct body *b, const char *what) {
    auto_buf struct buf text = BUF_NULL(4u << 20);
    int r = msg_encode(type, b->bytes, &text);
    if (r != -EINVAL || !strstr(err_text(), f->name))
        fail_msg("%s.%s %s: %d \"%s\"", msg_name(type), f->name, what, r, err_text());
}

static void refuse_numbers(enum msg_type type, const struct field_info *f) {
    auto_body struct body b = {0};
    fill_body(&b, type, ABSENT, NULL, ABSENT);
    if (f->max < INT64_MAX) {
        int64_t v = f->max + 1;
        memcpy(b.bytes + f->offset, &v, sizeof v);
        encode_refuses(type, f, &b, "above its limit");
    }
    int64_t v = f->min - 1;
    if (v == 0 && !f->required)
        return; /* 0 is absent */
    memcpy(b.bytes + f->offset, &v, sizeof v);
    encode_refuses(type, f, &b, "below its limit");
}

static void refuse_texts(enum msg_type type, const struct field_info *f) {
    auto_body struct body b = {0};
    fill_body(&b, type, ABSENT, NULL, ABSENT);
    if (f->required) {
        memset(b.bytes + f->offset, 0, f->type == FIELD_STR ? sizeof(char *) : sizeof(struct json_span));
        encode_refuses(type, f, &b, "missing");
    }
    char *longer = own(&b, xs(f->max_bytes + 1));
    struct json_span span = {longer, f->max_bytes + 1};
    memcpy(b.bytes + f->offset, f->type == FIELD_STR ? (void *)&longer : (void *)&span,
           f->type == FIELD_STR ? sizeof longer : sizeof span);
    encode_refuses(type, f, &b, "too long");
    if (f->type != FIELD_STR)
        return;
    const char *bad = "\xff";
    memcpy(b.bytes + f->offset, &bad, sizeof bad);
    encode_refuses(type, f, &b, "not UTF-8");
}

static void test_encode_refusals(void **state) {
    (void)state;
    for (unsigned type = 0; type < MSG__COUNT; type++)
        for (const struct field_info *f = msg_info(type)->fields(); f->name; f++) {
            if (f->type == FIELD_INT)
                refuse_numbers(type, f);
            else if (f->type != FIELD_BOOL)
                refuse_texts(type, f);
        }
}

static void test_encode_ceiling(void **state) {
    (void)state;
    auto_buf struct buf small = BUF_NULL(8);
    assert_int_equal(msg_encode(MSG_READY, &(struct msg_ready){0}, &small), -EMSGSIZE);
}

/* ---- decoding refuses everything else ---- */

/* The least text of a message; `special` with `value` instead of its own (NULL: left out); `more` before the end. */
static void build(struct buf *b, enum msg_type type, const struct field_info *special, const char *value,
                  const char *more) {
    static const char *const least[] = {[FIELD_STR] = "\"x\"", [FIELD_BOOL] = "false", [FIELD_JSON] = "{}"};
    (void)buf_printf(b, "{\"msg\":\"%s\"", msg_name(type));
    for (const struct field_info *f = msg_info(type)->fields(); f->name; f++) {
        if (f == special && !value)
            continue;
        (void)buf_printf(b, ",\"%s\":", f->name);
        if (f == special)
            (void)buf_addz(b, value);
        else if (f->type == FIELD_INT)
            (void)buf_printf(b, "%lld", (long long)f->min);
        else
            (void)buf_addz(b, least[f->type]);
    }
    (void)buf_printf(b, "%s}", more);
    assert_false(buf_failed(b));
}

static int decode(enum msg_type type, const struct field_info *special, const char *value, const char *more) {
    auto_buf struct buf b = BUF_NULL(4u << 20);
    struct msg out;
    build(&b, type, special, value, more);
    return msg_decode(b.p, b.n, &out);
}

static void decode_is(int wanted, enum msg_type type, const struct field_info *f, const char *value, const char *more) {
    int r = decode(type, f, value, more);
    if (r != wanted)
        fail_msg("%s.%s = %.40s%s: %d (%s), wanted %d", msg_name(type), f ? f->name : "", value ? value : "(missing)",
                 more, r, err_text(), wanted);
}

static void wrong_types(enum msg_type type, const struct field_info *f) {
    static const char *const wrong[][8] = {
        [FIELD_STR] = {"1", "1.5", "true", "null", "{}", "[]"},
        [FIELD_INT] = {"\"1\"", "1.0", "1e0", "true", "null", "{}", "[]"},
        [FIELD_BOOL] = {"1", "0", "\"true\"", "null", "{}", "[]"},
        [FIELD_JSON] = {NULL}, /* any value */
    };
    for (const char *const *value = wrong[f->type]; *value; value++)
        decode_is(-EPROTO, type, f, *value, "");
}

static void beyond_limits(enum msg_type type, const struct field_info *f) {
    char number[32];
    if (f->type == FIELD_INT) {
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)f->max + 1);
        decode_is(-EPROTO, type, f, number, "");
        if (f->min == INT64_MIN)
            return;
        (void)snprintf(number, sizeof number, "%lld", (long long)f->min - 1);
        decode_is(-EPROTO, type, f, number, "");
    } else if (f->type != FIELD_BOOL) {
        size_t quotes = f->type == FIELD_STR ? 2 : 0; /* a string's limit is of what is inside */
        auto_free char *most = json_xs(f->max_bytes + quotes), *more = json_xs(f->max_bytes + quotes + 1);
        decode_is(0, type, f, most, "");
        decode_is(-EPROTO, type, f, more, "");
    }
}

static void test_decode_refusals(void **state) {
    (void)state;
    for (unsigned type = 0; type < MSG__COUNT; type++) {
        decode_is(0, type, NULL, NULL, "");
        decode_is(-EPROTO, type, NULL, NULL, ",\"zz\":1");
        decode_is(-EPROTO, type, NULL, NULL, ",\"end_\":1");
        decode_is(-EPROTO, type, NULL, NULL, ",\"msg\":\"ready\"");
        decode_is(-EPROTO, type, NULL, NULL, ",\"\\u006dsg\":\"ready\"");
        for (const struct field_info *f = msg_info(type)->fields(); f->name; f++) {
            char again[128];
            decode_is(f->required ? -EPROTO : 0, type, f, NULL, "");
            wrong_types(type, f);
            beyond_limits(type, f);
            (void)snprintf(again, sizeof again, ",\"%s\":1", f->name);
            decode_is(-EPROTO, type, NULL, NULL, again);
            (void)snprintf(again, sizeof again, ",\"\\u%04x%s\":1", (unsigned char)f->name[0], f->name + 1);
            decode_is(-EPROTO, type, NULL, NULL, again); /* a duplicate for any parser that decodes */
            decode_is(-EPROTO, type, f, NULL, again);    /* alone: keys are spelled plainly or not at all */
        }
    }
}

static void test_decode_strangers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"{\"msg\":\"ready\"}", 0},
        {" { \"msg\" : \"ready\" } ", 0},
        {"{\"to\":\"runs\",\"msg\":\"wire\"}", 0}, /* members come in any order */
        {"{}", -EPROTO},
        {"{\"msg\":\"nope\"}", -EPROTO},
        {"{\"msg\":\"\"}", -EPROTO},
        {"{\"msg\":\"read\"}", -EPROTO},
        {"{\"msg\":\"readyy\"}", -EPROTO},
        {"{\"msg\":\"READY\"}", -EPROTO},
        {"{\"msg\":\"rea\\u0064y\"}", -EPROTO},
        {"{\"msg\":1}", -EPROTO},
        {"{\"msg\":null}", -EPROTO},
        {"{\"msg\":[\"ready\"]}", -EPROTO},
        {"[\"msg\",\"ready\"]", -EPROTO},
        {"\"ready\"", -EPROTO},
        {"", -EPROTO},
        {"{\"msg\":\"ready\"}x", -EPROTO},
        {"{\"msg\":\"ready\",\"msg\":\"ready\"}", -EPROTO},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        auto_free char *copy = strdup(cases[i].text);
        struct msg out = {.type = MSG_DOWN};
        int r = msg_decode(copy, strlen(copy), &out);
        if (r != cases[i].code)
            fail_msg("case %zu: %s: %d", i, cases[i].text, r);
        if (r < 0)
            assert_int_equal(out.type, MSG_DOWN); /* untouched on failure */
    }
}

/* A JSON member is handed over as its text, quotes included. */
static void test_spans(void **state) {
    (void)state;
    static const char *const values[] = {"{\"a\" : [1]}", "[]", "\"q\\\"\"", "-1.5e3", "true", "null", "\"\""};
    for (size_t i = 0; i < LENGTH(values); i++) {
        auto_buf struct buf b = BUF_NULL(1000);
        (void)buf_printf(&b, "{\"msg\":\"append\",\"type\":\"t\",\"data\": %s ,\"barrier\":true}", values[i]);
        struct msg out;
        assert_int_equal(msg_decode(b.p, b.n, &out), 0);
        assert_int_equal(out.append.data.n, strlen(values[i]));
        assert_memory_equal(out.append.data.p, values[i], out.append.data.n);
        assert_true(out.append.barrier);
    }
}

/* ---- who may say what ---- */

static void test_allowed(void **state) {
    (void)state;
    assert_int_equal(LENGTH(ways), MSG__COUNT);
    for (unsigned type = 0; type < MSG__COUNT; type++)
        for (unsigned from = 0; from < ROLE__COUNT; from++)
            for (unsigned to = 0; to < ROLE__COUNT; to++) {
                bool may = (ways[type].from & 1u << from) && (ways[type].to & 1u << to);
                int r = msg_allowed(type, from, to);
                if (r != (may ? 0 : -EPERM))
                    fail_msg("%s from %s to %s: %d", msg_name(type), role_name(from), role_name(to), r);
            }
}

/* Pinned here, so that a wider table is somebody's decision: these never change by the way. */
static void test_never_allowed(void **state) {
    (void)state;
    for (unsigned type = 0; type < MSG__COUNT; type++)
        for (unsigned role = 0; role < ROLE__COUNT; role++) {
            assert_int_equal(msg_allowed(type, ROLE_CLIENT, role), -EPERM); /* clients speak JSON-RPC to the gateway */
            assert_int_equal(msg_allowed(type, ROLE_LAUNCHER, role), -EPERM);
            assert_int_equal(msg_allowed(type, ROLE_TOOLCALL, role),
                             (role == ROLE_EVENTLOG && type == MSG_APPEND) ||
                                     ((M_OWNERS & 1u << role) && type == MSG_HELLO) ||
                                     (role == ROLE_RUN && type == MSG_CALL_DONE)
                                 ? 0
                                 : -EPERM);
        }
    assert_int_equal(msg_allowed(MSG_SPAWN, ROLE_LLMCALL, ROLE_TOOLCALLS), -EPERM);
    assert_int_equal(msg_allowed(MSG_STOP_TREE, ROLE_ACTOR, ROLE_ROOT), -EPERM);
    assert_int_equal(msg_allowed(MSG_INTRODUCE, ROLE_RUN, ROLE_EVENTLOG), -EPERM);
}

/* What the codec and the channels rely on. */
static void test_catalogue_is_sane(void **state) {
    (void)state;
    for (unsigned type = 0; type < MSG__COUNT; type++) {
        const struct msg_info *info = msg_info(type);
        assert_true(info->from && info->to && *info->doc);
        assert_true(info->fds_min <= info->fds_max && info->fds_max <= MSG_FDS_MAX);
        assert_true(info->fds_min || !info->fds_max); /* whoever carries any carries one: chan.c pairs them by that */
        const struct field_info *rows = info->fields(), *f = rows;
        for (; f->name; f++) {
            assert_true(*f->doc && strcmp(f->name, "msg") != 0);
            assert_true(f->type != FIELD_INT || (f->min <= f->max && (f->required || f->min <= 0)));
        }
        assert_true(f - rows <= 64); /* a bit for each */
        for (unsigned other = 0; other < type; other++)
            assert_string_not_equal(info->name, msg_name(other));
    }
    assert_string_equal(msg_name(MSG__COUNT), "?");
}

static void test_role_names(void **state) {
    (void)state;
    for (unsigned role = 0; role < ROLE__COUNT; role++)
        assert_int_equal(role_by_name(role_name(role)), role);
    assert_int_equal(role_by_name("nobody"), -1);
    assert_int_equal(role_by_name(NULL), -1);
    assert_string_equal(role_name(ROLE__COUNT), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),       cmocka_unit_test(test_largest_fits_its_frame),
        cmocka_unit_test(test_escapes_survive),   cmocka_unit_test(test_encode_refusals),
        cmocka_unit_test(test_encode_ceiling),    cmocka_unit_test(test_decode_refusals),
        cmocka_unit_test(test_decode_strangers),  cmocka_unit_test(test_spans),
        cmocka_unit_test(test_allowed),           cmocka_unit_test(test_never_allowed),
        cmocka_unit_test(test_catalogue_is_sane), cmocka_unit_test(test_role_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
