/* Templates in the texts of a script: {{tool}} stands for the content of the last message of role "tool", {{tool:/a/b}}
 * for what that JSON Pointer finds in it, parsed as JSON. `{{tool` followed by anything else is plain text. */
#ifndef SOMA_LLMCALL_TEMPLATE_H
#define SOMA_LLMCALL_TEMPLATE_H

#include "common/buf.h"

/* What is wrong with the templates of a text, a static sentence; NULL when nothing is. */
const char *template_check(const char *text);

/* Appends a checked text to `b` with its templates filled in from `tool`, the content of the last tool message; NULL:
 * there is none. -EINVAL (nothing there to quote), -EMSGSIZE above the ceiling of `b`, -ENOMEM. */
int template_fill(const char *text, const char *tool, struct buf *b);

#endif
