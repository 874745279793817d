/* What reaches a terminal: escaping, tables, durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.h"

#include <errno.h>

static const struct {
    enum text_mode mode;
    const char *in, *out;
} escape_cases[] = {
    {TEXT_LINE, "plain", "plain"},
    {TEXT_LINE, "", ""},
    {TEXT_LINE, "a\nb\tc", "a\\nb\\tc"},
    {TEXT_LINE, "back\\slash", "back\\\\slash"},
    {TEXT_LINE, "\033[2J\033]0;title\007", "\\x1b[2J\\x1b]0;title\\x07"},
    {TEXT_LINE, "del\x7f", "del\\x7f"},
    {TEXT_LINE,
     "c1 \xc2\x9b"
     "31m",
     "c1 \\x9b31m"},
    {TEXT_LINE, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
    {TEXT_LINE,
     "bidi \xe2\x80\xae"
     "x",
     "bidi \\u202ex"},
    {TEXT_LINE, "sep \xe2\x80\xa8", "sep \\u2028"},
    {TEXT_LINE, "bad \xff\xc3", "bad \\xff\\xc3"},
    {TEXT_LINE, "overlong \xc0\x9b", "overlong \\xc0\\x9b"},
    {TEXT_LINE, "surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
    {TEXT_LINES, "a\nb\tc\\", "a\nb\tc\\"},
    {TEXT_LINES, "cr\r\n", "cr\\x0d\n"},
    {TEXT_JSON, "{\"a\":\"\\n\x7f\xc2\x9b\"}", "{\"a\":\"\\n\\u007f\\u009b\"}"},
    {TEXT_JSON, "\"\xe2\x80\xae\"", "\"\\u202e\""},
};

static void test_escape(void **state) {
    for (size_t i = 0; i < sizeof escape_cases / sizeof *escape_cases; i++) {
        auto_buf struct buf b = BUF_NULL(4096);
        assert_int_equal(text_escape(&b, escape_cases[i].mode, escape_cases[i].in, strlen(escape_cases[i].in)), 0);
        assert_int_equal(buf_add(&b, "", 1), 0);
        assert_string_equal(b.p, escape_cases[i].out);
    }
}

/* Whatever the bytes, none that steers a terminal comes out. */
static void test_escape_all_bytes(void **state) {
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++) {
            const char in[] = {(char)first, (char)second};
            auto_buf struct buf b = BUF_NULL(64);
            assert_int_equal(text_escape(&b, TEXT_LINE, in, sizeof in), 0);
            for (size_t i = 0; i < b.n; i++) {
                unsigned char c = (unsigned char)b.p[i];
                assert_true(c >= 0x20 && c != 0x7f);
                if (c >= 0x80 && c < 0xa0) /* only as the second half of a printable character */
                    assert_true(i > 0 && (unsigned char)b.p[i - 1] > 0xc2);
            }
        }
}

static void test_escape_ceiling(void **state) {
    auto_buf struct buf b = BUF_NULL(6);
    assert_int_equal(text_escape(&b, TEXT_LINE, "\x01\x02", 2), -EMSGSIZE);
}

static void test_table(void **state) {
    auto_table struct text_table t = {.columns = 3, .right = 1u << 1};
    static const char *const cells[] = {"ID", "N", "WHAT", "\xc3\xa4", "10", NULL, "long-one", "7", "esc\033"};
    auto_buf struct buf b = BUF_NULL(4096);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        text_table_add(&t, cells[i]);
    assert_int_equal(text_table_print(&t, &b), 0);
    assert_int_equal(buf_add(&b, "", 1), 0);
    assert_string_equal(b.p, "ID         N  WHAT\n"
                             "\xc3\xa4         10  \n"
                             "long-one   7  esc\\x1b\n");
}

static const struct {
    int64_t us;
    const char *text;
} duration_cases[] = {
    {-1, "-"},           {0, "0.0 ms"},        {340, "0.3 ms"},        {12000, "12 ms"},        {999999, "999 ms"},
    {1240000, "1.24 s"}, {185000000, "3m05s"}, {14520000000, "4h02m"}, {183600000000, "2d03h"},
};

static void test_duration(void **state) {
    for (size_t i = 0; i < sizeof duration_cases / sizeof *duration_cases; i++) {
        char out[16];
        text_duration(duration_cases[i].us, out);
        assert_string_equal(out, duration_cases[i].text);
    }
    char out[16];
    text_duration(INT64_MAX, out); /* a wrong clock must not overflow */
    assert_true(strlen(out) < sizeof out);
}

static void test_bytes(void **state) {
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},        {1023, "1023 B"},  {1024, "1.0K"},
                 {1677722, "1.6M"}, {52428800, "50M"}, {UINT64_MAX, "16E"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[16];
        text_bytes(cases[i].bytes, out);
        assert_string_equal(out, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape), cmocka_unit_test(test_escape_all_bytes), cmocka_unit_test(test_escape_ceiling),
        cmocka_unit_test(test_table),  cmocka_unit_test(test_duration),         cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
