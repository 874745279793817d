/* Errors. Every fallible function returns 0, a negative errno (could not; passed up unchanged) or a positive outcome
 * its own header lists. The place that finds out says why with err_raise(); callers pass it on with err_up(). The text
 * of the last failure is kept in one static buffer of the process: processes here are single-threaded. */
#ifndef SOMA_COMMON_ERR_H
#define SOMA_COMMON_ERR_H

#include <errno.h>

#define ERR_TEXT_MAX 512u /* bytes, terminator included; longer texts are cut */

/* Records where and why, and returns `code` (a negative errno). */
#define err_raise(code, ...) err_raise_at((code), __FILE__, __LINE__, __VA_ARGS__)
int err_raise_at(int code, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Passes a failure up unchanged; it marks, for the reader, that nothing is to be added. */
static inline int err_up(int code) {
    return code;
}

/* The text of the last err_raise(), without place; "" before the first. Valid until the next err_raise(). */
const char *err_text(void);
/* "file.c:123" of the last err_raise(). */
const char *err_place(void);

#endif
