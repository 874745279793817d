/* The scripted provider: what it refuses, with place; what it answers; and that the published schema says the same.
 * argv[1] is the root of the source tree. */
#include "common/cleanup.h"
#include "common/err.h"
#include "common/schema.h"
#include "llmcall/script.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *source_root;

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s: %s", err_text(), text);
    return j;
}

static json_t *parse_file(const char *name) {
    auto_free char *path = NULL, *text = NULL;
    size_t n;
    assert_true(asprintf(&path, "%s/%s", source_root, name) > 0);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(script_read(fd, &text, &n), 0);
    json_t *j = NULL;
    assert_int_equal(json_parse(text, n, JSON_TEXT_MAX, &j), 0);
    return j;
}

struct check_case {
    const char *script, *place; /* NULL: it is right */
    bool schema_cannot;         /* the schema takes it: templates are not its business, and it counts characters */
};

#define LONG64 "0123456789012345678901234567890123456789012345678901234567890123"
#define REPLY(x) "{\"replies\":[" x "]}"
static const struct check_case checks[] = {
    {REPLY("{\"content\":\"hello\"}"), NULL, false},
    {REPLY("{\"content\":\"\",\"delay_ms\":0}"), NULL, false},
    {REPLY("{\"content\":\"{{tool}} {{tool:/a~1b/0}} {{tools}} {{other}}\"}"), NULL, false},
    {REPLY("{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":{\"text\":\"a\"}}]}"), NULL, false},
    {REPLY("{\"content\":\"x\",\"tool_calls\":[{\"name\":\"wc\",\"arguments\":\"{broken\"}]}"), NULL, false},
    {REPLY("{\"error\":{\"name\":\"http_status\",\"message\":\"m\",\"status\":503},\"delay_ms\":5}"), NULL, false},
    {"[]", "/", false},
    {"{}", "/replies", false},
    {"{\"replies\":[]}", "/replies", false},
    {"{\"replies\":{}}", "/replies", false},
    {"{\"replies\":[1]}", "/replies/0", false},
    {"{\"replies\":[{\"content\":\"a\"}],\"reply\":1}", "/reply", false},
    {REPLY("{}"), "/replies/0", false},
    {REPLY("{\"content\":\"a\"},{\"delay_ms\":5}"), "/replies/1", false},
    {REPLY("{\"content\":null}"), "/replies/0/content", false},
    {REPLY("{\"content\":\"a\",\"role\":\"x\"}"), "/replies/0/role", false},
    {REPLY("{\"content\":\"{{tool:/a\"}"), "/replies/0/content", true},
    {REPLY("{\"content\":\"{{tool:a}}\"}"), "/replies/0/content", true},
    {REPLY("{\"content\":\"a\",\"error\":{\"name\":\"connect\",\"message\":\"m\"}}"), "/replies/0", false},
    {REPLY("{\"tool_calls\":[]}"), "/replies/0/tool_calls", false},
    {REPLY("{\"tool_calls\":[{\"name\":\"wc\"}]}"), "/replies/0/tool_calls/0/arguments", false},
    {REPLY("{\"tool_calls\":[{\"arguments\":{}}]}"), "/replies/0/tool_calls/0/name", false},
    {REPLY("{\"tool_calls\":[{\"name\":\"\",\"arguments\":{}}]}"), "/replies/0/tool_calls/0/name", false},
    {REPLY("{\"tool_calls\":[{\"name\":\"" LONG64 "\",\"arguments\":{}}]}"), "/replies/0/tool_calls/0/name", false},
    {REPLY("{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":[]}]}"), "/replies/0/tool_calls/0/arguments", false},
    {REPLY("{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":{\"a\":[\"{{tool:x}}\"]}}]}"),
     "/replies/0/tool_calls/0/arguments/a/0", true},
    {REPLY("{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":{},\"id\":\"x\"}]}"), "/replies/0/tool_calls/0/id", false},
    {REPLY("{\"content\":\"a\",\"delay_ms\":-1}"), "/replies/0/delay_ms", false},
    {REPLY("{\"content\":\"a\",\"delay_ms\":3600001}"), "/replies/0/delay_ms", false},
    {REPLY("{\"content\":\"a\",\"delay_ms\":\"1s\"}"), "/replies/0/delay_ms", false},
    {REPLY("{\"content\":\"a\",\"delay_ms\":1.5}"), "/replies/0/delay_ms", false},
    {REPLY("{\"error\":{\"name\":\"connect\"}}"), "/replies/0/error/message", false},
    {REPLY("{\"error\":{\"name\":\"cancelled\",\"message\":\"m\"}}"), "/replies/0/error/name", false},
    {REPLY("{\"error\":{\"name\":\"connect\",\"message\":\"\"}}"), "/replies/0/error/message", false},
    {REPLY("{\"error\":{\"name\":\"connect\",\"message\":\"m\",\"status\":600}}"), "/replies/0/error/status", false},
    {REPLY("{\"error\":\"connect\"}"), "/replies/0/error", false},
};

static void strict(void **state) {
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const struct check_case *c = &checks[i];
        auto_json json_t *script = parse(c->script);
        int r = script_check(script);
        if (r != (c->place ? -EINVAL : 0))
            fail_msg("%s: %d %s", c->script, r, r ? err_text() : "");
        char want[320];
        (void)snprintf(want, sizeof want, "script %s: ", c->place ? c->place : "");
        if (c->place && strncmp(err_text(), want, strlen(want)) != 0)
            fail_msg("%s: \"%s\", wanted \"%s…\"", c->script, err_text(), want);
    }
}

/* What the code refuses, the schema refuses, and the other way round. */
static void schema_agrees(void **state) {
    auto_json json_t *schema = parse_file("docs/script.schema.json");
    if (schema_check(schema) < 0)
        fail_msg("docs/script.schema.json: %s", err_text());
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        char why[200] = "";
        auto_json json_t *script = parse(checks[i].script);
        int want = checks[i].place && !checks[i].schema_cannot;
        int r = schema_validate(schema, script, "", why, sizeof why);
        if (r != want)
            fail_msg("%s: schema says %d %s", checks[i].script, r, why);
    }
}

static void example_is_right(void **state) {
    auto_json json_t *example = parse_file("examples/script.json");
    if (script_check(example) < 0)
        fail_msg("examples/script.json: %s", err_text());
}

struct answer_case {
    const char *name, *script, *messages;
    const char *error, *want; /* error NULL: `want` is the whole message, else part of the text */
    int64_t delay_ms;
};

#define USER "{\"role\":\"user\",\"content\":\"q\"}"
#define ASSISTANT "{\"role\":\"assistant\",\"content\":null}"
#define TOOL(content) "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"" content "\"}"
#define SAYS(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
static const struct answer_case answers[] = {
    {"first", REPLY("{\"content\":\"a\",\"delay_ms\":7},{\"content\":\"b\"}"), "[" USER "]", NULL, SAYS("a"), 7},
    {"second", REPLY("{\"content\":\"a\"},{\"content\":\"b\"}"), "[" USER "," ASSISTANT "," USER "]", NULL, SAYS("b"),
     0},
    {"beyond the end", REPLY("{\"content\":\"a\"}"), "[" ASSISTANT "]", "bad_reply",
     "the script has 1 replies and the conversation asks for number 2", 0},
    {"calls",
     REPLY("{\"content\":\"a\"},{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":{\"t\":[1,\"\\u00e9\"]}},"
           "{\"name\":\"x\",\"arguments\":\"{broken\"}]}"),
     "[" ASSISTANT "]", NULL,
     "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
     "{\"id\":\"call_2_1\",\"type\":\"function\",\"function\":{\"name\":\"wc\",\"arguments\":"
     "\"{\\\"t\\\":[1,\\\"\xc3\xa9\\\"]}\"}},"
     "{\"id\":\"call_2_2\",\"type\":\"function\",\"function\":{\"name\":\"x\",\"arguments\":\"{broken\"}}]}",
     0},
    {"content beside calls", REPLY("{\"content\":\"t\",\"tool_calls\":[{\"name\":\"x\",\"arguments\":{}}]}"), "[]",
     NULL,
     "{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":[{\"id\":\"call_1_1\",\"type\":\"function\","
     "\"function\":{\"name\":\"x\",\"arguments\":\"{}\"}}]}",
     0},
    {"the tool's own words", REPLY("{\"content\":\"<{{tool}}>\"}"), "[" TOOL("one") "," TOOL("two \\\"x\\\"") "]", NULL,
     SAYS("<two \\\"x\\\">"), 0},
    {"a string inside", REPLY("{\"content\":\"{{tool:/text}}!{{tool:/n}}{{tool:/l}}\"}"),
     "[" TOOL("{\\\"text\\\":\\\"hi\\\",\\\"n\\\":4,\\\"l\\\":[true]}") "]", NULL, SAYS("hi!4[true]"), 0},
    {"arguments from the tool's answer",
     REPLY("{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":{\"t\":\"<{{tool:/"
           "text}}>\",\"l\":[1,{\"m\":\"{{tool}}\"}]}}]}"),
     "[" TOOL("{\\\"text\\\":\\\"hi\\\"}") "]", NULL,
     "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1_1\",\"type\":\"function\","
     "\"function\":{\"name\":\"wc\",\"arguments\":"
     "\"{\\\"t\\\":\\\"<hi>\\\",\\\"l\\\":[1,{\\\"m\\\":\\\"{\\\\\\\"text\\\\\\\":\\\\\\\"hi\\\\\\\"}\\\"}]}\"}}]}",
     0},
    {"arguments from nothing", REPLY("{\"tool_calls\":[{\"name\":\"wc\",\"arguments\":{\"t\":[\"{{tool}}\"]}}]}"), "[]",
     "bad_reply", "script /replies/0: {{tool}}: the request holds no tool result", 0},
    {"what is put in is not read again", REPLY("{\"content\":\"{{tool}}\"}"), "[" TOOL("{{tool}}") "]", NULL,
     SAYS("{{tool}}"), 0},
    {"other braces stay", REPLY("{\"content\":\"{{tools}} {{x}} {{tool\"}"), "[]", NULL, SAYS("{{tools}} {{x}} {{tool"),
     0},
    {"no tool result", REPLY("{\"content\":\"{{tool}}\"}"), "[" USER "]", "bad_reply", "no tool result", 0},
    {"no such member", REPLY("{\"content\":\"{{tool:/b}}\"}"), "[" TOOL("{\\\"a\\\":1}") "]", "bad_reply",
     "{{tool:/b}}: the last tool result has no such member", 0},
    {"not JSON", REPLY("{\"content\":\"{{tool:/b}}\"}"), "[" TOOL("plain") "]", "bad_reply", "is not JSON", 0},
    {"a failure", REPLY("{\"error\":{\"name\":\"http_status\",\"message\":\"busy\",\"status\":503},\"delay_ms\":3}"),
     "[]", "http_status", "busy", 3},
    {"broken script", "{\"replies\":[", "[]", "config", "the script is not JSON: line 1", 0},
    {"wrong script", "{\"replies\":[{}]}", "[]", "config", "script /replies/0: ", 0},
    {"twice the same key", "{\"replies\":[{\"content\":\"a\",\"content\":\"b\"}]}", "[]", "config", "duplicate", 0},
    {"messages that are none", REPLY("{\"content\":\"a\"}"), "{}", "config", "not an array", 0},
};

static void check_answer(const struct answer_case *c) {
    struct outcome out = OUTCOME_NULL;
    int64_t delay_ms = -1;
    script_answer(c->script, strlen(c->script), SPAN(c->messages), &out, &delay_ms);
    if (out.ok != (c->error == NULL) || delay_ms != c->delay_ms)
        fail_msg("%s: ok %d, delay %lld, %s %s", c->name, out.ok, (long long)delay_ms, out.error, out.text);
    if (out.ok)
        assert_string_equal(out.message, c->want);
    else if (strcmp(out.error, c->error) != 0 || !strstr(out.text, c->want))
        fail_msg("%s: %s: %s", c->name, out.error, out.text);
    if (out.ok)
        assert_string_equal(out.finish, strstr(c->want, "tool_calls") ? "tool_calls" : "stop");
    outcome_deinit(&out);
}

static void answer(void **state) {
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        check_answer(&answers[i]);
}

/* A script that quotes a large result beyond the ceiling of a message fails by name. */
static void too_large(void **state) {
    struct outcome out = OUTCOME_NULL;
    int64_t delay_ms;
    size_t n = OUTCOME_MESSAGE_MAX;
    auto_free char *messages = malloc(n + 100);
    assert_non_null(messages);
    char *p = stpcpy(messages, "[{\"role\":\"tool\",\"content\":\"");
    memset(p, 'x', n);
    (void)strcpy(p + n, "\"}]");
    static const char script[] = REPLY("{\"content\":\"{{tool}}\"}"),
                      twice[] = REPLY("{\"content\":\"{{tool}}{{tool}}{{tool}}\"}");
    script_answer(script, sizeof script - 1, SPAN(messages), &out, &delay_ms);
    assert_string_equal(out.error, "too_large");
    script_answer(twice, sizeof twice - 1, SPAN(messages), &out, &delay_ms);
    assert_string_equal(out.error, "too_large");
    assert_non_null(strstr(out.text, "script /replies/0: the content is longer than"));
    outcome_deinit(&out);
}

static void file_limits(void **state) {
    auto_file FILE *f = tmpfile();
    assert_non_null(f);
    char *text = NULL;
    size_t n;
    assert_int_equal(ftruncate(fileno(f), SCRIPT_FILE_MAX), 0);
    assert_int_equal(script_read(fileno(f), &text, &n), 0);
    assert_int_equal(n, SCRIPT_FILE_MAX);
    free(text);
    assert_int_equal(ftruncate(fileno(f), SCRIPT_FILE_MAX + 1), 0);
    assert_int_equal(script_read(fileno(f), &text, &n), -EMSGSIZE);
    auto_close int folder = open("/", O_RDONLY | O_CLOEXEC);
    assert_int_equal(script_read(folder, &text, &n), -EINVAL);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s SOURCE_ROOT\n", argv[0]);
        return 2;
    }
    source_root = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict), cmocka_unit_test(schema_agrees), cmocka_unit_test(example_is_right),
        cmocka_unit_test(answer), cmocka_unit_test(too_large),     cmocka_unit_test(file_limits),
    };
    return cmocka_run_group_tests_name("llmcall-script", tests, NULL, NULL);
}
