/* Plans: a table of plans and the refusal each one meets, word for word where a person will read it. */
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
#include "common/schema.h"
#include "run/plan.h"

#define MANIFEST(name, schema, effect, idempotent)                                                                     \
    "{\"name\":\"" name "\",\"description\":\"\",\"input_schema\":" schema ",\"effect\":\"" effect                     \
    "\",\"idempotent\":" idempotent ",\"timeout_ms\":10000,\"builtin\":\"" name                                        \
    "\",\"output\":\"json\",\"profile\":\"pure\",\"env\":{},\"limits\":{}}"

static const char grants_text[] =
    "{\"generation\":1,\"tools\":[" MANIFEST("echo", "{\"type\":\"object\"}", "pure", "true") "," MANIFEST(
        "file_read",
        "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"}},\"required\":[\"path\"],"
        "\"additionalProperties\":false}",
        "reader", "true") "," MANIFEST("file_write", "{\"type\":\"object\"}", "state",
                                       "false") "," MANIFEST("put", "{\"type\":\"object\"}", "state",
                                                             "true") "," MANIFEST("odd", "{\"type\":\"object\"}",
                                                                                  "strange", "false") "]}";

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s: %s", text, err_text());
    return j;
}

static int setup(void **state) {
    static struct grants grants;
    *state = &grants;
    return grants_parse(grants_text, strlen(grants_text), &grants);
}

static int teardown(void **state) {
    grants_deinit(*state);
    return 0;
}

#define E "\"tool\":\"echo\""
#define ONE(step) "{\"steps\":[" step "]}"
#define TWO(a, b) "{\"steps\":[" a "," b "]}"

static const struct {
    const char *plan;
    int result;
    const char *why; /* NULL = accepted */
} cases[] = {
    {"{\"steps\":[]}", 0, NULL},
    {"{\"name\":\"count\",\"timeout\":\"30s\",\"steps\":[{\"id\":\"a\"," E "}]}", 0, NULL},
    {ONE("{\"id\":\"a\"," E ",\"args\":{\"x\":[1]},\"timeout\":\"5s\",\"retry\":{\"max\":3,\"backoff\":\"200ms\"}}"), 0,
     NULL},
    {ONE("{\"id\":\"a\",\"tool\":\"put\",\"retry\":{\"max\":1}}"), 0, NULL},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"b\"," E ",\"args\":{\"t\":{\"$from\":\"a\",\"at\":\"/x\"}}}"), 0, NULL},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"b\"," E ",\"args\":{\"$from\":\"a\"}}"), 0, NULL},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"b\",\"tool\":\"file_read\",\"args\":{\"path\":{\"$from\":\"a\"}}}"), 0,
     NULL},

    {"[]", -EINVAL, "the plan: expected an object with steps, got an array"},
    {"7", -EINVAL, "the plan: expected an object with steps, got an integer"},
    {"{}", -EINVAL, "/steps: expected an array of steps, got nothing"},
    {"{\"steps\":{}}", -EINVAL, "/steps: expected an array of steps, got an object"},
    {"{\"steps\":[],\"stepz\":1}", -EINVAL, "/stepz: unknown member; the members here are name timeout steps"},
    {"{\"steps\":[],\"step\":1}", -EINVAL, "/step: unknown member; the members here are name timeout steps"},
    {"{\"steps\":[],\"\":1}", -EINVAL, "/: unknown member; the members here are name timeout steps"},
    {"{\"steps\":[],\"name timeout\":1}", -EINVAL,
     "/name timeout: unknown member; the members here are name timeout steps"},
    {"{\"steps\":[],\"\\u001b[31m\":1}", -EINVAL, "/?[31m: unknown member; the members here are name timeout steps"},
    {"{\"steps\":[],\"name\":7}", -EINVAL, "/name: expected a string of at most 200 bytes"},
    {"{\"steps\":[],\"timeout\":30}", -EINVAL,
     "/timeout: expected a duration, a string such as \"200ms\" or \"5s\", got an integer"},
    {"{\"steps\":[],\"timeout\":\"30 s\"}", -EINVAL,
     "/timeout: not a duration; write digits and one unit of ms, s, m, h, as in \"200ms\""},
    {"{\"steps\":[],\"timeout\":\"0s\"}", -EINVAL, "/timeout: expected a duration between 1ms and 30 days (720h)"},
    {"{\"steps\":[],\"timeout\":\"721h\"}", -EINVAL, "/timeout: expected a duration between 1ms and 30 days (720h)"},

    {ONE("7"), -EINVAL, "/steps/0: expected an object with id and tool, got an integer"},
    {ONE("{" E "}"), -EINVAL, "/steps/0/id: expected a string that names the step, got nothing"},
    {ONE("{\"id\":null," E "}"), -EINVAL, "/steps/0/id: expected a string that names the step, got null"},
    {ONE("{\"id\":\"a b\"," E "}"), -EINVAL,
     "/steps/0/id: not a name; use 1 to 63 letters, digits, \"_\", \".\" and \"-\", the first a letter or digit"},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"a\"," E "}"), -EINVAL,
     "/steps/1/id: \"a\" is already the id of /steps/0; give each step its own"},
    {ONE("{\"id\":\"a\"," E ",\"arg\":{}}"), -EINVAL,
     "/steps/0/arg: unknown member; the members here are id tool args timeout retry"},
    {ONE("{\"id\":\"a\"}"), -EINVAL, "/steps/0/tool: expected a string that names a tool, got nothing"},
    {ONE("{\"id\":\"a\",\"tool\":[]}"), -EINVAL, "/steps/0/tool: expected a string that names a tool, got an array"},
    {ONE("{\"id\":\"a\",\"tool\":\"rm\"}"), -ENOENT,
     "/steps/0/tool: no tool \"rm\" is granted to this run; `soma tool list` shows which there are"},
    {ONE("{\"id\":\"a\",\"tool\":\"\\u001b]0;x\"}"), -ENOENT,
     "/steps/0/tool: no tool of this name is granted to this run; `soma tool list` shows which there are"},
    {ONE("{\"id\":\"a\"," E ",\"args\":[]}"), -EINVAL, "/steps/0/args: expected an object, got an array"},
    {ONE("{\"id\":\"a\"," E ",\"timeout\":\"1d\"}"), -EINVAL,
     "/steps/0/timeout: not a duration; write digits and one unit of ms, s, m, h, as in \"200ms\""},

    {ONE("{\"id\":\"a\"," E ",\"retry\":3}"), -EINVAL,
     "/steps/0/retry: expected an object with max and backoff, got an integer"},
    {ONE("{\"id\":\"a\"," E ",\"retry\":{}}"), -EINVAL,
     "/steps/0/retry/max: expected an integer from 1 to 10, the attempts after the first one"},
    {ONE("{\"id\":\"a\"," E ",\"retry\":{\"max\":0}}"), -EINVAL,
     "/steps/0/retry/max: expected an integer from 1 to 10, the attempts after the first one"},
    {ONE("{\"id\":\"a\"," E ",\"retry\":{\"max\":11}}"), -EINVAL,
     "/steps/0/retry/max: expected an integer from 1 to 10, the attempts after the first one"},
    {ONE("{\"id\":\"a\"," E ",\"retry\":{\"max\":1.0}}"), -EINVAL,
     "/steps/0/retry/max: expected an integer from 1 to 10, the attempts after the first one"},
    {ONE("{\"id\":\"a\"," E ",\"retry\":{\"max\":1,\"backoff\":200}}"), -EINVAL,
     "/steps/0/retry/backoff: expected a duration, a string such as \"200ms\" or \"5s\", got an integer"},
    {ONE("{\"id\":\"a\"," E ",\"retry\":{\"max\":1,\"x\":2}}"), -EINVAL,
     "/steps/0/retry/x: unknown member; the members here are max backoff"},
    {ONE("{\"id\":\"a\",\"tool\":\"file_write\",\"retry\":{\"max\":1}}"), -EINVAL,
     "/steps/0/retry: the tool \"file_write\" is not safe to repeat; leave retry out"},
    {ONE("{\"id\":\"a\",\"tool\":\"odd\",\"retry\":{\"max\":1}}"), -EINVAL,
     "/steps/0/retry: the tool \"odd\" is not safe to repeat; leave retry out"},

    {ONE("{\"id\":\"a\",\"tool\":\"file_read\"}"), -EINVAL, "/steps/0/args/path: required, but missing"},
    {ONE("{\"id\":\"a\",\"tool\":\"file_read\",\"args\":{\"path\":7}}"), -EINVAL,
     "/steps/0/args/path: expected string, got integer"},
    {TWO("{\"id\":\"x\"," E "}", "{\"id\":\"a\",\"tool\":\"file_read\",\"args\":{\"path\":\"p\",\"max\":1}}"), -EINVAL,
     "/steps/1/args/max: not a known property; known are path"},

    {ONE("{\"id\":\"a\"," E ",\"args\":{\"t\":{\"$from\":\"a\"}}}"), -EINVAL,
     "/steps/0/args/t/$from: names this step or a later one; only earlier steps have an output"},
    {TWO("{\"id\":\"a\"," E ",\"args\":{\"t\":[{\"$from\":\"b\"}]}}", "{\"id\":\"b\"," E "}"), -EINVAL,
     "/steps/0/args/t/0/$from: names this step or a later one; only earlier steps have an output"},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"b\"," E ",\"args\":{\"t\":{\"$from\":\"c\"}}}"), -EINVAL,
     "/steps/1/args/t/$from: no step has this id; name an earlier step"},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"b\"," E ",\"args\":{\"t\":{\"$from\":\"a\",\"at\":\"x\"}}}"), -EINVAL,
     "/steps/1/args/t/at: expected a JSON Pointer, a string such as \"/text\""},
    {TWO("{\"id\":\"a\"," E "}", "{\"id\":\"b\"," E ",\"args\":{\"t\":{\"$from\":\"a\",\"default\":1}}}"), -EINVAL,
     "/steps/1/args/t/default: a reference has $from and at only; remove this member"},
};

static void test_table(void **state) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_json json_t *doc = parse(cases[i].plan);
        struct plan plan = PLAN_NULL;
        int r = plan_check(doc, *state, &plan);
        const char *why = cases[i].why;
        if (r != cases[i].result || (why && strcmp(err_text(), why) != 0))
            fail_msg("%s: %d %s\nwanted %s", cases[i].plan, r, r ? err_text() : "", why ? why : "acceptance");
        plan_deinit(&plan);
    }
}

static void test_what_is_read(void **state) {
    auto_json json_t *doc =
        parse("{\"timeout\":\"2m\",\"steps\":["
              "{\"id\":\"a\"," E ",\"timeout\":\"5s\",\"retry\":{\"max\":3,\"backoff\":\"1s\"}},"
              "{\"id\":\"b\",\"tool\":\"file_read\",\"args\":{\"path\":{\"$from\":\"a\",\"at\":\"/p\"}}},"
              "{\"id\":\"c\"," E ",\"retry\":{\"max\":1}}]}");
    struct plan plan = PLAN_NULL;
    assert_int_equal(plan_check(doc, *state, &plan), 0);
    assert_int_equal(plan.n, 3);
    assert_int_equal(plan.timeout_ms, 120000);
    assert_string_equal(plan.steps[0].id, "a");
    assert_string_equal(plan.steps[0].tool->name, "echo");
    assert_int_equal(plan.steps[0].timeout_ms, 5000);
    assert_int_equal(plan.steps[0].repeats, 3);
    assert_int_equal(plan.steps[0].backoff_ms, 1000);
    assert_false(plan.steps[0].refs);
    assert_int_equal(json_object_size(plan.steps[0].args), 0);
    assert_true(plan.steps[1].refs);
    assert_int_equal(plan.steps[1].repeats, 0);
    assert_int_equal(plan.steps[2].backoff_ms, PLAN_BACKOFF_MS);

    /* the arguments as they are after substitution */
    auto_json json_t *good = parse("{\"path\":\"x\"}");
    auto_json json_t *bad = parse("{\"path\":{\"a\":1}}");
    auto_json json_t *no_object = parse("[\"path\"]");
    assert_int_equal(plan_check_args(&plan, 1, good), 0);
    assert_int_equal(plan_check_args(&plan, 1, bad), -EINVAL);
    assert_string_equal(err_text(), "/steps/1/args/path: expected string, got object");
    assert_int_equal(plan_check_args(&plan, 1, no_object), -EINVAL);
    assert_string_equal(err_text(), "/steps/1/args: expected an object, got an array");
    plan_deinit(&plan);
    plan_deinit(&plan);
}

static json_t *plan_of(size_t steps) {
    json_t *list = json_array();
    for (size_t i = 0; i < steps; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "s%zu", i);
        assert_int_equal(json_array_append_new(list, json_pack("{s:s,s:s}", "id", id, "tool", "echo")), 0);
    }
    return json_pack("{s:o}", "steps", list);
}

static void test_limits(void **state) {
    struct plan plan = PLAN_NULL;
    auto_json json_t *most = plan_of(PLAN_STEPS_MAX);
    assert_int_equal(plan_check(most, *state, &plan), 0);
    plan_deinit(&plan);
    auto_json json_t *more = plan_of(PLAN_STEPS_MAX + 1);
    assert_int_equal(plan_check(more, *state, &plan), -EINVAL);
    assert_string_equal(err_text(), "/steps: 257 steps, the limit is 256; split the plan");

    char deep[256] = "{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"args\":{\"x\":";
    size_t at = strlen(deep);
    memset(deep + at, '[', 45);
    memset(deep + at + 45, ']', 45);
    (void)snprintf(deep + at + 90, sizeof deep - at - 90, "}}]}");
    auto_json json_t *nested = parse(deep);
    assert_int_equal(plan_check(nested, *state, &plan), -EINVAL);
    assert_string_equal(err_text(), "the plan: more than 48 levels of nesting; make it smaller");
}

static void test_grants(void **state) {
    static const struct {
        const char *name;
        bool safe;
    } tools[] = {{"echo", true}, {"file_read", true}, {"file_write", false}, {"put", true}, {"odd", false}};
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        assert_int_equal(grant_safe(grants_find(*state, tools[i].name)), tools[i].safe);
    assert_null(grants_find(*state, "rm"));
    static const char *const bad[] = {"[]",
                                      "{}",
                                      "{\"tools\":{}}",
                                      "{\"tools\":[7]}",
                                      "{\"tools\":[{\"name\":\"x\"}]}",
                                      "{\"tools\":[" MANIFEST("x y", "{}", "pure", "true") "]}",
                                      "{\"tools\":[" MANIFEST("x", "true", "pure", "true") "]}",
                                      "{\"tools\":["};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct grants none = GRANTS_NULL;
        assert_int_equal(grants_parse(bad[i], strlen(bad[i]), &none), -EPROTO);
        assert_null(none.doc);
    }
}

/* The published schema says yes to every plan that is accepted, and no to a wrong form. */
static void test_published_schema(void **state) {
    auto_file FILE *f = fopen(PLAN_SCHEMA, "re");
    assert_non_null(f);
    char text[16384];
    size_t n = fread(text, 1, sizeof text, f);
    auto_json json_t *schema = NULL;
    assert_int_equal(json_parse(text, n, sizeof text, &schema), 0);
    assert_int_equal(schema_check(schema), 0);
    size_t refused = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_json json_t *doc = parse(cases[i].plan);
        char why[400];
        int r = schema_validate(schema, doc, "", why, sizeof why);
        if (!cases[i].why && r)
            fail_msg("%s: %s", cases[i].plan, why);
        refused += r == 1;
    }
    assert_true(refused > 20); /* what only a program can check passes the schema */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),  cmocka_unit_test(test_what_is_read),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_grants), cmocka_unit_test(test_published_schema),
    };
    return cmocka_run_group_tests_name("run-plan", tests, setup, teardown);
}
