/* Two passes. The first decides what kind of answer it is and normalises it: a turn with calls but without their ids,
 * names or shape cannot even be answered call by call, and is rejected as a whole. The second judges each call alone,
 * so that one bad call does not cost the model its good ones. */
#include "actor/proposal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/schema.h"

static int reject(struct proposal *p, const char *why) {
    p->kind = PROPOSAL_REJECT;
    (void)snprintf(p->why, sizeof p->why, "%s", why);
    return 0;
}

static void refuse(struct proposal_call *call, enum call_verdict verdict, const char *why) {
    call->verdict = verdict;
    (void)snprintf(call->why, sizeof call->why, "%s", why);
    call->why[json_utf8_floor(call->why, strlen(call->why))] = '\0';
}

/* ---- arguments ---- */

struct size {
    unsigned depth, nodes;
    bool reference; /* a member named $from: a plan would take it for a reference to another step */
};

static void measure(const json_t *j, unsigned depth, struct size *out) {
    const char *key;
    json_t *member;
    size_t i;
    out->nodes++;
    if (depth > out->depth)
        out->depth = depth;
    if (json_is_array(j)) {
        json_array_foreach(j, i, member) measure(member, depth + 1, out);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, member) {
        out->nodes++;
        out->reference |= strcmp(key, "$from") == 0;
        measure(member, depth + 1, out);
    }
}

static void check_args(struct proposal_call *call, const json_t *schema, const json_t *args, unsigned *nodes) {
    struct size size = {0};
    measure(args, 1, &size);
    *nodes += size.nodes;
    if (!json_is_object(args))
        refuse(call, CALL_INVALID, "arguments: expected an object");
    else if (size.reference)
        refuse(call, CALL_INVALID, "arguments: \"$from\" is not available; give the value itself");
    else if (size.depth > PROPOSAL_DEPTH_MAX)
        refuse(call, CALL_INVALID, "arguments: nested too deeply");
    else if (*nodes > PROPOSAL_NODES_MAX)
        refuse(call, CALL_INVALID, "arguments: too many values in one turn; propose less at once");
    else if (schema_validate(schema, args, "/args", call->why, sizeof call->why) != 0)
        call->verdict = CALL_INVALID; /* `why` is set; a schema that cannot be applied refuses as well */
}

static bool blank(const char *text) {
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* The text of the arguments is the model's; an empty one means {}. */
static json_t *read_args(struct proposal_call *call, const json_t *function) {
    const json_t *given = json_object_get(function, "arguments");
    json_t *args = NULL;
    char why[sizeof call->why];
    if (!json_is_string(given)) {
        refuse(call, CALL_INVALID, "arguments: expected a string of JSON");
        return NULL;
    }
    const char *text = json_string_value(given);
    size_t n = json_string_length(given);
    if (blank(text))
        return json_object();
    if (json_parse(text, n, PROPOSAL_ARGS_MAX, &args) < 0) {
        (void)snprintf(why, sizeof why, "arguments are not JSON: %.300s", err_text());
        refuse(call, CALL_INVALID, why);
    }
    return args;
}

/* ---- calls ---- */

static int add_step(struct proposal *p, const struct proposal_call *call, json_t *args) {
    json_t *step = json_pack("{s:s, s:s, s:O}", "id", call->id, "tool", call->tool, "args", args);
    if (!p->plan)
        p->plan = json_pack("{s:s, s:[]}", "name", "proposal", "steps");
    if (!step || json_array_append_new(json_object_get(p->plan, "steps"), step) < 0)
        return err_raise(-ENOMEM, "proposal");
    p->n_approved++;
    return 0;
}

/* The turn as it is shown to the model again. Some servers refuse a request whose history holds arguments that are no
 * JSON object, so such arguments are not repeated; the answer to the call says what was wrong with them. */
static int add_turn(json_t *calls, const struct proposal_call *call, const json_t *function, const json_t *args) {
    const char *text = json_is_object(args) ? json_str(function, "arguments") : "{}";
    json_t *turn = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", call->id, "type", "function", "function", "name",
                             json_str(function, "name"), "arguments", blank(text) ? "{}" : text);
    if (!turn || json_array_append_new(calls, turn) < 0)
        return err_raise(-ENOMEM, "proposal");
    return 0;
}

static int judge(struct proposal *p, struct proposal_call *call, const json_t *function, const json_t *tools,
                 unsigned *nodes) {
    const char *name = json_str(function, "name");
    const json_t *schema = json_object_get(tools, name);
    (void)snprintf(call->tool, sizeof call->tool, "%s", name);
    call->tool[json_utf8_floor(call->tool, strlen(call->tool))] = '\0';
    auto_json json_t *args = read_args(call, function);
    if (!args && call->verdict == CALL_APPROVED)
        return err_raise(-ENOMEM, "proposal");
    if (!schema)
        refuse(call, CALL_DENIED, "this tool is not available to you; use one of those you were given");
    else if (call->verdict == CALL_APPROVED)
        check_args(call, schema, args, nodes);
    int r = add_turn(json_object_get(p->message, "tool_calls"), call, function, args);
    if (r == 0 && call->verdict == CALL_APPROVED)
        r = add_step(p, call, args);
    return r;
}

static int well_formed(const json_t *calls) {
    size_t i;
    const json_t *call;
    json_array_foreach(calls, i, call) {
        const char *name = json_str(json_object_get(call, "function"), "name");
        if (!name || !*name)
            return 0;
    }
    return 1;
}

/* Only the plan as a whole can be too large for one run; then no call of it runs. */
static int check_plan(struct proposal *p) {
    auto_free char *text = NULL;
    size_t n = 0;
    int r = p->plan ? json_text(p->plan, PROPOSAL_PLAN_MAX, &text, &n) : 0;
    if (r != -EMSGSIZE)
        return r;
    json_decref(take_ptr(&p->plan));
    p->n_approved = 0;
    for (unsigned i = 0; i < p->n_calls; i++)
        if (p->calls[i].verdict == CALL_APPROVED)
            refuse(&p->calls[i], CALL_INVALID, "the calls of this turn are too large together; propose less at once");
    return 0;
}

static int read_calls(struct proposal *p, const json_t *message, const json_t *calls, const json_t *tools,
                      unsigned first) {
    unsigned nodes = 0;
    if (!well_formed(calls))
        return reject(p, "a tool call without a function or its name");
    if (json_array_size(calls) > PROPOSAL_CALLS_MAX)
        return reject(p, "too many tool calls in one turn");
    p->kind = PROPOSAL_RUN_STEPS;
    p->n_calls = (unsigned)json_array_size(calls);
    p->calls = calloc(p->n_calls, sizeof *p->calls);
    p->message =
        json_pack("{s:s, s:s?, s:[]}", "role", "assistant", "content", json_str(message, "content"), "tool_calls");
    if (!p->calls || !p->message)
        return err_raise(-ENOMEM, "proposal");
    for (unsigned i = 0; i < p->n_calls; i++) {
        (void)snprintf(p->calls[i].id, sizeof p->calls[i].id, "call_%u", first + i);
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        int r = judge(p, &p->calls[i], function, tools, &nodes);
        if (r < 0)
            return err_up(r);
    }
    return check_plan(p);
}

static int read_text(struct proposal *p, const json_t *message) {
    const char *content = json_str(message, "content");
    if (!content || !*content)
        return reject(p, "neither text nor tool calls");
    p->kind = PROPOSAL_REPLY;
    p->reply = strdup(content);
    p->message = json_pack("{s:s, s:s}", "role", "assistant", "content", content);
    return p->reply && p->message ? 0 : err_raise(-ENOMEM, "proposal");
}

int proposal_read(const json_t *message, const json_t *tools, unsigned first, struct proposal *out) {
    struct proposal p = {0};
    const json_t *calls = json_object_get(message, "tool_calls");
    int r;
    if (!json_is_object(message))
        r = reject(&p, "the message is not an object");
    else if (calls && !json_is_null(calls) && !json_is_array(calls))
        r = reject(&p, "\"tool_calls\" is not an array");
    else if (json_array_size(calls))
        r = read_calls(&p, message, calls, tools, first);
    else
        r = read_text(&p, message);
    if (r < 0) {
        proposal_deinit(&p);
        return err_up(r);
    }
    *out = p;
    return 0;
}

void proposal_deinit(struct proposal *p) {
    free(take_ptr(&p->reply));
    free(take_ptr(&p->calls));
    json_decref(take_ptr(&p->message));
    json_decref(take_ptr(&p->plan));
    p->n_calls = p->n_approved = 0;
}

const char *proposal_kind_name(enum proposal_kind kind) {
    static const char *const names[] = {
#define X(id, name) [PROPOSAL_##id] = name,
        PROPOSAL_KINDS(X)
#undef X
    };
    return names[kind];
}
