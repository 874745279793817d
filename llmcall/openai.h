/* Chat completions, the shape that OpenAI made and many servers speak: the body of a request, and what a reply means.
 * Pure functions over bytes; a reply is hostile. No streaming at this stage. */
#ifndef SOMA_LLMCALL_OPENAI_H
#define SOMA_LLMCALL_OPENAI_H

#include "common/buf.h"
#include "common/msg.h"
#include "llmcall/outcome.h"

#define OPENAI_CALLS_MAX 128u      /* tool calls of one reply */
#define OPENAI_ID_MAX 64u          /* bytes of a tool call's id that is kept; other ids are replaced */
#define OPENAI_BODY_MAX (1u << 20) /* bytes of a request */

/* Writes the request. `messages` and `tools` are checked JSON arrays (they came in a frame); tools may be {NULL, 0}.
 * -EMSGSIZE, -ENOMEM. */
int openai_request(const char *model, struct json_span messages, struct json_span tools, struct buf *body);

/* Turns a status and a body, which is changed in place, into an outcome without `secret` (the key, or NULL). `mint` is
 * what ids are made from where the reply has none that can be used: "MINT_1" and so on. */
void openai_reply(long status, char *body, size_t n, const char *secret, const char *mint, struct outcome *out);

#endif
