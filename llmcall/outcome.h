/* What an LLM call ends with: the assistant message, or a named failure with one sentence. Providers fill it; the role
 * journals and sends it. Texts of a provider are hostile: they come out of here bounded, as UTF-8, without control
 * characters and without the key. */
#ifndef SOMA_LLMCALL_OUTCOME_H
#define SOMA_LLMCALL_OUTCOME_H

#include "common/json.h"

#include <stdbool.h>
#include <stddef.h>

#define OUTCOME_MESSAGE_MAX 262144u /* bytes of the message as JSON text: what llm_reply carries */
#define OUTCOME_TEXT_MAX 400u       /* bytes of a failure's sentence */
#define OUTCOME_NAME_MAX 32u        /* bytes of a failure's name, of finish */
#define OUTCOME_SECRET_MIN 8u       /* shorter keys are dummies, words that a text may well contain */

struct outcome {
    bool ok;
    char *message, *usage; /* JSON texts; usage may be NULL */
    size_t message_n, usage_n;
    char finish[OUTCOME_NAME_MAX + 1];
    char error[OUTCOME_NAME_MAX + 1];
    char text[OUTCOME_TEXT_MAX + 1];
    int status; /* HTTP, or 0 */
};
#define OUTCOME_NULL ((struct outcome){0})

void outcome_deinit(struct outcome *out); /* accepts a second call */

/* A failure. Replaces what was there. `name` is one of those that llm_failed lists, or log_refused. */
void outcome_fail(struct outcome *out, const char *name, int status, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A reply; `usage` may be NULL. A message above its ceiling becomes the failure too_large. Replaces what was there;
 * borrows its arguments. */
void outcome_reply(struct outcome *out, const json_t *message, const json_t *usage, const char *finish);

/* Overwrites every occurrence of the secret with '*', also in a plain text of n bytes: a provider may repeat what it
 * was sent. The secret holds no byte that JSON would escape (key.h). */
void outcome_redact(struct outcome *out, const char *secret);
void text_redact(char *text, size_t n, const char *secret);

#endif
