/* Two passes: the first reads the ids, so that the second can tell an unknown step from a later one. The first mistake
 * found is the one reported: a plan is corrected and sent again, and nothing has happened yet. */
#include "run/plan.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/schema.h"
#include "run/resolve.h"

#include <string.h>

static const char *type_name(const json_t *value) {
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return value ? names[json_typeof(value)] : "nothing";
}

static const char *where(const struct json_place *place) {
    return *place->text ? place->text : "the plan";
}

/* Raises a refusal about member `key` of the object at `place`. */
#define refuse(place, key, ...) refuse_at((place), (key), __VA_ARGS__)
static int __attribute__((format(printf, 3, 4)))
refuse_at(struct json_place *place, const char *key, const char *fmt, ...) {
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (key)
        json_place_push(place, key);
    int r = err_raise(-EINVAL, "%s: %s", where(place), text);
    if (key)
        json_place_pop(place);
    return r;
}

/* `known` is a list of names between blanks. */
static int check_keys(json_t *object, const char *known, struct json_place *place) {
    const char *key;
    json_t *member;
    json_object_foreach(object, key, member) {
        const char *found = *key && !strchr(key, ' ') ? strstr(known, key) : NULL;
        size_t n = strlen(key);
        while (found && (found[-1] != ' ' || found[n] != ' '))
            found = strstr(found + 1, key);
        if (!found)
            return refuse(place, key, "unknown member; the members here are%.*s", (int)strlen(known) - 1, known);
    }
    return 0;
}

static int read_duration(json_t *object, const char *key, struct json_place *place, int64_t *out) {
    json_t *value = json_object_get(object, key);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return refuse(place, key, "expected a duration, a string such as \"200ms\" or \"5s\", got %s",
                      type_name(value));
    int64_t ms = json_duration_ms(json_string_value(value));
    if (ms == -ERANGE || ms == 0)
        return refuse(place, key, "expected a duration between 1ms and 30 days (720h)");
    if (ms < 0)
        return refuse(place, key, "not a duration; write digits and one unit of ms, s, m, h, as in \"200ms\"");
    *out = ms;
    return 0;
}

/* ---- first pass: the ids ---- */

static int check_id(json_t *step, struct json_place *place, struct plan *plan, size_t at) {
    json_t *id = json_object_get(step, "id");
    if (!json_is_string(id))
        return refuse(place, "id", "expected a string that names the step, got %s", type_name(id));
    const char *text = json_string_value(id);
    if (!name_valid(text))
        return refuse(place, "id",
                      "not a name; use 1 to 63 letters, digits, \"_\", \".\" and \"-\", the first a letter or digit");
    for (size_t i = 0; i < at; i++)
        if (strcmp(plan->steps[i].id, text) == 0)
            return refuse(place, "id", "\"%s\" is already the id of /steps/%zu; give each step its own", text, i);
    plan->steps[at].id = text;
    return 0;
}

static int check_ids(json_t *steps, struct plan *plan) {
    for (size_t i = 0; i < plan->n; i++) {
        struct json_place place = {.text = "/steps"};
        json_place_index(&place, i);
        json_t *step = json_array_get(steps, i);
        if (!json_is_object(step))
            return refuse(&place, NULL, "expected an object with id and tool, got %s", type_name(step));
        int r = check_keys(step, " id tool args timeout retry ", &place);
        if (r == 0)
            r = check_id(step, &place, plan, i);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

/* ---- second pass: everything else ---- */

static int check_tool(json_t *step, const struct grants *grants, struct json_place *place, const struct grant **out) {
    json_t *tool = json_object_get(step, "tool");
    if (!json_is_string(tool))
        return refuse(place, "tool", "expected a string that names a tool, got %s", type_name(tool));
    const char *name = json_string_value(tool);
    *out = grants_find(grants, name);
    if (*out)
        return 0;
    bool sayable = name_valid(name); /* anything else does not belong on a terminal */
    return err_raise(-ENOENT, "%s/tool: no tool %s%s%s is granted to this run; `soma tool list` shows which there are",
                     place->text, sayable ? "\"" : "of this name", sayable ? name : "", sayable ? "\"" : "");
}

static int check_retry(json_t *step, struct json_place *place, struct step *out) {
    json_t *retry = json_object_get(step, "retry");
    if (!retry)
        return 0;
    if (!json_is_object(retry))
        return refuse(place, "retry", "expected an object with max and backoff, got %s", type_name(retry));
    if (!grant_safe(out->tool))
        return refuse(place, "retry", "the tool \"%s\" is not safe to repeat; leave retry out", out->tool->name);
    json_place_push(place, "retry");
    json_t *max = json_object_get(retry, "max");
    json_int_t most = json_integer_value(max);
    int r = check_keys(retry, " max backoff ", place);
    if (r == 0 && (!json_is_integer(max) || most < 1 || most > (json_int_t)PLAN_REPEATS_MAX))
        r = refuse(place, "max", "expected an integer from 1 to %u, the attempts after the first one",
                   PLAN_REPEATS_MAX);
    out->repeats = (unsigned)most;
    out->backoff_ms = PLAN_BACKOFF_MS;
    if (r == 0)
        r = read_duration(retry, "backoff", place, &out->backoff_ms);
    json_place_pop(place);
    return r;
}

struct looking {
    const struct plan *plan;
    size_t at;
};

static enum step_place look_up(void *arg, const char *id) {
    const struct looking *looking = arg;
    for (size_t i = 0; i < looking->plan->n; i++)
        if (strcmp(looking->plan->steps[i].id, id) == 0)
            return i < looking->at ? STEP_EARLIER : STEP_NOT_EARLIER;
    return STEP_UNKNOWN;
}

int plan_check_args(const struct plan *plan, size_t at, json_t *args) {
    char base[40], why[400];
    (void)snprintf(base, sizeof base, "/steps/%zu/args", at);
    if (!json_is_object(args))
        return err_raise(-EINVAL, "%s: expected an object, got %s", base, type_name(args));
    int r = schema_validate(plan->steps[at].tool->schema, args, base, why, sizeof why);
    if (r == 1)
        return err_raise(-EINVAL, "%s", why);
    return r < 0 ? err_raise(-EPROTO, "grants: the schema of tool \"%s\" cannot be used", plan->steps[at].tool->name)
                 : 0;
}

static int check_args(json_t *step, struct json_place *place, struct plan *plan, size_t at) {
    struct step *out = &plan->steps[at];
    json_t *args = json_object_get(step, "args");
    out->args = args ? args : plan->no_args;
    if (!json_is_object(out->args))
        return refuse(place, "args", "expected an object, got %s", type_name(args));
    struct looking looking = {plan, at};
    json_place_push(place, "args");
    int r = refs_check(out->args, place, look_up, &looking, &out->refs);
    json_place_pop(place);
    if (r < 0 || out->refs)
        return r;
    return plan_check_args(plan, at, out->args);
}

static int check_step(json_t *step, const struct grants *grants, struct plan *plan, size_t at) {
    struct json_place place = {.text = "/steps"};
    json_place_index(&place, at);
    struct step *out = &plan->steps[at];
    int r = check_tool(step, grants, &place, &out->tool);
    if (r == 0)
        r = read_duration(step, "timeout", &place, &out->timeout_ms);
    if (r == 0)
        r = check_retry(step, &place, out);
    if (r == 0)
        r = check_args(step, &place, plan, at);
    return r;
}

/* ---- the whole ---- */

static int check_head(json_t *doc, struct plan *plan) {
    struct json_place place = {0};
    size_t nodes;
    if (!json_is_object(doc))
        return refuse(&place, NULL, "expected an object with steps, got %s", type_name(doc));
    if (value_measure(doc, &nodes) < 0) {
        char limit[64];
        (void)snprintf(limit, sizeof limit, "%s", err_text());
        return refuse(&place, NULL, "%s; make it smaller", limit);
    }
    int r = check_keys(doc, " name timeout steps ", &place);
    if (r < 0)
        return err_up(r);
    json_t *name = json_object_get(doc, "name");
    if (name && (!json_is_string(name) || json_string_length(name) > PLAN_NAME_MAX))
        return refuse(&place, "name", "expected a string of at most %u bytes", PLAN_NAME_MAX);
    return read_duration(doc, "timeout", &place, &plan->timeout_ms);
}

static int check_steps(json_t *doc, const struct grants *grants, struct plan *plan) {
    struct json_place place = {0};
    json_t *steps = json_object_get(doc, "steps");
    if (!json_is_array(steps))
        return refuse(&place, "steps", "expected an array of steps, got %s", type_name(steps));
    plan->n = json_array_size(steps);
    if (plan->n > PLAN_STEPS_MAX)
        return refuse(&place, "steps", "%zu steps, the limit is %u; split the plan", plan->n, PLAN_STEPS_MAX);
    plan->steps = calloc(plan->n + 1, sizeof *plan->steps);
    plan->no_args = json_object();
    if (!plan->steps || !plan->no_args)
        return err_raise(-ENOMEM, "a plan of %zu steps", plan->n);
    int r = check_ids(steps, plan);
    for (size_t i = 0; r == 0 && i < plan->n; i++)
        r = check_step(json_array_get(steps, i), grants, plan, i);
    return r;
}

int plan_check(json_t *doc, const struct grants *grants, struct plan *out) {
    struct plan plan = {.doc = json_incref(doc)};
    int r = check_head(doc, &plan);
    if (r == 0)
        r = check_steps(doc, grants, &plan);
    if (r < 0) {
        plan_deinit(&plan);
        return err_up(r);
    }
    *out = plan;
    return 0;
}

void plan_deinit(struct plan *plan) {
    free(plan->steps);
    json_decref(plan->no_args);
    json_decref(plan->doc);
    *plan = PLAN_NULL;
}
