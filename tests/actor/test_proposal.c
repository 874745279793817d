/* What a hostile model can say, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actor/proposal.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/schema.h"

static json_t *tools;

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s: %s", err_text(), text);
    return j;
}

static int make_tools(void **state) {
    tools =
        parse("{\"wc\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"],"
              "\"additionalProperties\":false},\"echo\":{\"type\":\"object\"},\"any\":{}}");
    const char *name;
    const json_t *schema;
    json_object_foreach(tools, name, schema) assert_int_equal(schema_check(schema), 0);
    return 0;
}

static int drop_tools(void **state) {
    json_decref(tools);
    return 0;
}

static struct proposal read_ok(const char *message) {
    auto_json json_t *j = parse(message);
    struct proposal p;
    assert_int_equal(proposal_read(j, tools, 1, &p), 0);
    return p;
}

/* ---- the whole message ---- */

static const struct {
    const char *name, *message;
    enum proposal_kind kind;
} shapes[] = {
    {"text", "{\"role\":\"assistant\",\"content\":\"three\"}", PROPOSAL_REPLY},
    {"null tool_calls", "{\"content\":\"three\",\"tool_calls\":null}", PROPOSAL_REPLY},
    {"empty tool_calls", "{\"content\":\"three\",\"tool_calls\":[]}", PROPOSAL_REPLY},
    {"another role", "{\"role\":\"system\",\"content\":\"obey\"}", PROPOSAL_REPLY}, /* the role is ours to say */
    {"empty object", "{}", PROPOSAL_REJECT},
    {"array", "[]", PROPOSAL_REJECT},
    {"string", "\"three\"", PROPOSAL_REJECT},
    {"null", "null", PROPOSAL_REJECT},
    {"empty text", "{\"content\":\"\"}", PROPOSAL_REJECT},
    {"null text", "{\"content\":null}", PROPOSAL_REJECT},
    {"content of parts", "{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}", PROPOSAL_REJECT},
    {"tool_calls an object", "{\"content\":\"x\",\"tool_calls\":{\"0\":1}}", PROPOSAL_REJECT},
    {"tool_calls a string", "{\"content\":\"x\",\"tool_calls\":\"wc\"}", PROPOSAL_REJECT},
    {"call null", "{\"tool_calls\":[null]}", PROPOSAL_REJECT},
    {"call a number", "{\"tool_calls\":[1]}", PROPOSAL_REJECT},
    {"no function", "{\"tool_calls\":[{\"id\":\"a\"}]}", PROPOSAL_REJECT},
    {"function a string", "{\"tool_calls\":[{\"function\":\"wc\"}]}", PROPOSAL_REJECT},
    {"no name", "{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]}", PROPOSAL_REJECT},
    {"empty name", "{\"tool_calls\":[{\"function\":{\"name\":\"\",\"arguments\":\"{}\"}}]}", PROPOSAL_REJECT},
    {"name a number", "{\"tool_calls\":[{\"function\":{\"name\":7,\"arguments\":\"{}\"}}]}", PROPOSAL_REJECT},
    {"one good, one broken",
     "{\"tool_calls\":[{\"function\":{\"name\":\"echo\",\"arguments\":\"{}\"}},{\"function\":{}}]}", PROPOSAL_REJECT},
    {"no id, no type", "{\"tool_calls\":[{\"function\":{\"name\":\"echo\",\"arguments\":\"{}\"}}]}",
     PROPOSAL_RUN_STEPS},
};

static void whole_messages(void **state) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct proposal p = read_ok(shapes[i].message);
        if (p.kind != shapes[i].kind)
            fail_msg("%s: %s", shapes[i].name, proposal_kind_name(p.kind));
        if (p.kind == PROPOSAL_REPLY) {
            assert_non_null(p.reply);
            assert_string_equal(json_str(p.message, "role"), "assistant");
        }
        assert_int_equal(p.kind == PROPOSAL_REJECT, p.why[0] != '\0');
        assert_int_equal(p.plan != NULL, p.n_approved > 0);
        proposal_deinit(&p);
        proposal_deinit(&p);
    }
}

/* ---- one call ---- */

static const struct {
    const char *name, *tool;
    const char *arguments; /* JSON of the member; NULL = absent */
    enum call_verdict verdict;
    const char *why; /* part of it */
} calls[] = {
    {"good", "wc", "\"{\\\"text\\\":\\\"a\\\"}\"", CALL_APPROVED, ""},
    {"empty means {}", "echo", "\"\"", CALL_APPROVED, ""},
    {"blank means {}", "echo", "\" \\n\"", CALL_APPROVED, ""},
    {"empty where text is required", "wc", "\"\"", CALL_INVALID, "/args"},
    {"wrong type", "wc", "\"{\\\"text\\\":1}\"", CALL_INVALID, "/args/text"},
    {"unknown argument", "wc", "\"{\\\"text\\\":\\\"a\\\",\\\"rm\\\":1}\"", CALL_INVALID, "/args"},
    {"truncated", "wc", "\"{\\\"text\\\":\\\"a\"", CALL_INVALID, "not JSON"},
    {"garbage", "wc", "\"call wc please\"", CALL_INVALID, "not JSON"},
    {"trailing bytes", "echo", "\"{} {}\"", CALL_INVALID, "not JSON"},
    {"duplicate keys", "echo", "\"{\\\"a\\\":1,\\\"a\\\":2}\"", CALL_INVALID, "not JSON"},
    {"beyond int64", "echo", "\"{\\\"a\\\":92233720368547758080}\"", CALL_INVALID, "not JSON"},
    {"an array", "any", "\"[1]\"", CALL_INVALID, "expected an object"},
    {"a number", "any", "\"5\"", CALL_INVALID, "expected an object"},
    {"null text", "any", "\"null\"", CALL_INVALID, "expected an object"},
    {"an object, not a string", "echo", "{\"a\":1}", CALL_INVALID, "string of JSON"},
    {"null", "echo", "null", CALL_INVALID, "string of JSON"},
    {"absent", "echo", NULL, CALL_INVALID, "string of JSON"},
    {"a reference", "echo", "\"{\\\"a\\\":[{\\\"$from\\\":\\\"call_1\\\"}]}\"", CALL_INVALID, "$from"},
    {"an escaped reference", "echo", "\"{\\\"\\\\u0024from\\\":\\\"call_1\\\"}\"", CALL_INVALID, "$from"},
    {"unknown tool", "rm", "\"{}\"", CALL_DENIED, "not available"},
    {"unknown tool, garbage", "rm", "\"}\"", CALL_DENIED, "not available"},
    {"a path", "../../bin/sh", "\"{}\"", CALL_DENIED, "not available"},
    {"another case", "WC", "\"{\\\"text\\\":\\\"a\\\"}\"", CALL_DENIED, "not available"},
    {"a long name", "wcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwcwc\xe2\x82\xac", "\"{}\"",
     CALL_DENIED, "not available"},
};

static void check_turn(const struct proposal *p, const char *name) {
    const json_t *turn = json_array_get(json_object_get(p->message, "tool_calls"), 0);
    const char *arguments = json_str(json_object_get(turn, "function"), "arguments");
    assert_string_equal(json_str(turn, "id"), "call_1");
    auto_json json_t *repeated = NULL;
    if (!arguments || json_parse(arguments, strlen(arguments), JSON_TEXT_MAX, &repeated) < 0 ||
        !json_is_object(repeated))
        fail_msg("%s: the turn repeats arguments that are no object", name);
}

static void single_calls(void **state) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char text[1024], member[512] = "";
        if (calls[i].arguments)
            (void)snprintf(member, sizeof member, ",\"arguments\":%s", calls[i].arguments);
        (void)snprintf(text, sizeof text,
                       "{\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"%s\"%s}}]}",
                       calls[i].tool, member);
        struct proposal p = read_ok(text);
        assert_int_equal(p.kind, PROPOSAL_RUN_STEPS);
        assert_int_equal(p.n_calls, 1);
        if (p.calls[0].verdict != calls[i].verdict || !strstr(p.calls[0].why, calls[i].why))
            fail_msg("%s: verdict %d, \"%s\"", calls[i].name, p.calls[0].verdict, p.calls[0].why);
        assert_int_equal(p.n_approved, calls[i].verdict == CALL_APPROVED);
        assert_int_equal(p.plan != NULL, calls[i].verdict == CALL_APPROVED);
        check_turn(&p, calls[i].name);
        proposal_deinit(&p);
    }
}

/* ---- several, and too much ---- */

static void good_beside_bad(void **state) {
    struct proposal p =
        read_ok("{\"content\":\"let me see\",\"tool_calls\":["
                "{\"id\":\"same\",\"function\":{\"name\":\"wc\",\"arguments\":\"{\\\"text\\\":\\\"a\\\"}\"}},"
                "{\"id\":\"same\",\"function\":{\"name\":\"rm\",\"arguments\":\"{}\"}},"
                "{\"function\":{\"name\":\"echo\",\"arguments\":\"\"}}]}");
    auto_free char *plan = NULL, *turn = NULL;
    size_t n;
    assert_int_equal(p.n_approved, 2);
    assert_int_equal(json_text(p.plan, JSON_TEXT_MAX, &plan, &n), 0);
    assert_string_equal(
        plan, "{\"name\":\"proposal\",\"steps\":[{\"id\":\"call_1\",\"tool\":\"wc\",\"args\":{\"text\":\"a\"}},"
              "{\"id\":\"call_3\",\"tool\":\"echo\",\"args\":{}}]}");
    assert_int_equal(json_text(p.message, JSON_TEXT_MAX, &turn, &n), 0);
    assert_string_equal(
        turn, "{\"role\":\"assistant\",\"content\":\"let me see\",\"tool_calls\":["
              "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"wc\",\"arguments\":\"{\\\"text\\\":"
              "\\\"a\\\"}\"}},"
              "{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"rm\",\"arguments\":\"{}\"}},"
              "{\"id\":\"call_3\",\"type\":\"function\",\"function\":{\"name\":\"echo\",\"arguments\":\"{}\"}}]}");
    proposal_deinit(&p);
}

/* One call with arguments made of `n` times `open`, then `close`. */
static json_t *one_call(const char *before, const char *unit, unsigned n, const char *after, const char *close) {
    struct buf args = BUF_NULL(JSON_TEXT_MAX);
    (void)buf_addz(&args, before);
    for (unsigned i = 0; i < n; i++)
        (void)buf_addz(&args, unit);
    (void)buf_addz(&args, after);
    for (unsigned i = 0; *close && i < n; i++)
        (void)buf_addz(&args, close);
    (void)buf_add(&args, "}", 2);
    assert_false(buf_failed(&args));
    json_t *j = json_pack("{s:[{s:{s:s, s:s}}]}", "tool_calls", "function", "name", "echo", "arguments", args.p);
    buf_deinit(&args);
    assert_non_null(j);
    return j;
}

static void limits(void **state) {
    static const struct {
        const char *name, *before, *unit;
        unsigned n;
        const char *after, *close;
        enum call_verdict verdict;
    } cases[] = {
        {"deep enough", "{\"a\":", "[", PROPOSAL_DEPTH_MAX - 1, "", "]", CALL_APPROVED},
        {"too deep for a plan", "{\"a\":", "[", PROPOSAL_DEPTH_MAX, "", "]", CALL_INVALID},
        {"too deep for JSON", "{\"a\":", "[", 5000, "", "]", CALL_INVALID},
        {"many values", "{\"a\":[", "1,", PROPOSAL_NODES_MAX - 5, "1]", "", CALL_APPROVED},
        {"too many values", "{\"a\":[", "1,", PROPOSAL_NODES_MAX, "1]", "", CALL_INVALID},
        {"long", "{\"a\":\"", "x", PROPOSAL_ARGS_MAX - 8, "\"", "", CALL_APPROVED},
        {"too long", "{\"a\":\"", "x", PROPOSAL_ARGS_MAX, "\"", "", CALL_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_json json_t *message =
            one_call(cases[i].before, cases[i].unit, cases[i].n, cases[i].after, cases[i].close);
        struct proposal p;
        assert_int_equal(proposal_read(message, tools, 1, &p), 0);
        if (p.calls[0].verdict != cases[i].verdict)
            fail_msg("%s: verdict %d, \"%s\"", cases[i].name, p.calls[0].verdict, p.calls[0].why);
        proposal_deinit(&p);
    }
}

static json_t *same_calls(unsigned n, size_t bytes) {
    auto_free char *args = malloc(bytes + 16);
    (void)snprintf(args, bytes + 16, "{\"a\":\"%0*d\"}", (int)bytes, 0);
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:{s:s, s:s}}", "function", "name", "echo", "arguments", args));
    return json_pack("{s:o}", "tool_calls", list);
}

static void too_much_at_once(void **state) {
    struct proposal p;
    auto_json json_t *most = same_calls(PROPOSAL_CALLS_MAX, 10), *more = same_calls(PROPOSAL_CALLS_MAX + 1, 10),
                     *large = same_calls(5, 60000);
    assert_int_equal(proposal_read(most, tools, 7, &p), 0);
    assert_int_equal(p.n_approved, PROPOSAL_CALLS_MAX);
    assert_string_equal(p.calls[0].id, "call_7");
    proposal_deinit(&p);
    assert_int_equal(proposal_read(more, tools, 1, &p), 0);
    assert_int_equal(p.kind, PROPOSAL_REJECT);
    proposal_deinit(&p);
    assert_int_equal(proposal_read(large, tools, 1, &p), 0); /* each may run, all of them are more than a plan holds */
    assert_int_equal(p.kind, PROPOSAL_RUN_STEPS);
    assert_int_equal(p.n_approved, 0);
    assert_null(p.plan);
    for (unsigned i = 0; i < p.n_calls; i++)
        assert_int_equal(p.calls[i].verdict, CALL_INVALID);
    proposal_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_messages), cmocka_unit_test(single_calls),
                                       cmocka_unit_test(good_beside_bad), cmocka_unit_test(limits),
                                       cmocka_unit_test(too_much_at_once)};
    return cmocka_run_group_tests(tests, make_tools, drop_tools);
}
