/* One struct, two ways to fill it. */
#include "llmcall/outcome.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void outcome_deinit(struct outcome *out) {
    free(out->message);
    free(out->usage);
    *out = OUTCOME_NULL;
}

/* Control characters of ASCII and of Latin-1 (U+0080 to U+009F, two bytes) would reach terminals and prompts. */
static void tame(char *text) {
    size_t n = strlen(text);
    bool utf8 = scan_utf8(text, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i], next = (unsigned char)text[i + 1];
        if (c < 0x20 || c == 0x7f)
            text[i] = ' ';
        else if (c >= 0x80 && !utf8)
            text[i] = '?';
        else if (c == 0xc2 && next < 0xa0)
            text[i] = text[i + 1] = ' ';
    }
}

void outcome_fail(struct outcome *out, const char *name, int status, const char *fmt, ...) {
    char text[2 * OUTCOME_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    outcome_deinit(out);
    out->status = status;
    (void)snprintf(out->error, sizeof out->error, "%s", name);
    if (n >= (int)sizeof text) /* cut: perhaps inside a character */
        text[json_utf8_floor(text, sizeof text - 1)] = '\0';
    tame(text);
    size_t keep = strlen(text);
    if (keep > OUTCOME_TEXT_MAX)
        keep = json_utf8_floor(text, OUTCOME_TEXT_MAX);
    memcpy(out->text, text, keep);
    out->text[keep] = '\0';
}

void outcome_reply(struct outcome *out, const json_t *message, const json_t *usage, const char *finish) {
    auto_free char *message_text = NULL, *usage_text = NULL;
    size_t message_n = 0, usage_n = 0;
    int r = json_text(message, OUTCOME_MESSAGE_MAX, &message_text, &message_n);
    if (r == 0 && usage)
        r = json_text(usage, OUTCOME_MESSAGE_MAX, &usage_text, &usage_n);
    if (r == -EMSGSIZE) {
        outcome_fail(out, "too_large", 0, "the reply is longer than %u bytes; ask for less, or lower the model's limit",
                     OUTCOME_MESSAGE_MAX);
        return;
    }
    if (r < 0) {
        outcome_fail(out, "bad_reply", 0, "%s", err_text());
        return;
    }
    outcome_deinit(out);
    *out = (struct outcome){.ok = true,
                            .message = take_ptr(&message_text),
                            .message_n = message_n,
                            .usage = take_ptr(&usage_text),
                            .usage_n = usage_n};
    (void)snprintf(out->finish, sizeof out->finish, "%s", finish);
}

void text_redact(char *text, size_t n, const char *secret) {
    size_t length = secret ? strlen(secret) : 0;
    if (length < OUTCOME_SECRET_MIN || !text)
        return;
    for (char *at = text, *hit; (hit = memmem(at, n - (size_t)(at - text), secret, length)); at = hit + length)
        memset(hit, '*', length);
}

void outcome_redact(struct outcome *out, const char *secret) {
    text_redact(out->message, out->message_n, secret);
    text_redact(out->usage, out->usage_n, secret);
    text_redact(out->text, strlen(out->text), secret);
    text_redact(out->finish, strlen(out->finish), secret);
}
