/* The one door to jansson. Everything parsed here is hostile until it has passed: size, depth, node count, UTF-8,
 * duplicate keys and trailing bytes are all refused by name. Direct json_load*() elsewhere is a defect (scripts/check
 * greps for it). RFC 8259; jansson 2.14. */
#ifndef SOMA_COMMON_JSON_H
#define SOMA_COMMON_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 64u       /* levels of nesting */
#define JSON_NODES_MAX 65536u    /* values and keys of one text */
#define JSON_TEXT_MAX (1u << 20) /* bytes of one text: a whole frame */

static inline void cleanup_json(json_t **j) {
    json_decref(*j);
    *j = NULL;
}
#define auto_json __attribute__((cleanup(cleanup_json)))

/* Seeds jansson's hash from getrandom(2) before a sandbox closes /dev/urandom. Call once, before any fork that parses.
 */
void json_init(void);

/* Parses exactly `n` bytes as one JSON value (any type). On success *out is a new reference. Returns -EPROTO with a
 * text that names line and column, -EMSGSIZE above `max` bytes or the limits above, -ENOMEM. Does not block. */
int json_parse(const char *text, size_t n, size_t max, json_t **out);

/* Compact text of `j`, NUL-terminated, malloc'ed, owned by the caller; `*n` its length. Member order is kept.
 * Returns -EMSGSIZE above `max` bytes. */
int json_text(const json_t *j, size_t max, char **out, size_t *n);

/* Resolves an RFC 6901 JSON Pointer below `root`. Returns a borrowed reference, or NULL. "" is the root itself. */
json_t *json_at(json_t *root, const char *pointer);

/* Borrowed members with a type check: NULL, or the fallback, when the member is missing or of another type. */
const char *json_str(const json_t *obj, const char *key);
int64_t json_i64(const json_t *obj, const char *key, int64_t fallback);
bool json_flag(const json_t *obj, const char *key, bool fallback);

/* A place in a JSON document, for error texts: grows by one RFC 6901 token, `~` and `/` escaped, control bytes shown as
 * `?` since these texts reach terminals; cut at its size, on a whole character. Start from {0} or from {.text =
 * "/args"}. Every push is undone by one pop, also when the token did not fit. */
struct json_place {
    char text[256];
    unsigned cut; /* tokens pushed since (and with) the first that did not fit whole */
    size_t keep;  /* length to return to when that first one is popped */
};
void json_place_push(struct json_place *place, const char *token);
void json_place_index(struct json_place *place, size_t index);
void json_place_pop(struct json_place *place);

/* The largest m <= n such that text[0..m) does not end inside a UTF-8 sequence. For cutting valid UTF-8 to a size:
 * jansson refuses to encode half a character. */
size_t json_utf8_floor(const char *text, size_t n);

/* Durations in documents are strings: digits and one unit of ms, s, m, h ("200ms", "5s"). Returns milliseconds,
 * -EINVAL for anything else, -ERANGE above 30 days. */
int64_t json_duration_ms(const char *text);

#endif
