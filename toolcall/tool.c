/* The catalogue of failures in its two directions, and the one place that writes a failure. */
#include "toolcall/tool.h"

#include "toolcall/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[TOOL_FAILURE__COUNT] = {
#define X(id, name) [TOOL_##id] = name,
    TOOL_FAILURES(X)
#undef X
};

const char *tool_failure_text(enum tool_failure_name name) {
    return (unsigned)name < TOOL_FAILURE__COUNT ? names[name] : "unknown";
}

enum tool_failure_name tool_failure_parse(const char *text) {
    for (int i = 0; text && i < TOOL_FAILURE__COUNT; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum tool_failure_name)i;
    return TOOL_FAILURE__COUNT;
}

int tool_fail(struct tool_failure *failure, enum tool_failure_name name, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(failure->message, sizeof failure->message, fmt, ap);
    va_end(ap);
    /* A path may have been cut inside a character; the message must stay a JSON string. */
    failure->message[bytes_utf8_prefix(failure->message, strlen(failure->message))] = '\0';
    failure->name = name;
    return 1;
}
