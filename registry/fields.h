/* Reading a definition document (a tool manifest, an actor definition) key by key. A table says which keys an object
 * may have and who reads each; what is not in the table is refused, with its place, so that a misspelt key is never a
 * default taken in silence. A reader checks one value and writes what it means into the normalised object. */
#ifndef SOMA_REGISTRY_FIELDS_H
#define SOMA_REGISTRY_FIELDS_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/json.h"

#define FIELD_TEXT_MAX 4096u /* bytes of one path, argument or environment value */
#define FIELD_LIST_MAX 128u  /* elements of one list */

struct fields {
    struct json_place place; /* of the value being read */
    json_t *normal;          /* what is being built; borrowed */
};

struct field {
    const char *key;
    bool required;
    int (*read)(struct fields *f, const char *key, const json_t *value);
};

/* Refuses the value at the current place: "PLACE: what and how to fix". Gives -EINVAL. */
#define field_refuse(f, fmt, ...)                                                                                      \
    err_raise(-EINVAL, "%s: " fmt, (f)->place.text[0] ? (f)->place.text : "the document", ##__VA_ARGS__)

/* The same for a member of the object at the current place. */
#define field_refuse_at(f, member, fmt, ...)                                                                           \
    __extension__({                                                                                                    \
        json_place_push(&(f)->place, (member));                                                                        \
        int refused_ = field_refuse(f, fmt, ##__VA_ARGS__);                                                            \
        json_place_pop(&(f)->place);                                                                                   \
        refused_;                                                                                                      \
    })

/* Reads every present member of `obj` by its row, in the order of the table. Returns 0; -EINVAL when `obj` is no
 * object, has a key without a row, lacks a required one, or a reader refused; -ENOMEM. */
int fields_read(struct fields *f, const json_t *obj, const struct field *table, size_t rows);

/* Puts a new value (stolen, also on failure) into the normalised object. Returns 0 or -ENOMEM. */
int fields_put(struct fields *f, const char *key, json_t *value);

/* Readers that several tables share. */
int field_copy(struct fields *f, const char *key, const json_t *value);   /* checked elsewhere; taken as it is */
int field_name(struct fields *f, const char *key, const json_t *value);   /* ^[a-z][a-z0-9_-]{0,62}$ */
int field_string(struct fields *f, const char *key, const json_t *value); /* any string without NUL */
int field_boolean(struct fields *f, const char *key, const json_t *value);
int field_timeout(struct fields *f, const char *key, const json_t *value); /* puts "timeout_ms", at least 1 */

/* The parts of those readers. Each returns 0 or refuses at the current place. */
int field_is_string(struct fields *f, const json_t *value);
int field_is_one_of(struct fields *f, const json_t *value, const char *const *names, size_t n);
bool field_name_valid(const char *name);

/* Walks a list of at most FIELD_LIST_MAX strings and calls `each` with the place at the element. */
int field_each_string(struct fields *f, const json_t *list, int (*each)(struct fields *f, const char *text));

/* The type of a value in words. */
const char *field_type(const json_t *value);

/* jansson's iterators and setters take mutable values although they only read, or count a reference. */
json_t *field_mutable(const json_t *value);

#endif
