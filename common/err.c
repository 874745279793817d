/* One static record of the last failure. It is overwritten by the next err_raise(), so a caller that wants to keep the
 * text copies it at once. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
    char text[ERR_TEXT_MAX];
    char place[64];
} last;

int err_raise_at(int code, const char *file, int line, const char *fmt, ...) {
    char text[ERR_TEXT_MAX]; /* the arguments may point into the last text */
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(last.text, text, sizeof text);
    const char *base = strrchr(file, '/');
    (void)snprintf(last.place, sizeof last.place, "%s:%d", base ? base + 1 : file, line);
    return code;
}

const char *err_text(void) {
    return last.text;
}

const char *err_place(void) {
    return last.place;
}
