/* The parser's door: what passes, what is refused and by which name. Cases are rows; big texts are built. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

/* `said` is a part of the error text. */
static const struct {
    const char *text;
    int code;
    const char *said;
} parse_cases[] = {
    {"{}", 0, NULL},
    {" [1, -2.5e3, \"a\\u00e9\", true, false, null] ", 0, NULL},
    {"17", 0, NULL},
    {"\"top\"", 0, NULL},
    {"null", 0, NULL},
    {"9223372036854775807", 0, NULL},
    {"{\"a\":\"\\\\\",\"b\":\"\\\"[[[\"}", 0, NULL},
    {"", -EPROTO, "line 1, column 0"},
    {"{", -EPROTO, "line 1"},
    {"[1,]", -EPROTO, "line 1, column 4"},
    {"{\"a\":1,\n \"b\" 2}", -EPROTO, "line 2"},
    {"{\"a\":1,\"a\":2}", -EPROTO, "duplicate"},
    {"{\"a\":1,\"\\u0061\":2}", -EPROTO, "duplicate"},
    {"{} {}", -EPROTO, "end of file expected"},
    {"1 2", -EPROTO, "end of file expected"},
    {"\"\xff\"", -EPROTO, "0xff"},
    {"\"\xed\xa0\x80\"", -EPROTO, "line 1"},
    {"\"\xc0\x80\"", -EPROTO, "line 1"},
    {"\"\\ud800\"", -EPROTO, "line 1"},
    {"\"a\\u0000b\"", -EPROTO, "line 1"},
    {"9223372036854775808", -EPROTO, "too big"},
    {"1e999", -EPROTO, "overflow"},
    {"NaN", -EPROTO, "line 1"},
    {"01", -EPROTO, "line 1"},
    {"'a'", -EPROTO, "line 1"},
    {"[\"\t\"]", -EPROTO, "line 1"},
    {"\"never closed \\", -EPROTO, "line 1"},
    {"]]]]", -EPROTO, "line 1"},
};

static void test_parse_table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof parse_cases / sizeof *parse_cases; i++) {
        auto_json json_t *j = NULL;
        int r = json_parse(parse_cases[i].text, strlen(parse_cases[i].text), JSON_TEXT_MAX, &j);
        if (r != parse_cases[i].code)
            print_error("case %zu: %s\n", i, parse_cases[i].text);
        assert_int_equal(r, parse_cases[i].code);
        assert_true((j != NULL) == (r == 0));
        if (r < 0 && !strstr(err_text(), parse_cases[i].said))
            fail_msg("case %zu: \"%s\" is not in \"%s\"", i, parse_cases[i].said, err_text());
    }
}

static void test_parse_quotes_no_input(void **state) {
    (void)state;
    json_t *j = NULL;
    const char text[] = "{\"a\": secretword}";
    assert_int_equal(json_parse(text, strlen(text), JSON_TEXT_MAX, &j), -EPROTO);
    assert_null(strstr(err_text(), "secretword"));
}

static void test_parse_nul_bytes(void **state) {
    (void)state;
    json_t *j = NULL;
    assert_int_equal(json_parse("{}\0", 3, JSON_TEXT_MAX, &j), -EPROTO);
    assert_int_equal(json_parse("{\"a\0\":1}", 8, JSON_TEXT_MAX, &j), -EPROTO);
    assert_int_equal(json_parse("true\0", 5, JSON_TEXT_MAX, &j), -EPROTO);
    assert_int_equal(json_parse("[1\0,2]", 7, JSON_TEXT_MAX, &j), -EPROTO);
    assert_int_equal(json_parse(NULL, 0, JSON_TEXT_MAX, &j), -EPROTO);
}

static int parse_nested(size_t depth, char open, char close) {
    char text[512];
    auto_json json_t *j = NULL;
    memset(text, open, depth);
    memset(text + depth, close, depth);
    return json_parse(text, 2 * depth, JSON_TEXT_MAX, &j);
}

static void test_parse_depth(void **state) {
    (void)state;
    assert_int_equal(parse_nested(JSON_DEPTH_MAX, '[', ']'), 0);
    assert_int_equal(parse_nested(JSON_DEPTH_MAX + 1, '[', ']'), -EMSGSIZE);
    assert_non_null(strstr(err_text(), "line 1, column 65: more than 64 levels"));
    char text[JSON_DEPTH_MAX * 4 + 1];
    for (size_t i = 0; i < JSON_DEPTH_MAX; i++)
        memcpy(text + i * 4, "{\"\":", 4);
    text[sizeof text - 1] = '[';
    json_t *j = NULL;
    assert_int_equal(json_parse(text, sizeof text - 1, JSON_TEXT_MAX, &j), -EPROTO); /* 64 levels, then the end */
    assert_int_equal(json_parse(text, sizeof text, JSON_TEXT_MAX, &j), -EMSGSIZE);
}

/* An array of `n` elements is n + 1 nodes. */
static int parse_elements(size_t n, const char *element) {
    size_t each = strlen(element) + 1;
    auto_free char *text = malloc(n * each + 2);
    auto_json json_t *j = NULL;
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < n; i++) {
        memcpy(text + 1 + i * each, element, each - 1);
        text[(i + 1) * each] = ',';
    }
    text[n * each] = ']';
    return json_parse(text, n * each + 1, JSON_TEXT_MAX, &j);
}

static void test_parse_nodes(void **state) {
    (void)state;
    assert_int_equal(parse_elements(JSON_NODES_MAX - 1, "1"), 0);
    assert_int_equal(parse_elements(JSON_NODES_MAX, "1"), -EMSGSIZE);
    assert_non_null(strstr(err_text(), "65536 values and keys"));
    assert_int_equal(parse_elements(JSON_NODES_MAX - 1, "\",[\""), 0);
    assert_int_equal(parse_elements(JSON_NODES_MAX, "\",[\""), -EMSGSIZE);
    assert_int_equal(parse_elements((JSON_NODES_MAX - 1) / 3, "{\"a\":-1}"), 0);
    assert_int_equal(parse_elements((JSON_NODES_MAX - 1) / 3 + 1, "{\"a\":-1}"), -EMSGSIZE);
}

static void test_parse_size(void **state) {
    (void)state;
    json_t *j = NULL;
    assert_int_equal(json_parse("[1,2]", 5, 4, &j), -EMSGSIZE);
    assert_int_equal(json_parse("[1,2]", 5, 5, &j), 0);
    json_decref(j);
    auto_free char *text = calloc(1, JSON_TEXT_MAX + 1);
    assert_non_null(text);
    memset(text, ' ', JSON_TEXT_MAX + 1);
    text[0] = '1';
    assert_int_equal(json_parse(text, JSON_TEXT_MAX + 1, SIZE_MAX, &j), -EMSGSIZE);
    assert_int_equal(json_parse(text, JSON_TEXT_MAX, SIZE_MAX, &j), 0);
    json_decref(j);
}

static void test_text(void **state) {
    (void)state;
    const char *const texts[] = {"{\"z\":1,\"a\":[true,null,\"\\u0001é\"],\"m\":{}}", "[]", "\"x\"", "3", "null"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        auto_json json_t *j = NULL;
        auto_free char *text = NULL;
        size_t n = 0, length = strlen(texts[i]);
        assert_int_equal(json_parse(texts[i], length, JSON_TEXT_MAX, &j), 0);
        assert_int_equal(json_text(j, length, &text, &n), 0);
        assert_string_equal(text, texts[i]);
        assert_int_equal(n, length);
        char *untouched = NULL;
        assert_int_equal(json_text(j, length - 1, &untouched, &n), -EMSGSIZE);
        assert_null(untouched);
    }
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(json_text(NULL, 100, &text, &n), -EINVAL);
}

static void test_text_grows(void **state) {
    (void)state;
    char long_one[5000];
    memset(long_one, 'a', sizeof long_one);
    auto_json json_t *j = json_stringn(long_one, sizeof long_one);
    auto_free char *text = NULL;
    size_t n = 0;
    assert_int_equal(json_text(j, SIZE_MAX, &text, &n), 0);
    assert_int_equal(n, sizeof long_one + 2);
    assert_int_equal(strlen(text), n);
}

static void test_at(void **state) {
    (void)state;
    static const struct {
        const char *pointer, *text; /* NULL: nothing there */
    } cases[] = {
        {"/foo/0", "\"bar\""}, {"/", "0"},         {"/a~1b", "1"},   {"/m~0n", "2"},
        {"/foo/1/x", "7"},     {"foo", NULL},      {"/foo/2", NULL}, {"/foo/-", NULL},
        {"/foo/00", NULL},     {"/foo/ 0", NULL},  {"/m~n", NULL},   {"/m~2n", NULL},
        {"/nothing", NULL},    {"/foo/0/x", NULL}, {"/foo/", NULL},  {"/foo/99999999999999999999", NULL},
    };
    const char doc[] = "{\"foo\":[\"bar\",{\"x\":7}],\"\":0,\"a/b\":1,\"m~n\":2}";
    auto_json json_t *root = NULL;
    assert_int_equal(json_parse(doc, strlen(doc), JSON_TEXT_MAX, &root), 0);
    assert_ptr_equal(json_at(root, ""), root);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *found = json_at(root, cases[i].pointer);
        auto_free char *text = NULL;
        size_t n = 0;
        if (!found != !cases[i].text)
            fail_msg("pointer \"%s\"", cases[i].pointer);
        if (found) {
            assert_int_equal(json_text(found, 100, &text, &n), 0);
            assert_string_equal(text, cases[i].text);
        }
    }
}

static void test_members(void **state) {
    (void)state;
    auto_json json_t *j = json_pack("{s:s, s:i, s:b, s:f}", "s", "text", "i", 5, "b", 1, "r", 2.0);
    assert_string_equal(json_str(j, "s"), "text");
    assert_null(json_str(j, "i"));
    assert_null(json_str(NULL, "i"));
    assert_int_equal(json_i64(j, "i", -1), 5);
    assert_int_equal(json_i64(j, "r", -1), -1);
    assert_int_equal(json_i64(j, "none", -1), -1);
    assert_true(json_flag(j, "b", false));
    assert_true(json_flag(j, "s", true));
    assert_false(json_flag(j, "none", false));
}

static void test_place(void **state) {
    (void)state;
    struct json_place place = {.text = "/args"};
    json_place_push(&place, "a/b~c");
    json_place_index(&place, 12);
    assert_string_equal(place.text, "/args/a~1b~0c/12");
    json_place_push(&place, "\033[31m");
    assert_string_equal(place.text, "/args/a~1b~0c/12/?[31m");
    json_place_pop(&place);
    json_place_pop(&place);
    json_place_pop(&place);
    assert_string_equal(place.text, "/args");
}

/* However long the tokens, as many pops as pushes lead back, and no character is cut in two. */
static void test_place_cut(void **state) {
    (void)state;
    static const char *const long_tokens[] = {"ééééééééééééééééééééééééééééééééééééé", "~~~~~~~~~~~~~~~~~~~~~~~~~~~",
                                              "x", "/////////////////////////"};
    for (size_t first = 0; first < 4; first++) {
        struct json_place place = {.text = "/a"};
        for (size_t i = 0; i < 40; i++) {
            json_place_push(&place, long_tokens[(first + i) % 4]);
            auto_json json_t *valid = json_string(place.text);
            assert_non_null(valid);
            assert_true(strlen(place.text) < sizeof place.text);
        }
        for (size_t i = 0; i < 39; i++)
            json_place_pop(&place);
        assert_int_equal(strncmp(place.text, "/a/", 3), 0);
        assert_null(strchr(place.text + 3, '/'));
        json_place_pop(&place);
        assert_string_equal(place.text, "/a");
    }
}

static void test_utf8_floor(void **state) {
    (void)state;
    const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"; /* 1 + 2 + 3 + 4 + 1 bytes */
    static const size_t wanted[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t n = 0; n < sizeof wanted / sizeof *wanted; n++)
        assert_int_equal(json_utf8_floor(text, n), wanted[n]);
}

static void test_duration(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"200ms", 200},
        {"5s", 5000},
        {"2m", 120000},
        {"1h", 3600000},
        {"0s", 0},
        {"720h", 2592000000},
        {"721h", -ERANGE},
        {"2592000001ms", -ERANGE},
        {"99999999999999999999999999h", -ERANGE},
        {"", -EINVAL},
        {"5", -EINVAL},
        {"s", -EINVAL},
        {"5 s", -EINVAL},
        {"-5s", -EINVAL},
        {"1.5s", -EINVAL},
        {"5S", -EINVAL},
        {"5sec", -EINVAL},
        {"5d", -EINVAL},
        {" 5s", -EINVAL},
        {NULL, -EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(json_duration_ms(cases[i].text), cases[i].ms);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_table),
        cmocka_unit_test(test_parse_quotes_no_input),
        cmocka_unit_test(test_parse_nul_bytes),
        cmocka_unit_test(test_parse_depth),
        cmocka_unit_test(test_parse_nodes),
        cmocka_unit_test(test_parse_size),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_grows),
        cmocka_unit_test(test_at),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_place_cut),
        cmocka_unit_test(test_utf8_floor),
        cmocka_unit_test(test_duration),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
