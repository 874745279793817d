/* Applying a schema to a value. It is bounded twice: by depth, and by steps charged for every visit and every 64 bytes
 * compared. There is no negation in the subset, so running out of steps can only ever refuse. */
#include "common/schema_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/json.h"

struct apply {
    const json_t *root;
    struct json_place place;
    unsigned depth;
    struct schema_work work;
    char *why;
    size_t why_size;
};

static int apply_schema(struct apply *a, const json_t *schema, const json_t *value);

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
    return schema_exhausted(&a->work);
}

/* Charges `steps` of work; 1 when the budget is used up, and from then on always. */
static int spend(struct apply *a, size_t steps) {
    if (schema_spend(&a->work, steps))
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
    const char *type = schema_type_of(value);
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
    return refuse(a, "expected %s, got %s", wanted, schema_type_of(value));
}

static int apply_const(struct apply *a, const json_t *schema, const json_t *wanted, const json_t *value) {
    char text[128];
    if (schema_same(&a->work, wanted, value))
        return spend(a, 0);
    size_t n = json_dumpb(wanted, text, sizeof text, JSON_COMPACT | JSON_ENCODE_ANY);
    if (exhausted(a))
        return spend(a, 0);
    return n && n <= sizeof text ? refuse(a, "expected %.*s", (int)n, text)
                                 : refuse(a, "expected the one value that the schema names");
}

static int apply_enum(struct apply *a, const json_t *schema, const json_t *values, const json_t *value) {
    size_t i;
    json_t *one;
    char text[256];
    json_array_foreach(values, i, one) {
        if (schema_same(&a->work, one, value))
            return spend(a, 0);
    }
    size_t n = json_dumpb(values, text, sizeof text, JSON_COMPACT);
    if (exhausted(a))
        return spend(a, 0);
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
    return json_is_number(value) && schema_number_order(value, bound) < 0 ? refuse_bound(a, "at least", bound) : 0;
}

static int apply_maximum(struct apply *a, const json_t *schema, const json_t *bound, const json_t *value) {
    return json_is_number(value) && schema_number_order(value, bound) > 0 ? refuse_bound(a, "at most", bound) : 0;
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

static int apply_unique(struct apply *a, const json_t *schema, const json_t *wanted, const json_t *value) {
    size_t first, second;
    if (!json_is_true(wanted) || json_array_size(value) < 2)
        return 0;
    int r = schema_find_twins(&a->work, value, &first, &second);
    if (r == 1)
        return refuse(a, "elements %zu and %zu are equal; each may stand once", first, second);
    return r < 0 ? err_up(r) : spend(a, 0);
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
    json_object_foreach(schema_mutable(map), name, sub) {
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
    json_object_foreach(schema_mutable(map), name, sub) {
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
    json_object_foreach(schema_mutable(value), name, member) {
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
    const json_t *target = schema_ref_target(json_object_get(a->root, "$defs"), ref);
    if (!target)
        return err_raise(-EINVAL, "schema: a $ref that was not checked");
    return apply_schema(a, target, value);
}

static int apply_nothing(struct apply *a, const json_t *schema, const json_t *operand, const json_t *value) {
    return 0;
}

/* --- the walk -------------------------------------------------------------------------------------------------- */

static const struct keyword {
    const char *name;
    int (*apply)(struct apply *a, const json_t *schema, const json_t *operand, const json_t *value);
} keywords[] = {
#define X(name, check, apply) {name, apply},
    SCHEMA_KEYWORDS(X)
#undef X
};
#define KEYWORDS (sizeof keywords / sizeof *keywords)

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
        if (operand)
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
