/* The table of names by itself: its bound, and what is no name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "registry/names.h"

static struct name holder(const char *name, const char *id, uint32_t generation) {
    struct name h = {.generation = generation, .pid = 1};
    (void)snprintf(h.name, sizeof h.name, "%s", name);
    (void)snprintf(h.id, sizeof h.id, "%s", id);
    return h;
}

static void test_put(void **state) {
    static const struct {
        const char *name, *id;
        uint32_t generation;
        int wanted;
    } cases[] = {
        {"a", "a", 2, 0},         {"a", "a", 2, 0},       {"a", "a", 1, 1},
        {"a", "b", 3, 0},         {"", "a", 1, -EINVAL},  {"a b", "a", 9, -EINVAL},
        {"a", "x/y", 9, -EINVAL}, {"-", "a", 1, -EINVAL}, {"b", "b", 1, 0},
    };
    (void)state;
    struct names names = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct name h = holder(cases[i].name, cases[i].id, cases[i].generation);
        assert_int_equal(names_put(&names, &h), cases[i].wanted);
    }
    assert_string_equal(names_find(&names, "a")->id, "b");
    assert_int_equal(names_drop(&names, "a", 2), 1);
    assert_int_equal(names_drop(&names, "a", 3), 0);
    assert_null(names_find(&names, "a"));
    assert_int_equal(names_drop(&names, "a", 3), 1);
    assert_int_equal(names_find(&names, "b")->generation, 1);
    names_clear(&names);
    assert_null(names_find(&names, "b"));
    names_deinit(&names);
    names_deinit(&names);
}

static void test_bound(void **state) {
    (void)state;
    struct names names = {0};
    char name[32];
    for (unsigned i = 0; i < NAMES_MAX; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        struct name h = holder(name, name, 1);
        assert_int_equal(names_put(&names, &h), 0);
    }
    struct name more = holder("more", "more", 1), known = holder("n7", "n7", 2);
    assert_int_equal(names_put(&names, &more), -ENOSPC);
    assert_int_equal(names_put(&names, &known), 0); /* who is there may still be replaced */
    assert_int_equal(names_drop(&names, "n0", 1), 0);
    assert_int_equal(names_put(&names, &more), 0);
    names_deinit(&names);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_put), cmocka_unit_test(test_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
