/* What a model is shown in one task: system, user, then assistant turns and the answers to what they called. The rule
 * of the protocol that this keeps: every call of an assistant turn is answered by exactly one tool message before the
 * next request. Everything in it is data from outside; the whole and each answer have a ceiling. */
#ifndef SOMA_ACTOR_CONVERSATION_H
#define SOMA_ACTOR_CONVERSATION_H

#include "common/json.h"

#define CONVERSATION_MAX (512u * 1024) /* bytes of its text: with the tools it must fit one event and one request */
#define OBSERVATION_MAX (16u * 1024)   /* bytes of one tool message's content */

struct conversation {
    json_t *messages;
    json_t *open; /* ids of calls not answered yet, as keys */
};

/* `system` may be "". -ENOMEM. */
int conversation_init(struct conversation *c, const char *system, const char *text);
void conversation_deinit(struct conversation *c);

/* Adds an assistant turn as proposal_read() made it. -EPROTO when calls of the last one are still open. */
int conversation_assistant(struct conversation *c, json_t *message);

/* Answers one open call with the JSON text of `value`, cut with a mark when it is above OBSERVATION_MAX. -EPROTO for an
 * id that is not open. */
int conversation_answer(struct conversation *c, const char *id, const json_t *value);
/* The same with {"error":{"name","message"}}. */
int conversation_answer_error(struct conversation *c, const char *id, const char *name, const char *message);

/* The array of messages as text, malloc'ed. -EPROTO while calls are open, -EMSGSIZE above CONVERSATION_MAX. */
int conversation_text(const struct conversation *c, char **text, size_t *n);

#endif
