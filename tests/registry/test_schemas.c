/* The published schemas against the loader: they know the same keys, and a schema never refuses what the loader takes.
 * (The loader refuses more: a schema cannot say what the parts of a manifest mean together.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/schema.h"
#include "registry/builtins.h"
#include "registry/files.h"
#include "registry/manifest.h"

static json_t *read_json(const char *dir, const char *file) {
    char path[512];
    auto_free char *text = NULL;
    json_t *doc = NULL;
    size_t n;
    (void)snprintf(path, sizeof path, "%s/%s", SOURCE_ROOT, dir);
    auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || file_read(fd, file, &text, &n) < 0 || json_parse(text, n, JSON_TEXT_MAX, &doc) < 0)
        fail_msg("%s/%s: %s", path, file, err_text());
    return doc;
}

static json_t *read_text(const char *text) {
    json_t *doc = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &doc) < 0)
        fail_msg("%s: %s", text, err_text());
    return doc;
}

static int tool(const json_t *doc) {
    json_t *normal = NULL;
    int r = manifest_tool(doc, &normal);
    json_decref(normal);
    return r;
}

static int actor(const json_t *doc) {
    json_t *normal = NULL;
    int r = manifest_actor(doc, &normal);
    json_decref(normal);
    return r;
}

static const struct kind {
    const char *schema;
    int (*loader)(const json_t *doc);
} kinds[] = {{"tool.schema.json", tool}, {"actor.schema.json", actor}};
enum { TOOL, ACTOR };

static void expect(const struct kind *kind, const json_t *doc, bool schema_takes, bool loader_takes) {
    auto_json json_t *schema = read_json("docs", kind->schema);
    auto_free char *text = json_dumps(doc, JSON_COMPACT);
    char why[256] = "";
    int fits = schema_validate(schema, doc, "", why, sizeof why), taken = kind->loader(doc);
    if ((fits == 0) != schema_takes)
        fail_msg("schema: %s: %s", text, why);
    if ((taken == 0) != loader_takes)
        fail_msg("loader: %s: %s", text, err_text());
}

static void test_schemas_are_schemas(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        auto_json json_t *schema = read_json("docs", kinds[i].schema);
        if (schema_check(schema) < 0)
            fail_msg("%s: %s", kinds[i].schema, err_text());
    }
}

static int by_name(const void *x, const void *y) {
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* Sorted, with one space between. */
static void join_sorted(const char **names, size_t n, char out[512]) {
    size_t used = 0;
    qsort(names, n, sizeof *names, by_name);
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(out + used, 512 - used, "%s ", names[i]);
}

static void keys_of_schema(json_t *schema, const char *at, char out[512]) {
    const char *names[32], *name;
    json_t *sub;
    size_t n = 0;
    json_object_foreach(json_at(schema, at), name, sub) {
        names[n++] = name;
    }
    join_sorted(names, n, out);
}

/* A key that nobody knows makes the loader list those it knows. */
static void keys_of_loader(const struct kind *kind, const char *doc_text, char out[512]) {
    auto_json json_t *doc = read_text(doc_text);
    const char *names[32];
    char said[512];
    size_t n = 0;
    assert_int_equal(kind->loader(doc), -EINVAL);
    (void)snprintf(said, sizeof said, "%s", err_text());
    char *list = strstr(said, "known are ");
    if (!list)
        fail_msg("%s", said);
    for (char *name = strtok(list + strlen("known are "), ", "); name && n < 32; name = strtok(NULL, ", "))
        names[n++] = name;
    join_sorted(names, n, out);
}

#define WITH(more)                                                                                                     \
    "{\"name\":\"t\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},\"effect\":\"pure\","                \
    "\"command\":[\"/bin/true\"],\"input\":\"argv\"" more "}"
#define ACTOR_WITH(more) "{\"name\":\"a\",\"provider\":\"p\"" more "}"

static void test_same_keys(void **state) {
    static const struct {
        size_t kind;
        const char *at, *doc;
    } cases[] = {
        {TOOL, "/properties", WITH(",\"?\":1")},
        {TOOL, "/$defs/sandbox/properties", WITH(",\"sandbox\":{\"?\":1}")},
        {TOOL, "/$defs/sandbox/properties/limits/properties", WITH(",\"sandbox\":{\"limits\":{\"?\":1}}")},
        {ACTOR, "/properties", ACTOR_WITH(",\"?\":1")},
        {ACTOR, "/properties/budget/properties", ACTOR_WITH(",\"budget\":{\"?\":1}")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char published[512], known[512];
        auto_json json_t *schema = read_json("docs", kinds[cases[i].kind].schema);
        keys_of_schema(schema, cases[i].at, published);
        keys_of_loader(&kinds[cases[i].kind], cases[i].doc, known);
        assert_string_equal(published, known);
    }
}

static void test_documents(void **state) {
    static const struct {
        size_t kind;
        const char *doc;
        bool schema, loader;
    } cases[] = {
        {TOOL, WITH(""), true, true},
        {TOOL, WITH(",\"idempotent\":false,\"timeout\":\"1ms\",\"output\":\"json\""), true, true},
        {TOOL, WITH(",\"sandbox\":{\"env\":{\"A\":\"b\"},\"limits\":{\"memory_bytes\":1048576,\"file_bytes\":0}}"),
         true, true},
        {TOOL, WITH(",\"sandbox\":{\"limits\":{\"memory_bytes\":1048575}}"), false, false},
        {TOOL, WITH(",\"sandbox\":{\"limits\":{\"processes\":32769}}"), false, false},
        {TOOL, WITH(",\"sandbox\":{\"limits\":{\"cpu_ms\":0}}"), false, false},
        {TOOL, WITH(",\"sandbox\":{\"profile\":\"all\"}"), false, false},
        {TOOL, WITH(",\"sandbox\":{\"profile\":\"writer\"}"), true, false}, /* a contradiction */
        {TOOL, WITH(",\"idempotent\":1"), false, false},
        {TOOL, WITH(",\"timeout\":5"), false, false},
        {TOOL, WITH(",\"timeout\":\"soon\""), true, false},
        {TOOL, WITH(",\"output\":\"xml\""), false, false},
        {TOOL, WITH(",\"builtin\":\"echo\""), true, false}, /* one or the other */
        {TOOL, "{\"name\":\"t\"}", false, false},
        {TOOL, "[]", false, false},
        {ACTOR, ACTOR_WITH(""), true, true},
        {ACTOR, ACTOR_WITH(",\"tools\":[\"a\"],\"budget\":{\"steps\":0},\"restart\":\"temporary\""), true, true},
        {ACTOR, ACTOR_WITH(",\"tools\":[\"a\",\"a\"]"), false, false},
        {ACTOR, ACTOR_WITH(",\"tools\":\"all\""), false, false},
        {ACTOR, ACTOR_WITH(",\"budget\":{\"llm_calls\":1000001}"), false, false},
        {ACTOR, ACTOR_WITH(",\"restart\":\"always\""), false, false},
        {ACTOR, "{\"name\":\"a\",\"provider\":\"\"}", false, false},
        {ACTOR, "{\"name\":\"a\"}", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_json json_t *doc = read_text(cases[i].doc);
        expect(&kinds[cases[i].kind], doc, cases[i].schema, cases[i].loader);
    }
}

static void test_builtins(void **state) {
    (void)state;
    for (size_t i = 0; builtins_text(i); i++) {
        auto_json json_t *doc = read_text(builtins_text(i));
        expect(&kinds[TOOL], doc, true, true);
    }
}

static size_t check_examples(const char *dir, size_t kind) {
    char path[512];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/%s", SOURCE_ROOT, dir);
    auto_dir DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        if (!file_name_wanted(e->d_name))
            continue;
        auto_json json_t *doc = read_json(dir, e->d_name);
        expect(&kinds[kind], doc, true, true);
        n++;
    }
    return n;
}

static void test_examples(void **state) {
    (void)state;
    assert_true(check_examples("examples/tools", TOOL) > 0);
    assert_true(check_examples("examples/actors", ACTOR) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemas_are_schemas),
        cmocka_unit_test(test_same_keys),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_builtins),
        cmocka_unit_test(test_examples),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
