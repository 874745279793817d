/* Two parsers, one language: what the scanner accepts jansson's door accepts, and the other way round, with the same
 * members and values. They differ on purpose in three limits, and in nothing else:
 *   a number of more than 64 bytes   refused by the scanner, which copies numbers into a small buffer
 *   more than 65536 values and keys  the door counts both before it allocates; the scanner counts values, keys apart
 *   more than 1 MiB                  refused by the door; whoever scans has a frame, whose length is checked before */
#include "common/err.h"
#include "common/json.h"
#include "common/scan.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static json_t *door;

/* 0 when the text is a value of any type; else the scanner's refusal. */
static int scan_any(const char *text, size_t n, enum scan_type *type) {
    static const enum scan_type types[] = {SCAN_OBJECT, SCAN_ARRAY, SCAN_STRING, SCAN_INT,
                                           SCAN_REAL,   SCAN_BOOL,  SCAN_NULL};
    int r = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        *type = types[i];
        r = scan_check(text, n, types[i]);
        if (r == 0 || !strstr(err_text(), "not the type expected"))
            return r;
    }
    return r;
}

static int same_member(void *arg, const char *key, size_t key_n, struct scan_value *v) {
    static const json_type types[] = {
        [SCAN_STRING] = JSON_STRING, [SCAN_INT] = JSON_INTEGER,   [SCAN_REAL] = JSON_REAL,
        [SCAN_NULL] = JSON_NULL,     [SCAN_OBJECT] = JSON_OBJECT, [SCAN_ARRAY] = JSON_ARRAY};
    ++*(size_t *)arg;
    if (memchr(key, '\\', key_n))
        return 0; /* raw; the door has it decoded */
    json_t *j = json_object_getn(door, key, key_n);
    assert(j && (v->type == SCAN_BOOL ? json_is_boolean(j) : json_typeof(j) == types[v->type]));
    if (v->type == SCAN_BOOL)
        assert(json_is_true(j) == (*v->text == 't'));
    if (v->type == SCAN_INT)
        assert(scan_int(v) == json_integer_value(j));
    if (v->type == SCAN_STRING) {
        const char *text = scan_string(v);
        assert(v->n == json_string_length(j) && memcmp(text, json_string_value(j), v->n + 1) == 0);
    }
    return 0;
}

static void same_members(char *text, size_t n) {
    size_t members = 0;
    int r = scan_members(text, n, same_member, &members);
    assert(r == 0 && members == json_object_size(door));
}

/* What the door says, it can say again. */
static void same_text(void) {
    char *text = NULL;
    size_t n;
    json_t *again = NULL;
    int r = json_text(door, SIZE_MAX, &text, &n);
    assert(r == 0);
    r = json_parse(text, n, JSON_TEXT_MAX, &again);
    assert(r == 0 ? json_equal(door, again) : r == -EMSGSIZE);
    json_decref(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    enum scan_type type;
    char *text = fuzz_copy(data, n);
    int scanned = scan_any(text, n, &type);
    char scan_why[ERR_TEXT_MAX];
    (void)snprintf(scan_why, sizeof scan_why, "%s", err_text());
    int parsed = json_parse(text, n, JSON_TEXT_MAX, &door);
    if (scanned == 0)
        assert(parsed == 0 || (parsed == -EMSGSIZE && n > JSON_NODES_MAX));
    else if (parsed == 0)
        assert(scanned == -EMSGSIZE && strstr(scan_why, "number too long"));
    if (scanned == 0 && parsed == 0 && type == SCAN_OBJECT)
        same_members(text, n);
    if (parsed == 0)
        same_text();
    json_decref(door);
    door = NULL;
    free(text);
    return 0;
}
