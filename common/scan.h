/* The strict JSON scanner: it checks a text completely without building anything, so that processes which must stay
 * small (root, supervisors, the event log) need no JSON library. It refuses whatever two parsers could disagree about:
 * duplicate keys (also spelled with escapes), bad UTF-8, lone surrogates, NUL, numbers outside int64 or finite doubles,
 * trailing bytes, depth above 64, more than 65536 values. RFC 8259 and RFC 7493 (I-JSON), with int64 integers. */
#ifndef SOMA_COMMON_SCAN_H
#define SOMA_COMMON_SCAN_H

#include <stddef.h>
#include <stdint.h>

#define SCAN_DEPTH_MAX 64
#define SCAN_NODES_MAX 65536u
#define SCAN_NUMBER_MAX 64u /* bytes of one number */

enum scan_type { SCAN_STRING, SCAN_INT, SCAN_REAL, SCAN_BOOL, SCAN_NULL, SCAN_OBJECT, SCAN_ARRAY };

struct scan_value {
    enum scan_type type;
    char *text; /* raw bytes inside the scanned text; a string's without its quotes */
    size_t n;
};

/* Checks all `n` bytes as one value of type `want` (SCAN_OBJECT in frames). Returns 0, -EPROTO with a text naming the
 * byte, or -EMSGSIZE for the limits. Cost O(n log n). Not re-entrant: one static table of keys. */
int scan_check(const char *text, size_t n, enum scan_type want);

/* What a *checked* text adds to a larger one that holds it: levels of nesting, and values (never fewer than there are,
 * so that sums of it are safe against SCAN_NODES_MAX). */
struct scan_cost {
    unsigned depth, nodes;
};
struct scan_cost scan_cost(const char *text, size_t n);

/* Walks the members of a *checked* object. `each` gets the raw key and value; a non-zero return ends the walk and is
 * returned. */
typedef int (*scan_member)(void *arg, const char *key, size_t key_n, struct scan_value *value);
int scan_members(char *text, size_t n, scan_member each, void *arg);

/* Decodes the escapes of a checked string in place and terminates it with NUL (over its closing quote). */
char *scan_string(struct scan_value *value);
int64_t scan_int(const struct scan_value *value);

/* Whether n bytes are well-formed UTF-8 (RFC 3629) without NUL. */
int scan_utf8(const char *text, size_t n);

#endif
