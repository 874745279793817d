/* One decoder walks the text character by character and asks of each whether it may be shown. Unicode 15: C0 and C1
 * controls, U+061C, U+200E..200F, U+2028..202E, U+2066..2069 (bidirectional controls and separators), U+FEFF. */
#include "cli/text.h"

#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Decodes one UTF-8 character; returns its length, 0 for a malformed one (RFC 3629). */
static size_t decode(const unsigned char *p, size_t n, uint32_t *out) {
    if (p[0] < 0x80) {
        *out = p[0];
        return 1;
    }
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < length)
        return 0;
    uint32_t code = p[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *out = code;
    return length;
}

static bool steers(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static int escape_one(struct buf *out, enum text_mode mode, uint32_t c) {
    if (mode != TEXT_LINE && (c == '\n' || c == '\t'))
        return buf_printf(out, "%c", (int)c);
    if (mode == TEXT_JSON || c > 0xff)
        return buf_printf(out, "\\u%04x", c);
    if (c == '\n' || c == '\t')
        return buf_addz(out, c == '\n' ? "\\n" : "\\t");
    return buf_printf(out, "\\x%02x", c);
}

int text_escape(struct buf *out, enum text_mode mode, const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    size_t from = 0, i = 0;
    while (i < n) {
        uint32_t c = 0;
        size_t length = decode(p + i, n - i, &c);
        bool slash = mode == TEXT_LINE && c == '\\';
        if (length && !steers(c) && !slash) {
            i += length;
            continue;
        }
        (void)buf_add(out, text + from, i - from);
        if (!length)
            (void)buf_printf(out, "\\x%02x", p[i]);
        else
            (void)(slash ? buf_addz(out, "\\\\") : escape_one(out, mode, c));
        i += length ? length : 1;
        from = i;
    }
    return buf_add(out, text + from, n - from);
}

size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void text_duration(int64_t us, char out[16]) {
    int64_t s = us / 1000000;
    if (us < 0)
        (void)snprintf(out, 16, "-");
    else if (us < 10000)
        (void)snprintf(out, 16, "%.1f ms", (double)us / 1e3);
    else if (us < 1000000)
        (void)snprintf(out, 16, "%d ms", (int)(us / 1000));
    else if (s < 60)
        (void)snprintf(out, 16, "%.2f s", (double)us / 1e6);
    else if (s < 3600)
        (void)snprintf(out, 16, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        (void)snprintf(out, 16, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        (void)snprintf(out, 16, "%dd%02dh", (int)(s / 86400 % 100000000), (int)(s / 3600 % 24));
}

void text_bytes(uint64_t bytes, char out[16]) {
    static const char units[] = "KMGTPE";
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1024 && units[unit + 1]) {
        value /= 1024;
        unit++;
    }
    if (bytes < 1024)
        (void)snprintf(out, 16, "%u B", (unsigned)bytes);
    else
        (void)snprintf(out, 16, value < 10 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

/* --- tables ---------------------------------------------------------------------------------------------------- */

void text_table_deinit(struct text_table *t) {
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct text_table){.columns = t->columns, .right = t->right};
}

static int table_room(struct text_table *t) {
    if (t->n < t->room)
        return 0;
    size_t room = t->room ? t->room * 2 : 64;
    char **grown = realloc(t->cells, room * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    t->cells = grown;
    t->room = room;
    return 0;
}

void text_table_add(struct text_table *t, const char *cell) {
    struct buf b = BUF_NULL(TEXT_MAX);
    if (t->failure)
        return;
    t->failure = table_room(t);
    if (t->failure == 0)
        t->failure = text_escape(&b, TEXT_LINE, cell ? cell : "", cell ? strlen(cell) : 0);
    if (t->failure == 0)
        t->failure = buf_add(&b, "", 1);
    if (t->failure < 0)
        buf_deinit(&b);
    else
        t->cells[t->n++] = b.p; /* the cell's memory is the table's from here on */
}

void text_table_addf(struct text_table *t, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text_table_add(t, text);
}

static void print_cell(const struct text_table *t, struct buf *out, unsigned column, const char *cell, size_t wide) {
    size_t pad = wide - text_width(cell);
    bool last = column + 1 == t->columns, right = t->right & (1u << column);
    if (right)
        (void)buf_printf(out, "%*s", (int)pad, "");
    (void)buf_addz(out, cell);
    if (!right && !last)
        (void)buf_printf(out, "%*s", (int)pad, "");
    (void)buf_addz(out, last ? "\n" : "  ");
}

int text_table_print(const struct text_table *t, struct buf *out) {
    size_t wide[32] = {0};
    if (t->failure)
        return err_raise(t->failure, "a table of %zu cells", t->n);
    for (size_t i = 0; i < t->n; i++) {
        size_t w = text_width(t->cells[i]);
        if (w > wide[i % t->columns])
            wide[i % t->columns] = w;
    }
    for (size_t i = 0; i < t->n; i++)
        print_cell(t, out, (unsigned)(i % t->columns), t->cells[i], wide[i % t->columns]);
    return buf_failed(out) ? out->failure : 0;
}
