/* First the whole file is checked, then one entry of it becomes an assistant message. The templates in `content` and in
 * the strings of arguments (llmcall/template.h) let a script quote what a tool really found, and pass it to another. */
#include "llmcall/script.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "llmcall/template.h"

#include <string.h>
#include <sys/stat.h>

#define CONTENT_MAX (OUTCOME_MESSAGE_MAX * 2) /* while a template is filled; the message has its own ceiling */

/* ---- the check ---- */

static int wrong(const struct json_place *at, const char *what) {
    return err_raise(-EINVAL, "script %s: %s", *at->text ? at->text : "/", what);
}

/* A member's check. `at` is its place. */
typedef int (*check)(const json_t *value, struct json_place *at);
struct member {
    const char *name;
    bool required;
    check check;
};

static int check_members(const json_t *object, struct json_place *at, const struct member *members, size_t n) {
    if (!json_is_object(object))
        return wrong(at, "expected an object");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        const struct member *m = members;
        while (m < members + n && strcmp(m->name, key) != 0)
            m++;
        json_place_push(at, key);
        int r = m == members + n ? wrong(at, "unknown member") : m->check(value, at);
        if (r < 0)
            return err_up(r);
        json_place_pop(at);
    }
    for (const struct member *m = members; m < members + n; m++)
        if (m->required && !json_object_get(object, m->name)) {
            json_place_push(at, m->name);
            return wrong(at, "is missing");
        }
    return 0;
}

static int check_elements(const json_t *array, struct json_place *at, size_t most, check each) {
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n == 0 || n > most) {
        return err_raise(-EINVAL, "script %s: expected an array of 1 to %zu elements", at->text, most);
    }
    for (size_t i = 0; i < n; i++) {
        json_place_index(at, i);
        int r = each(json_array_get(array, i), at);
        if (r < 0)
            return err_up(r);
        json_place_pop(at);
    }
    return 0;
}

static int check_templates(const json_t *value, struct json_place *at) {
    const char *what = template_check(json_string_value(value));
    return what ? wrong(at, what) : 0;
}

static int check_content(const json_t *value, struct json_place *at) {
    return json_is_string(value) ? check_templates(value, at) : wrong(at, "expected a string");
}

static int check_tool_name(const json_t *value, struct json_place *at) {
    size_t n = json_string_length(value);
    return n >= 1 && n <= 63 ? 0 : wrong(at, "expected a string of 1 to 63 bytes");
}

/* The strings inside arguments; keys are taken as they are. The parser has limited the depth. */
static int check_inside(const json_t *value, struct json_place *at) {
    const char *key;
    json_t *member;
    size_t i;
    int r = json_is_string(value) ? check_templates(value, at) : 0;
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        json_place_push(at, key);
        if (r == 0 && (r = check_inside(member, at)) == 0)
            json_place_pop(at);
    }
    json_array_foreach(value, i, member) {
        json_place_index(at, i);
        if (r == 0 && (r = check_inside(member, at)) == 0)
            json_place_pop(at);
    }
    return r;
}

static int check_arguments(const json_t *value, struct json_place *at) {
    if (json_is_string(value)) /* passed on as it is */
        return 0;
    return json_is_object(value) ? check_inside(value, at)
                                 : wrong(at, "expected an object (or a string, which is passed on as it is)");
}

static int check_call(const json_t *value, struct json_place *at) {
    static const struct member members[] = {{"name", true, check_tool_name}, {"arguments", true, check_arguments}};
    return check_members(value, at, members, 2);
}

static int check_calls(const json_t *value, struct json_place *at) {
    return check_elements(value, at, SCRIPT_CALLS_MAX, check_call);
}

static int check_error_name(const json_t *value, struct json_place *at) {
    static const char *const names[] = {"connect",   "timeout",     "http_status", "bad_reply",
                                        "too_large", "credentials", "config"};
    const char *name = json_is_string(value) ? json_string_value(value) : "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return 0;
    return wrong(at, "expected connect, timeout, http_status, bad_reply, too_large, credentials or config");
}

static int check_error_message(const json_t *value, struct json_place *at) {
    size_t n = json_string_length(value);
    return n >= 1 && n <= OUTCOME_TEXT_MAX ? 0 : wrong(at, "expected a string of 1 to 400 bytes");
}

static int check_status(const json_t *value, struct json_place *at) {
    json_int_t n = json_integer_value(value);
    return n >= 100 && n <= 599 ? 0 : wrong(at, "expected an integer from 100 to 599");
}

static int check_error(const json_t *value, struct json_place *at) {
    static const struct member members[] = {
        {"name", true, check_error_name}, {"message", true, check_error_message}, {"status", false, check_status}};
    return check_members(value, at, members, 3);
}

static int check_delay(const json_t *value, struct json_place *at) {
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    return n >= 0 && n <= SCRIPT_DELAY_MAX ? 0 : wrong(at, "expected an integer from 0 to 3600000");
}

static int check_reply(const json_t *value, struct json_place *at) {
    static const struct member members[] = {{"content", false, check_content},
                                            {"tool_calls", false, check_calls},
                                            {"error", false, check_error},
                                            {"delay_ms", false, check_delay}};
    int r = check_members(value, at, members, 4);
    if (r < 0)
        return err_up(r);
    bool says = json_object_get(value, "content") || json_object_get(value, "tool_calls");
    if (says == (json_object_get(value, "error") != NULL))
        return wrong(at, "expected either content and/or tool_calls, or error");
    return 0;
}

static int check_replies(const json_t *value, struct json_place *at) {
    return check_elements(value, at, SCRIPT_REPLIES_MAX, check_reply);
}

int script_check(const json_t *script) {
    static const struct member members[] = {{"replies", true, check_replies}};
    struct json_place at = {0};
    return check_members(script, &at, members, 1);
}

/* ---- the file ---- */

static int read_all(int fd, char *to, size_t most, size_t *n) {
    size_t have = 0;
    for (ssize_t got = 1; got != 0 && have < most;) {
        got = pread(fd, to + have, most - have, (off_t)have); /* the offset is shared with other calls */
        if (got < 0 && errno != EINTR)
            return err_raise(-EIO, "the script cannot be read: %s", strerror(errno));
        have += got > 0 ? (size_t)got : 0;
    }
    *n = have;
    return 0;
}

int script_read(int fd, char **text, size_t *n) {
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_raise(-EINVAL, "the script is not a regular file");
    size_t have = 0;
    auto_free char *bytes = malloc(SCRIPT_FILE_MAX + 1);
    if (!bytes)
        return err_raise(-ENOMEM, "no memory for the script");
    int r = read_all(fd, bytes, SCRIPT_FILE_MAX + 1, &have);
    if (r < 0)
        return err_up(r);
    if (have > SCRIPT_FILE_MAX)
        return err_raise(-EMSGSIZE, "the script is longer than %u bytes", SCRIPT_FILE_MAX);
    *text = take_ptr(&bytes);
    *n = have;
    return 0;
}

/* ---- the answer ---- */

static size_t count_assistant(const json_t *messages) {
    size_t n = 0, i;
    json_t *message;
    json_array_foreach(messages, i, message) {
        const char *role = json_str(message, "role");
        n += role && strcmp(role, "assistant") == 0;
    }
    return n;
}

/* Content of the last tool message, or NULL. */
static const char *last_tool(const json_t *messages) {
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *message = json_array_get(messages, i);
        const char *role = json_str(message, "role");
        if (role && strcmp(role, "tool") == 0)
            return json_str(message, "content");
    }
    return NULL;
}

static int fill_string(const json_t *from, const char *tool, json_t **out) {
    auto_buf struct buf filled = BUF_NULL(CONTENT_MAX);
    int r = template_fill(json_string_value(from), tool, &filled);
    if (r < 0)
        return err_up(r);
    *out = json_stringn(filled.p ? filled.p : "", filled.n);
    return *out ? 0 : err_raise(-ENOMEM, "no memory for the message");
}

/* Arguments with the templates of their strings filled in: *out is a copy, a new reference. */
static int fill_inside(const json_t *from, const char *tool, json_t **out) {
    if (json_is_string(from))
        return fill_string(from, tool, out);
    auto_json json_t *copy = json_copy((json_t *)(uintptr_t)from);
    const char *key;
    json_t *member, *filled;
    size_t i;
    int r = copy ? 0 : err_raise(-ENOMEM, "no memory for the message");
    json_object_foreach((json_t *)(uintptr_t)from, key, member) {
        if (r == 0 && (r = fill_inside(member, tool, &filled)) == 0)
            (void)json_object_set_new(copy, key, filled);
    }
    json_array_foreach(from, i, member) {
        if (r == 0 && (r = fill_inside(member, tool, &filled)) == 0)
            (void)json_array_set_new(copy, i, filled);
    }
    *out = r == 0 ? take_ptr(&copy) : NULL;
    return r;
}

static int arguments_text(const json_t *arguments, const char *tool, char **out) {
    auto_json json_t *filled = NULL;
    size_t n;
    int r = fill_inside(arguments, tool, &filled);
    return r < 0 ? r : json_text(filled, OUTCOME_MESSAGE_MAX, out, &n);
}

static int add_call(json_t *list, const json_t *call, size_t reply, const char *tool) {
    auto_free char *text = NULL;
    const json_t *arguments = json_object_get(call, "arguments");
    const char *as_text = json_string_value(arguments);
    int r = as_text ? 0 : arguments_text(arguments, tool, &text);
    if (r < 0)
        return err_up(r);
    char id[64];
    (void)snprintf(id, sizeof id, "call_%zu_%zu", reply, json_array_size(list) + 1);
    json_t *made = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function", "function", "name",
                             json_str(call, "name"), "arguments", as_text ? as_text : text);
    return json_array_append_new(list, made) == 0 ? 0 : err_raise(-ENOMEM, "no memory for the message");
}

/* The assistant message of an entry: a new reference. -EINVAL, -EMSGSIZE, -ENOMEM. */
static int make_message(const json_t *entry, size_t number, const char *tool, json_t **out) {
    auto_json json_t *content = NULL, *list = NULL;
    const json_t *text = json_object_get(entry, "content"), *calls = json_object_get(entry, "tool_calls"), *call;
    size_t i;
    int r = text ? fill_string(text, tool, &content) : 0;
    if (r == 0 && calls && !(list = json_array()))
        return err_raise(-ENOMEM, "no memory for the message");
    json_array_foreach(calls, i, call) {
        r = r == 0 ? add_call(list, call, number, tool) : r;
    }
    if (r < 0)
        return err_up(r);
    *out = json_pack("{s:s, s:O?}", "role", "assistant", "content", content);
    if (!*out || (list && json_object_set(*out, "tool_calls", list) < 0))
        return err_raise(-ENOMEM, "no memory for the message");
    return 0;
}

static void answer_entry(const json_t *entry, size_t number, const char *tool, struct outcome *out) {
    const json_t *error = json_object_get(entry, "error");
    if (error) {
        outcome_fail(out, json_str(error, "name"), (int)json_i64(error, "status", 0), "%s", json_str(error, "message"));
        return;
    }
    auto_json json_t *message = NULL;
    int r = make_message(entry, number, tool, &message);
    if (r < 0) {
        outcome_fail(out, r == -EMSGSIZE ? "too_large" : "bad_reply", 0, "script /replies/%zu: %s", number - 1,
                     err_text());
        return;
    }
    outcome_reply(out, message, NULL, json_object_get(entry, "tool_calls") ? "tool_calls" : "stop");
}

void script_answer(const char *text, size_t n, struct json_span messages, struct outcome *out, int64_t *delay_ms) {
    auto_json json_t *script = NULL, *asked = NULL;
    *delay_ms = 0;
    if (json_parse(text, n, SCRIPT_FILE_MAX, &script) < 0) {
        outcome_fail(out, "config", 0, "the script is not JSON: %s", err_text());
        return;
    }
    if (script_check(script) < 0) {
        outcome_fail(out, "config", 0, "%s", err_text());
        return;
    }
    if (json_parse(messages.p, messages.n, JSON_TEXT_MAX, &asked) < 0 || !json_is_array(asked)) {
        outcome_fail(out, "config", 0, "the messages of the request are not an array");
        return;
    }
    const json_t *replies = json_object_get(script, "replies");
    size_t due = count_assistant(asked);
    const json_t *entry = json_array_get(replies, due);
    if (!entry) {
        outcome_fail(out, "bad_reply", 0, "the script has %zu replies and the conversation asks for number %zu",
                     json_array_size(replies), due + 1);
        return;
    }
    *delay_ms = json_i64(entry, "delay_ms", 0);
    answer_entry(entry, due + 1, last_tool(asked), out);
}
