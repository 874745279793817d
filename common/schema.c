/* One table drives both halves: a row is a keyword, how its operand is checked when the schema arrives, and how it is
 * applied to a value later. So a keyword cannot be accepted without being enforced. A row without apply is an
 * annotation. To add a keyword, start at `keywords[]`; its order is the order in which complaints are made.
 *
 * Checking walks the schema once and ends with a search for $ref cycles that never enter a value ({"$ref": A} where A
 * is that same schema): those would loop on any value. Cycles through properties or items are lists and trees, and
 * fine.
 *
 * Applying is bounded twice: by depth, and by steps charged for every visit and every 64 bytes compared. There is no
 * negation in the subset, so running out of steps can only ever refuse. */
#include "common/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

#define REF_PREFIX "#/$defs/"
#define REF_POINTER(ref) ((ref) + sizeof "#/$defs" - 1) /* "/NAME", a pointer below $defs */

struct check {
    const json_t *defs;
    struct json_place place;
    unsigned depth;
};

struct apply {
    const json_t *root;
    struct json_place place;
    unsigned depth;
    size_t steps;
    char *why;
    size_t why_size;
};

static int check_schema(struct check *c, const json_t *schema);
static int apply_schema(struct apply *a, const json_t *schema, const json_t *value);

/* jansson's iterators take a mutable object although they only read. */
static json_t *mutable(const json_t *j) {
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

static const char *type_of(const json_t *value) {
    return type_names[json_typeof(value)];
}

/* --- checking a schema ----------------------------------------------------------------------------------------- */

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
        return bad(c, "expected an array of %s, got %s", what, type_of(list));
    json_array_foreach(list, i, name) {
        if (!json_is_string(name))
            return bad(c, "expected an array of %s, but element %zu is %s", what, i, type_of(name));
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
    return json_is_string(operand) ? 0 : bad(c, "expected string, got %s", type_of(operand));
}

static int check_boolean(struct check *c, const json_t *operand) {
    return json_is_boolean(operand) ? 0 : bad(c, "expected boolean, got %s", type_of(operand));
}

static int check_number(struct check *c, const json_t *operand) {
    return json_is_number(operand) ? 0 : bad(c, "expected number, got %s", type_of(operand));
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
        return bad(c, "expected an object of schemas, got %s", type_of(map));
    json_object_foreach(mutable(map), name, sub) {
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

static json_t *ref_target(const json_t *defs, const json_t *ref) {
    const char *text = json_string_value(ref);
    return text && defs ? json_at(mutable(defs), REF_POINTER(text)) : NULL;
}

static int check_ref(struct check *c, const json_t *ref) {
    const char *text = json_string_value(ref);
    const size_t prefix = sizeof REF_PREFIX - 1;
    if (!text || strncmp(text, REF_PREFIX, prefix) != 0 || strpbrk(text + prefix, "/%"))
        return bad(c, "expected \"#/$defs/NAME\"; other references are not followed");
    return ref_target(c->defs, ref) ? 0 : bad(c, "no such definition below $defs");
}

/* --- applying a schema ----------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static int refuse(struct apply *a, const char *fmt, ...) {
    char said[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
    if (a->why_size == 0)
        return 1;
    (void)snprintf(a->why, a->why_size, "%s: %s", a->place.text[0] ? a->place.text : "the value", said);
    a->why[json_utf8_floor(a->why, strlen(a->why))] = '\0';
    return 1;
}

static bool exhausted(const struct apply *a) {
    return a->steps > SCHEMA_STEPS_MAX;
}

/* Charges `steps` of work; 1 when the budget is used up, and from then on always. */
static int spend(struct apply *a, size_t steps) {
    a->steps += steps;
    if (!exhausted(a))
        return 0;
    return refuse(a, "too much work to check against the schema (more than %u steps); send a smaller value",
                  SCHEMA_STEPS_MAX);
}

static int apply_below(struct apply *a, const char *name, const json_t *schema, const json_t *value) {
    json_place_push(&a->place, name);
    int r = apply_schema(a, schema, value);
    json_place_pop(&a->place);
    return r;
}

static bool type_fits(const char *name, const json_t *value) {
    const char *type = type_of(value);
    return strcmp(name, type) == 0 || (strcmp(name, "number") == 0 && json_is_integer(value));
}

/* "string or null" */
static void type_list(const json_t *type, char *out, size_t size) {
    size_t i, used = 0;
    json_t *name;
    (void)snprintf(out, size, "%s", json_is_string(type) ? json_string_value(type) : "");
    json_array_foreach(type, i, name) {
        if (used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", i ? " or " : "", json_string_value(name));
    }
}

static int apply_type(struct apply *a, const json_t *schema, const json_t *type, const json_t *value) {
    size_t i;
    json_t *name;
    char wanted[128]; /* seven names, each once */
    if (json_is_string(type) && type_fits(json_string_value(type), value))
        return 0;
    json_array_foreach(type, i, name) {
        if (type_fits(json_string_value(name), value))
            return 0;
    }
    type_list(type, wanted, sizeof wanted);
    return refuse(a, "expected %s, got %s", wanted, type_of(value));
}

/* -1, 0, 1. The long doubles of our platforms hold every int64 and every double exactly. */
static int number_order(const json_t *x, const json_t *y) {
    if (json_is_integer(x) && json_is_integer(y))
        return (json_integer_value(x) > json_integer_value(y)) - (json_integer_value(x) < json_integer_value(y));
    long double l = json_is_integer(x) ? (long double)json_integer_value(x) : (long double)json_real_value(x);
    long double r = json_is_integer(y) ? (long double)json_integer_value(y) : (long double)json_real_value(y);
    return (l > r) - (l < r);
}

static bool same(struct apply *a, const json_t *x, const json_t *y);

static bool same_members(struct apply *a, const json_t *x, const json_t *y) {
    const char *name;
    json_t *member;
    if (json_object_size(x) != json_object_size(y))
        return false;
    json_object_foreach(mutable(x), name, member) {
        const json_t *other = json_object_get(y, name);
        if (!other || !same(a, member, other))
            return false;
    }
    return true;
}

static bool same_elements(struct apply *a, const json_t *x, const json_t *y) {
    size_t i;
    json_t *element;
    if (json_array_size(x) != json_array_size(y))
        return false;
    json_array_foreach(x, i, element) {
        if (!same(a, element, json_array_get(y, i)))
            return false;
    }
    return true;
}

/* Equality as JSON Schema means it: 1 equals 1.0, members in any order. Unequal when the work budget is used up; the
 * caller's spend() then refuses. */
static bool same(struct apply *a, const json_t *x, const json_t *y) {
    if (spend(a, 1))
        return false;
    if (json_is_number(x) && json_is_number(y))
        return number_order(x, y) == 0;
    if (json_typeof(x) != json_typeof(y))
        return false;
    if (json_is_object(x))
        return same_members(a, x, y);
    if (json_is_array(x))
        return same_elements(a, x, y);
    if (!json_is_string(x))
        return true;
    size_t n = json_string_length(x);
    return n == json_string_length(y) && !spend(a, n / 64) &&
           memcmp(json_string_value(x), json_string_value(y), n) == 0;
}

static int apply_const(struct apply *a, const json_t *schema, const json_t *wanted, const json_t *value) {
    char text[128];
    if (same(a, wanted, value))
        return spend(a, 0);
    size_t n = json_dumpb(wanted, text, sizeof text, JSON_COMPACT | JSON_ENCODE_ANY);
    if (exhausted(a))
        return 1;
    return n && n <= sizeof text ? refuse(a, "expected %.*s", (int)n, text)
                                 : refuse(a, "expected the one value that the schema names");
}

static int apply_enum(struct apply *a, const json_t *schema, const json_t *values, const json_t *value) {
    size_t i;
    json_t *one;
    char text[256];
    json_array_foreach(values, i, one) {
        if (same(a, one, value))
            return spend(a, 0);
    }
    size_t n = json_dumpb(values, text, sizeof text, JSON_COMPACT);
    if (exhausted(a))
        return 1;
    return n && n <= sizeof text
               ? refuse(a, "expected one of %.*s", (int)n, text)
               : refuse(a, "expected one of the %zu values that the schema lists", json_array_size(values));
}

/* "at least 3", "at most 0.5" */
static int refuse_bound(struct apply *a, const char *side, const json_t *bound) {
    if (json_is_integer(bound))
        return refuse(a, "expected %s %lld", side, (long long)json_integer_value(bound));
    return refuse(a, "expected %s %g", side, json_real_value(bound));
}

static int apply_minimum(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    return json_is_number(value) && number_order(value, bound) < 0 ? refuse_bound(a, "at least", bound) : 0;
}

static int apply_maximum(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    return json_is_number(value) && number_order(value, bound) > 0 ? refuse_bound(a, "at most", bound) : 0;
}

static json_int_t code_points(const json_t *string) {
    const char *s = json_string_value(string);
    json_int_t count = 0;
    for (size_t i = 0, n = json_string_length(string); i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

static int apply_min_length(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    json_int_t wanted = json_integer_value(bound);
    if (!json_is_string(value))
        return 0;
    if (spend(a, json_string_length(value) / 64))
        return 1;
    return code_points(value) < wanted ? refuse(a, "expected at least %lld characters", (long long)wanted) : 0;
}

static int apply_max_length(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    json_int_t wanted = json_integer_value(bound);
    if (!json_is_string(value))
        return 0;
    if (spend(a, json_string_length(value) / 64))
        return 1;
    return code_points(value) > wanted ? refuse(a, "expected at most %lld characters", (long long)wanted) : 0;
}

static int apply_min_items(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    json_int_t wanted = json_integer_value(bound);
    bool fits = !json_is_array(value) || (json_int_t)json_array_size(value) >= wanted;
    return fits ? 0 : refuse(a, "expected at least %lld elements", (long long)wanted);
}

static int apply_max_items(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    json_int_t wanted = json_integer_value(bound);
    bool fits = !json_is_array(value) || (json_int_t)json_array_size(value) <= wanted;
    return fits ? 0 : refuse(a, "expected at most %lld elements", (long long)wanted);
}

/* FNV-1a; what equals must hash equal, so numbers hash as doubles and members are summed in any order. Somebody who
 * makes collisions gains comparisons, and those are charged. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    for (const unsigned char *b = bytes; n-- > 0; b++)
        h = (h ^ *b) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t hash_value(struct apply *a, const json_t *value) {
    uint64_t h = UINT64_C(0xcbf29ce484222325) + (json_is_real(value) ? JSON_INTEGER : json_typeof(value)), sum = 0;
    const char *name;
    size_t i;
    json_t *sub;
    if (spend(a, 1 + json_string_length(value) / 64))
        return 0;
    if (json_is_number(value)) {
        double number = json_number_value(value) + 0.0; /* -0.0 becomes 0.0 */
        return hash_bytes(h, &number, sizeof number);
    }
    if (json_is_string(value))
        return hash_bytes(h, json_string_value(value), json_string_length(value));
    json_array_foreach(value, i, sub) {
        uint64_t element = hash_value(a, sub);
        h = hash_bytes(h, &element, sizeof element);
    }
    json_object_foreach(mutable(value), name, sub) {
        sum += hash_bytes(hash_value(a, sub), name, strlen(name));
    }
    return h + sum;
}

struct hashed {
    uint64_t hash;
    size_t index;
};

static int hashed_order(const void *x, const void *y) {
    const struct hashed *l = x, *r = y;
    return l->hash != r->hash ? (l->hash > r->hash) - (l->hash < r->hash)
                              : (l->index > r->index) - (l->index < r->index);
}

static int apply_unique(struct apply *a, const json_t *schema, const json_t *wanted, const json_t *value) {
    size_t n = json_array_size(value);
    if (!json_is_true(wanted) || n < 2)
        return 0;
    auto_free struct hashed *all = calloc(n, sizeof *all);
    if (!all)
        return err_raise(-ENOMEM, "schema: out of memory");
    for (size_t i = 0; i < n; i++)
        all[i] = (struct hashed){hash_value(a, json_array_get(value, i)), i};
    qsort(all, n, sizeof *all, hashed_order);
    for (size_t i = 0; i < n && !exhausted(a); i++)
        for (size_t j = i + 1; j < n && all[j].hash == all[i].hash && !exhausted(a); j++)
            if (same(a, json_array_get(value, all[i].index), json_array_get(value, all[j].index)))
                return refuse(a, "elements %zu and %zu are equal; each may stand once", all[i].index, all[j].index);
    return spend(a, 0);
}

static int apply_required(struct apply *a, const json_t *schema, const json_t *names, const json_t *value) {
    size_t i;
    json_t *name;
    if (!json_is_object(value))
        return 0;
    if (spend(a, json_array_size(names)))
        return 1;
    json_array_foreach(names, i, name) {
        if (json_object_get(value, json_string_value(name)))
            continue;
        json_place_push(&a->place, json_string_value(name));
        int r = refuse(a, "required, but missing");
        json_place_pop(&a->place);
        return r;
    }
    return 0;
}

static int apply_properties(struct apply *a, const json_t *schema, const json_t *map, const json_t *value) {
    const char *name;
    json_t *sub;
    int r = 0;
    if (!json_is_object(value))
        return 0;
    if (spend(a, json_object_size(map)))
        return 1;
    json_object_foreach(mutable(map), name, sub) {
        const json_t *member = json_object_get(value, name);
        if (member && (r = apply_below(a, name, sub, member)) != 0)
            break;
    }
    return r;
}

/* "path, offset, max_bytes", as far as it fits. */
static void name_list(const json_t *map, char *out, size_t size) {
    const char *name;
    json_t *sub;
    size_t used = 0;
    out[0] = '\0';
    json_object_foreach(mutable(map), name, sub) {
        int n = snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
        if (n < 0 || (size_t)n >= size - used)
            break;
        used += (size_t)n;
    }
    out[used] = '\0';
}

static int refuse_extra(struct apply *a, const char *name, const json_t *known) {
    char names[200];
    name_list(known, names, sizeof names);
    json_place_push(&a->place, name);
    int r = names[0] ? refuse(a, "not a known property; known are %s", names)
                     : refuse(a, "not a known property; there are none");
    json_place_pop(&a->place);
    return r;
}

static int apply_additional(struct apply *a, const json_t *schema, const json_t *sub, const json_t *value) {
    const json_t *known = json_object_get(schema, "properties");
    const char *name;
    json_t *member;
    int r = 0;
    if (!json_is_object(value) || json_is_true(sub))
        return 0;
    json_object_foreach(mutable(value), name, member) {
        if (spend(a, 1))
            return 1;
        if (json_object_get(known, name))
            continue;
        r = json_is_false(sub) ? refuse_extra(a, name, known) : apply_below(a, name, sub, member);
        if (r != 0)
            break;
    }
    return r;
}

static int apply_items(struct apply *a, const json_t *schema, const json_t *sub, const json_t *value) {
    size_t i;
    json_t *element;
    int r = 0;
    json_array_foreach(value, i, element) {
        json_place_index(&a->place, i);
        r = apply_schema(a, sub, element);
        json_place_pop(&a->place);
        if (r != 0)
            break;
    }
    return r;
}

/* When no alternative fits, the reason of the last one is given beside the count: with one alternative, or with
 * alternatives told apart by type, that is the useful sentence. */
static int apply_any_of(struct apply *a, const json_t *schema, const json_t *list, const json_t *value) {
    size_t i;
    json_t *sub;
    char reason[256] = "", *why = a->why;
    size_t why_size = a->why_size;
    json_array_foreach(list, i, sub) {
        a->why = reason;
        a->why_size = sizeof reason;
        int r = apply_schema(a, sub, value);
        a->why = why;
        a->why_size = why_size;
        if (r <= 0)
            return r;
        if (exhausted(a))
            return spend(a, 0);
    }
    return refuse(a, "fits none of %zu alternatives (the last one: %s)", json_array_size(list), reason);
}

static int apply_ref(struct apply *a, const json_t *schema, const json_t *ref, const json_t *value) {
    const json_t *target = ref_target(json_object_get(a->root, "$defs"), ref);
    if (!target)
        return err_raise(-EINVAL, "schema: a $ref that was not checked");
    return apply_schema(a, target, value);
}

/* --- the table ------------------------------------------------------------------------------------------------- */

static const struct keyword {
    const char *name;
    int (*check)(struct check *c, const json_t *operand);
    int (*apply)(struct apply *a, const json_t *schema, const json_t *operand, const json_t *value);
} keywords[] = {
    {"$ref", check_ref, apply_ref},
    {"type", check_type, apply_type},
    {"const", check_anything, apply_const},
    {"enum", check_enum, apply_enum},
    {"minimum", check_number, apply_minimum},
    {"maximum", check_number, apply_maximum},
    {"minLength", check_count, apply_min_length},
    {"maxLength", check_count, apply_max_length},
    {"minItems", check_count, apply_min_items},
    {"maxItems", check_count, apply_max_items},
    {"uniqueItems", check_boolean, apply_unique},
    {"required", check_required, apply_required},
    {"additionalProperties", check_schema, apply_additional},
    {"properties", check_map, apply_properties},
    {"items", check_schema, apply_items},
    {"anyOf", check_any_of, apply_any_of},
    {"$defs", check_defs, NULL},
    {"title", check_string, NULL},
    {"description", check_string, NULL},
    {"default", check_anything, NULL},
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
        return bad(c, "expected a schema (an object or a boolean), got %s", schema ? type_of(schema) : "nothing");
    if (++c->depth > JSON_DEPTH_MAX)
        return bad(c, "nested deeper than %u levels", JSON_DEPTH_MAX);
    json_object_foreach(mutable(schema), name, operand) {
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
    r = follow(defs, ref_target(defs, ref), state);
    if (r == 0 && json_object_set_new(state, name, json_true()) < 0)
        return err_raise(-ENOMEM, "schema: out of memory");
    return err_up(r);
}

/* Every definition is entered through its own name, so that a cycle nobody refers to is found too. */
static int check_cycles(const json_t *defs) {
    auto_json json_t *state = json_object();
    const char *name;
    json_t *sub;
    json_object_foreach(mutable(defs), name, sub) {
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

/* Every keyword present must be one of the table: an unchecked schema is an error here, never a weaker check. */
static int apply_schema(struct apply *a, const json_t *schema, const json_t *value) {
    size_t seen = 0;
    int r = spend(a, 1);
    if (r != 0 || json_is_true(schema))
        return r;
    if (json_is_false(schema))
        return refuse(a, "no value is allowed here");
    if (a->depth >= SCHEMA_DEPTH_MAX)
        return refuse(a, "nested too deeply to check");
    a->depth++;
    for (size_t i = 0; i < KEYWORDS && r == 0; i++) {
        const json_t *operand = json_object_get(schema, keywords[i].name);
        seen += operand != NULL;
        if (operand && keywords[i].apply)
            r = keywords[i].apply(a, schema, operand, value);
    }
    a->depth--;
    if (r == 0 && (!json_is_object(schema) || seen != json_object_size(schema)))
        return err_raise(-EINVAL, "schema: used without having been checked");
    return r;
}

int schema_validate(const json_t *schema, const json_t *value, const char *base_pointer, char *why, size_t why_size) {
    struct apply a = {.root = schema, .why = why, .why_size = why_size};
    if (!schema || !value)
        return err_raise(-EINVAL, "schema: nothing to check, or nothing to check against");
    (void)snprintf(a.place.text, sizeof a.place.text, "%s", base_pointer);
    return apply_schema(&a, schema, value);
}
