/* One walk over the records; each event type changes a few members. The order of steps is that of the plan. */
#include "cli/view.h"

#include "common/json.h"

#include <string.h>

static void set_str(json_t *to, const char *key, const char *text) {
    if (text)
        (void)json_object_set_new(to, key, json_string(text));
}

static void set_ref(json_t *to, const char *key, json_t *value) {
    if (value)
        (void)json_object_set(to, key, value);
}

static bool is(const json_t *record, const char *member, const char *value) {
    const char *text = json_str(record, member);
    return text && strcmp(text, value) == 0;
}

/* What follows the dot of the type. */
static const char *verb(const json_t *record) {
    const char *type = json_str(record, "type"), *dot = type ? strchr(type, '.') : NULL;
    return dot ? dot + 1 : "";
}

static bool about(const json_t *record, const char *prefix) {
    const char *type = json_str(record, "type");
    size_t n = strlen(prefix);
    return type && strncmp(type, prefix, n) == 0 && type[n] == '.';
}

static void set_duration(json_t *to, const json_t *record) {
    int64_t from = json_i64(to, "started_ns", 0);
    if (from)
        (void)json_object_set_new(to, "duration_us", json_integer((json_i64(record, "ts", 0) - from) / 1000));
}

/* --- steps ----------------------------------------------------------------------------------------------------- */

static json_t *step_of(json_t *steps, const char *id) {
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step) {
        if (is(step, "id", id))
            return step;
    }
    step = json_pack("{s:s, s:s}", "id", id, "status", "waiting");
    (void)json_array_append_new(steps, step);
    return step;
}

static void steps_of_plan(json_t *steps, const json_t *plan) {
    size_t i;
    const json_t *planned;
    json_array_foreach(json_object_get(plan, "steps"), i, planned) {
        const char *id = json_str(planned, "id");
        if (id)
            set_str(step_of(steps, id), "tool", json_str(planned, "tool"));
    }
}

static void on_step(json_t *steps, const json_t *record) {
    const char *id = json_str(record, "step");
    json_t *data = json_object_get(record, "data");
    if (!id)
        return;
    json_t *step = step_of(steps, id);
    if (about(record, "tool")) {
        set_ref(step, "output", json_object_get(data, "output"));
        set_str(step, "call", json_str(record, "call"));
        return;
    }
    bool starts = strcmp(verb(record), "started") == 0;
    set_str(step, "status", starts ? "running" : verb(record));
    set_ref(step, "error", json_object_get(data, "error"));
    set_str(step, "tool", json_str(data, "tool"));
    if (starts)
        (void)json_object_set_new(step, "started_ns", json_integer(json_i64(record, "ts", 0)));
    else
        set_duration(step, record);
}

/* --- runs and tasks -------------------------------------------------------------------------------------------- */

/* Accepted, started and resumed work is running; every other event of its own ends it. */
static void on_state(json_t *view, const json_t *record) {
    const char *said = verb(record);
    json_t *data = json_object_get(record, "data");
    if (strcmp(said, "accepted") == 0 || strcmp(said, "started") == 0 || strcmp(said, "resumed") == 0) {
        set_str(view, "status", "running");
        return;
    }
    set_str(view, "status", said);
    set_duration(view, record);
    set_ref(view, "outputs", json_object_get(data, "outputs"));
    set_ref(view, "reply", json_object_get(data, "reply"));
    set_ref(view, "error", json_object_get(data, "error"));
}

static void set_identity(json_t *view, const json_t *record) {
    if (!json_object_get(view, "actor"))
        set_str(view, "actor", json_str(record, "actor"));
    if (!json_object_get(view, "corr"))
        set_str(view, "corr", json_str(record, "corr"));
    if (!json_object_get(view, "started_ns"))
        (void)json_object_set_new(view, "started_ns", json_integer(json_i64(record, "ts", 0)));
}

json_t *view_run(const json_t *records, const char *run) {
    json_t *steps = json_array(), *view = json_pack("{s:s, s:s}", "run", run, "status", "unknown");
    size_t i;
    const json_t *record;
    json_array_foreach(records, i, record) {
        json_t *plan = json_at(json_object_get(record, "data"), "/plan");
        if (!is(record, "run", run))
            continue;
        set_identity(view, record);
        if (about(record, "run") && plan) {
            set_ref(view, "plan", plan);
            steps_of_plan(steps, plan);
        }
        if (about(record, "run"))
            on_state(view, record);
        else if (about(record, "step") || about(record, "tool"))
            on_step(steps, record);
    }
    (void)json_object_set_new(view, "steps", steps);
    return view;
}

json_t *view_task(const json_t *records, const char *task) {
    json_t *runs = json_array(), *view = json_pack("{s:s, s:s}", "task", task, "status", "unknown");
    size_t i, calls = 0;
    const json_t *record;
    json_array_foreach(records, i, record) {
        const char *run = json_str(json_object_get(record, "data"), "run");
        if (!is(record, "task", task))
            continue;
        set_identity(view, record);
        if (about(record, "task"))
            on_state(view, record);
        if (about(record, "actor"))
            set_ref(view, "text", json_object_get(json_object_get(record, "data"), "text"));
        calls += is(record, "type", "llm.started");
        if (is(record, "type", "proposal.executed") && run)
            (void)json_array_append_new(runs, view_run(records, run));
    }
    (void)json_object_set_new(view, "llm_calls", json_integer((json_int_t)calls));
    (void)json_object_set_new(view, "runs", runs);
    return view;
}
