/* Schemas that are accepted or refused, and values against them with the sentence that is given back. */
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

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (json_parse(text, strlen(text), JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s: %s", text, err_text());
    return j;
}

/* said NULL: accepted. */
static const struct {
    const char *schema, *said;
} checks[] = {
    {"{}", NULL},
    {"true", NULL},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"],\"minLength\":1}},\"required\":[\"a\"]"
     ","
     "\"additionalProperties\":{\"type\":\"integer\",\"minimum\":0.5,\"maximum\":9},\"title\":\"t\",\"description\":"
     "\"d\","
     "\"default\":{}}",
     NULL},
    {"{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#/$defs/node\"}}}},"
     "\"$ref\":\"#/$defs/node\"}",
     NULL},
    {"{\"$defs\":{\"a b\":{},\"a\":{\"$ref\":\"#/$defs/a b\"}}}", NULL},
    {"3", "the schema: expected a schema"},
    {"{\"pattern\":\"x\"}", "/pattern: this keyword is not enforced"},
    {"{\"properties\":{\"p\":{\"items\":{\"format\":\"uri\"}}}}", "/properties/p/items/format: this keyword"},
    {"{\"oneOf\":[{}]}", "/oneOf: "},
    {"{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\"}", "/$schema: "},
    {"{\"type\":\"text\"}", "/type: unknown type"},
    {"{\"type\":[]}", "/type: an empty list"},
    {"{\"type\":[\"string\",\"string\"]}", "/type: element 1 repeats"},
    {"{\"type\":[\"string\",\"x\"]}", "/type: element 1 is no type"},
    {"{\"type\":3}", "/type: expected an array of type names"},
    {"{\"properties\":[]}", "/properties: expected an object of schemas, got array"},
    {"{\"properties\":{\"a\":null}}", "/properties/a: expected a schema"},
    {"{\"required\":\"a\"}", "/required: expected an array of property names, got string"},
    {"{\"required\":[1]}", "/required: expected an array of property names, but element 0 is integer"},
    {"{\"required\":[\"a\",\"a\"]}", "/required: element 1 repeats"},
    {"{\"additionalProperties\":\"no\"}", "/additionalProperties: expected a schema"},
    {"{\"items\":[{}]}", "/items: expected a schema"},
    {"{\"enum\":[]}", "/enum: "},
    {"{\"enum\":{}}", "/enum: "},
    {"{\"minimum\":\"1\"}", "/minimum: expected number"},
    {"{\"minLength\":-1}", "/minLength: expected an integer of at least 0"},
    {"{\"maxItems\":1.5}", "/maxItems: "},
    {"{\"uniqueItems\":1}", "/uniqueItems: expected boolean"},
    {"{\"title\":1}", "/title: expected string"},
    {"{\"anyOf\":[]}", "/anyOf: "},
    {"{\"anyOf\":[{},{\"x\":1}]}", "/anyOf/1/x: "},
    {"{\"$ref\":\"#/$defs/a\"}", "/$ref: no such definition"},
    {"{\"$ref\":\"#\"}", "/$ref: expected \"#/$defs/NAME\""},
    {"{\"$ref\":\"http://x/y\"}", "/$ref: expected"},
    {"{\"$defs\":{\"a\":{\"$defs\":{}}},\"$ref\":\"#/$defs/a/$defs\"}", "/$defs/a/$defs: "},
    {"{\"properties\":{\"a\":{\"$defs\":{}}}}", "/properties/a/$defs: $defs stands at the top"},
    {"{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/a\"}}}", "#/$defs/a refers to itself"},
    {"{\"$defs\":{\"a\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/b\"}]},\"b\":{\"$ref\":\"#/$defs/a\"}}}",
     "refers to itself at the same value"},
};

static void test_check(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        auto_json json_t *schema = parse(checks[i].schema);
        int r = schema_check(schema);
        if (r != (checks[i].said ? -EINVAL : 0))
            fail_msg("%s: got %d (%s)", checks[i].schema, r, err_text());
        if (r < 0 && strncmp(err_text(), checks[i].said, strlen(checks[i].said)) != 0 &&
            !strstr(err_text(), "refers to itself"))
            fail_msg("%s: said %s", checks[i].schema, err_text());
    }
    assert_int_equal(schema_check(NULL), -EINVAL);
}

static void test_check_too_many_defs(void **state) {
    (void)state;
    auto_json json_t *schema = json_pack("{s:{}}", "$defs");
    char name[16];
    for (unsigned i = 0; i <= SCHEMA_DEFS_MAX; i++) {
        assert_int_equal(schema_check(schema), 0);
        (void)snprintf(name, sizeof name, "d%u", i);
        json_object_set_new(json_object_get(schema, "$defs"), name, json_object());
    }
    assert_int_equal(schema_check(schema), -EINVAL);
}

#define PATHS                                                                                                          \
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}},"               \
    "\"required\":[\"path\"],\"additionalProperties\":false}"
#define LIST                                                                                                           \
    "{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":"                    \
    "{\"$ref\":\"#/$defs/n\"}},\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}"

/* said NULL: fits. */
static const struct {
    const char *schema, *value, *said;
} values[] = {
    {PATHS, "{\"path\":\"x\"}", NULL},
    {PATHS, "{\"path\":3}", "/args/path: expected string, got integer"},
    {PATHS, "{}", "/args/path: required, but missing"},
    {PATHS, "{\"path\":\"x\",\"pth\":1}", "/args/pth: not a known property; known are path, n"},
    {PATHS, "[]", "/args: expected object, got array"},
    {PATHS, "{\"path\":\"\",\"n\":2.0}", "/args/n: expected integer, got number"},
    {"{\"additionalProperties\":false}", "{\"a\":1}", "/args/a: not a known property; there are none"},
    {"{\"additionalProperties\":{\"type\":\"null\"},\"properties\":{\"a\":true}}", "{\"a\":1,\"b\":null}", NULL},
    {"{\"additionalProperties\":{\"type\":\"null\"},\"properties\":{\"a\":true}}", "{\"b\":1}",
     "/args/b: expected null, got integer"},
    {"{\"type\":[\"string\",\"null\"]}", "true", "/args: expected string or null, got boolean"},
    {"{\"type\":\"number\"}", "3", NULL},
    {"{\"type\":\"number\"}", "3.5", NULL},
    {"{\"type\":\"boolean\"}", "false", NULL},
    {"{\"enum\":[\"a\",1]}", "\"a\"", NULL},
    {"{\"enum\":[\"a\",1]}", "1.0", NULL},
    {"{\"enum\":[\"a\",1]}", "\"b\"", "/args: expected one of [\"a\",1]"},
    {"{\"const\":{\"a\":[1,{}]}}", "{\"a\":[1,{}]}", NULL},
    {"{\"const\":{\"a\":[1,{}]}}", "{\"a\":[1,[]]}", "/args: expected {\"a\":[1,{}]}"},
    {"{\"const\":null}", "false", "/args: expected null"},
    {"{\"minimum\":1,\"maximum\":2.5}", "1", NULL},
    {"{\"minimum\":1,\"maximum\":2.5}", "2.5", NULL},
    {"{\"minimum\":1,\"maximum\":2.5}", "3", "/args: expected at most 2.5"},
    {"{\"minimum\":1,\"maximum\":2.5}", "-1", "/args: expected at least 1"},
    {"{\"maximum\":9007199254740992.0}", "9007199254740993", "/args: expected at most"},
    {"{\"minimum\":1}", "\"0\"", NULL},
    {"{\"minLength\":2,\"maxLength\":3}", "\"é€\"", NULL},
    {"{\"minLength\":2,\"maxLength\":3}", "\"😀\"", "/args: expected at least 2 characters"},
    {"{\"minLength\":2,\"maxLength\":3}", "\"éééé\"", "/args: expected at most 3 characters"},
    {"{\"minItems\":1,\"maxItems\":2}", "[]", "/args: expected at least 1 elements"},
    {"{\"minItems\":1,\"maxItems\":2}", "[1,2,3]", "/args: expected at most 2 elements"},
    {"{\"items\":{\"type\":\"string\"}}", "[\"a\",1]", "/args/1: expected string, got integer"},
    {"{\"items\":false}", "[]", NULL},
    {"{\"items\":false}", "[1]", "/args/0: no value is allowed here"},
    {"{\"uniqueItems\":true}", "[1,true,\"1\",[1],{\"a\":1},null,0,false,[],{}]", NULL},
    {"{\"uniqueItems\":true}", "[1,2,1.0]", "/args: elements 0 and 2 are equal"},
    {"{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", "/args: elements 0 and 1 are equal"},
    {"{\"uniqueItems\":true}", "[0.0,-0.0]", "/args: elements 0 and 1 are equal"},
    {"{\"uniqueItems\":false}", "[1,1]", NULL},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", "3", NULL},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", "null",
     "/args: fits none of 2 alternatives (the last one: /args: expected integer, got null)"},
    {LIST, "{\"v\":1,\"next\":{\"v\":2,\"next\":{}}}", NULL},
    {LIST, "{\"next\":{\"next\":{\"v\":\"x\"}}}", "/args/next/next/v: expected integer, got string"},
    {"{\"$defs\":{\"s\":{\"type\":\"string\"}},\"$ref\":\"#/$defs/s\",\"minLength\":2}", "\"a\"",
     "/args: expected at least 2 characters"},
    {"{\"required\":[\"a/b\"]}", "{}", "/args/a~1b: required, but missing"},
    {"{\"default\":3,\"description\":\"d\"}", "\"anything\"", NULL},
    {"false", "1", "/args: no value is allowed here"},
};

static void test_values(void **state) {
    (void)state;
    char why[256];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        auto_json json_t *schema = parse(values[i].schema);
        auto_json json_t *value = parse(values[i].value);
        assert_int_equal(schema_check(schema), 0);
        int r = schema_validate(schema, value, "/args", why, sizeof why);
        if (r != (values[i].said ? 1 : 0))
            fail_msg("%s with %s: got %d", values[i].schema, values[i].value, r);
        if (r == 1 && strncmp(why, values[i].said, strlen(values[i].said)) != 0)
            fail_msg("%s with %s: said %s", values[i].schema, values[i].value, why);
    }
}

static void test_unchecked_is_an_error(void **state) {
    (void)state;
    char why[64];
    auto_json json_t *schema = parse("{\"type\":\"integer\",\"multipleOf\":2}");
    auto_json json_t *value = json_integer(3);
    assert_int_equal(schema_validate(schema, value, "", why, sizeof why), -EINVAL);
    assert_int_equal(schema_validate(NULL, value, "", why, sizeof why), -EINVAL);
}

static void test_why_is_cut_on_a_character(void **state) {
    (void)state;
    auto_json json_t *schema = parse("{\"properties\":{\"éééééééééé\":{\"type\":\"null\"}}}");
    auto_json json_t *value = parse("{\"éééééééééé\":1}");
    for (size_t size = 1; size < 80; size++) {
        char why[80];
        memset(why, 'x', sizeof why);
        assert_int_equal(schema_validate(schema, value, "", why, size), 1);
        assert_true(strlen(why) < size);
        auto_json json_t *valid = json_string(why);
        assert_non_null(valid);
    }
    assert_int_equal(schema_validate(schema, value, "", NULL, 0), 1);
}

/* Alternatives that multiply: 2^30 ways without a budget. */
static void test_work_is_bounded(void **state) {
    (void)state;
    char why[128];
    auto_json json_t *schema = json_pack("{s:{s:{s:s}}}", "$defs", "d0", "type", "null");
    for (unsigned i = 1; i <= 30; i++) {
        char name[8], ref[24];
        (void)snprintf(name, sizeof name, "d%u", i);
        (void)snprintf(ref, sizeof ref, "#/$defs/d%u", i - 1);
        json_object_set_new(json_object_get(schema, "$defs"), name,
                            json_pack("{s:[{s:s},{s:s}]}", "anyOf", "$ref", ref, "$ref", ref));
    }
    json_object_set_new(schema, "$ref", json_string("#/$defs/d30"));
    auto_json json_t *value = json_integer(1);
    assert_int_equal(schema_check(schema), 0);
    assert_int_equal(schema_validate(schema, value, "/args", why, sizeof why), 1);
    assert_non_null(strstr(why, "too much work"));
}

/* Work used up inside one comparison is said as such, also where the comparison's own refusal is near. */
static void test_comparisons_are_charged(void **state) {
    static const char *const keywords[] = {"const", "enum"};
    (void)state;
    auto_json json_t *deep = json_array();
    for (unsigned i = 0; i < SCHEMA_STEPS_MAX; i++)
        json_array_append_new(deep, json_null());
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        char why[128] = "";
        auto_json json_t *schema =
            i == 0 ? json_pack("{s:O}", keywords[i], deep) : json_pack("{s:[O]}", keywords[i], deep);
        assert_int_equal(schema_check(schema), 0);
        assert_int_equal(schema_validate(schema, deep, "/args", why, sizeof why), 1);
        assert_non_null(strstr(why, "too much work"));
    }
}

static void test_unique_is_not_quadratic(void **state) {
    (void)state;
    char why[128];
    auto_json json_t *schema = parse("{\"uniqueItems\":true}");
    auto_json json_t *value = json_array();
    for (int i = 0; i < 60000; i++)
        json_array_append_new(value, json_integer(i));
    assert_int_equal(schema_validate(schema, value, "", why, sizeof why), 0);
    json_array_append_new(value, json_integer(31));
    assert_int_equal(schema_validate(schema, value, "", why, sizeof why), 1);
    assert_string_equal(why, "the value: elements 31 and 60000 are equal; each may stand once");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_check_too_many_defs),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_unchecked_is_an_error),
        cmocka_unit_test(test_why_is_cut_on_a_character),
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_comparisons_are_charged),
        cmocka_unit_test(test_unique_is_not_quadratic),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
