/* `soma ps`: what the supervisors say of their processes, joined with what the kernel says of them now. A process that
 * is gone meanwhile simply has nothing to add. */
#include "cli/session.h"
#include "cli/text.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <string.h>

#define DEPTH_MAX 64 /* of the drawing: supervisors' answers are data too */

/* --- /proc ----------------------------------------------------------------------------------------------------- */

static size_t proc_read(int64_t pid, const char *file, char *out, size_t size) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%lld/%s", (long long)pid, file);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* Resident pages are the second number of statm (proc(5)). */
static void add_rss(json_t *process, int64_t pid) {
    char text[128];
    unsigned long long size, resident;
    if (proc_read(pid, "statm", text, sizeof text) && sscanf(text, "%llu %llu", &size, &resident) == 2 && size)
        (void)json_object_set_new(process, "rss_bytes",
                                  json_integer((json_int_t)(resident * (unsigned long long)sysconf(_SC_PAGESIZE))));
}

static const char *skip_word(const char *text, const char *word) {
    size_t n = word ? strlen(word) : 0;
    return n && strncmp(text, word, n) == 0 && (text[n] == ' ' || text[n] == '\0') ? text + n + (text[n] == ' ') : text;
}

/* The title is "soma: role id state"; the state in it is newer than the supervisor's. A foreign title means that the
 * pid has found another owner, or that a program runs there which is not one of our roles. */
static void add_title(json_t *process, int64_t pid) {
    char title[256];
    if (!proc_read(pid, "cmdline", title, sizeof title) || strncmp(title, "soma: ", 6) != 0)
        return;
    (void)json_object_set_new(process, "title", json_string(title));
    const char *state = skip_word(skip_word(title + 6, json_str(process, "role")), json_str(process, "id"));
    if (*state)
        (void)json_object_set_new(process, "state", json_string(state));
}

/* --- order ----------------------------------------------------------------------------------------------------- */

struct drawing {
    const json_t *processes;
    json_t *done; /* pid -> true */
    struct text_table table;
    bool tree;
};

static int64_t pid_of(const json_t *process) {
    return json_i64(process, "pid", 0);
}

/* What a process says of itself twice is shown once. */
static const char *other_than(const char *known, const char *text) {
    return known && text && strcmp(known, text) == 0 ? NULL : text;
}

static void add_process(struct drawing *d, const json_t *p, const char *branch) {
    char rss[16] = "-", age[16];
    int64_t bytes = json_i64(p, "rss_bytes", 0);
    const char *role = json_str(p, "role"), *id = json_str(p, "id"), *profile = json_str(p, "profile");
    const char *run = other_than(id, json_str(p, "run")), *actor = other_than(id, json_str(p, "actor"));
    if (bytes)
        text_bytes((uint64_t)bytes, rss);
    text_duration(json_i64(p, "age_ms", -1) * 1000, age);
    text_table_addf(&d->table, "%lld", (long long)pid_of(p));
    text_table_addf(&d->table, "%s%s", branch, role ? role : "?");
    text_table_add(&d->table, id && *id && other_than(role, id) ? id : "-");
    text_table_add(&d->table, json_str(p, "state"));
    text_table_addf(&d->table, "%d", (int)json_i64(p, "restarts", 0));
    text_table_add(&d->table, rss);
    text_table_add(&d->table, age);
    text_table_addf(&d->table, "%s%s%s%s%s", profile ? profile : "", profile && (run || actor) ? " for " : "",
                    run ? run : "", run && actor ? " of " : "", actor ? actor : "");
}

static bool below(const json_t *child, const json_t *parent) {
    return json_i64(child, "parent", -1) == pid_of(parent) && pid_of(child) != pid_of(parent);
}

static bool done(struct drawing *d, const json_t *p) {
    char key[24];
    (void)snprintf(key, sizeof key, "%lld", (long long)pid_of(p));
    if (json_object_get(d->done, key))
        return true;
    (void)json_object_set_new(d->done, key, json_true());
    return false;
}

static void draw(struct drawing *d, const json_t *p, const char *lead, bool last, int depth) {
    char branch[4 * DEPTH_MAX + 8], next[4 * DEPTH_MAX + 8];
    size_t i, left = 0;
    const json_t *child;
    if (done(d, p))
        return;
    (void)snprintf(branch, sizeof branch, "%s%s", lead, depth ? (last ? "`- " : "|- ") : "");
    (void)snprintf(next, sizeof next, "%s%s", lead, depth ? (last ? "   " : "|  ") : "");
    add_process(d, p, d->tree ? branch : "");
    json_array_foreach(d->processes, i, child) left += below(child, p);
    json_array_foreach(d->processes, i, child) {
        if (below(child, p) && depth < DEPTH_MAX)
            draw(d, child, next, --left == 0, depth + 1);
    }
}

static bool has_parent(const json_t *processes, const json_t *p) {
    size_t i;
    const json_t *other;
    json_array_foreach(processes, i, other) {
        if (below(p, other))
            return true;
    }
    return false;
}

/* Those whose parent is not in the list first, each with what is below it; then whatever a strange answer left over. */
static void draw_all(struct drawing *d) {
    size_t i;
    const json_t *p;
    json_array_foreach(d->processes, i, p) {
        if (!has_parent(d->processes, p))
            draw(d, p, "", true, 0);
    }
    json_array_foreach(d->processes, i, p) draw(d, p, "", true, 0);
}

static int print(const struct cli *cli, const json_t *processes) {
    static const char *const head[] = {"PID", "KIND", "ID", "STATE", "RST", "RSS", "AGE", "WHAT"};
    auto_json json_t *seen = json_object();
    auto_buf struct buf out = BUF_NULL(TEXT_MAX);
    struct drawing d = {.processes = processes,
                        .done = seen,
                        .table = {.columns = 8, .right = 1u << 0 | 1u << 4 | 1u << 5 | 1u << 6},
                        .tree = cli->value[OPT_TREE] != NULL};
    for (size_t i = 0; i < 8; i++)
        text_table_add(&d.table, head[i]);
    draw_all(&d);
    int r = text_table_print(&d.table, &out);
    text_table_deinit(&d.table);
    return r < 0 ? fail_internal(cli, "the table cannot be shown") : put_buf(cli, &out);
}

int cmd_ps(struct cli *cli) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    size_t i;
    json_t *process;
    int r = session_need(cli, &s);
    if (r == EXIT_DONE)
        r = session_call(cli, &s, "ps", NULL, SESSION_CALL_MS, &answer);
    if (r != EXIT_DONE)
        return r;
    json_array_foreach(json_object_get(answer, "processes"), i, process) {
        add_rss(process, pid_of(process));
        add_title(process, pid_of(process));
    }
    return cli->json ? put_json(cli, answer) : print(cli, json_object_get(answer, "processes"));
}
