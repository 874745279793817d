/* Servers differ in everything that does not show in a demonstration (notes on compatible servers: finish_reason says
 * `stop` beside tool calls, ids are missing or repeated, arguments are an object). So the reply is not passed on but
 * made anew from the few members that count; whether tools are called is decided by the presence of tool_calls alone.
 */
#include "llmcall/openai.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <string.h>

int openai_request(const char *model, struct json_span messages, struct json_span tools, struct buf *body) {
    (void)buf_addz(body, "{\"model\":");
    (void)buf_json_str(body, model);
    (void)buf_addz(body, ",\"messages\":");
    (void)buf_add(body, messages.p, messages.n);
    if (tools.p && memchr(tools.p, '{', tools.n)) { /* an empty array is refused by some servers */
        (void)buf_addz(body, ",\"tools\":");
        (void)buf_add(body, tools.p, tools.n);
    }
    (void)buf_addz(body, ",\"stream\":false}");
    return buf_failed(body) ? err_raise(body->failure, "the request is longer than %u bytes", OPENAI_BODY_MAX) : 0;
}

/* ---- failures ---- */

/* The server's own words, wherever this one puts them; NULL when it has none. The secret is taken out before anybody
 * cuts the text, perhaps in the middle of it; in place, since the bytes belong to `body`, which is ours. */
static const char *server_text(json_t *body, const char *secret) {
    static const char *const places[] = {"/error/message", "/error", "/message", "/detail", "/0/error/message"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *text = (char *)(uintptr_t)json_string_value(json_at(body, places[i]));
        if (!text)
            continue;
        text_redact(text, strlen(text), secret);
        return text;
    }
    return NULL;
}

static void failed_status(long status, const char *body, size_t n, const char *secret, struct outcome *out) {
    auto_json json_t *parsed = NULL;
    const char *text = json_parse(body, n, JSON_TEXT_MAX, &parsed) == 0 ? server_text(parsed, secret) : NULL;
    int shown = text ? (int)strnlen(text, OUTCOME_TEXT_MAX) : (int)(n < OUTCOME_TEXT_MAX ? n : OUTCOME_TEXT_MAX);
    const char *said = text ? text : n ? body : "";
    bool key = status == 401 || status == 403;
    const char *hint = key ? "the provider refused the credentials; see key_file"
                       : status >= 300 && status < 400
                           ? "the provider redirects, which is not followed; correct its url"
                           : "the provider answered with an error";
    outcome_fail(out, key ? "credentials" : "http_status", (int)(status >= 0 && status <= 999 ? status : 999),
                 "%s: HTTP %ld%s%.*s", hint, status, shown ? ": " : "", shown, said);
}

/* ---- tool calls ---- */

static bool id_usable(const char *id, const json_t *list) {
    if (!id || !*id || strlen(id) > OPENAI_ID_MAX)
        return false;
    size_t i;
    const json_t *call;
    json_array_foreach(list, i, call) {
        if (strcmp(json_str(call, "id"), id) == 0)
            return false; /* two calls of one id: the second result could not be told from the first */
    }
    return true;
}

static void mint_id(const char *mint, const json_t *list, char id[OPENAI_ID_MAX + 1]) {
    size_t number = json_array_size(list);
    do
        (void)snprintf(id, OPENAI_ID_MAX + 1, "%.40s_%zu", mint, ++number);
    while (!id_usable(id, list)); /* ends: the list is finite */
}

/* One call in our own shape, appended to `list`. Arguments stay a string, be it empty, cut or no JSON: the actor tells
 * the model so. -EPROTO with why. */
static int take_call(const json_t *call, const char *mint, json_t *list) {
    const json_t *function = json_object_get(call, "function");
    const char *name = json_str(function, "name"), *type = json_str(call, "type"), *id = json_str(call, "id");
    if (!name || !*name || (type && strcmp(type, "function") != 0))
        return err_raise(-EPROTO, "a tool call that names no function");
    const json_t *arguments = json_object_get(function, "arguments");
    auto_free char *text = NULL;
    size_t n;
    if (json_is_object(arguments) && json_text(arguments, OUTCOME_MESSAGE_MAX, &text, &n) < 0)
        return err_raise(-EPROTO, "the arguments of a tool call are too long");
    if (arguments && !text && !json_is_string(arguments) && !json_is_null(arguments))
        return err_raise(-EPROTO, "the arguments of a tool call are neither text nor an object");
    char minted[OPENAI_ID_MAX + 1];
    if (!id_usable(id, list)) {
        mint_id(mint, list, minted);
        id = minted;
    }
    const char *as_text = text ? text : json_is_string(arguments) ? json_string_value(arguments) : "";
    json_t *made = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function", "function", "name", name,
                             "arguments", as_text);
    return json_array_append_new(list, made) < 0 ? err_raise(-ENOMEM, "no memory for a tool call") : 0;
}

static int take_calls(const json_t *calls, const char *mint, json_t *message) {
    size_t n = json_array_size(calls);
    if (n == 0 && (!calls || json_is_null(calls) || json_is_array(calls)))
        return 0;
    if (n == 0 || n > OPENAI_CALLS_MAX)
        return err_raise(-EPROTO, "tool_calls is no array of at most %u", OPENAI_CALLS_MAX);
    auto_json json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        int r = take_call(json_array_get(calls, i), mint, list);
        if (r < 0)
            return err_up(r);
    }
    return json_object_set(message, "tool_calls", list) < 0 ? err_raise(-ENOMEM, "no memory for tool calls") : 0;
}

/* ---- the reply ---- */

static int take_message(const json_t *from, const char *mint, json_t **out) {
    if (!json_is_object(from))
        return err_raise(-EPROTO, "it has no choices[0].message");
    const json_t *content = json_object_get(from, "content");
    if (content && !json_is_string(content) && !json_is_null(content))
        return err_raise(-EPROTO, "the content is not text");
    const char *text = json_string_value(content);
    if (!text)
        text = json_str(from, "refusal"); /* the model's words too, only kept apart */
    auto_json json_t *message = json_pack("{s:s, s:s?}", "role", "assistant", "content", text);
    int r = take_calls(json_object_get(from, "tool_calls"), mint, message);
    if (r < 0)
        return err_up(r);
    if (!text && !json_object_get(message, "tool_calls"))
        return err_raise(-EPROTO, "it has neither content nor tool calls");
    *out = take_ptr(&message);
    return 0;
}

/* The three numbers that budgets need; NULL when there are none. */
static json_t *take_usage(const json_t *from) {
    static const char *const names[] = {"prompt_tokens", "completion_tokens", "total_tokens"};
    json_t *usage = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int64_t n = json_i64(from, names[i], -1);
        if (n < 0)
            continue;
        if (!usage)
            usage = json_object();
        (void)json_object_set_new(usage, names[i], json_integer(n)); /* without memory: one number less */
    }
    return usage;
}

static void usable_status(const char *body, size_t n, const char *secret, const char *mint, struct outcome *out) {
    auto_json json_t *reply = NULL, *message = NULL;
    int r = json_parse(body, n, JSON_TEXT_MAX, &reply);
    if (r < 0) {
        outcome_fail(out, r == -EMSGSIZE ? "too_large" : "bad_reply", 0, "the provider's reply is not JSON we take: %s",
                     err_text());
        return;
    }
    const char *error = json_object_get(reply, "error") ? server_text(reply, secret) : NULL;
    if (error) { /* some servers put it into a 200 */
        outcome_fail(out, "bad_reply", 0, "the provider answered with an error: %s", error);
        return;
    }
    json_t *choice = json_at(reply, "/choices/0");
    const char *finish = json_str(choice, "finish_reason");
    r = take_message(json_object_get(choice, "message"), mint, &message);
    if (r == 0 && (!finish || !*finish || strlen(finish) > OUTCOME_NAME_MAX))
        r = err_raise(-EPROTO, "it has no finish_reason, so it may have been cut");
    if (r < 0) {
        outcome_fail(out, "bad_reply", 0, "the provider's reply cannot be used: %s", err_text());
        return;
    }
    auto_json json_t *usage = take_usage(json_object_get(reply, "usage"));
    outcome_reply(out, message, usage, finish);
}

void openai_reply(long status, char *body, size_t n, const char *secret, const char *mint, struct outcome *out) {
    text_redact(body, n, secret);
    if (status == 200)
        usable_status(body, n, secret, mint, out);
    else
        failed_status(status, body, n, secret, out);
    outcome_redact(out, secret); /* what was spelled with escapes */
}
