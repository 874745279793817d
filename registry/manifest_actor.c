/* An actor definition. Its one rule of taste: what is not granted is refused, so an absent list of tools is the empty
 * list, and every budget has a number. */
#include "registry/manifest.h"

#include <string.h>

#include "common/cleanup.h"
#include "registry/fields.h"

static int read_provider(struct fields *f, const char *key, const json_t *value) {
    int r = field_is_string(f, value);
    if (r == 0 && json_string_length(value) == 0)
        return field_refuse(f, "expected the name of a configured provider");
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

static int check_tool_name(struct fields *f, const char *text) {
    return field_name_valid(text) ? 0 : field_refuse(f, "not the name of a tool");
}

static int read_tools(struct fields *f, const char *key, const json_t *value) {
    auto_json json_t *seen = json_object();
    size_t i;
    json_t *name;
    int r = field_each_string(f, value, check_tool_name);
    if (r < 0)
        return err_up(r);
    json_array_foreach(value, i, name) {
        if (json_object_get(seen, json_string_value(name)))
            return field_refuse(f, "element %zu repeats an earlier one; name each tool once", i);
        if (json_object_set(seen, json_string_value(name), name) < 0)
            return err_raise(-ENOMEM, "definition: out of memory");
    }
    return field_copy(f, key, value);
}

static int read_count(struct fields *f, const char *key, const json_t *value) {
    if (!json_is_integer(value))
        return field_refuse(f, "expected integer, got %s", field_type(value));
    if (json_integer_value(value) < 0 || json_integer_value(value) > ACTOR_BUDGET_MAX)
        return field_refuse(f, "expected 0 to %d", ACTOR_BUDGET_MAX);
    return field_copy(f, key, value);
}

static int read_budget(struct fields *f, const char *key, const json_t *value) {
    static const struct field table[] = {
        {"llm_calls", false, read_count}, {"steps", false, read_count}, {"timeout", false, field_timeout}};
    auto_json json_t *own = json_pack("{s:i, s:i, s:i}", "llm_calls", ACTOR_LLM_CALLS_DEFAULT, "steps",
                                      ACTOR_STEPS_DEFAULT, "timeout_ms", ACTOR_TIMEOUT_DEFAULT_MS);
    struct fields inner = {.place = f->place, .normal = own};
    int r = own ? fields_read(&inner, value, table, sizeof table / sizeof *table)
                : err_raise(-ENOMEM, "definition: out of memory");
    return r < 0 ? err_up(r) : fields_put(f, key, json_incref(own));
}

static int read_restart(struct fields *f, const char *key, const json_t *value) {
    static const char *const names[] = {"permanent", "transient", "temporary"};
    int r = field_is_one_of(f, value, names, 3);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

/* To add a key to actor definitions, start here, and give it a default below. */
static const struct field actor_table[] = {
    {"name", true, field_name},     {"description", false, field_string}, {"provider", true, read_provider},
    {"model", false, field_string}, {"system", false, field_string},      {"tools", false, read_tools},
    {"budget", false, read_budget}, {"restart", false, read_restart},
};

/* Defaults are a document too, under the one that was written, and go through the same readers. */
int manifest_actor(const json_t *doc, json_t **normal) {
    auto_json json_t *whole = json_pack("{s:s, s:s, s:s, s:[], s:{}, s:s}", "description", "", "model", "", "system",
                                        "", "tools", "budget", "restart", "permanent");
    auto_json json_t *built = json_object();
    struct fields f = {.normal = built};
    if (!whole || !built)
        return err_raise(-ENOMEM, "definition: out of memory");
    if (!json_is_object(doc))
        return field_refuse(&f, "expected object, got %s", field_type(doc));
    if (json_object_update(whole, field_mutable(doc)) < 0)
        return err_raise(-ENOMEM, "definition: out of memory");
    int r = fields_read(&f, whole, actor_table, sizeof actor_table / sizeof *actor_table);
    if (r < 0)
        return err_up(r);
    *normal = json_incref(built);
    return 0;
}
