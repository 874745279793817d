/* A text is copied up to each template, then the value of the template is appended; what was put in is not looked at
 * again. */
#include "llmcall/template.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

#include <string.h>

#define TEMPLATE "{{tool"

/* Finds the next template at or behind `from`: NULL when there is none. *end is behind its }}, or NULL when it has
 * none. `{{tool` followed by anything but `}}` or `:` is plain text, as in {{tools}}. */
static const char *find_template(const char *from, const char **end) {
    for (const char *p = from; (p = strstr(p, TEMPLATE)); p++) {
        const char *behind = p + strlen(TEMPLATE);
        if (*behind != ':' && strncmp(behind, "}}", 2) != 0)
            continue;
        const char *close = strstr(behind, "}}");
        *end = close ? close + 2 : NULL;
        return p;
    }
    return NULL;
}

const char *template_check(const char *text) {
    const char *end, *p = text;
    while ((p = find_template(p, &end))) {
        if (!end)
            return "{{tool: without }}";
        const char *pointer = p + strlen(TEMPLATE) + 1;
        if (p[strlen(TEMPLATE)] == ':' && *pointer != '/')
            return "behind {{tool: a JSON Pointer is expected, as in {{tool:/text}}";
        p = end;
    }
    return NULL;
}

/* Appends what the pointer finds in the content of a tool message: a string as it is, anything else as JSON. */
static int add_place(struct buf *b, const char *content, const char *pointer) {
    auto_json json_t *parsed = NULL;
    if (json_parse(content, strlen(content), JSON_TEXT_MAX, &parsed) < 0)
        return err_raise(-EINVAL, "{{tool:%s}}: the last tool result is not JSON", pointer);
    json_t *place = json_at(parsed, pointer);
    if (!place)
        return err_raise(-EINVAL, "{{tool:%s}}: the last tool result has no such member", pointer);
    if (json_is_string(place))
        return buf_addz(b, json_string_value(place));
    auto_free char *text = NULL;
    size_t n;
    int r = json_text(place, b->max, &text, &n);
    return r < 0 ? err_up(r) : buf_add(b, text, n);
}

static int add_template(struct buf *b, const char *p, const char *end, const char *content) {
    const char *behind = p + strlen(TEMPLATE);
    if (!content)
        return err_raise(-EINVAL, "{{tool}}: the request holds no tool result with text");
    if (*behind != ':')
        return buf_addz(b, content);
    auto_free char *pointer = strndup(behind + 1, (size_t)(end - behind) - 3);
    return pointer ? add_place(b, content, pointer) : err_raise(-ENOMEM, "script");
}

int template_fill(const char *from, const char *tool, struct buf *b) {
    const char *end, *p;
    for (; (p = find_template(from, &end)); from = end) {
        (void)buf_add(b, from, (size_t)(p - from));
        int r = add_template(b, p, end, tool);
        if (r < 0 && !buf_failed(b))
            return err_up(r);
    }
    (void)buf_addz(b, from);
    if (buf_failed(b))
        return err_raise(b->failure, "the content is longer than %zu bytes with its templates filled in", b->max);
    return 0;
}
