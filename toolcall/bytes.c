/* UTF-8 is checked by the table of well-formed byte sequences (Unicode 15, table 3-7) rather than by decoding: the
 * second byte's range depends on the first, all later ones are 80..BF. */
#include "toolcall/bytes.h"

#include <errno.h>

/* Length of the character at s, 0 for NUL, a malformed sequence or one that is cut off by n. */
static size_t utf8_one(const unsigned char *s, size_t n) {
    static const struct {
        unsigned char first, last, low, high, length;
    } rows[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    if (s[0] < 0x80)
        return s[0] != 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (s[0] < rows[i].first || s[0] > rows[i].last)
            continue;
        if (n < rows[i].length || s[1] < rows[i].low || s[1] > rows[i].high)
            return 0;
        for (size_t k = 2; k < rows[i].length; k++)
            if (s[k] < 0x80 || s[k] > 0xBF)
                return 0;
        return rows[i].length;
    }
    return 0;
}

size_t bytes_utf8_prefix(const char *s, size_t n) {
    size_t at = 0;
    while (at < n) {
        size_t length = utf8_one((const unsigned char *)s + at, n - at);
        if (length == 0)
            break;
        at += length;
    }
    return at;
}

/* What one character costs inside a JSON string as jansson writes it. */
static size_t json_cost(unsigned char first, size_t length) {
    switch (first) {
    case '"':
    case '\\':
    case '\b':
    case '\f':
    case '\n':
    case '\r':
    case '\t':
        return 2;
    default:
        return first < 0x20 ? 6 : length;
    }
}

size_t bytes_json_prefix(const char *s, size_t n, size_t budget) {
    size_t at = 0, used = 0;
    while (at < n) {
        size_t length = utf8_one((const unsigned char *)s + at, n - at);
        if (length == 0)
            break;
        used += json_cost((unsigned char)s[at], length);
        if (used > budget)
            break;
        at += length;
    }
    return at;
}

size_t bytes_json_length(const char *s, size_t n) {
    size_t used = 0;
    for (size_t at = 0; at < n; at++)
        used += json_cost((unsigned char)s[at], 1);
    return used;
}

void bytes_scrub(char *s, size_t n) {
    for (size_t at = 0; at < n;) {
        size_t good = bytes_utf8_prefix(s + at, n - at);
        at += good;
        if (at < n)
            s[at++] = '?';
    }
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void bytes_base64_encode(const void *data, size_t n, char *out) {
    const uint8_t *in = data;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits = (uint32_t)in[i] << 16;
        if (left > 1)
            bits |= (uint32_t)in[i + 1] << 8;
        if (left > 2)
            bits |= in[i + 2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *out = '\0';
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters; `last` permits padding. Returns the number of bytes, or -EINVAL. */
static int base64_group(const char *text, int last, uint8_t out[3]) {
    int padding = text[3] != '=' ? 0 : text[2] != '=' ? 1 : 2;
    if (padding > 0 && !last)
        return -EINVAL;
    uint32_t bits = 0;
    for (int k = 0; k < 4; k++) {
        int digit = k >= 4 - padding ? 0 : base64_digit(text[k]);
        if (digit < 0)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)digit;
    }
    if ((padding == 1 && (bits & 0xFF) != 0) || (padding == 2 && (bits & 0xFFFF) != 0))
        return -EINVAL; /* two spellings of the same bytes: refused, as RFC 4648 section 3.5 allows */
    for (int k = 0; k < 3 - padding; k++)
        out[k] = (uint8_t)(bits >> (16 - 8 * k));
    return 3 - padding;
}

int bytes_base64_decode(const char *text, size_t n, uint8_t *out, size_t *out_n) {
    if (n % 4 != 0)
        return -EINVAL;
    size_t at = 0;
    for (size_t i = 0; i < n; i += 4) {
        uint8_t group[3];
        int got = base64_group(text + i, i + 4 == n, group);
        if (got < 0)
            return got;
        for (int k = 0; k < got; k++)
            out[at++] = group[k];
    }
    *out_n = at;
    return 0;
}
