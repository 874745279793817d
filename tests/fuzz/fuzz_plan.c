/* Plans against a fixed set of tools. A plan that passes can be walked: every step has a tool, an id and arguments that
 * their check can be asked about; a plan that does not is refused with a reason. */
#include "common/err.h"
#include "common/ids.h"
#include "common/json.h"
#include "run/plan.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define TOOL(name, effect, schema)                                                                                     \
    "{\"name\":\"" name "\",\"effect\":\"" effect                                                                      \
    "\",\"profile\":\"pure\",\"idempotent\":false,\"input_schema\":" schema "}"

static const char tools[] = "{\"generation\":1,\"tools\":[" TOOL("echo", "pure", "{\"type\":\"object\"}") "," TOOL(
    "file_read", "reader",
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}},"
    "\"required\":[\"path\"],\"additionalProperties\":false}") "," TOOL("file_write", "state",
                                                                        "{\"type\":\"object\"}") "]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct grants grants;
    auto_json json_t *doc = NULL;
    struct plan plan = PLAN_NULL;
    if (!grants.n && grants_parse(tools, strlen(tools), &grants) < 0)
        abort();
    if (json_parse((const char *)data, n, JSON_TEXT_MAX, &doc) < 0)
        return 0;
    int r = plan_check(doc, &grants, &plan);
    assert(r == 0 || ((r == -EINVAL || r == -ENOENT) && *err_text()));
    assert(plan.n <= PLAN_STEPS_MAX && (r == 0 || plan.n == 0));
    for (size_t i = 0; i < plan.n; i++) {
        const struct step *s = &plan.steps[i];
        assert(name_valid(s->id) && s->tool && json_is_object(s->args));
        assert(s->timeout_ms >= 0 && s->repeats <= PLAN_REPEATS_MAX && s->backoff_ms >= 0);
        r = plan_check_args(&plan, i, s->args);
        assert(r == 0 || s->refs); /* what has no reference was checked as the tool will see it */
    }
    plan_deinit(&plan);
    return 0;
}
