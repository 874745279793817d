/* A growing byte buffer with a ceiling stated when it is made, and the writing of JSON into it. The first failure
 * sticks: check buf_failed() once at the end. */
#ifndef SOMA_COMMON_BUF_H
#define SOMA_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;
    size_t n, cap;
    size_t max;  /* ceiling in bytes */
    int failure; /* 0, or the first negative errno */
};

#define BUF_NULL(ceiling) ((struct buf){.max = (ceiling)})

void buf_deinit(struct buf *b); /* accepts a second call */
#define auto_buf __attribute__((cleanup(buf_deinit)))

/* All return 0, -EMSGSIZE (ceiling) or -ENOMEM, and do nothing after a first failure. */
int buf_reserve(struct buf *b, size_t more);
int buf_add(struct buf *b, const void *bytes, size_t n);
int buf_addz(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* JSON (RFC 8259): a quoted, escaped string; NULL writes null. `text` must be UTF-8. */
int buf_json_str(struct buf *b, const char *text);
int buf_json_strn(struct buf *b, const char *text, size_t n);
/* `,"key":` or `"key":` when the buffer ends in `{`. */
int buf_json_key(struct buf *b, const char *key);

/* Removes the first n bytes. */
void buf_consume(struct buf *b, size_t n);

static inline bool buf_failed(const struct buf *b) {
    return b->failure != 0;
}

#endif
