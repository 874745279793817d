/* Hostile text comes in here and leaves as a json_t, or not at all. Think of two passes: a scan of the bytes that knows
 * just enough JSON to find strings and brackets, and so bounds depth and node count before anything is allocated; then
 * jansson, which refuses what two parsers could disagree about. The scan never refuses on syntax: on valid JSON it is
 * exact, on invalid JSON jansson stops at or before the place where the scan could have gone wrong.
 *
 * Error texts name line and column but do not quote the input: they end up in logs, which never carry user data. */
#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/err.h"

#define DURATION_MAX_MS (INT64_C(30) * 24 * 60 * 60 * 1000)

void json_init(void) {
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = 0; /* jansson then looks for entropy itself */
    json_object_seed(seed);
}

/* --- parsing --------------------------------------------------------------------------------------------------- */

/* Index of the closing quote of the string whose content starts at `i`; n when it is not closed. */
static size_t string_end(const char *text, size_t n, size_t i) {
    while (i < n && text[i] != '"')
        i += text[i] == '\\' ? 2 : 1;
    return i < n ? i : n;
}

static int refuse_at(int code, const char *text, size_t at, const char *what) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    return err_raise(code, "line %zu, column %zu: %s", line, column, what);
}

static int over_limit(const char *text, size_t at, const char *what, unsigned limit) {
    char said[64];
    (void)snprintf(said, sizeof said, "more than %u %s", limit, what);
    return refuse_at(-EMSGSIZE, text, at, said);
}

/* Counts levels and nodes. A node is a string (value or key), a bracket that opens, or a run of other bytes. */
static int scan_limits(const char *text, size_t n) {
    unsigned depth = 0, nodes = 0;
    bool in_word = false; /* inside a number or a literal: its later bytes are no new node */
    for (size_t i = 0; i < n; i++) {
        size_t start = i;
        bool word = false, opens = false;
        switch (text[i]) {
        case '"':
            i = string_end(text, n, i + 1);
            nodes++;
            break;
        case '{':
        case '[':
            opens = true;
            nodes++;
            break;
        case '}':
        case ']':
            depth -= depth > 0;
            break;
        case ',':
        case ':':
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            break;
        default:
            word = true;
            nodes += !in_word;
        }
        in_word = word;
        if (opens && ++depth > JSON_DEPTH_MAX)
            return over_limit(text, start, "levels of nesting", JSON_DEPTH_MAX);
        if (nodes > JSON_NODES_MAX)
            return over_limit(text, start, "values and keys", JSON_NODES_MAX);
    }
    return 0;
}

static int parse_failure(const json_error_t *error) {
    enum json_error_code code = json_error_code(error);
    if (code == json_error_out_of_memory)
        return err_raise(-ENOMEM, "JSON: out of memory");
    const char *quote = strstr(error->text, " near '"); /* what follows is input */
    int length = quote ? (int)(quote - error->text) : (int)strlen(error->text);
    return err_raise(-EPROTO, "line %d, column %d: %.*s", error->line, error->column, length, error->text);
}

int json_parse(const char *text, size_t n, size_t max, json_t **out) {
    size_t limit = max < JSON_TEXT_MAX ? max : JSON_TEXT_MAX;
    if (n > limit)
        return err_raise(-EMSGSIZE, "JSON text of %zu bytes, above the limit of %zu", n, limit);
    /* jansson 2.14 takes a NUL behind a number or a literal for the end of its buffer and reads on past it */
    const char *nul = n ? memchr(text, 0, n) : NULL;
    if (nul)
        return refuse_at(-EPROTO, text, (size_t)(nul - text), "a NUL byte");
    int r = scan_limits(text, n);
    if (r < 0)
        return err_up(r);
    json_error_t error = {0};
    json_t *parsed = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!parsed)
        return parse_failure(&error);
    *out = parsed;
    return 0;
}

/* --- printing -------------------------------------------------------------------------------------------------- */

struct sink {
    char *bytes;
    size_t used, room, max;
    int failure;
};

static int sink_grow(struct sink *s, size_t need) {
    size_t room = s->room ? s->room : 256;
    while (room < need)
        room *= 2;
    char *grown = realloc(s->bytes, room);
    if (!grown)
        return err_raise(-ENOMEM, "JSON text: out of memory");
    s->bytes = grown;
    s->room = room;
    return 0;
}

static int sink_write(const char *bytes, size_t n, void *data) {
    struct sink *s = data;
    if (n > s->max - s->used) {
        s->failure = err_raise(-EMSGSIZE, "JSON text above the limit of %zu bytes", s->max);
        return -1;
    }
    if (s->used + n + 1 > s->room && (s->failure = sink_grow(s, s->used + n + 1)) < 0)
        return -1;
    memcpy(s->bytes + s->used, bytes, n);
    s->used += n;
    return 0;
}

int json_text(const json_t *j, size_t max, char **out, size_t *n) {
    struct sink s = {.max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4};
    if (json_dump_callback(j, sink_write, &s, JSON_COMPACT | JSON_ENCODE_ANY) < 0) {
        free(s.bytes);
        return s.failure ? err_up(s.failure) : err_raise(-EINVAL, "JSON value cannot be printed (NULL, or a cycle)");
    }
    s.bytes[s.used] = '\0'; /* every value prints as at least one byte, and sink_write keeps room for this one */
    *out = s.bytes;
    *n = s.used;
    return 0;
}

/* --- looking in ------------------------------------------------------------------------------------------------ */

/* Turns ~1 and ~0 of one token back, in place; false for any other use of `~`. */
static bool token_decode(char *token) {
    char *to = token;
    for (const char *from = token; *from; from++) {
        char c = *from;
        if (c == '~') {
            from++;
            if (*from != '0' && *from != '1')
                return false;
            c = *from == '0' ? '~' : '/';
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

static json_t *array_at(const json_t *array, const char *token) {
    size_t length = strlen(token);
    if (length == 0 || length > 9 || strspn(token, "0123456789") != length || (token[0] == '0' && length > 1))
        return NULL;
    return json_array_get(array, strtoul(token, NULL, 10));
}

json_t *json_at(json_t *root, const char *pointer) {
    if (*pointer == '\0')
        return root;
    if (*pointer != '/')
        return NULL;
    auto_free char *copy = strdup(pointer + 1);
    json_t *here = root;
    for (char *token = copy, *next; token && here; token = next) {
        next = strchr(token, '/');
        if (next)
            *next++ = '\0';
        if (!token_decode(token))
            return NULL;
        here = json_is_array(here) ? array_at(here, token) : json_object_get(here, token);
    }
    return copy ? here : NULL;
}

const char *json_str(const json_t *obj, const char *key) {
    return json_string_value(json_object_get(obj, key));
}

int64_t json_i64(const json_t *obj, const char *key, int64_t fallback) {
    const json_t *member = json_object_get(obj, key);
    return json_is_integer(member) ? json_integer_value(member) : fallback;
}

bool json_flag(const json_t *obj, const char *key, bool fallback) {
    const json_t *member = json_object_get(obj, key);
    return json_is_boolean(member) ? json_is_true(member) : fallback;
}

/* --- places ---------------------------------------------------------------------------------------------------- */

size_t json_utf8_floor(const char *text, size_t n) {
    size_t lead = n;
    while (lead > 0 && n - lead < 3 && ((unsigned char)text[lead - 1] & 0xc0) == 0x80)
        lead--;
    if (lead == 0)
        return n;
    unsigned char c = (unsigned char)text[lead - 1];
    size_t wants = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return wants > n - lead + 1 ? lead - 1 : n;
}

/* Writes the token's escaped form after `/`; false when it did not fit whole. */
static bool place_append(struct json_place *place, size_t at, const char *token) {
    const size_t last = sizeof place->text - 1; /* of the terminator */
    if (at >= last)
        return false;
    place->text[at++] = '/';
    for (; *token; token++) {
        const char *as = *token == '~' ? "~0" : *token == '/' ? "~1" : NULL;
        if (at + (as ? 2 : 1) > last)
            break;
        if (as)
            place->text[at++] = *as++;
        unsigned char c = (unsigned char)(as ? *as : *token);
        place->text[at++] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
    }
    place->text[*token ? json_utf8_floor(place->text, at) : at] = '\0';
    return *token == '\0';
}

void json_place_push(struct json_place *place, const char *token) {
    size_t at = strlen(place->text);
    if (place->cut)
        place->cut++;
    else if (!place_append(place, at, token)) {
        place->cut = 1;
        place->keep = at;
    }
}

void json_place_index(struct json_place *place, size_t index) {
    char token[24];
    (void)snprintf(token, sizeof token, "%zu", index);
    json_place_push(place, token);
}

void json_place_pop(struct json_place *place) {
    char *slash = strrchr(place->text, '/');
    if (place->cut > 1)
        place->cut--;
    else if (place->cut == 1) {
        place->cut = 0;
        place->text[place->keep] = '\0';
    } else if (slash)
        *slash = '\0';
}

/* --- durations ------------------------------------------------------------------------------------------------- */

int64_t json_duration_ms(const char *text) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}};
    size_t digits = text ? strspn(text, "0123456789") : 0;
    int64_t count = 0;
    for (size_t i = 0; i < digits && count <= DURATION_MAX_MS; i++)
        count = count * 10 + (text[i] - '0');
    for (size_t u = 0; digits && u < sizeof units / sizeof *units; u++) {
        if (strcmp(text + digits, units[u].unit) != 0)
            continue;
        if (count > DURATION_MAX_MS / units[u].ms)
            return err_raise(-ERANGE, "duration above 30 days");
        return count * units[u].ms;
    }
    return err_raise(-EINVAL, "not a duration: digits and one unit of ms, s, m, h, as in \"200ms\"");
}
