/* What raw bytes look like as JSON text: UTF-8 or base64, and how long that gets. Nothing here allocates. */
#ifndef SOMA_TOOLCALL_BYTES_H
#define SOMA_TOOLCALL_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the longest prefix that is UTF-8 without NUL, ending between characters. RFC 3629, section 4. */
size_t bytes_utf8_prefix(const char *s, size_t n);

/* Bytes of the longest prefix, ending between characters, that takes at most `budget` bytes between the quotes of a
 * JSON string. `s` is valid UTF-8. */
size_t bytes_json_prefix(const char *s, size_t n, size_t budget);

/* Bytes that `s`, valid UTF-8, takes between the quotes of a JSON string. */
size_t bytes_json_length(const char *s, size_t n);

/* Makes `s` UTF-8 without NUL in place: every byte that is not part of a character becomes '?'. */
void bytes_scrub(char *s, size_t n);

/* Characters of the base64 form of n bytes, without terminator. RFC 4648, section 4, with padding. */
#define BYTES_BASE64_LENGTH(n) (((n) + 2) / 3 * 4)

/* Writes BYTES_BASE64_LENGTH(n) characters and a terminator. */
void bytes_base64_encode(const void *data, size_t n, char *out);

/* Strict: padding required, no other characters, unused bits zero. `out` takes n / 4 * 3 bytes. Returns -EINVAL. */
int bytes_base64_decode(const char *text, size_t n, uint8_t *out, size_t *out_n);

#endif
