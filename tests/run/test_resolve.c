/* References: arguments, outputs, and what comes of them; and the limits of what travels. */
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
#include "run/resolve.h"

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s: %s", text, err_text());
    return j;
}

#define OUTPUTS "{\"read\":{\"text\":\"abc\",\"n\":[1,{\"a/b\":true}],\"nil\":null},\"s\":\"plain\"}"

static const struct {
    const char *args, *wanted; /* wanted NULL: refused with `why` */
    const char *why;
} cases[] = {
    {"{}", "{}", NULL},
    {"{\"a\":[1,\"x\",null,{\"b\":{}}]}", "{\"a\":[1,\"x\",null,{\"b\":{}}]}", NULL},
    {"{\"t\":{\"$from\":\"read\",\"at\":\"/text\"}}", "{\"t\":\"abc\"}", NULL},
    {"{\"t\":{\"at\":\"/n/0\",\"$from\":\"read\"}}", "{\"t\":1}", NULL},
    {"{\"t\":{\"$from\":\"read\",\"at\":\"/n/1/a~1b\"}}", "{\"t\":true}", NULL},
    {"{\"t\":{\"$from\":\"read\",\"at\":\"/nil\"}}", "{\"t\":null}", NULL},
    {"{\"t\":{\"$from\":\"s\"}}", "{\"t\":\"plain\"}", NULL},
    {"{\"t\":{\"$from\":\"s\",\"at\":\"\"}}", "{\"t\":\"plain\"}", NULL},
    {"{\"$from\":\"read\",\"at\":\"/n/1\"}", "{\"a/b\":true}", NULL},
    {"{\"l\":[{\"$from\":\"s\"},[{\"$from\":\"s\"}],2]}", "{\"l\":[\"plain\",[\"plain\"],2]}", NULL},
    {"{\"x\":{\"at\":\"/n\"}}", "{\"x\":{\"at\":\"/n\"}}", NULL},
    {"{\"t\":{\"$from\":\"read\",\"at\":\"/nope\"}}", NULL,
     "/steps/7/args/t: the output of step \"read\" has nothing at this pointer"},
    {"{\"t\":[0,{\"$from\":\"read\",\"at\":\"/n/2\"}]}", NULL,
     "/steps/7/args/t/1: the output of step \"read\" has nothing at this pointer"},
    {"{\"t\":{\"$from\":\"s\",\"at\":\"/0\"}}", NULL,
     "/steps/7/args/t: the output of step \"s\" has nothing at this pointer"},
};

static void test_substitution(void **state) {
    auto_json json_t *outputs = parse(OUTPUTS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_json json_t *args = parse(cases[i].args);
        auto_json json_t *made = NULL;
        int r = refs_resolve(args, outputs, "/steps/7/args", &made);
        assert_int_equal(r, cases[i].wanted ? 0 : -EINVAL);
        if (r < 0) {
            assert_string_equal(err_text(), cases[i].why);
            continue;
        }
        auto_json json_t *wanted = parse(cases[i].wanted);
        if (!json_equal(made, wanted))
            fail_msg("%s", cases[i].args);
        auto_json json_t *same = parse(cases[i].args);
        assert_true(json_equal(args, same)); /* the plan is not changed: a retry starts from it again */
    }
    auto_json json_t *untouched = parse(OUTPUTS);
    assert_true(json_equal(outputs, untouched));
}

static enum step_place look_up(void *arg, const char *step) {
    return strcmp(step, "early") == 0 ? STEP_EARLIER : strcmp(step, "late") == 0 ? STEP_NOT_EARLIER : STEP_UNKNOWN;
}

static const struct {
    const char *args;
    bool any;
    const char *why; /* NULL = good */
} forms[] = {
    {"{\"a\":1}", false, NULL},
    {"{\"a\":{\"at\":\"nonsense\"}}", false, NULL},
    {"{\"a\":{\"$from\":\"early\"}}", true, NULL},
    {"{\"a\":[{\"b\":{\"$from\":\"early\",\"at\":\"/x/~01\"}}]}", true, NULL},
    {"{\"a\":{\"$from\":\"late\"}}", true,
     "/p/a/$from: names this step or a later one; only earlier steps have an output"},
    {"{\"a\":{\"$from\":\"x\"}}", true, "/p/a/$from: no step has this id; name an earlier step"},
    {"{\"a\":{\"$from\":3}}", true, "/p/a/$from: expected the id of an earlier step, a string"},
    {"[[{\"$from\":\"early\",\"at\":7}]]", true, "/p/0/0/at: expected a JSON Pointer, a string such as \"/text\""},
    {"{\"a\":{\"$from\":\"early\",\"at\":\"text\"}}", true,
     "/p/a/at: expected a JSON Pointer, a string such as \"/text\""},
    {"{\"a\":{\"$from\":\"early\",\"at\":\"/a~\"}}", true,
     "/p/a/at: expected a JSON Pointer, a string such as \"/text\""},
    {"{\"a\":{\"$from\":\"early\",\"at\":\"/a~2b\"}}", true,
     "/p/a/at: expected a JSON Pointer, a string such as \"/text\""},
    {"{\"a\":{\"$from\":\"early\",\"to\":\"/x\"}}", true,
     "/p/a/to: a reference has $from and at only; remove this member"},
};

static void test_forms(void **state) {
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        auto_json json_t *args = parse(forms[i].args);
        struct json_place place = {.text = "/p"};
        bool any = false;
        int r = refs_check(args, &place, look_up, NULL, &any);
        assert_int_equal(r, forms[i].why ? -EINVAL : 0);
        if (forms[i].why)
            assert_string_equal(err_text(), forms[i].why);
        assert_int_equal(any, forms[i].any);
        assert_string_equal(place.text, "/p");
    }
}

static json_t *nested(unsigned depth) {
    json_t *value = json_integer(1);
    for (unsigned i = 0; i < depth; i++) {
        json_t *outer = json_array();
        assert_int_equal(json_array_append_new(outer, value), 0);
        value = outer;
    }
    return value;
}

static json_t *wide(unsigned count) {
    json_t *value = json_array();
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(json_array_append_new(value, json_null()), 0);
    return value;
}

static void test_measure(void **state) {
    size_t nodes = 0;
    auto_json json_t *deep = nested(VALUE_DEPTH_MAX);
    auto_json json_t *deeper = nested(VALUE_DEPTH_MAX + 1);
    auto_json json_t *broad = wide(VALUE_NODES_MAX - 1);
    auto_json json_t *broader = wide(VALUE_NODES_MAX);
    auto_json json_t *keys = parse("{\"a\":{\"b\":[1,2]},\"c\":null}");
    assert_int_equal(value_measure(deep, &nodes), 0);
    assert_int_equal(value_measure(broad, &nodes), 0);
    assert_int_equal(nodes, VALUE_NODES_MAX);
    assert_int_equal(value_measure(keys, &nodes), 0);
    assert_int_equal(nodes, 9); /* six values, three keys */
    assert_int_equal(value_measure(deeper, &nodes), -EMSGSIZE);
    assert_string_equal(err_text(), "more than 48 levels of nesting");
    assert_int_equal(value_measure(broader, &nodes), -EMSGSIZE);
    assert_string_equal(err_text(), "more than 60000 values and keys");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_substitution),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_measure),
    };
    return cmocka_run_group_tests_name("run-resolve", tests, NULL, NULL);
}
