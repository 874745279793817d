/* The document comes from the registry, which has checked every member; what is checked again is what would make this
 * process crash or misjudge safety. A manifest that does not say "not state" counts as state. */
#include "run/grants.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/json.h"

#include <string.h>

static int read_tool(json_t *manifest, size_t at, struct grant *out) {
    struct grant g = {
        .name = json_str(manifest, "name"),
        .effect = json_str(manifest, "effect"),
        .profile = json_str(manifest, "profile"),
        .schema = json_object_get(manifest, "input_schema"),
        .idempotent = json_flag(manifest, "idempotent", false),
        .timeout_ms = json_i64(manifest, "timeout_ms", 0),
    };
    if (!name_valid(g.name) || !g.effect || !g.profile || !json_is_object(g.schema) || g.timeout_ms < 0)
        return err_raise(-EPROTO, "grants: /tools/%zu is no normalised manifest", at);
    *out = g;
    return 0;
}

int grants_parse(const char *text, size_t n, struct grants *out) {
    auto_json json_t *doc = NULL;
    int r = json_parse(text, n, JSON_TEXT_MAX, &doc);
    if (r < 0)
        return err_up(r);
    json_t *tools = json_object_get(doc, "tools");
    if (!json_is_array(tools))
        return err_raise(-EPROTO, "grants: /tools is no array");
    size_t count = json_array_size(tools);
    auto_free struct grant *list = calloc(count + 1, sizeof *list);
    if (!list)
        return err_raise(-ENOMEM, "grants of %zu tools", count);
    for (size_t i = 0; i < count; i++) {
        r = read_tool(json_array_get(tools, i), i, &list[i]);
        if (r < 0)
            return err_up(r);
    }
    *out = (struct grants){take_ptr(&doc), take_ptr(&list), count};
    return 0;
}

void grants_deinit(struct grants *grants) {
    json_decref(grants->doc);
    free(grants->tools);
    *grants = GRANTS_NULL;
}

const struct grant *grants_find(const struct grants *grants, const char *name) {
    for (size_t i = 0; i < grants->n; i++)
        if (strcmp(grants->tools[i].name, name) == 0)
            return &grants->tools[i];
    return NULL;
}

bool grant_safe(const struct grant *grant) {
    bool harmless = strcmp(grant->effect, "pure") == 0 || strcmp(grant->effect, "reader") == 0;
    return harmless || grant->idempotent;
}
