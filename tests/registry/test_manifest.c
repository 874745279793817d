/* Manifests and actor definitions: one good document, and rows that change one member of it and name the refusal. */
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
#include "registry/builtins.h"
#include "registry/manifest.h"

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s: %s", text, err_text());
    return j;
}

static void expect_text(const json_t *j, const char *wanted) {
    auto_free char *text = NULL;
    size_t n = 0;
    assert_int_equal(json_text(j, JSON_TEXT_MAX, &text, &n), 0);
    assert_string_equal(text, wanted);
}

static const char tool[] =
    "{\"name\":\"wc\",\"description\":\"Counts lines.\",\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"text\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"list\":{\"type\":\"array\"},"
    "\"maybe\":{\"type\":[\"string\",\"null\"]},\"any\":{},\"a.b\":{\"type\":\"string\"}},\"required\":[\"text\"]},"
    "\"effect\":\"pure\",\"command\":[\"/usr/bin/wc\",\"-l\"],\"input\":{\"stdin\":\"{text}\"}}";

static const char actor[] = "{\"name\":\"reviewer\",\"provider\":\"local\"}";

static void test_tool_defaults(void **state) {
    (void)state;
    auto_json json_t *doc = parse(tool);
    auto_json json_t *normal = NULL;
    assert_int_equal(manifest_tool(doc, &normal), 0);
    json_object_del(normal, "input_schema");
    expect_text(normal,
                "{\"name\":\"wc\",\"description\":\"Counts lines.\",\"effect\":\"pure\",\"idempotent\":true,"
                "\"timeout_ms\":10000,\"command\":[\"/usr/bin/wc\",\"-l\"],\"input\":{\"stdin\":\"{text}\"},"
                "\"output\":\"text\",\"profile\":\"pure\",\"available\":true,\"read\":[],\"write\":[],\"net\":[],"
                "\"env\":{},\"limits\":{\"memory_bytes\":268435456,\"output_bytes\":1048576,\"processes\":8,"
                "\"file_bytes\":1048576}}");
    auto_json json_t *same = parse(tool);
    assert_true(json_equal(doc, same)); /* the document is not changed */
}

static void test_tool_written_out(void **state) {
    (void)state;
    auto_json json_t *doc = parse(
        "{\"sandbox\":{\"limits\":{\"cpu_ms\":500,\"output_bytes\":10},\"env\":{\"A_1\":\"x\"},\"write\":[\"/srv/w\"],"
        "\"read\":[\"/\",\"/srv/r\"],\"profile\":\"writer\"},\"output\":\"json\",\"input\":\"argv\","
        "\"command\":[\"/bin/x\",\"{a}\",\"{}\",\"{print $1}\",\"--\"],\"timeout\":\"1500ms\",\"idempotent\":true,"
        "\"effect\":\"state\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"}}},"
        "\"description\":\"d\",\"name\":\"x\"}");
    auto_json json_t *normal = NULL;
    assert_int_equal(manifest_tool(doc, &normal), 0);
    expect_text(normal,
                "{\"name\":\"x\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"a\":"
                "{\"type\":\"number\"}}},\"effect\":\"state\",\"idempotent\":true,\"timeout_ms\":1500,"
                "\"command\":[\"/bin/x\",\"{a}\",\"{}\",\"{print $1}\",\"--\"],\"input\":\"argv\","
                "\"output\":\"json\",\"profile\":\"writer\",\"available\":true,\"read\":[\"/\",\"/srv/r\"],"
                "\"write\":[\"/srv/w\"],\"net\":[],\"env\":{\"A_1\":\"x\"},\"limits\":{"
                "\"memory_bytes\":2147483648,\"output_bytes\":10,\"processes\":256,\"file_bytes\":1073741824,"
                "\"cpu_ms\":500}}");
}

static const struct {
    const char *effect, *profile; /* profile NULL: not written */
    const char *wanted;           /* NULL: refused */
    bool idempotent;
    int timeout_ms;
} profiles[] = {
    {"pure", NULL, "pure", true, 10000},      {"reader", NULL, "reader", true, 60000},
    {"state", NULL, "writer", false, 600000}, {"pure", "reader", "reader", true, 60000},
    {"reader", "pure", "pure", true, 10000},  {"state", "pure", "pure", false, 10000},
    {"reader", "net", "net", true, 120000},   {"state", "net", "net", false, 120000},
    {"pure", "writer", NULL, false, 0},       {"reader", "writer", NULL, false, 0},
    {"pure", "net", NULL, false, 0},
};

static void test_tool_profiles(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        auto_json json_t *doc = parse(tool);
        auto_json json_t *normal = NULL;
        json_object_set_new(doc, "effect", json_string(profiles[i].effect));
        if (profiles[i].profile)
            json_object_set_new(doc, "sandbox", json_pack("{s:s}", "profile", profiles[i].profile));
        int r = manifest_tool(doc, &normal);
        assert_int_equal(r, profiles[i].wanted ? 0 : -EINVAL);
        if (r < 0) {
            assert_int_equal(strncmp(err_text(), "/sandbox/profile: effect ", 25), 0);
            continue;
        }
        assert_string_equal(json_str(normal, "profile"), profiles[i].wanted);
        assert_int_equal(json_flag(normal, "available", false), strcmp(profiles[i].wanted, "net") != 0);
        assert_int_equal(json_flag(normal, "idempotent", false), profiles[i].idempotent);
        assert_int_equal(json_i64(normal, "timeout_ms", 0), profiles[i].timeout_ms);
    }
}

/* One member replaced (value NULL: removed), and how the answer begins; NULL: accepted. */
struct change {
    const char *key, *value, *said;
};

static const struct change tool_changes[] = {
    {"name", NULL, "/name: required, but missing"},
    {"name", "3", "/name: expected string, got integer"},
    {"name", "\"\"", "/name: not a name"},
    {"name", "\"Wc\"", "/name: not a name"},
    {"name", "\"../x\"", "/name: not a name"},
    {"name", "\"0a\"", "/name: not a name"},
    {"name", "\"a23456789012345678901234567890123456789012345678901234567890_-3\"", NULL},
    {"name", "\"a23456789012345678901234567890123456789012345678901234567890_-34\"", "/name: not a name"},
    {"description", NULL, "/description: required"},
    {"description", "\"\"", "/description: expected 1 to 1024 characters, got 0"},
    {"input_schema", NULL, "/input_schema: required"},
    {"input_schema", "true", "/input_schema: expected a JSON Schema object, got boolean"},
    {"input_schema", "{\"type\":\"string\"}", "/input_schema/type: expected \"object\""},
    {"input_schema", "{}", "/input_schema/type: expected \"object\""},
    {"input_schema", "{\"type\":\"object\",\"properties\":{\"a\":{\"pattern\":\"x\"}}}",
     "/input_schema/properties/a/pattern: this keyword is not enforced"},
    {"input_schema", "{\"type\":\"object\"}", "/input/stdin: expected a property that"},
    {"effect", NULL, "/effect: required"},
    {"effect", "\"identity\"", "/effect: expected one of pure, reader, state"},
    {"effect", "null", "/effect: expected string, got null"},
    {"idempotent", "\"yes\"", "/idempotent: expected boolean, got string"},
    {"idempotent", "false", NULL},
    {"timeout", "30", "/timeout: expected string, got integer"},
    {"timeout", "\"30\"", "/timeout: expected a duration"},
    {"timeout", "\"0s\"", "/timeout: a timeout of nothing"},
    {"timeout", "\"800h\"", "/timeout: above 30 days"},
    {"timeout_ms", "5", "/timeout_ms: unknown key; known are name, description"},
    {"a/b\\u001b", "5", "/a~1b?: unknown key"},
    {"command", NULL, "/command: required, but missing: what to start"},
    {"command", "\"wc -l\"", "/command: expected an array of strings, got string"},
    {"command", "[]", "/command: an empty command"},
    {"command", "[\"wc\"]", "/command/0: expected the absolute path"},
    {"command", "[\"{text}\"]", "/command/0: expected the absolute path"},
    {"command", "[\"/bin/wc\",3]", "/command/1: expected string, got integer"},
    {"command", "[\"/bin/wc\",\"{text}\",\"{n}\",\"{}\",\"{ a }\",\"{\"]", NULL},
    {"command", "[\"/bin/wc\",\"{nothing}\"]", "/command/1: placeholder for a property that input_schema does not"},
    {"command", "[\"/bin/wc\",\"{list}\"]", "/command/1: placeholder for a property that is not declared with type"},
    {"command", "[\"/bin/wc\",\"{any}\"]", "/command/1: placeholder for a property that is not declared with type"},
    {"command", "[\"/bin/wc\",\"{maybe}\"]", "/command/1: placeholder for a property that is not declared with type"},
    {"command", "[\"/bin/wc\",\"--n={n}\"]", "/command/1: a placeholder is a whole element"},
    {"command", "[\"/bin/wc\",\"{a.b}\"]", "/command/1: a placeholder is a whole element"},
    {"builtin", "\"echo\"", "/builtin: a tool is a command or a built-in, not both"},
    {"input", NULL, "/input: required with command"},
    {"input", "\"file\"", "/input: expected one of argv, stdin"},
    {"input", "3", "/input: expected \"argv\", \"stdin\" or"},
    {"input", "\"stdin\"", NULL},
    {"input", "\"argv\"", "/input: required argument 0 of input_schema never reaches"},
    {"input", "{}", "/input/stdin: required"},
    {"input", "{\"stdin\":\"{text}\",\"x\":1}", "/input/x: unknown key; known are stdin"},
    {"input", "{\"stdin\":\"text\"}", "/input/stdin: expected \"{property}\""},
    {"input", "{\"stdin\":\"{n}\"}", "/input/stdin: expected a property"},
    {"input", "{\"stdin\":7}", "/input: expected string, got integer"},
    {"output", "\"bytes\"", "/output: expected one of text, json"},
    {"output", "\"json\"", NULL},
    {"sandbox", "[]", "/sandbox: expected object, got array"},
    {"sandbox", "{}", NULL},
    {"sandbox", "{\"profil\":\"pure\"}", "/sandbox/profil: unknown key; known are profile, read"},
    {"sandbox", "{\"profile\":\"root\"}", "/sandbox/profile: expected one of pure, reader, writer, net"},
    {"sandbox", "{\"read\":[\"/srv\"]}", "/sandbox/read: profile pure cannot be granted this"},
    {"sandbox", "{\"profile\":\"reader\",\"read\":[\"/srv\"]}", NULL},
    {"sandbox", "{\"profile\":\"reader\",\"read\":[\"srv\"]}", "/sandbox/read/0: expected an absolute path"},
    {"sandbox", "{\"profile\":\"reader\",\"read\":[\"/a/../b\"]}", "/sandbox/read/0: a path without"},
    {"sandbox", "{\"profile\":\"reader\",\"read\":[\"/a/\"]}", "/sandbox/read/0: a path without"},
    {"sandbox", "{\"profile\":\"reader\",\"read\":[\"//a\"]}", "/sandbox/read/0: a path without"},
    {"sandbox", "{\"profile\":\"reader\",\"read\":\"/srv\"}", "/sandbox/read: expected an array of strings"},
    {"sandbox", "{\"profile\":\"reader\",\"write\":[\"/srv\"]}", "/sandbox/write: effect pure promises"},
    {"sandbox", "{\"profile\":\"reader\",\"net\":[\"example.org:443\"]}", "/sandbox/net: profile reader cannot"},
    {"sandbox", "{\"net\":[\"example.org\"]}", "/sandbox/net/0: expected \"host:port\""},
    {"sandbox", "{\"net\":[\"*.org:443\"]}", "/sandbox/net/0: expected"},
    {"sandbox", "{\"net\":[\"example.org:65536\"]}", "/sandbox/net/0: expected"},
    {"sandbox", "{\"net\":[\"example.org:0\"]}", "/sandbox/net/0: expected"},
    {"sandbox", "{\"env\":{\"1A\":\"x\"}}", "/sandbox/env/1A: not a variable name"},
    {"sandbox", "{\"env\":{\"A\":1}}", "/sandbox/env/A: expected string, got integer"},
    {"sandbox", "{\"env\":{\"SOMA_KEY\":\"x\"}}", "/sandbox/env/SOMA_KEY: names that begin with SOMA_"},
    {"sandbox", "{\"env\":[]}", "/sandbox/env: expected an object of strings"},
    {"sandbox", "{\"limits\":{\"memory\":1}}", "/sandbox/limits/memory: unknown key; known are memory_bytes"},
    {"sandbox", "{\"limits\":{\"memory_bytes\":1000}}", "/sandbox/limits/memory_bytes: expected 1048576 to"},
    {"sandbox", "{\"limits\":{\"processes\":0}}", "/sandbox/limits/processes: expected 1 to 32768"},
    {"sandbox", "{\"limits\":{\"cpu_ms\":1.5}}", "/sandbox/limits/cpu_ms: expected integer, got number"},
    {"sandbox", "{\"limits\":{\"file_bytes\":0}}", NULL},
};

static const struct change actor_changes[] = {
    {"name", NULL, "/name: required"},
    {"name", "\"A\"", "/name: not a name"},
    {"provider", NULL, "/provider: required"},
    {"provider", "\"\"", "/provider: expected the name"},
    {"model", "3", "/model: expected string, got integer"},
    {"system", "\"Be brief.\"", NULL},
    {"tools", "\"all\"", "/tools: expected an array of strings, got string"},
    {"tools", "[\"wc\",\"wc\"]", "/tools: element 1 repeats"},
    {"tools", "[\"*\"]", "/tools/0: not the name of a tool"},
    {"tools", "[]", NULL},
    {"budget", "3", "/budget: expected object, got integer"},
    {"budget", "{\"tokens\":1}", "/budget/tokens: unknown key; known are llm_calls, steps, timeout"},
    {"budget", "{\"llm_calls\":-1}", "/budget/llm_calls: expected 0 to"},
    {"budget", "{\"steps\":\"1\"}", "/budget/steps: expected integer, got string"},
    {"budget", "{\"timeout\":\"1\"}", "/budget/timeout: expected a duration"},
    {"restart", "\"always\"", "/restart: expected one of permanent, transient, temporary"},
    {"restart", "\"temporary\"", NULL},
    {"secret", "1", "/secret: unknown key; known are name, description, provider"},
};

static void run_changes(const char *base, const struct change *rows, size_t n, int (*read)(const json_t *, json_t **)) {
    for (size_t i = 0; i < n; i++) {
        char member[512];
        auto_json json_t *doc = parse(base);
        auto_json json_t *normal = NULL;
        (void)snprintf(member, sizeof member, "{\"%s\":%s}", rows[i].key, rows[i].value ? rows[i].value : "0");
        auto_json json_t *change = parse(member);
        assert_int_equal(json_object_update(doc, change), 0);
        if (!rows[i].value)
            json_object_del(doc, rows[i].key);
        int r = read(doc, &normal);
        if (r != (rows[i].said ? -EINVAL : 0))
            fail_msg("%s: got %d (%s)", member, r, err_text());
        if (r < 0 && strncmp(err_text(), rows[i].said, strlen(rows[i].said)) != 0)
            fail_msg("%s: said %s", member, err_text());
        assert_true((normal != NULL) == (r == 0));
    }
}

static void test_tool_changes(void **state) {
    (void)state;
    run_changes(tool, tool_changes, sizeof tool_changes / sizeof *tool_changes, manifest_tool);
}

static void test_tool_of_no_object(void **state) {
    (void)state;
    json_t *normal = NULL;
    auto_json json_t *list = json_array();
    assert_int_equal(manifest_tool(list, &normal), -EINVAL);
    assert_string_equal(err_text(), "the document: expected object, got array");
    assert_int_equal(manifest_tool(NULL, &normal), -EINVAL);
    assert_int_equal(manifest_actor(list, &normal), -EINVAL);
    assert_int_equal(manifest_actor(NULL, &normal), -EINVAL);
}

static void test_tool_bounds(void **state) {
    (void)state;
    auto_json json_t *doc = parse(tool);
    json_t *normal = NULL;
    char text[2 * MANIFEST_DESCRIPTION_MAX + 3];
    for (size_t i = 0; i <= MANIFEST_DESCRIPTION_MAX; i++)
        memcpy(text + 2 * i, "é", 2);
    json_object_set_new(doc, "description", json_stringn(text, 2 * MANIFEST_DESCRIPTION_MAX));
    assert_int_equal(manifest_tool(doc, &normal), 0);
    json_decref(normal);
    json_object_set_new(doc, "description", json_stringn(text, 2 * MANIFEST_DESCRIPTION_MAX + 2));
    assert_int_equal(manifest_tool(doc, &normal), -EINVAL);
    json_object_set_new(doc, "description", json_stringn("a\0b", 3));
    assert_int_equal(manifest_tool(doc, &normal), -EINVAL);
    assert_non_null(strstr(err_text(), "/description: holds a NUL"));
    json_object_set_new(doc, "description", json_string("d"));
    json_array_append_new(json_object_get(doc, "command"), json_stringn("a\0b", 3));
    assert_int_equal(manifest_tool(doc, &normal), -EINVAL);
    assert_non_null(strstr(err_text(), "/command/2: holds a NUL"));
}

static const struct change alias_changes[] = {
    {"name", "\"save\"", NULL},
    {"builtin", "\"http_get\"", "/builtin: there is no such built-in"},
    {"input", "\"argv\"", "/input: belongs to command"},
    {"output", "\"text\"", "/output: a built-in answers JSON"},
    {"output", "\"json\"", NULL},
    {"effect", "\"pure\"", "/effect: this built-in has effect state"},
    {"idempotent", "true", "/idempotent: this built-in is not safe to repeat"},
    {"sandbox", "{\"profile\":\"pure\"}", "/sandbox/profile: this built-in runs under profile writer"},
    {"sandbox", "{\"write\":[\"/srv\"]}", NULL},
};

static void test_alias(void **state) {
    (void)state;
    run_changes("{\"name\":\"save\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},\"effect\":\"state\","
                "\"builtin\":\"file_write\"}",
                alias_changes, sizeof alias_changes / sizeof *alias_changes, manifest_tool);
}

/* Name, effect, idempotence, profile, arguments that fit, arguments that do not: the table of the design. */
static const struct {
    const char *name, *effect;
    bool idempotent;
    const char *profile, *good, *bad;
} builtins[] = {
    {"echo", "pure", true, "pure", "{\"any\":[1]}", "[]"},
    {"sleep", "pure", true, "pure", "{\"ms\":0}", "{}"},
    {"fail", "pure", true, "pure", "{\"mode\":\"error\",\"message\":\"m\"}", "{\"mode\":\"explode\"}"},
    {"file_read", "reader", true, "reader", "{\"path\":\"a\",\"offset\":0,\"max_bytes\":10}", "{\"path\":\"\"}"},
    {"file_list", "reader", true, "reader", "{\"path\":\"a\",\"glob\":\"*\",\"recursive\":true}",
     "{\"path\":\"a\",\"recursive\":1}"},
    {"file_write", "state", false, "writer", "{\"path\":\"a\",\"base64\":\"\",\"mode\":\"create\"}",
     "{\"path\":\"a\",\"text\":\"\",\"mode\":\"delete\"}"},
    {"text_grep", "pure", true, "pure", "{\"text\":\"\",\"pattern\":\"x\",\"max_matches\":1}", "{\"text\":\"\"}"},
    {"text_head", "pure", true, "pure", "{\"text\":\"\",\"lines\":3}", "{\"text\":\"\",\"lines\":\"3\"}"},
};

static void test_builtins(void **state) {
    (void)state;
    const size_t n = sizeof builtins / sizeof *builtins;
    char why[256];
    for (size_t i = 0; i < n; i++) {
        auto_json json_t *doc = parse(builtins_text(i));
        auto_json json_t *normal = NULL;
        auto_json json_t *good = parse(builtins[i].good);
        auto_json json_t *bad = parse(builtins[i].bad);
        if (manifest_tool(doc, &normal) < 0)
            fail_msg("%s: %s", builtins[i].name, err_text());
        assert_string_equal(json_str(normal, "name"), builtins[i].name);
        assert_string_equal(json_str(normal, "builtin"), builtins[i].name);
        assert_string_equal(json_str(normal, "effect"), builtins[i].effect);
        assert_string_equal(json_str(normal, "profile"), builtins[i].profile);
        assert_string_equal(json_str(normal, "output"), "json");
        assert_int_equal(json_flag(normal, "idempotent", !builtins[i].idempotent), builtins[i].idempotent);
        const json_t *schema = json_object_get(normal, "input_schema");
        assert_int_equal(schema_validate(schema, good, "/args", why, sizeof why), 0);
        assert_int_equal(schema_validate(schema, bad, "/args", why, sizeof why), 1);
    }
    assert_null(builtins_text(n));
}

static void test_actor(void **state) {
    (void)state;
    auto_json json_t *doc = parse(actor);
    auto_json json_t *normal = NULL;
    assert_int_equal(manifest_actor(doc, &normal), 0);
    expect_text(normal,
                "{\"name\":\"reviewer\",\"description\":\"\",\"provider\":\"local\",\"model\":\"\",\"system\":\"\","
                "\"tools\":[],\"budget\":{\"llm_calls\":16,\"steps\":64,\"timeout_ms\":300000},"
                "\"restart\":\"permanent\"}");
    run_changes(actor, actor_changes, sizeof actor_changes / sizeof *actor_changes, manifest_actor);
}

static void test_actor_budget(void **state) {
    (void)state;
    auto_json json_t *doc = parse("{\"name\":\"a\",\"provider\":\"p\",\"tools\":[\"wc\"],\"restart\":\"transient\","
                                  "\"budget\":{\"llm_calls\":0,\"timeout\":\"2m\"}}");
    auto_json json_t *normal = NULL;
    assert_int_equal(manifest_actor(doc, &normal), 0);
    expect_text(json_object_get(normal, "budget"), "{\"llm_calls\":0,\"steps\":64,\"timeout_ms\":120000}");
    expect_text(json_object_get(normal, "tools"), "[\"wc\"]");
    assert_string_equal(json_str(normal, "restart"), "transient");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_defaults),
        cmocka_unit_test(test_tool_written_out),
        cmocka_unit_test(test_tool_profiles),
        cmocka_unit_test(test_tool_changes),
        cmocka_unit_test(test_tool_of_no_object),
        cmocka_unit_test(test_tool_bounds),
        cmocka_unit_test(test_alias),
        cmocka_unit_test(test_builtins),
        cmocka_unit_test(test_actor),
        cmocka_unit_test(test_actor_budget),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
