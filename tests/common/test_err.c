/* The last failure: code passed through, text cut and not built from itself, place of the raise. */
#include "tests/common/probe.h"

#include "common/err.h"

static void test_raise(void **state) {
    (void)state;
    assert_string_equal(err_text(), "");
    assert_int_equal(err_raise(-EPROTO, "frame %d above %d", 5, 4), -EPROTO);
    assert_string_equal(err_text(), "frame 5 above 4");
    assert_non_null(strstr(err_place(), "test_err.c:"));
    assert_null(strchr(err_place(), '/'));
    assert_int_equal(err_up(-EPROTO), -EPROTO);
    assert_string_equal(err_text(), "frame 5 above 4");
}

static void test_raise_around_the_last_text(void **state) {
    (void)state;
    (void)err_raise(-ENOENT, "inner");
    (void)err_raise(-EINVAL, "outer: %s", err_text());
    assert_string_equal(err_text(), "outer: inner");
}

static void test_long_text_is_cut(void **state) {
    (void)state;
    (void)err_raise(-EINVAL, "%2000d", 1);
    assert_int_equal(strlen(err_text()), ERR_TEXT_MAX - 1);
}

static void test_errno_survives_closing(void **state) {
    (void)state;
    errno = EXDEV;
    assert_int_equal(fd_close(1000000), -1);
    assert_int_equal(errno, EXDEV);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raise),
        cmocka_unit_test(test_raise_around_the_last_text),
        cmocka_unit_test(test_long_text_is_cut),
        cmocka_unit_test(test_errno_survives_closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
