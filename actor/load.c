/* What an actor has to know before it can serve: three documents of the registry's. What the model may call is the
 * intersection of the definition's list and the catalogue. */
#include "actor/actor_impl.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/schema.h"

#define LLM_TIMEOUT_DEFAULT_MS 120000 /* of a provider that the configuration does not know: the call will say so */

int actor_load(struct actor *a) {
    struct chan *registry = a->ctx->wire[ROLE_REGISTRY];
    a->definition_ref = role_ref(a->ctx);
    a->catalog_ref = role_ref(a->ctx);
    a->grants_ref = role_ref(a->ctx);
    int r = chan_send(registry, MSG_ACTOR_GET, &(struct msg_actor_get){.ref = a->definition_ref});
    if (r == 0)
        r = chan_send(registry, MSG_CATALOG, &(struct msg_catalog){.ref = a->catalog_ref});
    if (r == 0)
        r = chan_send(registry, MSG_GRANTS, &(struct msg_grants){.ref = a->grants_ref});
    return r < 0 ? err_up(r) : 0;
}

/* ---- tools ---- */

static bool allowed(const struct actor *a, const char *name) {
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(a->definition, "tools"), i, entry) {
        if (strcmp(json_string_value(entry), name) == 0)
            return true;
    }
    return false;
}

static json_t *request_entry(const json_t *tool) {
    const char *description = json_str(tool, "description");
    return json_pack("{s:s, s:{s:s, s:s, s:O}}", "type", "function", "function", "name", json_str(tool, "name"),
                     "description", description ? description : "", "parameters",
                     json_object_get(tool, "input_schema"));
}

/* A tool that would make the request too large is left out by name rather than every request refused. */
static int add_tool(struct actor *a, const json_t *tool, size_t *bytes) {
    const char *name = json_str(tool, "name");
    json_t *schema = json_object_get(tool, "input_schema");
    if (!name || !allowed(a, name))
        return 0;
    if (schema_check(schema) < 0) {
        log_warn("event=tool_left_out tool=%s reason=schema", name);
        return 0;
    }
    auto_json json_t *entry = request_entry(tool);
    auto_free char *text = NULL;
    size_t n = 0;
    int r = json_text(entry, TOOLS_TEXT_MAX - *bytes - 2, &text, &n);
    if (r == -EMSGSIZE) {
        log_warn("event=tool_left_out tool=%s reason=\"catalogue too large\"", name);
        return 0;
    }
    if (r == 0 && (json_array_append(a->tools_list, entry) < 0 || json_object_set(a->tools, name, schema) < 0))
        r = err_raise(-ENOMEM, "tools");
    *bytes += n + 1;
    return r;
}

static int make_tools(struct actor *a) {
    size_t i, bytes = 2;
    const json_t *tool;
    a->tools = json_object();
    a->tools_list = json_array();
    if (!a->tools_list || !a->tools)
        return err_raise(-ENOMEM, "tools");
    json_array_foreach(json_object_get(a->catalog, "tools"), i, tool) {
        int r = bytes + 2 < TOOLS_TEXT_MAX ? add_tool(a, tool, &bytes) : 0;
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

/* ---- the definition ---- */

static void find_provider(struct actor *a) {
    a->llm_timeout_ms = LLM_TIMEOUT_DEFAULT_MS;
    for (uint32_t i = 0; i < a->ctx->spec->n_providers; i++) {
        const struct spec_provider *p = &a->ctx->spec->providers[i];
        if (strcmp(p->name, a->provider) != 0)
            continue;
        if (p->timeout_ms > 0)
            a->llm_timeout_ms = p->timeout_ms;
        if (!a->model[0])
            (void)snprintf(a->model, sizeof a->model, "%s", p->model);
    }
}

static int read_definition(struct actor *a) {
    const json_t *budget = json_object_get(a->definition, "budget");
    const char *provider = json_str(a->definition, "provider"), *model = json_str(a->definition, "model");
    if (!provider || !model || !json_is_object(budget))
        return err_raise(-EPROTO, "a definition without provider, model or budget");
    if (strlen(provider) >= sizeof a->provider || strlen(model) >= sizeof a->model)
        return err_raise(-EPROTO, "the name of the provider or model is too long");
    (void)snprintf(a->provider, sizeof a->provider, "%s", provider);
    (void)snprintf(a->model, sizeof a->model, "%s", model);
    a->llm_calls_max = json_i64(budget, "llm_calls", 0);
    a->steps_max = json_i64(budget, "steps", 0);
    a->timeout_ms = json_i64(budget, "timeout_ms", 0);
    find_provider(a);
    return 0;
}

static int read_document(int fd, json_t **out) {
    auto_free char *text = NULL;
    size_t n = 0;
    int r = memfd_read(fd, JSON_TEXT_MAX, &text, &n);
    return r < 0 ? err_up(r) : json_parse(text, n, JSON_TEXT_MAX, out);
}

static int take_document(struct actor *a, struct msg *m) {
    if (m->document.ref == a->definition_ref && !a->definition)
        return read_document(m->fds[0], &a->definition);
    if (m->document.ref == a->catalog_ref && !a->catalog)
        return read_document(m->fds[0], &a->catalog);
    if (m->document.ref == a->grants_ref && a->grants < 0)
        a->grants = take_fd(&m->fds[0]);
    return 0;
}

int actor_on_document(struct actor *a, struct msg *m) {
    if (a->ctx->fsm.state != ACTOR_LOADING)
        return 0;
    int r = take_document(a, m);
    actor_progress(a);
    if (r < 0 || !a->definition || !a->catalog || a->grants < 0) {
        if (r < 0)
            die(1, "a document of the registry");
        return 0;
    }
    if (read_definition(a) < 0 || make_tools(a) < 0)
        die(1, "definition");
    return role_step(a->ctx, ACTOR_EV_LOADED, NULL);
}
