/* Text for people. What events carry was written by models, tools and strangers; before it reaches a terminal every
 * byte that could steer one is made visible. Tables and durations are here too. */
#ifndef SOMA_CLI_TEXT_H
#define SOMA_CLI_TEXT_H

#include "common/buf.h"

#include <stdint.h>
#include <stdio.h>

#define TEXT_MAX (4u << 20) /* bytes of one text made for people */

enum text_mode {
    TEXT_LINE,  /* one line: newline and tab become \n and \t, and backslash \\ */
    TEXT_LINES, /* newline and tab stay, everything else as in TEXT_LINE but the backslash */
    TEXT_JSON   /* the bytes of a JSON text: what is escaped is written as \uXXXX, and nothing else changes */
};

/* Appends `n` bytes with control characters (C0, DEL, C1), line separators and bidirectional controls escaped, invalid
 * UTF-8 as \xNN. */
int text_escape(struct buf *out, enum text_mode mode, const char *text, size_t n);

/* Columns that `text` takes: one per UTF-8 character; good enough for what text_escape leaves. */
size_t text_width(const char *text);

/* "340 us" is never shown: "0.3 ms", "12 ms", "1.24 s", "3m05s", "4h02m", "2d03h". */
void text_duration(int64_t us, char out[16]);
/* "812 B", "1.6M". */
void text_bytes(uint64_t bytes, char out[16]);

/* A table whose columns are as wide as their widest cell. Cells are escaped; the last column is not padded. */
struct text_table {
    unsigned columns;
    uint32_t right; /* set of columns (bits) aligned to the right */
    char **cells;
    size_t n, room;
    int failure;
};
void text_table_deinit(struct text_table *t);
#define auto_table __attribute__((cleanup(text_table_deinit)))
/* Adds one cell; NULL is an empty one. The first failure sticks. */
void text_table_add(struct text_table *t, const char *cell);
void text_table_addf(struct text_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int text_table_print(const struct text_table *t, struct buf *out);

#endif
