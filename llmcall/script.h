/* The scripted provider: a file of replies instead of a model, for demonstrations and tests. It keeps no state: which
 * reply is due follows from the request alone, by the number of assistant messages in it. The file's form is published
 * as docs/script.schema.json. */
#ifndef SOMA_LLMCALL_SCRIPT_H
#define SOMA_LLMCALL_SCRIPT_H

#include "common/msg.h"
#include "llmcall/outcome.h"

#include <stdint.h>

#define SCRIPT_FILE_MAX (1u << 20) /* bytes */
#define SCRIPT_REPLIES_MAX 1000u
#define SCRIPT_CALLS_MAX 32u     /* tool calls of one reply */
#define SCRIPT_DELAY_MAX 3600000 /* ms */

/* Checks a parsed script as a whole: 0, or -EINVAL with the place as a JSON Pointer, what is wrong and what is right.
 */
int script_check(const json_t *script);

/* Reads the file from a descriptor, which stays the caller's: *text is malloc'ed. -EINVAL (not a regular file),
 * -EMSGSIZE, -EIO, -ENOMEM. */
int script_read(int fd, char **text, size_t *n);

/* Answers a request whose `messages` are an array in chat completions shape. Fills `out` in any case: a script that is
 * broken is `config`, one that has no (fitting) reply is `bad_reply`. *delay_ms is how long the reply is to be held
 * back. */
void script_answer(const char *text, size_t n, struct json_span messages, struct outcome *out, int64_t *delay_ms);

#endif
