/* Equality of values, and finding two equal ones in an array without comparing each with each. Every comparison is
 * charged: what is compared was sent by somebody. */
#include "common/schema_internal.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"

bool schema_exhausted(const struct schema_work *work) {
    return work->steps > SCHEMA_STEPS_MAX;
}

bool schema_spend(struct schema_work *work, size_t steps) {
    work->steps += steps;
    return !schema_exhausted(work);
}

/* -1, 0, 1. The long doubles of our platforms hold every int64 and every double exactly. */
int schema_number_order(const json_t *x, const json_t *y) {
    if (json_is_integer(x) && json_is_integer(y))
        return (json_integer_value(x) > json_integer_value(y)) - (json_integer_value(x) < json_integer_value(y));
    long double l = json_is_integer(x) ? (long double)json_integer_value(x) : (long double)json_real_value(x);
    long double r = json_is_integer(y) ? (long double)json_integer_value(y) : (long double)json_real_value(y);
    return (l > r) - (l < r);
}

static bool same_members(struct schema_work *work, const json_t *x, const json_t *y) {
    const char *name;
    json_t *member;
    if (json_object_size(x) != json_object_size(y))
        return false;
    json_object_foreach(schema_mutable(x), name, member) {
        const json_t *other = json_object_get(y, name);
        if (!other || !schema_same(work, member, other))
            return false;
    }
    return true;
}

static bool same_elements(struct schema_work *work, const json_t *x, const json_t *y) {
    size_t i;
    json_t *element;
    if (json_array_size(x) != json_array_size(y))
        return false;
    json_array_foreach(x, i, element) {
        if (!schema_same(work, element, json_array_get(y, i)))
            return false;
    }
    return true;
}

bool schema_same(struct schema_work *work, const json_t *x, const json_t *y) {
    if (!schema_spend(work, 1))
        return false;
    if (json_is_number(x) && json_is_number(y))
        return schema_number_order(x, y) == 0;
    if (json_typeof(x) != json_typeof(y))
        return false;
    if (json_is_object(x))
        return same_members(work, x, y);
    if (json_is_array(x))
        return same_elements(work, x, y);
    if (!json_is_string(x))
        return true;
    size_t n = json_string_length(x);
    return n == json_string_length(y) && schema_spend(work, n / 64) &&
           memcmp(json_string_value(x), json_string_value(y), n) == 0;
}

/* FNV-1a; what equals must hash equal, so numbers hash as doubles and members are summed in any order. Somebody who
 * makes collisions gains comparisons, and those are charged. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    for (const unsigned char *b = bytes; n-- > 0; b++)
        h = (h ^ *b) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t hash_value(struct schema_work *work, const json_t *value) {
    uint64_t h = UINT64_C(0xcbf29ce484222325) + (json_is_real(value) ? JSON_INTEGER : json_typeof(value)), sum = 0;
    const char *name;
    size_t i;
    json_t *sub;
    if (!schema_spend(work, 1 + json_string_length(value) / 64))
        return 0;
    if (json_is_number(value)) {
        double number = json_number_value(value) + 0.0; /* -0.0 becomes 0.0 */
        return hash_bytes(h, &number, sizeof number);
    }
    if (json_is_string(value))
        return hash_bytes(h, json_string_value(value), json_string_length(value));
    json_array_foreach(value, i, sub) {
        uint64_t element = hash_value(work, sub);
        h = hash_bytes(h, &element, sizeof element);
    }
    json_object_foreach(schema_mutable(value), name, sub) {
        sum += hash_bytes(hash_value(work, sub), name, strlen(name));
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

/* Among those with one hash. */
static bool twins_at(struct schema_work *work, const json_t *array, const struct hashed *all, size_t n, size_t i,
                     size_t *twin) {
    for (size_t j = i + 1; j < n && all[j].hash == all[i].hash && !schema_exhausted(work); j++) {
        *twin = all[j].index;
        if (schema_same(work, json_array_get(array, all[i].index), json_array_get(array, *twin)))
            return true;
    }
    return false;
}

int schema_find_twins(struct schema_work *work, const json_t *array, size_t *first, size_t *second) {
    size_t n = json_array_size(array);
    auto_free struct hashed *all = calloc(n + 1, sizeof *all);
    if (!all)
        return err_raise(-ENOMEM, "schema: out of memory");
    for (size_t i = 0; i < n; i++)
        all[i] = (struct hashed){hash_value(work, json_array_get(array, i)), i};
    qsort(all, n, sizeof *all, hashed_order);
    for (size_t i = 0; i < n && !schema_exhausted(work); i++) {
        size_t twin;
        if (twins_at(work, array, all, n, i, &twin)) {
            *first = all[i].index;
            *second = twin;
            return 1;
        }
    }
    return 0;
}
