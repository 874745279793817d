/* From manifest and arguments to argv, environment and stdin. */
#include "toolcall/argv.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OK TOOL_FAILURE__COUNT

static json_t *parse(const char *text) {
    json_t *value = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &value) != 0)
        fail_msg("%s: %s", text, err_text());
    return value;
}

/* A list as one text, each element followed by '|'. */
static const char *joined(char *const *list) {
    static char text[4096];
    size_t n = 0;
    text[0] = '\0';
    for (; *list; list++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s|", *list);
    return text;
}

static const struct {
    const char *manifest, *args;
    enum tool_failure_name failure;
    const char *argv, *input;
} cases[] = {
    {"{\"command\":[\"/bin/x\"]}", "{}", OK, "/bin/x|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\",\"lit\",\"{b}\"],\"input\":\"argv\"}", "{\"a\":\"s p\",\"b\":7}", OK,
     "/bin/x|s p|lit|7|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\",\"{b}\",\"end\"]}", "{\"b\":\"\"}", OK, "/bin/x||end|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\",\"{b}\"]}", "{\"a\":true,\"b\":false}", OK, "/bin/x|true|false|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\",\"{b}\"]}", "{\"a\":-9223372036854775808,\"b\":9223372036854775807}", OK,
     "/bin/x|-9223372036854775808|9223372036854775807|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\",\"{b}\",\"{c}\"]}", "{\"a\":0.1,\"b\":1e300,\"c\":0.30000000000000004}", OK,
     "/bin/x|0.1|1e+300|0.30000000000000004|", NULL},
    {"{\"command\":[\"/bin/x\",\"{}\",\"-f{a}\",\"{a}{a}\",\"{a b}\",\"{\"]}", "{\"a\":\"v\"}", OK,
     "/bin/x|{}|-f{a}|{a}{a}|{a b}|{|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\"]}", "{\"a\":\"{b}\",\"b\":\"again\"}", OK, "/bin/x|{b}|", NULL},
    {"{\"command\":[\"/bin/x\",\"{a}\"]}", "{\"a\":\"$(reboot); `x`\"}", OK, "/bin/x|$(reboot); `x`|", NULL},
    {"{\"command\":[\"/bin/x\"],\"input\":\"stdin\"}", "{\"a\":[1]}", OK, "/bin/x|", "{\"a\":[1]}"},
    {"{\"command\":[\"/bin/x\"],\"input\":{\"stdin\":\"{t}\"}}", "{\"t\":\"a\\nb\"}", OK, "/bin/x|", "a\nb"},
    {"{\"command\":[\"/bin/x\"],\"input\":{\"stdin\":\"{t}\"}}", "{\"t\":\"\"}", OK, "/bin/x|", ""},
    {"{\"command\":[\"/bin/x\"],\"input\":{\"stdin\":\"{t}\"}}", "{}", OK, "/bin/x|", NULL},
    {"{\"command\":[\"/bin/x\"],\"input\":{\"stdin\":\"{t}\"}}", "{\"t\":1}", TOOL_INVALID_ARGS},
    {"{\"command\":[\"/bin/x\",\"{a}\"]}", "{\"a\":null}", TOOL_INVALID_ARGS},
    {"{\"command\":[\"/bin/x\",\"{a}\"]}", "{\"a\":[]}", TOOL_INVALID_ARGS},
    {"{\"command\":[\"/bin/x\",\"{a}\"]}", "{\"a\":{}}", TOOL_INVALID_ARGS},
    {"{\"command\":[\"{a}\"]}", "{\"a\":\"/bin/sh\"}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"x\"]}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[]}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":\"/bin/x\"}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\",1]}", "{}", TOOL_NOT_EXECUTABLE},
    {"{}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"input\":\"pipe\"}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"input\":{\"stdin\":\"t\"}}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"output\":\"xml\"}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"output\":1}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"env\":{\"A=B\":\"c\"}}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"env\":{\"\":\"c\"}}", "{}", TOOL_NOT_EXECUTABLE},
    {"{\"command\":[\"/bin/x\"],\"env\":{\"A\":1}}", "{}", TOOL_NOT_EXECUTABLE},
};

static void test_build(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        auto_json json_t *manifest = parse(cases[i].manifest);
        auto_json json_t *args = parse(cases[i].args);
        struct argv built = ARGV_NULL;
        struct tool_failure failure = {.name = OK};
        int r = argv_build(manifest, args, NULL, &built, &failure);
        if (r != (cases[i].failure != OK) || failure.name != cases[i].failure)
            fail_msg("%s %s: %d %s", cases[i].manifest, cases[i].args, r, failure.message);
        if (r == 0) {
            assert_string_equal(joined(built.argv), cases[i].argv);
            assert_string_equal(joined(built.envp), "PATH=/usr/bin:/bin|LANG=C.UTF-8|HOME=/|");
            assert_int_equal(built.input_n, cases[i].input ? strlen(cases[i].input) : 0);
            if (cases[i].input)
                assert_memory_equal(built.input, cases[i].input, built.input_n);
            assert_false(built.json_output);
        } else {
            assert_null(built.argv); /* untouched */
        }
        argv_deinit(&built);
        argv_deinit(&built);
    }
}

static void test_env(void **state) {
    (void)state;
    auto_json json_t *manifest = parse("{\"command\":[\"/bin/x\"],\"output\":\"json\",\"env\":{\"A\":\"1 2\",\"PATH\":"
                                       "\"/opt\",\"SOMA_IDEMPOTENCY_KEY\":\"forged\"}}");
    auto_json json_t *args = json_object();
    struct argv built = ARGV_NULL;
    struct tool_failure failure;
    assert_int_equal(argv_build(manifest, args, "k-1", &built, &failure), 0);
    assert_string_equal(joined(built.envp), "PATH=/opt|LANG=C.UTF-8|HOME=/|A=1 2|SOMA_IDEMPOTENCY_KEY=k-1|");
    assert_true(built.json_output);
    argv_deinit(&built);
}

static void test_long_argument(void **state) {
    (void)state;
    static char text[128 * 1024 + 1];
    auto_json json_t *manifest = parse("{\"command\":[\"/bin/x\",\"{a}\"]}");
    for (int over = 0; over < 2; over++) {
        memset(text, 'x', sizeof text);
        text[128 * 1024 - 1 + over] = '\0';
        auto_json json_t *args = json_pack("{s:s}", "a", text);
        struct argv built = ARGV_NULL;
        struct tool_failure failure = {.name = OK};
        assert_int_equal(argv_build(manifest, args, NULL, &built, &failure), over);
        assert_int_equal(failure.name, over ? TOOL_INVALID_ARGS : OK);
        argv_deinit(&built);
    }
}

static void test_nul(void **state) {
    (void)state;
    auto_json json_t *manifest = parse("{\"command\":[\"/bin/x\",\"{a}\"]}");
    auto_json json_t *args = json_pack("{s:s%}", "a", "x\0y", (size_t)3);
    struct argv built = ARGV_NULL;
    struct tool_failure failure;
    assert_int_equal(argv_build(manifest, args, NULL, &built, &failure), 1);
    assert_int_equal(failure.name, TOOL_INVALID_ARGS);
}

static void test_limits(void **state) {
    (void)state;
    auto_json json_t *full = parse("{\"limits\":{\"memory_bytes\":1,\"cpu_ms\":2,\"output_bytes\":3,\"processes\":4,"
                                   "\"file_bytes\":5}}");
    auto_json json_t *none = parse("{\"limits\":{\"memory_bytes\":-1,\"cpu_ms\":\"2\"}}");
    struct tool_limits limits = argv_limits(full);
    assert_int_equal(limits.memory_bytes, 1);
    assert_int_equal(limits.cpu_ms, 2);
    assert_int_equal(limits.output_bytes, 3);
    assert_int_equal(limits.processes, 4);
    assert_int_equal(limits.file_bytes, 5);
    const struct tool_limits zero = {0};
    limits = argv_limits(none);
    assert_memory_equal(&limits, &zero, sizeof zero);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build), cmocka_unit_test(test_env),    cmocka_unit_test(test_long_argument),
        cmocka_unit_test(test_nul),   cmocka_unit_test(test_limits),
    };
    json_init();
    return cmocka_run_group_tests_name("toolcall/argv", tests, NULL, NULL);
}
