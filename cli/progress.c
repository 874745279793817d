/* A table of event types; what it does not name is not shown. To show another event, add a row. */
#include "cli/progress.h"

#include "cli/text.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum kind {
    OPENS,  /* begins something that lasts: "step read: file_read ..." */
    CLOSES, /* ends it, with its duration */
    SAYS    /* a line of its own */
};

static const struct row {
    const char *type;
    enum kind kind;
    const char *about; /* record member that names the thing */
    const char *label;
    const char *detail; /* JSON pointer below the record, shown after it */
    const char *colour;
} rows[] = {
    {"run.accepted", SAYS, "run", "run", "/data/plan/name", NULL},
    {"run.resumed", SAYS, "run", "run", NULL, NULL},
    {"run.completed", CLOSES, "run", "run", NULL, "32"},
    {"run.failed", CLOSES, "run", "run", "/data/error/name", "31"},
    {"run.timeout", CLOSES, "run", "run", "/data/error/name", "31"},
    {"run.cancelled", CLOSES, "run", "run", "/data/error/name", "33"},
    {"run.in_doubt", CLOSES, "run", "run", NULL, "31"},
    {"step.started", OPENS, "step", "step", "/data/tool", NULL},
    {"step.succeeded", CLOSES, "step", "step", NULL, "32"},
    {"step.failed", CLOSES, "step", "step", "/data/error/name", "31"},
    {"tool.killed", SAYS, "step", "step", "/data/reason", "31"},
    {"task.accepted", SAYS, "task", "task", NULL, NULL},
    {"task.completed", CLOSES, "task", "task", NULL, "32"},
    {"task.failed", CLOSES, "task", "task", "/data/error/name", "31"},
    {"task.timeout", CLOSES, "task", "task", "/data/error/name", "31"},
    {"task.cancelled", CLOSES, "task", "task", "/data/error/name", "33"},
    {"task.rejected", CLOSES, "task", "task", "/data/error/name", "31"},
    {"llm.started", OPENS, "call", "llm", "/data/model", NULL},
    {"llm.succeeded", CLOSES, "call", "llm", "/data/finish", "32"},
    {"llm.failed", CLOSES, "call", "llm", "/data/error", "31"},
    {"proposal.created", SAYS, "task", "proposal", "/data/kind", NULL},
    {"proposal.rejected", SAYS, "task", "proposal", "/data/why", "31"},
    {"proposal.executed", SAYS, "task", "proposal", "/data/run", NULL},
    {"policy.denied", SAYS, "task", "policy", "/data/why", "31"},
    {"budget.exceeded", SAYS, "task", "budget", "/data/budget", "31"},
};

static const struct row *row_of(const char *type) {
    for (size_t i = 0; type && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].type, type) == 0)
            return &rows[i];
    return NULL;
}

void progress_init(struct progress *p, const struct cli *cli) {
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    bool able = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    *p = (struct progress){
        .quiet = cli->json, .terminal = able, .colour = able && !(no_colour && *no_colour), .since = json_object()};
}

void progress_deinit(struct progress *p) {
    progress_end(p);
    json_decref(p->since);
    p->since = NULL;
}

void progress_end(struct progress *p) {
    if (p->open)
        (void)fputc('\n', stderr);
    p->open = false;
}

static void line(struct progress *p, const char *text, size_t n, bool stays_open) {
    (void)fwrite(text, 1, n, stderr);
    p->open = stays_open && p->terminal;
    if (!p->open)
        (void)fputc('\n', stderr);
    (void)fflush(stderr);
}

void progress_note(struct progress *p, const char *text) {
    auto_buf struct buf b = BUF_NULL(TEXT_MAX);
    if (p->quiet)
        return;
    progress_end(p);
    if (text_escape(&b, TEXT_LINE, text, strlen(text)) == 0)
        line(p, b.p, b.n, false);
}

static void add(struct buf *b, const char *text) {
    (void)text_escape(b, TEXT_LINE, text, strlen(text));
}

static void add_detail(struct buf *b, const struct row *row, const json_t *record) {
    json_t *detail = row->detail ? json_at((json_t *)(uintptr_t)record, row->detail) : NULL;
    const char *said = strchr(row->type, '.') + 1, *name = json_string_value(detail);
    if (name && strcmp(name, said) != 0) { /* "cancelled: cancelled" says nothing more */
        (void)buf_addz(b, row->kind == OPENS ? " " : ": ");
        add(b, name);
    }
    const char *message = json_str(json_object_get(json_object_get(record, "data"), "error"), "message");
    if (message && row->kind == CLOSES && strcmp(message, said) != 0) {
        (void)buf_addz(b, ": ");
        add(b, message);
    }
}

/* The verb is the second half of the type: succeeded, failed, accepted. */
static void compose(struct progress *p, struct buf *b, const struct row *row, const json_t *record, const char *id) {
    char lasted[16];
    json_t *from = json_object_get(p->since, id);
    (void)buf_printf(b, "%s ", row->label);
    if (strcmp(row->about, "call") != 0)
        add(b, id);
    if (row->kind != OPENS) {
        if (p->colour && row->colour)
            (void)buf_printf(b, "\033[%sm", row->colour);
        (void)buf_printf(b, "%s%s", strcmp(row->about, "call") != 0 ? " " : "", strchr(row->type, '.') + 1);
        if (p->colour && row->colour)
            (void)buf_addz(b, "\033[0m");
    } else if (strcmp(row->about, "call") != 0)
        (void)buf_addz(b, ":");
    add_detail(b, row, record);
    if (row->kind == OPENS)
        (void)buf_addz(b, " ...");
    if (row->kind != CLOSES || !from)
        return;
    text_duration((json_i64(record, "ts", 0) - json_integer_value(from)) / 1000, lasted);
    (void)buf_printf(b, " (%s)", lasted);
}

void progress_event(struct progress *p, const json_t *record) {
    const struct row *row = row_of(json_str(record, "type"));
    const char *id = row ? json_str(record, row->about) : NULL;
    if (!id || p->quiet)
        return;
    auto_buf struct buf b = BUF_NULL(TEXT_MAX);
    if (p->open && row->kind == CLOSES)
        (void)buf_addz(&b, "\r\033[K"); /* over the line that said it began */
    else
        progress_end(p);
    compose(p, &b, row, record, id);
    if (row->kind != CLOSES && !json_object_get(p->since, id))
        (void)json_object_set_new(p->since, id, json_integer(json_i64(record, "ts", 0)));
    if (!buf_failed(&b))
        line(p, b.p, b.n, row->kind == OPENS);
}
