/* JSON Schema, the subset that is enforced completely: type (one or a list), properties, required,
 * additionalProperties, items, enum, const, minimum, maximum, minLength, maxLength (in code points), minItems,
 * maxItems, uniqueItems, anyOf, $ref to "#/$defs/NAME", $defs at the top; description, title and default are allowed
 * and constrain nothing. Meaning as in draft 2020-12 (members beside a $ref count), with one difference: an "integer"
 * is a number written without fraction and exponent, so that a tool reads exactly the value that was checked (2.0 is a
 * number, not an integer). Any other keyword is refused when the schema is checked: a constraint that is ignored in
 * silence is a constraint lost. */
#ifndef SOMA_COMMON_SCHEMA_H
#define SOMA_COMMON_SCHEMA_H

#include <jansson.h>
#include <stddef.h>

#define SCHEMA_DEPTH_MAX 512u    /* nested applications of schemas to values */
#define SCHEMA_STEPS_MAX 500000u /* work of one validation: values visited, strings compared by 64 bytes */
#define SCHEMA_DEFS_MAX 64u      /* named schemas below $defs */

/* Is this a schema we enforce completely? Returns 0, or -EINVAL with the place (a JSON Pointer into the schema), what
 * is wrong and what would be right in err_text(). Blocks never; work is linear in the schema. */
int schema_check(const json_t *schema);

/* Checks `value` against a schema that has passed schema_check(). Returns 0 when it fits; 1 when it does not, with one
 * sentence in `why` that begins with base_pointer and the place below it ("/args/path: expected string, got integer"),
 * cut to why_size on a whole character; -EINVAL for a schema that was not checked, -ENOMEM. A value that takes more
 * than SCHEMA_STEPS_MAX steps is refused (1) and `why` says so. */
int schema_validate(const json_t *schema, const json_t *value, const char *base_pointer, char *why, size_t why_size);

#endif
