/* Is this a schema that is enforced completely? One walk over it, keyword by keyword, and then a search for $ref cycles
 * that never enter a value ({"$ref": A} where A is that same schema): those would loop on any value. Cycles through
 * properties or items are lists and trees, and fine. */
#include "common/schema_internal.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

struct check {
    const json_t *defs;
    struct json_place place;
    unsigned depth;
};

static int check_schema(struct check *c, const json_t *schema);

json_t *schema_mutable(const json_t *j) {
    union {
        const json_t *in;
        json_t *out;
    } u = {.in = j};
    return u.out;
}

static const char *const type_names[] = {
    [JSON_OBJECT] = "object", [JSON_ARRAY] = "array",  [JSON_STRING] = "string", [JSON_INTEGER] = "integer",
    [JSON_REAL] = "number",   [JSON_TRUE] = "boolean", [JSON_FALSE] = "boolean", [JSON_NULL] = "null",
};

const char *schema_type_of(const json_t *value) {
    return type_names[json_typeof(value)];
}

json_t *schema_ref_target(const json_t *defs, const json_t *ref) {
    const char *text = json_string_value(ref);
    return text && defs ? json_at(schema_mutable(defs), text + sizeof "#/$defs" - 1) : NULL; /* "/NAME" */
}

#define bad(c, fmt, ...)                                                                                               \
    err_raise(-EINVAL, "%s: " fmt, (c)->place.text[0] ? (c)->place.text : "the schema", ##__VA_ARGS__)

static bool type_known(const char *name) {
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(type_names[i], name) == 0)
            return true;
    return false;
}

/* A list of strings, each once. */
static int check_names(struct check *c, const json_t *list, const char *what) {
    size_t i;
    json_t *name, *seen_before = NULL;
    auto_json json_t *seen = json_object();
    if (!json_is_array(list))
        return bad(c, "expected an array of %s, got %s", what, schema_type_of(list));
    json_array_foreach(list, i, name) {
        if (!json_is_string(name))
            return bad(c, "expected an array of %s, but element %zu is %s", what, i, schema_type_of(name));
        seen_before = json_object_get(seen, json_string_value(name));
        if (seen_before)
            return bad(c, "element %zu repeats an earlier one; name it once", i);
        if (json_object_set(seen, json_string_value(name), name) < 0)
            return err_raise(-ENOMEM, "schema: out of memory");
    }
    return 0;
}

static int check_type(struct check *c, const json_t *type) {
    size_t i;
    json_t *name;
    if (json_is_string(type))
        return type_known(json_string_value(type)) ? 0
                                                   : bad(c, "unknown type; known are object, array, string, integer, "
                                                            "number, boolean, null");
    int r = check_names(c, type, "type names (or one type name)");
    if (r < 0)
        return err_up(r);
    if (json_array_size(type) == 0)
        return bad(c, "an empty list of types admits nothing; name at least one");
    json_array_foreach(type, i, name) {
        if (!type_known(json_string_value(name)))
            return bad(c, "element %zu is no type; known are object, array, string, integer, number, boolean, null", i);
    }
    return 0;
}

static int check_required(struct check *c, const json_t *names) {
    return check_names(c, names, "property names");
}

static int check_enum(struct check *c, const json_t *values) {
    return json_array_size(values) > 0 ? 0 : bad(c, "expected an array of at least one value");
}

static int check_anything(struct check *c, const json_t *operand) {
    (void)c, (void)operand;
    return 0;
}

static int check_string(struct check *c, const json_t *operand) {
    return json_is_string(operand) ? 0 : bad(c, "expected string, got %s", schema_type_of(operand));
}

static int check_boolean(struct check *c, const json_t *operand) {
    return json_is_boolean(operand) ? 0 : bad(c, "expected boolean, got %s", schema_type_of(operand));
}

static int check_number(struct check *c, const json_t *operand) {
    return json_is_number(operand) ? 0 : bad(c, "expected number, got %s", schema_type_of(operand));
}

static int check_count(struct check *c, const json_t *operand) {
    if (!json_is_integer(operand) || json_integer_value(operand) < 0)
        return bad(c, "expected an integer of at least 0");
    return 0;
}

static int check_map(struct check *c, const json_t *map) {
    const char *name;
    json_t *sub;
    int r = 0;
    if (!json_is_object(map))
        return bad(c, "expected an object of schemas, got %s", schema_type_of(map));
    json_object_foreach(schema_mutable(map), name, sub) {
        json_place_push(&c->place, name);
        r = check_schema(c, sub);
        if (r < 0)
            break;
        json_place_pop(&c->place);
    }
    return err_up(r);
}

static int check_defs(struct check *c, const json_t *defs) {
    if (c->depth != 1)
        return bad(c, "$defs stands at the top of the schema only; move it there");
    if (json_object_size(defs) > SCHEMA_DEFS_MAX)
        return bad(c, "more than %u definitions", SCHEMA_DEFS_MAX);
    return check_map(c, defs);
}

static int check_any_of(struct check *c, const json_t *list) {
    size_t i;
    json_t *sub;
    int r = 0;
    if (json_array_size(list) == 0)
        return bad(c, "expected an array of at least one schema");
    json_array_foreach(list, i, sub) {
        json_place_index(&c->place, i);
        r = check_schema(c, sub);
        if (r < 0)
            break;
        json_place_pop(&c->place);
    }
    return err_up(r);
}

static int check_ref(struct check *c, const json_t *ref) {
    const char *text = json_string_value(ref);
    const size_t prefix = sizeof SCHEMA_REF_PREFIX - 1;
    if (!text || strncmp(text, SCHEMA_REF_PREFIX, prefix) != 0 || strpbrk(text + prefix, "/%"))
        return bad(c, "expected \"#/$defs/NAME\"; other references are not followed");
    return schema_ref_target(c->defs, ref) ? 0 : bad(c, "no such definition below $defs");
}

/* --- the walk -------------------------------------------------------------------------------------------------- */

static const struct keyword {
    const char *name;
    int (*check)(struct check *c, const json_t *operand);
} keywords[] = {
#define X(name, check, apply) {name, check},
    SCHEMA_KEYWORDS(X)
#undef X
};
#define KEYWORDS (sizeof keywords / sizeof *keywords)

static int check_keyword(struct check *c, const char *name, const json_t *operand) {
    for (size_t i = 0; i < KEYWORDS; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return err_up(keywords[i].check(c, operand));
    return bad(c,
               "this keyword is not enforced, so it is refused; known are type, properties, required, "
               "additionalProperties, items, enum, const, minimum, maximum, minLength, maxLength, minItems, maxItems, "
               "uniqueItems, anyOf, $ref, $defs, description, title, default");
}

static int check_schema(struct check *c, const json_t *schema) {
    const char *name;
    json_t *operand;
    int r = 0;
    if (json_is_boolean(schema))
        return 0;
    if (!json_is_object(schema))
        return bad(c, "expected a schema (an object or a boolean), got %s",
                   schema ? schema_type_of(schema) : "nothing");
    if (++c->depth > JSON_DEPTH_MAX)
        return bad(c, "nested deeper than %u levels", JSON_DEPTH_MAX);
    json_object_foreach(schema_mutable(schema), name, operand) {
        json_place_push(&c->place, name);
        r = check_keyword(c, name, operand);
        if (r < 0)
            return err_up(r); /* the place stays for nobody: the walk is over */
        json_place_pop(&c->place);
    }
    c->depth--;
    return 0;
}

/* Follows the edges that stay at one value, $ref and anyOf. `state` holds false for a definition that is being followed
 * and true for one known to end. */
static int follow(const json_t *defs, const json_t *schema, json_t *state) {
    const json_t *ref = json_object_get(schema, "$ref"), *any = json_object_get(schema, "anyOf"), *mark;
    size_t i;
    json_t *sub;
    int r;
    json_array_foreach(any, i, sub) {
        if ((r = follow(defs, sub, state)) < 0)
            return err_up(r);
    }
    if (!ref)
        return 0;
    const char *name = json_string_value(ref);
    mark = json_object_get(state, name);
    if (mark)
        return json_is_true(mark) ? 0
                                  : err_raise(-EINVAL,
                                              "%s refers to itself at the same value, without end; let the "
                                              "reference stand below properties or items",
                                              name);
    if (json_object_set_new(state, name, json_false()) < 0)
        return err_raise(-ENOMEM, "schema: out of memory");
    r = follow(defs, schema_ref_target(defs, ref), state);
    if (r == 0 && json_object_set_new(state, name, json_true()) < 0)
        return err_raise(-ENOMEM, "schema: out of memory");
    return err_up(r);
}

/* Every definition is entered through its own name, so that a cycle nobody refers to is found too. */
static int check_cycles(const json_t *defs) {
    auto_json json_t *state = json_object();
    const char *name;
    json_t *sub;
    json_object_foreach(schema_mutable(defs), name, sub) {
        int r = follow(defs, sub, state);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

int schema_check(const json_t *schema) {
    struct check c = {.defs = json_object_get(schema, "$defs")};
    int r = check_schema(&c, schema);
    return r < 0 ? err_up(r) : check_cycles(c.defs);
}
