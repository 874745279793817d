/* The document comes from the registry, by way of processes that hostile output may have taken over: its seals say that
 * none of them can change it under us, and that whoever made the run's endpoint chose it. */
#include "toolcall/grants.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/schema.h"
#include "common/spec.h"

#include <string.h>

#define ARGS_MAX (768u * 1024u) /* as `args` in the catalogue of messages */

int grants_read(int fd, json_t **doc, struct tool_failure *failure) {
    auto_free char *text = NULL;
    auto_json json_t *read = NULL;
    size_t n;
    if (memfd_read(fd, GRANTS_MAX, &text, &n) < 0 || json_parse(text, n, GRANTS_MAX, &read) < 0)
        return tool_fail(failure, TOOL_DENIED, "the grants of this run cannot be used: %s", err_text());
    if (!json_is_array(json_object_get(read, "tools")))
        return tool_fail(failure, TOOL_DENIED, "the grants of this run cannot be used: they hold no list of tools");
    *doc = take_ptr(&read);
    return 0;
}

static const json_t *find(const json_t *doc, const char *tool) {
    size_t i;
    json_t *manifest;
    json_array_foreach(json_object_get(doc, "tools"), i, manifest) {
        const char *name = json_str(manifest, "name");
        if (name && strcmp(name, tool) == 0)
            return manifest;
    }
    return NULL;
}

int grants_tool(const json_t *doc, const char *tool, const char *profile, const json_t **manifest,
                struct tool_failure *failure) {
    const json_t *found = find(doc, tool);
    if (!found)
        return tool_fail(failure, TOOL_DENIED, "the tool %s is not granted to this run", tool);
    const char *own = json_str(found, "profile");
    if (!own || strcmp(own, profile) != 0)
        return tool_fail(failure, TOOL_DENIED, "the tool %s has profile %s, this call was started with profile %s",
                         tool, own ? own : "none", *profile ? profile : "none");
    if (strcmp(own, "net") == 0 || !json_flag(found, "available", false))
        return tool_fail(failure, TOOL_SANDBOX_UNAVAILABLE,
                         "the tool %s (profile %s) needs what this version cannot contain", tool, own);
    *manifest = found;
    return 0;
}

int grants_args(const json_t *manifest, const char *text, size_t n, json_t **args, struct tool_failure *failure) {
    auto_json json_t *value = NULL;
    char why[sizeof failure->message];
    if (json_parse(text, n, ARGS_MAX, &value) < 0)
        return tool_fail(failure, TOOL_INVALID_ARGS, "/args: %s", err_text());
    if (!json_is_object(value))
        return tool_fail(failure, TOOL_INVALID_ARGS, "/args: expected an object");
    int r = schema_validate(json_object_get(manifest, "input_schema"), value, "/args", why, sizeof why);
    if (r != 0)
        return tool_fail(failure, TOOL_INVALID_ARGS, "%s", r > 0 ? why : err_text());
    *args = take_ptr(&value);
    return 0;
}
