/* The page came in a checked frame, so its text is valid JSON: records are cut out by counting brackets outside of
 * strings, members by the scanner's walk. Stamps need no decoding: ids and names contain nothing that is escaped. */
#include "gateway/record.h"

#include "common/scan.h"

#include <string.h>

static void copy_raw(char *out, size_t size, const struct scan_value *v) {
    if (v->type != SCAN_STRING || v->n >= size)
        return;
    memcpy(out, v->text, v->n);
    out[v->n] = '\0';
}

static bool is_key(const char *name, const char *key, size_t n) {
    return strlen(name) == n && memcmp(name, key, n) == 0;
}

static int data_member(void *arg, const char *key, size_t key_n, struct scan_value *v) {
    struct record *rec = arg;
    if (is_key("owner", key, key_n))
        copy_raw(rec->owner, sizeof rec->owner, v);
    else if (is_key("detached", key, key_n))
        rec->detached = v->type == SCAN_BOOL && *v->text == 't';
    return 0;
}

static int record_member(void *arg, const char *key, size_t key_n, struct scan_value *v) {
    struct record *rec = arg;
    if (is_key("seq", key, key_n) && v->type == SCAN_INT)
        rec->seq = scan_int(v);
    else if (is_key("type", key, key_n))
        copy_raw(rec->type, sizeof rec->type, v);
    else if (is_key("run", key, key_n))
        copy_raw(rec->run, sizeof rec->run, v);
    else if (is_key("task", key, key_n))
        copy_raw(rec->task, sizeof rec->task, v);
    else if (is_key("actor", key, key_n))
        copy_raw(rec->actor, sizeof rec->actor, v);
    else if (is_key("data", key, key_n) && v->type == SCAN_OBJECT && strcmp(rec->type, "run.accepted") == 0)
        return scan_members(v->text, v->n, data_member, rec);
    return 0;
}

/* Bytes of the object at p; 0 when it does not end. */
static size_t object_length(const char *p, const char *end) {
    size_t depth = 0;
    bool quoted = false;
    for (const char *at = p; at < end; at++) {
        if (quoted) {
            if (*at == '\\')
                at++;
            else
                quoted = *at != '"';
            continue;
        }
        quoted = *at == '"';
        if (*at == '{' || *at == '[')
            depth++;
        else if ((*at == '}' || *at == ']') && --depth == 0)
            return (size_t)(at + 1 - p);
    }
    return 0;
}

int record_each(struct json_span events, int (*each)(void *arg, const struct record *record), void *arg) {
    const char *end = events.p + events.n;
    for (const char *p = events.p; p && (p = memchr(p, '{', (size_t)(end - p)));) {
        size_t n = object_length(p, end);
        if (n == 0)
            break;
        struct record rec = {0};
        /* scan_members() takes a writable text for scan_string(), which is not used here */
        int r = scan_members((char *)(uintptr_t)p, n, record_member, &rec);
        if (r == 0)
            r = each(arg, &rec);
        if (r)
            return r;
        p += n;
    }
    return 0;
}

static const char *end_of(const char *type, const char *prefix, const char *const *ends) {
    size_t n = strlen(prefix);
    if (strncmp(type, prefix, n) != 0)
        return NULL;
    for (; *ends; ends++)
        if (strcmp(type + n, *ends) == 0)
            return *ends;
    return NULL;
}

const char *record_run_end(const char *type) {
    static const char *const ends[] = {"completed", "failed", "timeout", "cancelled", NULL};
    return end_of(type, "run.", ends);
}

const char *record_task_end(const char *type) {
    static const char *const ends[] = {"completed", "failed", "timeout", "cancelled", "rejected", NULL};
    return end_of(type, "task.", ends);
}
