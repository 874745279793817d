/* What the three files of schemas share: the list of keywords, and the work that one validation may cost. */
#ifndef SOMA_COMMON_SCHEMA_INTERNAL_H
#define SOMA_COMMON_SCHEMA_INTERNAL_H

#include "common/schema.h"

#include <stdbool.h>
#include <stddef.h>

#define SCHEMA_REF_PREFIX "#/$defs/"

/* One row is a keyword, how its operand is checked when the schema arrives (schema_check.c), and how it is applied to a
 * value later (schema.c). Both tables are expansions of this list, so a keyword cannot be accepted without being
 * enforced; a row with apply_nothing is an annotation. To add a keyword, start here; the order is that in which
 * complaints are made. */
#define SCHEMA_KEYWORDS(X)                                                                                             \
    X("$ref", check_ref, apply_ref)                                                                                    \
    X("type", check_type, apply_type)                                                                                  \
    X("const", check_anything, apply_const)                                                                            \
    X("enum", check_enum, apply_enum)                                                                                  \
    X("minimum", check_number, apply_minimum)                                                                          \
    X("maximum", check_number, apply_maximum)                                                                          \
    X("minLength", check_count, apply_min_length)                                                                      \
    X("maxLength", check_count, apply_max_length)                                                                      \
    X("minItems", check_count, apply_min_items)                                                                        \
    X("maxItems", check_count, apply_max_items)                                                                        \
    X("uniqueItems", check_boolean, apply_unique)                                                                      \
    X("required", check_required, apply_required)                                                                      \
    X("additionalProperties", check_schema, apply_additional)                                                          \
    X("properties", check_map, apply_properties)                                                                       \
    X("items", check_schema, apply_items)                                                                              \
    X("anyOf", check_any_of, apply_any_of)                                                                             \
    X("$defs", check_defs, apply_nothing)                                                                              \
    X("title", check_string, apply_nothing)                                                                            \
    X("description", check_string, apply_nothing)                                                                      \
    X("default", check_anything, apply_nothing)

/* jansson's iterators take a mutable object although they only read. */
json_t *schema_mutable(const json_t *j);

/* The name of a value's type, as schemas write it. */
const char *schema_type_of(const json_t *value);

/* What a checked "#/$defs/NAME" stands for; NULL when nothing. */
json_t *schema_ref_target(const json_t *defs, const json_t *ref);

/* Work done so far. Somebody who sends a large value to a nasty schema runs out of it, and is refused. */
struct schema_work {
    size_t steps;
};
bool schema_exhausted(const struct schema_work *work);
/* Charges `steps`; false when the budget is used up, and from then on always. */
bool schema_spend(struct schema_work *work, size_t steps);

/* Equality as JSON Schema means it: 1 equals 1.0, members in any order. Unequal when the work is used up: ask
 * schema_exhausted() before believing it. */
bool schema_same(struct schema_work *work, const json_t *x, const json_t *y);
/* -1, 0, 1, of two numbers. */
int schema_number_order(const json_t *x, const json_t *y);
/* Finds two equal elements: 1 with their indexes, 0 when there are none (or the work is used up), or -ENOMEM. */
int schema_find_twins(struct schema_work *work, const json_t *array, size_t *first, size_t *second);

#endif
