/* The scanner: a table of texts and answers, then the limits with texts that are built. Cost is counted in comparisons
 * of the sort and in calls, never in time. */
#include "tests/common/probe.h"

#include "common/buf.h"
#include "common/err.h"
#include "common/scan.h"

#define OK(t, type)                                                                                                    \
    { t, sizeof t - 1, type, 0 }
#define BAD(t)                                                                                                         \
    { t, sizeof t - 1, SCAN_OBJECT, -EPROTO }
#define BAD_STR(t) BAD("{\"a\":\"" t "\"}")
#define BAD_NUM(t) BAD("{\"a\":" t "}")
#define GOOD_STR(t) OK("{\"a\":\"" t "\"}", SCAN_OBJECT)
#define GOOD_NUM(t) OK("{\"a\":" t "}", SCAN_OBJECT)

static const struct {
    const char *text;
    size_t n;
    enum scan_type want;
    int code;
} cases[] = {
    OK("{}", SCAN_OBJECT),
    OK(" \t\r\n{ \"a\" : [ 1 , 2.5 , true , false , null , \"x\" , { } , [ ] ] } ", SCAN_OBJECT),
    OK("[]", SCAN_ARRAY),
    OK("\"\"", SCAN_STRING),
    OK("-0", SCAN_INT),
    OK("0.5e-3", SCAN_REAL),
    OK("true", SCAN_BOOL),
    OK("null", SCAN_NULL),
    /* another type than wanted, nothing at all, bytes behind */
    BAD("[]"),
    BAD("1"),
    BAD(""),
    BAD(" "),
    BAD("{}{}"),
    BAD("{} x"),
    BAD("{}\0"),
    BAD("\xef\xbb\xbf{}"),
    /* structure */
    BAD("{"),
    BAD("}"),
    BAD("{]"),
    BAD("{\"a\"}"),
    BAD("{\"a\":}"),
    BAD("{\"a\" 1}"),
    BAD("{\"a\":1"),
    BAD("{\"a\":1,}"),
    BAD("{,\"a\":1}"),
    BAD("{a:1}"),
    BAD("{'a':1}"),
    BAD("{1:1}"),
    BAD("{\"a\":1 \"b\":2}"),
    BAD("{\"a\":[1,]}"),
    BAD("{\"a\":[1 2]}"),
    BAD("{\"a\":[}"),
    BAD("{\"a\":tru}"),
    BAD("{\"a\":True}"),
    BAD("{\"a\":nul"),
    BAD("{/**/}"),
    BAD("{\"a\":\v1}"),
    /* duplicate keys, also spelled with escapes, also in the depth; the same key in different objects is none */
    BAD("{\"a\":1,\"a\":2}"),
    BAD("{\"a\":1,\"\\u0061\":2}"),
    BAD("{\"\\/\":1,\"/\":2}"),
    BAD("{\"\\n\":1,\"\\u000A\":2}"),
    BAD("{\"\xc3\xa9\":1,\"\\u00e9\":2}"),
    BAD("{\"\xf0\x9f\x8c\xb1\":1,\"\\ud83c\\udf31\":2}"),
    BAD("{\"\":1,\"\":2}"),
    BAD("{\"x\":{\"b\":1,\"c\":2,\"b\":3}}"),
    BAD("{\"x\":[{\"b\":1},{\"b\":1,\"b\":1}]}"),
    OK("{\"a\":{\"a\":[{\"a\":1},{\"a\":2}]},\"b\":{\"a\":1}}", SCAN_OBJECT),
    OK("{\"a\":1,\"A\":2,\"aa\":3,\"\":4}", SCAN_OBJECT),
    /* strings */
    GOOD_STR("\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\uFFFF"),
    GOOD_STR("\\ud800\\udc00\\uDBFF\\uDFFF"),
    GOOD_STR("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
    BAD_STR("\\u0000"),
    BAD_STR("\\x41"),
    BAD_STR("\\u12"),
    BAD_STR("\\u12g4"),
    BAD_STR("\\U0041"),
    BAD_STR("\\\0"),
    BAD_STR("\\ud800"),
    BAD_STR("\\ud800x"),
    BAD_STR("\\ud800\\n"),
    BAD_STR("\\ud800\\ud800"),
    BAD_STR("\\ud800\\u0041"),
    BAD_STR("\\udc00"),
    BAD_STR("\\udc00\\ud800"),
    BAD_STR("\0"),
    BAD_STR("\x1f"),
    BAD_STR("\n"),
    BAD("{\"a\":\""),
    BAD("{\"a\":\"\\"),
    BAD("{\"a\":\"\\u"),
    BAD("{\"a\":\"\\ud800\\u"),
    BAD("{\"a\0\":1}"),
    /* UTF-8: overlong, surrogate, above U+10FFFF, cut, stray */
    BAD_STR("\x80"),
    BAD_STR("\xbf"),
    BAD_STR("\xc0\x80"),
    BAD_STR("\xc1\xbf"),
    BAD_STR("\xc3"),
    BAD_STR("\xc3\x28"),
    BAD_STR("\xe0\x80\x80"),
    BAD_STR("\xe0\x9f\xbf"),
    BAD_STR("\xe1\x80"),
    BAD_STR("\xe1\x80\x28"),
    BAD_STR("\xed\xa0\x80"),
    BAD_STR("\xed\xbf\xbf"),
    BAD_STR("\xf0\x80\x80\x80"),
    BAD_STR("\xf0\x8f\xbf\xbf"),
    BAD_STR("\xf1\x80\x80"),
    BAD_STR("\xf4\x90\x80\x80"),
    BAD_STR("\xf5\x80\x80\x80"),
    BAD_STR("\xf8\x88\x80\x80\x80"),
    BAD_STR("\xfe"),
    BAD_STR("\xff"),
    BAD("{\"a\":\"\xf0\x9f"),
    /* numbers */
    GOOD_NUM("9223372036854775807"),
    GOOD_NUM("-9223372036854775808"),
    GOOD_NUM("1.7976931348623157e308"),
    GOOD_NUM("1e-999999"),
    GOOD_NUM("-0.0"),
    GOOD_NUM("1E+2"),
    BAD_NUM("9223372036854775808"),
    BAD_NUM("-9223372036854775809"),
    BAD_NUM("99999999999999999999999999"),
    BAD_NUM("1e999999"),
    BAD_NUM("-1e309"),
    BAD_NUM("01"),
    BAD_NUM("-01"),
    BAD_NUM("-"),
    BAD_NUM("+1"),
    BAD_NUM(".5"),
    BAD_NUM("1."),
    BAD_NUM("1.e1"),
    BAD_NUM("1e"),
    BAD_NUM("1e+"),
    BAD_NUM("0x10"),
    BAD_NUM("1_000"),
    BAD_NUM("NaN"),
    BAD_NUM("Infinity"),
    BAD_NUM("-Infinity"),
    BAD("{\"a\":1e"),
    BAD("{\"a\":-"),
};

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        auto_free char *copy =
            malloc(cases[i].n ? cases[i].n : 1); /* exact, so that a sanitizer sees one byte too far */
        memcpy(copy, cases[i].text, cases[i].n);
        int r = scan_check(copy, cases[i].n, cases[i].want);
        if (r != cases[i].code)
            fail_msg("case %zu: %s: %d (%s), wanted %d", i, cases[i].text, r, err_text(), cases[i].code);
    }
}

/* Every prefix of a good text is refused; no read goes beyond it. */
static void test_prefixes(void **state) {
    (void)state;
    static const char text[] =
        "{\"k\\u00e9\\ud83c\\udf31\":[1,-2.5e+3,true,false,null,{\"x\":\"\xc3\xa9\\n\"}],\"z\":{}}";
    assert_int_equal(scan_check(text, sizeof text - 1, SCAN_OBJECT), 0);
    for (size_t n = 0; n < sizeof text - 1; n++) {
        auto_free char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        assert_int_equal(scan_check(copy, n, SCAN_OBJECT), -EPROTO);
    }
}

static int check_nested(const char *open, const char *close, size_t depth, enum scan_type type) {
    auto_buf struct buf b = BUF_NULL(1u << 20);
    for (size_t i = 0; i < depth; i++)
        (void)buf_addz(&b, open);
    (void)buf_addz(&b, "1");
    for (size_t i = 0; i < depth; i++)
        (void)buf_addz(&b, close);
    assert_false(buf_failed(&b));
    return scan_check(b.p, b.n, type);
}

static void test_depth(void **state) {
    (void)state;
    assert_int_equal(check_nested("[", "]", SCAN_DEPTH_MAX, SCAN_ARRAY), 0);
    assert_int_equal(check_nested("[", "]", SCAN_DEPTH_MAX + 1, SCAN_ARRAY), -EMSGSIZE);
    assert_int_equal(check_nested("{\"a\":", "}", SCAN_DEPTH_MAX, SCAN_OBJECT), 0);
    assert_int_equal(check_nested("{\"a\":", "}", SCAN_DEPTH_MAX + 1, SCAN_OBJECT), -EMSGSIZE);
    assert_int_equal(check_nested("[", "]", 100000, SCAN_ARRAY), -EMSGSIZE);
    assert_int_equal(check_nested("[", "", 100000, SCAN_ARRAY), -EMSGSIZE);
    /* depth is of open values: many closed ones in a row are not deep */
    assert_int_equal(check_nested("[[],[],", "]", SCAN_DEPTH_MAX - 1, SCAN_ARRAY), 0);
}

static void build_array(struct buf *b, size_t values) {
    (void)buf_addz(b, "[0");
    for (size_t i = 1; i < values; i++)
        (void)buf_addz(b, ",0");
    (void)buf_addz(b, "]");
    assert_false(buf_failed(b));
}

static void test_nodes(void **state) {
    (void)state;
    for (size_t values = SCAN_NODES_MAX - 2; values <= SCAN_NODES_MAX + 1; values++) {
        auto_buf struct buf b = BUF_NULL(1u << 20);
        build_array(&b, values);
        assert_int_equal(scan_check(b.p, b.n, SCAN_ARRAY), values + 1 > SCAN_NODES_MAX ? -EMSGSIZE : 0);
    }
}

static void test_number_length(void **state) {
    (void)state;
    for (size_t zeros = SCAN_NUMBER_MAX - 3; zeros < SCAN_NUMBER_MAX + 3; zeros++) {
        auto_buf struct buf b = BUF_NULL(1000);
        (void)buf_addz(&b, "0.");
        for (size_t i = 0; i < zeros; i++)
            (void)buf_addz(&b, "0");
        assert_int_equal(scan_check(b.p, b.n, SCAN_REAL), zeros + 2 > SCAN_NUMBER_MAX ? -EMSGSIZE : 0);
    }
}

static void build_object(struct buf *b, unsigned keys, const char *last) {
    for (unsigned i = 0; i < keys; i++)
        (void)buf_printf(b, "%c\"k%u\":0", i ? ',' : '{', i);
    (void)buf_printf(b, "%s}", last);
    assert_false(buf_failed(b));
}

/* In the place of libc's, so that the scanner's comparisons are counted. */
static size_t comparisons;
static int count_and_compare(const void *a, const void *b, void *compare) {
    comparisons++;
    return (*(int (**)(const void *, const void *))compare)(a, b);
}
void qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *)) {
    qsort_r(base, n, size, count_and_compare, &compare);
}

/* 60,000 keys, and the first again at the end: found, without comparing each with each (1.8e9 times). */
static void test_many_keys(void **state) {
    (void)state;
    comparisons = 0;
    auto_buf struct buf good = BUF_NULL(1u << 20), twice = BUF_NULL(1u << 20);
    build_object(&good, 60000, "");
    build_object(&twice, 60000, ",\"\\u006b0\":1");
    assert_int_equal(scan_check(good.p, good.n, SCAN_OBJECT), 0);
    assert_int_equal(scan_check(twice.p, twice.n, SCAN_OBJECT), -EPROTO);
    assert_non_null(strstr(err_text(), "duplicate key"));
    assert_in_range(comparisons, 60000, 2 * 60001 * 16); /* two sorts of n log2 n */
}

/* The stack of keys is emptied after a refusal: what failed before does not count for what comes. */
static void test_failures_leave_nothing(void **state) {
    (void)state;
    auto_buf struct buf open = BUF_NULL(1u << 20);
    build_object(&open, 60000, "");
    open.n--; /* without the closing brace */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(scan_check(open.p, open.n, SCAN_OBJECT), -EPROTO);
        assert_int_equal(scan_check("{\"a\":1,\"b\":2}", 13, SCAN_OBJECT), 0);
    }
}

struct walk {
    unsigned calls, stop_at;
    char keys[8][16];
    struct scan_value values[8];
};

static int each(void *arg, const char *key, size_t key_n, struct scan_value *value) {
    struct walk *w = arg;
    assert_true(w->calls < 8 && key_n < 16);
    memcpy(w->keys[w->calls], key, key_n);
    w->values[w->calls++] = *value;
    return w->calls == w->stop_at ? 7 : 0;
}

static void test_members(void **state) {
    (void)state;
    char text[] = " { \"s\":\"a\\u00e9\\\"\\ud83c\\udf31\" , "
                  "\"i\":-12,\"r\":1.5,\"b\":true,\"n\":null,\"o\":{\"x\":[1]},\"a\":[ ] } ";
    struct walk w = {0};
    assert_int_equal(scan_check(text, strlen(text), SCAN_OBJECT), 0);
    assert_int_equal(scan_members(text, strlen(text), each, &w), 0);
    static const enum scan_type types[] = {SCAN_STRING, SCAN_INT,    SCAN_REAL, SCAN_BOOL,
                                           SCAN_NULL,   SCAN_OBJECT, SCAN_ARRAY};
    static const char names[] = "sirbnoa";
    assert_int_equal(w.calls, LENGTH(types));
    for (size_t i = 0; i < LENGTH(types); i++) {
        assert_int_equal(w.values[i].type, types[i]);
        assert_int_equal(w.keys[i][0], names[i]);
    }
    assert_int_equal(scan_int(&w.values[1]), -12);
    assert_true(w.values[5].n == 9 && memcmp(w.values[5].text, "{\"x\":[1]}", 9) == 0);
    assert_string_equal(scan_string(&w.values[0]), "a\xc3\xa9\"\xf0\x9f\x8c\xb1");
    assert_int_equal(w.values[0].n, 8);
}

static void test_members_end_early(void **state) {
    (void)state;
    char text[] = "{\"a\":1,\"b\":2,\"c\":3}", empty[] = "{ }";
    struct walk w = {.stop_at = 2};
    assert_int_equal(scan_members(text, strlen(text), each, &w), 7);
    assert_int_equal(w.calls, 2);
    w = (struct walk){0};
    assert_int_equal(scan_members(empty, strlen(empty), each, &w), 0);
    assert_int_equal(w.calls, 0);
}

static void test_utf8(void **state) {
    (void)state;
    assert_true(scan_utf8("", 0));
    assert_true(scan_utf8("a\n\x7f\xc3\xa9", 5));
    assert_false(scan_utf8("a\0b", 3));
    assert_false(scan_utf8("\xc3", 1));
    assert_false(scan_utf8("\xed\xa0\x80", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_number_length),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_failures_leave_nothing),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_members_end_early),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
