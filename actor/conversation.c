#include "actor/conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"

#define CUT_MARK_MAX 64u

static int add(struct conversation *c, json_t *message) {
    if (!message || json_array_append_new(c->messages, message) < 0)
        return err_raise(-ENOMEM, "conversation");
    return 0;
}

int conversation_init(struct conversation *c, const char *system, const char *text) {
    *c = (struct conversation){.messages = json_array(), .open = json_object()};
    int r = c->messages && c->open ? 0 : err_raise(-ENOMEM, "conversation");
    if (r == 0 && *system)
        r = add(c, json_pack("{s:s, s:s}", "role", "system", "content", system));
    if (r == 0)
        r = add(c, json_pack("{s:s, s:s}", "role", "user", "content", text));
    if (r < 0)
        conversation_deinit(c);
    return r;
}

void conversation_deinit(struct conversation *c) {
    json_decref(take_ptr(&c->messages));
    json_decref(take_ptr(&c->open));
}

int conversation_assistant(struct conversation *c, json_t *message) {
    if (json_object_size(c->open))
        return err_raise(-EPROTO, "an assistant turn while calls of the last one are open");
    size_t i;
    json_t *call;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call) {
        if (json_object_set_new(c->open, json_str(call, "id"), json_true()) < 0)
            return err_raise(-ENOMEM, "conversation");
    }
    return add(c, json_incref(message));
}

/* The content is a text to the model, so a cut anywhere is fine as long as it is whole UTF-8 and says that it is one.
 */
static json_t *bounded(const char *text, size_t n) {
    if (n <= OBSERVATION_MAX)
        return json_stringn(text, n);
    char out[OBSERVATION_MAX + 1];
    size_t keep = json_utf8_floor(text, OBSERVATION_MAX - CUT_MARK_MAX);
    memcpy(out, text, keep);
    (void)snprintf(out + keep, sizeof out - keep, "... [cut: %zu of %zu bytes]", keep, n);
    return json_string(out);
}

int conversation_answer(struct conversation *c, const char *id, const json_t *value) {
    if (json_object_del(c->open, id) < 0)
        return err_raise(-EPROTO, "an answer to a call that is not open");
    auto_free char *text = NULL;
    size_t n = 0;
    int r = json_text(value, JSON_TEXT_MAX, &text, &n);
    if (r < 0)
        return err_up(r);
    return add(c, json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", id, "content", bounded(text, n)));
}

int conversation_answer_error(struct conversation *c, const char *id, const char *name, const char *message) {
    auto_json json_t *error = json_pack("{s:{s:s, s:s}}", "error", "name", name, "message", message);
    return error ? conversation_answer(c, id, error) : err_raise(-ENOMEM, "conversation");
}

int conversation_text(const struct conversation *c, char **text, size_t *n) {
    if (json_object_size(c->open))
        return err_raise(-EPROTO, "%zu calls without an answer", json_object_size(c->open));
    return json_text(c->messages, CONVERSATION_MAX, text, n);
}
