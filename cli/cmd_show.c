/* `soma show`: one run or task on one screen. */
#include "cli/event.h"
#include "cli/records.h"
#include "cli/text.h"
#include "cli/view.h"

#include "common/cleanup.h"

#include <string.h>

#define PREVIEW 60 /* bytes of an output or a text in the table */

static void add_line(struct buf *out, const char *label, const char *text) {
    if (!text || !*text)
        return;
    (void)buf_printf(out, "%-9s ", label);
    (void)text_escape(out, TEXT_LINE, text, strlen(text));
    (void)buf_addz(out, "\n");
}

static void add_error(struct buf *out, const json_t *error) {
    const char *name = json_str(error, "name"), *step = json_str(error, "step"), *message = json_str(error, "message");
    auto_buf struct buf text = BUF_NULL(TEXT_MAX);
    if (!name)
        return;
    (void)buf_printf(&text, "%s%s%s%s%s", name, step ? " at step " : "", step ? step : "", message ? ": " : "",
                     message ? message : "");
    (void)buf_add(&text, "", 1);
    add_line(out, "error", text.p);
}

/* First bytes of a value: text as such, else JSON. */
static void preview(const json_t *value, char out[PREVIEW + 8]) {
    const json_t *text = json_is_object(value) ? json_object_get(value, "text") : value;
    auto_free char *json = NULL;
    const char *from = json_string_value(text);
    size_t n = from ? json_string_length(text) : 0;
    out[0] = '\0';
    if (!from && value && json_text(value, JSON_TEXT_MAX, &json, &n) == 0)
        from = json;
    if (from)
        (void)snprintf(out, PREVIEW + 8, "%.*s%s", (int)(n > PREVIEW ? json_utf8_floor(from, PREVIEW) : n), from,
                       n > PREVIEW ? "..." : "");
}

static void duration_of(const json_t *view, char out[16]) {
    text_duration(json_i64(view, "duration_us", -1), out);
}

static void add_step(struct text_table *t, const json_t *step) {
    char lasted[16], detail[PREVIEW + 8];
    const json_t *error = json_object_get(step, "error");
    const char *name = json_str(error, "name"), *message = json_str(error, "message");
    duration_of(step, lasted);
    preview(json_object_get(step, "output"), detail);
    text_table_add(t, json_str(step, "id"));
    text_table_add(t, json_str(step, "tool"));
    text_table_add(t, json_str(step, "status"));
    text_table_add(t, lasted);
    if (name)
        text_table_addf(t, "%s%s%s", name, message ? ": " : "", message ? message : "");
    else
        text_table_add(t, detail);
}

static void add_steps(struct buf *out, const json_t *steps) {
    auto_table struct text_table t = {.columns = 5, .right = 1u << 3};
    size_t i;
    const json_t *step;
    static const char *const head[] = {"STEP", "TOOL", "STATUS", "TIME", "OUTCOME"};
    if (json_array_size(steps) == 0)
        return;
    for (i = 0; i < 5; i++)
        text_table_add(&t, head[i]);
    json_array_foreach(steps, i, step) {
        add_step(&t, step);
    }
    (void)buf_addz(out, "\n");
    (void)text_table_print(&t, out);
}

static void add_head(struct buf *out, const char *kind, const json_t *view) {
    char lasted[16], when[40], status[64];
    const char *what = json_str(view, "status");
    duration_of(view, lasted);
    (void)snprintf(status, sizeof status, "%.30s%s%s", what ? what : "unknown", *lasted == '-' ? "" : " in ",
                   *lasted == '-' ? "" : lasted);
    event_clock(json_i64(view, "started_ns", 0), 1, when);
    add_line(out, kind, json_str(view, kind));
    add_line(out, "status", status);
    add_line(out, "started", when);
    add_line(out, "actor", json_str(view, "actor"));
    add_line(out, "corr", json_str(view, "corr"));
}

static void show_run(struct buf *out, const json_t *view) {
    add_head(out, "run", view);
    add_line(out, "plan", json_str(json_object_get(view, "plan"), "name"));
    add_error(out, json_object_get(view, "error"));
    add_steps(out, json_object_get(view, "steps"));
}

static void show_task(struct buf *out, const json_t *view) {
    size_t i;
    const json_t *run;
    char calls[24];
    (void)snprintf(calls, sizeof calls, "%d", (int)json_i64(view, "llm_calls", 0));
    add_head(out, "task", view);
    add_line(out, "text", json_str(view, "text"));
    add_line(out, "llm calls", calls);
    add_line(out, "reply", json_str(view, "reply"));
    add_error(out, json_object_get(view, "error"));
    json_array_foreach(json_object_get(view, "runs"), i, run) {
        (void)buf_addz(out, "\n");
        show_run(out, run);
    }
}

int cmd_show(struct cli *cli) {
    auto_json json_t *records = NULL;
    auto_buf struct buf out = BUF_NULL(TEXT_MAX);
    const char *id = cli->rest[0];
    bool task = strncmp(id, "t-", 2) == 0;
    if (!task && strncmp(id, "r-", 2) != 0)
        return fail_usage(cli, "`soma show` needs the id of a run (r-...) or of a task (t-...)",
                          "`soma trace` takes correlation ids, `soma log` shows ids");
    int r = records_of(cli, id, &records);
    if (r != EXIT_DONE)
        return r;
    /* The id may have been a prefix; the records carry it whole. */
    const char *whole = json_str(json_array_get(records, 0), task ? "task" : "run");
    auto_json json_t *view = task ? view_task(records, whole ? whole : id) : view_run(records, whole ? whole : id);
    if (cli->json)
        return put_json(cli, view);
    (task ? show_task : show_run)(&out, view);
    return put_buf(cli, &out);
}
