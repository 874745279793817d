/* Buffers: growth never passes the ceiling, the first failure sticks, what is written as JSON is JSON. */
#include "tests/common/probe.h"

#include "common/buf.h"
#include "common/err.h"
#include "common/scan.h"

static void test_ceiling(void **state) {
    (void)state;
    auto_buf struct buf b = BUF_NULL(1000);
    char block[300];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 3; i++)
        assert_int_equal(buf_add(&b, block, sizeof block), 0);
    assert_int_equal(buf_add(&b, block, 100), 0);
    assert_true(b.n == 1000 && b.cap <= 1000);
    assert_int_equal(buf_add(&b, block, 1), -EMSGSIZE);
    assert_true(b.n == 1000 && buf_failed(&b));
}

static void test_failure_sticks(void **state) {
    (void)state;
    auto_buf struct buf b = BUF_NULL(4);
    assert_int_equal(buf_addz(&b, "12345"), -EMSGSIZE);
    assert_int_equal(buf_addz(&b, "1"), -EMSGSIZE);
    assert_int_equal(buf_printf(&b, "%d", 1), -EMSGSIZE);
    assert_int_equal(buf_json_str(&b, NULL), -EMSGSIZE);
    assert_int_equal(buf_json_key(&b, "k"), -EMSGSIZE);
    assert_int_equal(buf_reserve(&b, 1), -EMSGSIZE);
    assert_int_equal(b.n, 0);
    buf_deinit(&b);
    buf_deinit(&b); /* accepts a second call, and the buffer is new */
    assert_int_equal(buf_addz(&b, "1234"), 0);
}

/* Sizes whose sum does not fit a size_t must not pass as small. */
static void test_huge_sizes(void **state) {
    (void)state;
    auto_buf struct buf b = BUF_NULL(SIZE_MAX);
    assert_int_equal(buf_addz(&b, "x"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
}

static void test_printf(void **state) {
    (void)state;
    static const int lengths[] = {0, 1, 510, 511, 512, 513, 5000};
    for (size_t i = 0; i < LENGTH(lengths); i++) {
        auto_buf struct buf b = BUF_NULL(5000);
        assert_int_equal(buf_printf(&b, "%*s", lengths[i], ""), 0);
        assert_int_equal(b.n, lengths[i]);
        assert_int_equal(buf_printf(&b, "%5001s", ""), -EMSGSIZE);
        assert_int_equal(b.n, lengths[i]);
    }
}

static void test_json_strings(void **state) {
    (void)state;
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {NULL, "null"},
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\r\t", "\"\\n\\r\\t\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
        {"\xc3\xa9\xf0\x9f\x8c\xb1", "\"\xc3\xa9\xf0\x9f\x8c\xb1\""},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        auto_buf struct buf b = BUF_NULL(100);
        assert_int_equal(buf_json_str(&b, cases[i].text), 0);
        assert_int_equal(b.n, strlen(cases[i].wanted));
        assert_memory_equal(b.p, cases[i].wanted, b.n);
        assert_int_equal(scan_check(b.p, b.n, cases[i].text ? SCAN_STRING : SCAN_NULL), 0);
    }
}

static void test_json_keys(void **state) {
    (void)state;
    auto_buf struct buf b = BUF_NULL(100);
    (void)buf_addz(&b, "{");
    (void)buf_json_key(&b, "a");
    (void)buf_addz(&b, "{");
    (void)buf_json_key(&b, "b");
    (void)buf_addz(&b, "1}");
    (void)buf_json_key(&b, "c\n");
    (void)buf_addz(&b, "2}");
    assert_int_equal(buf_add(&b, "", 1), 0);
    assert_string_equal(b.p, "{\"a\":{\"b\":1},\"c\\n\":2}");
}

static void test_consume(void **state) {
    (void)state;
    auto_buf struct buf b = BUF_NULL(100);
    (void)buf_addz(&b, "abcdef");
    buf_consume(&b, 2);
    assert_true(b.n == 4 && memcmp(b.p, "cdef", 4) == 0);
    buf_consume(&b, 0);
    assert_int_equal(b.n, 4);
    buf_consume(&b, 100);
    assert_int_equal(b.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ceiling), cmocka_unit_test(test_failure_sticks), cmocka_unit_test(test_huge_sizes),
        cmocka_unit_test(test_printf),  cmocka_unit_test(test_json_strings),   cmocka_unit_test(test_json_keys),
        cmocka_unit_test(test_consume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
