/* Growth is by doubling, never past the ceiling; an emptied buffer keeps its memory until buf_deinit(). */
#include "common/buf.h"

#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_deinit(struct buf *b) {
    if (!b)
        return;
    free(b->p);
    *b = BUF_NULL(b->max);
}

int buf_reserve(struct buf *b, size_t more) {
    if (b->failure)
        return b->failure;
    if (more > b->max || b->n > b->max - more)
        return b->failure = err_raise(-EMSGSIZE, "buffer above its ceiling of %zu bytes", b->max);
    size_t need = b->n + more;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap *= 2;
    if (cap > b->max)
        cap = b->max;
    char *p = realloc(b->p, cap);
    if (!p)
        return b->failure = err_raise(-ENOMEM, "buffer of %zu bytes", cap);
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *bytes, size_t n) {
    int r = buf_reserve(b, n);
    if (r < 0)
        return err_up(r);
    if (n)
        memcpy(b->p + b->n, bytes, n);
    b->n += n;
    return 0;
}

int buf_addz(struct buf *b, const char *text) {
    return buf_add(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0)
        return b->failure = err_raise(-EINVAL, "format");
    if ((size_t)n < sizeof small)
        return buf_add(b, small, (size_t)n);
    /* vsnprintf wants a byte for its terminator, which the ceiling need not have */
    char *large = NULL;
    int r = buf_reserve(b, (size_t)n);
    if (r < 0)
        return err_up(r);
    va_start(ap, fmt);
    n = vasprintf(&large, fmt, ap);
    va_end(ap);
    if (n < 0)
        return b->failure = err_raise(-ENOMEM, "formatted text");
    r = buf_add(b, large, (size_t)n);
    free(large);
    return r;
}

static int add_escaped(struct buf *b, unsigned char c) {
    switch (c) {
    case '"':
        return buf_addz(b, "\\\"");
    case '\\':
        return buf_addz(b, "\\\\");
    case '\n':
        return buf_addz(b, "\\n");
    case '\r':
        return buf_addz(b, "\\r");
    case '\t':
        return buf_addz(b, "\\t");
    default:
        return buf_printf(b, "\\u%04x", c);
    }
}

int buf_json_strn(struct buf *b, const char *text, size_t n) {
    (void)buf_add(b, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        (void)buf_add(b, text + from, i - from);
        (void)add_escaped(b, c);
        from = i + 1;
    }
    (void)buf_add(b, text + from, n - from);
    return buf_add(b, "\"", 1);
}

int buf_json_str(struct buf *b, const char *text) {
    return text ? buf_json_strn(b, text, strlen(text)) : buf_addz(b, "null");
}

int buf_json_key(struct buf *b, const char *key) {
    if (b->n && b->p[b->n - 1] != '{')
        (void)buf_add(b, ",", 1);
    (void)buf_json_str(b, key);
    return buf_add(b, ":", 1);
}

void buf_consume(struct buf *b, size_t n) {
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}
