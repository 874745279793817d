/* Every role killed at every point of a run and of an ask; P1 and P2 checked from outside, and the log read afterwards.
 *
 * A row is scenario, point and victim; its name says so: kill-run-working-toolcalls. For each:
 *   - bystanders (what the victim does not own, and nothing behind it in the start order) keep their identity,
 *   - what lived below the victim is dead, and never do two incarnations of one id live at the same time,
 *   - everything behind it in the start order is a new process and ready again; a new run succeeds,
 *   - the run or task has exactly one terminal event, of the kind its table says,
 *   - the tool, which is not safe to repeat, has been at work once at most, and once if all went well,
 *   - at the end nothing is left, and the log is whole. */
#include "tests/tree/kill.h"

#include <string.h>

struct seen {
    char role[32], id[80];
    struct proc proc;
};

enum scenario { SCENARIO_RUN, SCENARIO_ASK };

struct row {
    enum scenario scenario;
    enum point point;
    const char *victim;
    char name[64];
};

static struct world w;
static struct seen seen[64]; /* the tree and the client just before the kill */
static size_t n_seen;

/* ---- what depends on what ---- */

static const char *const order[] = {"launcher", "root", "eventlog", "registry", "toolcalls",
                                    "llmcalls", "runs", "actors",   "gateway"};
enum { ORDER = sizeof order / sizeof *order, STATIC = 2 };

/* Place in the start order; of a worker, that of its supervisor. ORDER: neither. */
static size_t place(const char *role) {
    static const char *const below[][2] = {{"toolcall", "toolcalls"}, {"tool", "toolcalls"}, {"llmcall", "llmcalls"},
                                           {"run", "runs"},           {"actor", "actors"},   {"session", "actors"}};
    size_t i = 0;
    for (size_t k = 0; k < sizeof below / sizeof *below; k++)
        if (strcmp(below[k][0], role) == 0)
            role = below[k][1];
    while (i < ORDER && strcmp(order[i], role) != 0)
        i++;
    return i;
}

static bool is(const char *role, const char *other) {
    return strcmp(role, other) == 0;
}

static bool is_static(const char *role) {
    return place(role) < ORDER && is(order[place(role)], role);
}

/* The workers that go on as if nothing had happened, per victim that is no child of root and no client. */
static const struct stays {
    enum scenario scenario;
    const char *victim, *bystanders;
} stays[] = {
    {SCENARIO_RUN, "session", " run toolcall tool actor "},
    {SCENARIO_RUN, "actor", " run toolcall tool session "},
    {SCENARIO_RUN, "gateway", " run toolcall tool session actor "},
    {SCENARIO_RUN, "actors", " run toolcall tool "},
    {SCENARIO_RUN, "run", " actor session "},
    {SCENARIO_RUN, "toolcall", " actor "},
    {SCENARIO_RUN, "tool", " actor "},
    {SCENARIO_RUN, "client", " actor "},
    {SCENARIO_ASK, "gateway", " run toolcall tool llmcall actor "},
    {SCENARIO_ASK, "llmcall", " actor "},
    {SCENARIO_ASK, "run", " actor "},
    {SCENARIO_ASK, "toolcall", " actor "},
    {SCENARIO_ASK, "tool", " actor "},
    {SCENARIO_ASK, "client", " actor "},
};

static bool among(const char *role, const char *set) {
    char word[40];
    (void)snprintf(word, sizeof word, " %.31s ", role);
    return strstr(set, word) != NULL;
}

static bool is_bystander(const struct row *row, const char *role) {
    if (is(role, row->victim))
        return false;
    if (is_static(role) || is_static(row->victim)) {
        size_t victim = is_static(row->victim) ? place(row->victim) : ORDER;
        if (place(role) >= victim)
            return false;
        if (is_static(role))
            return true;
    }
    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++)
        if (stays[i].scenario == row->scenario && is(stays[i].victim, row->victim))
            return among(role, stays[i].bystanders);
    return false;
}

/* ---- what is alive ---- */

static void remember(const char *role, const char *id, struct proc p) {
    CHECK(n_seen < sizeof seen / sizeof *seen);
    struct seen *s = &seen[n_seen++];
    (void)snprintf(s->role, sizeof s->role, "%s", role);
    (void)snprintf(s->id, sizeof s->id, "%s", id);
    s->proc = p;
}

static void take_snapshot(void) {
    static struct proc_list list;
    n_seen = 0;
    remember("launcher", "", w.t.launcher);
    remember("client", "", w.c.proc);
    tree_all(&w.t, &list);
    for (size_t i = 0; i < list.n; i++) {
        char role[32], id[80];
        title_role(list.at[i].title, role);
        title_id(list.at[i].title, id);
        if (!*list.at[i].title)
            continue; /* on its way out: its memory has gone already */
        remember(*role ? role : "tool", id, list.at[i].id);
    }
}

static void check_bystanders(const struct row *row) {
    for (size_t i = 0; i < n_seen; i++) {
        bool ending = row->point == POINT_ENDED && !is_static(seen[i].role) && !is(seen[i].role, "actor");
        if (is_bystander(row, seen[i].role) && !ending)
            CHECK(proc_alive(seen[i].proc), "%s %s (%d) was hurt", seen[i].role, seen[i].id, seen[i].proc.pid);
    }
}

/* Two processes with one title-id, each seen alive after the other was: at that moment there were two. */
static bool child_of_root(const struct proc_list *list, size_t i) {
    char role[32];
    for (size_t k = 0; k < list->n; k++)
        if (list->at[k].id.pid == list->at[i].parent)
            return title_role(list->at[k].title, role), is(role, "root");
    return false;
}

/* A fresh fork carries its parent's title until it has one of its own: only root's children are static roles. */
static void check_twins(void) {
    static struct proc_list list;
    char role[2][32], id[2][80];
    tree_all(&w.t, &list);
    for (size_t i = 0; i < list.n; i++)
        for (size_t j = 0; j < i; j++) {
            title_role(list.at[i].title, role[0]);
            title_role(list.at[j].title, role[1]);
            title_id(list.at[i].title, id[0]);
            title_id(list.at[j].title, id[1]);
            bool worker = is(role[0], "run") || is(role[0], "toolcall") || is(role[0], "llmcall") ||
                          is(role[0], "session") || is(role[0], "actor");
            if (list.at[i].parent == list.at[j].id.pid)
                continue; /* a fork that has not executed yet */
            bool same = worker ? is(role[0], role[1]) && is(id[0], id[1])
                               : *role[0] && is(role[0], role[1]) && child_of_root(&list, i) && child_of_root(&list, j);
            CHECK(!same || !proc_alive(list.at[i].id) || !proc_alive(list.at[j].id), "two of %s %s", role[0], id[0]);
        }
}

static bool replaced(const struct seen *old) {
    struct proc now;
    check_twins();
    return tree_find(&w.t, old->role, NULL, &now) && !proc_same(now, old->proc);
}

/* What came behind the victim in the start order is new. */
static void await_successors(const struct row *row) {
    for (size_t i = 0; i < n_seen; i++)
        if (is_static(seen[i].role) && is_static(row->victim) && place(seen[i].role) >= place(row->victim))
            WAIT(replaced(&seen[i]), "a new %s", seen[i].role);
}

/* ---- the row ---- */

static bool whole_tree(const struct row *row) {
    return is(row->victim, "launcher") || is(row->victim, "root");
}

static struct proc victim_of(const struct row *row) {
    for (size_t i = 0; i < n_seen; i++)
        if (is(seen[i].role, row->victim))
            return seen[i].proc;
    CHECK(false, "there is no %s at this point", row->victim);
    return (struct proc){0, 0};
}

static void prepare(const struct row *row) {
    tree_init(&w.t);
    gate_make(&w.t, "marks/gate");
    char args[2 * PATH_SIZE + 64];
    (void)snprintf(args, sizeof args, "{\"file\": \"%s\", \"gate\": \"%s\"}", tree_path(&w.t, "marks/m"),
                   tree_path(&w.t, "marks/gate"));
    tree_write(&w.t, "plan.json", "{\"steps\": [{\"id\": \"s\", \"tool\": \"once\", \"args\": %s}]}\n", args);
    tree_write(&w.t, "script.json",
               "{\"replies\": [{\"delay_ms\": 60, \"tool_calls\": [{\"name\": \"once\", \"arguments\": %s}]},\n"
               " {\"delay_ms\": 60, \"content\": \"done\"}]}\n",
               args);
    tree_up(&w.t);
    w.kind = row->scenario == SCENARIO_RUN ? "run" : "task";
    auto_json json_t *head = tree_call(&w.t, "head", NULL);
    w.before = json_i64(head, "seq", 0);
    (void)tree_await_state(&w.t, "actor", "helper", "idle");
}

/* All of the tree dies; the next one closes what was open. */
static void whole_tree_dies(const struct row *row) {
    int code = tree_wait(&w.t);
    CHECK(code != 0, "exit %d", code);
    for (size_t i = 0; i < n_seen; i++)
        if (!is(seen[i].role, "client"))
            WAIT(!proc_alive(seen[i].proc), "%s %s outlives its tree", seen[i].role, seen[i].id);
    point_let_go(&w);
    (void)client_end(&w.t, &w.c);
    tree_check_empty(&w.t);
    tree_up(&w.t);
}

/* How a row may end: types of the terminal event without "run." or "task.", and the error it must name, if any. */
struct ending {
    const char *types, *error;
};

/* Whoever stands behind a dead child of root is stopped in order, last first. Its run, let go at that moment, may reach
 * its end, may lose a call or may be told to end, whichever comes first; what it had to do is over in any case. */
static struct ending stopped_in_order(const struct row *row) {
    if (row->point == POINT_UNENDED || row->point == POINT_UNJOURNALLED)
        return (struct ending){" completed failed cancelled ", NULL};
    return (struct ending){" failed cancelled ", NULL};
}

static struct ending ending_of_run(const struct row *row) {
    if (row->point == POINT_ENDED || among(row->victim, " gateway actor "))
        return (struct ending){" completed ", NULL};
    if (among(row->victim, " client "))
        return (struct ending){row->point == POINT_UNENDED ? " completed cancelled " : " cancelled ", NULL};
    if (among(row->victim,
              " session actors ")) /* who was not told that it is accepted is told that it is not, and leaves */
        return (struct ending){row->point <= POINT_UNWRITTEN ? " completed cancelled " : " completed ", NULL};
    if (among(row->victim, " registry toolcalls llmcalls "))
        return stopped_in_order(row);
    return (struct ending){" failed ", among(row->victim, " toolcall tool ") ? NULL : "interrupted"};
}

static struct ending ending_of_task(const struct row *row) {
    if (row->point == POINT_ENDED || among(row->victim, " gateway run toolcall tool "))
        return (struct ending){" completed ", NULL}; /* what became of its tool is data for the task */
    if (among(row->victim, " client "))
        return (struct ending){row->point == POINT_UNENDED ? " completed cancelled " : " cancelled ", NULL};
    if (among(row->victim, " registry toolcalls llmcalls runs "))
        return stopped_in_order(row);
    return (struct ending){" failed ", among(row->victim, " llmcall ") ? NULL : "interrupted"};
}

static struct ending ending_of(const struct row *row) {
    return row->scenario == SCENARIO_RUN ? ending_of_run(row) : ending_of_task(row);
}

/* Whoever waits at the gate may pass only where it should be alive; elsewhere it must die waiting. */
static bool gate_opens(const struct row *row) {
    return strstr(ending_of(row).types, "completed") &&
           !among(row->victim, " run toolcall tool client registry toolcalls ") &&
           !(row->scenario == SCENARIO_ASK && among(row->victim, " llmcalls runs "));
}

static const char *check_end(const struct row *row) {
    static char type[32];
    struct ending wanted = ending_of(row);
    auto_json json_t *end = tree_end_of(&w.t, w.kind, w.id);
    const char *name = json_str(json_object_get(json_object_get(end, "data"), "error"), "name");
    (void)snprintf(type, sizeof type, "%s", strchr(json_str(end, "type"), '.') + 1);
    CHECK(among(type, wanted.types), "%s {%s}, not%s", type, name ? name : "", wanted.types);
    CHECK(!wanted.error || (name && is(name, wanted.error)), "%s {%s}, not %s", type, name ? name : "", wanted.error);
    for (size_t i = 0; i < n_seen; i++)
        if (among(seen[i].role, " toolcall tool "))
            CHECK(!proc_alive(seen[i].proc), "%s %s outlived the end", seen[i].role, seen[i].id);
    size_t lines = tree_lines(&w.t, "marks/m");
    CHECK(lines <= 1, "the effect happened %zu times", lines);
    if (row->scenario == SCENARIO_RUN && is(type, "completed"))
        CHECK(lines == 1, "completed without the effect");
    return type;
}

/* It may say less than it could (7: the runtime broke under it), never that all went well when it did not. */
static void check_client(const struct row *row, const char *type) {
    int code = client_end(&w.t, &w.c);
    bool told = row->scenario == SCENARIO_RUN ? row->point > POINT_UNWRITTEN : row->point > POINT_ACCEPTED;
    if (is(row->victim, "client"))
        CHECK(code == 128 + SIGKILL, "exit %d", code);
    else if (whole_tree(row)) /* its answer may have been on the way */
        CHECK(code == 7 || (code == 0 && row->point == POINT_ENDED), "exit %d: %s", code, w.c.stderr_);
    else if (is(type, "completed") && (told || is(row->victim, "gateway")) &&
             (!is_static(row->victim) || place(row->victim) > place("runs")))
        CHECK(code == 0, "exit %d: %s", code, w.c.stderr_);
    else
        CHECK(code == 7 || code == (is(type, "completed") ? 0 : 1), "exit %d: %s", code, w.c.stderr_);
}

/* Every accepted run and task of this row, that of the ask's run included, has one terminal event. */
static void check_ends(void) {
    auto_json json_t *events = tree_events_after(&w.t, w.before);
    size_t i;
    const json_t *record;
    json_array_foreach(events, i, record) {
        const char *type = json_str(record, "type");
        CHECK(json_i64(record, "seq", 0) == w.before + 1 + (int64_t)i, "a gap before %s", type);
        if (is(type, "run.accepted"))
            json_decref(tree_end_of(&w.t, "run", json_str(record, "run")));
        if (is(type, "task.accepted"))
            json_decref(tree_end_of(&w.t, "task", json_str(record, "task")));
    }
}

static void check_works(void) {
    char id[32];
    tree_start_run(&w.t, "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {\"x\": 1}}]}", false, id);
    auto_json json_t *end = tree_end_of(&w.t, "run", id);
    CHECK(is(json_str(end, "type"), "run.completed"), "%s", json_str(end, "type"));
    WAIT(!tree_count(&w.t, "run") && !tree_count(&w.t, "session") && !tree_count(&w.t, "toolcall") &&
         !tree_count(&w.t, "llmcall"));
    (void)tree_await_state(&w.t, "actor", "helper", "idle");
}

static void body(void) {
    const struct row *row = tree_case_now->arg;
    auto_gate int gate = -1;
    prepare(row);
    if (row->scenario == SCENARIO_RUN)
        point_open_run(&w, row->point);
    else
        point_open_ask(&w, row->point);
    take_snapshot();
    proc_kill(victim_of(row));
    if (whole_tree(row)) {
        whole_tree_dies(row);
    } else {
        check_bystanders(row);
        point_let_go(&w);
        await_successors(row);
        if (gate_opens(row))
            gate = point_open_gate(&w);
    }
    const char *type = check_end(row);
    check_client(row, type);
    check_ends();
    check_works();
    gate = fd_close(gate);
    tree_check_end(&w.t);
}

/* ---- the table ---- */

/* The workers that exist at a point; those that may just be ending are left out. */
static const char *const workers[2][POINT__COUNT] = {
    [SCENARIO_RUN] = {[POINT_ACCEPTED] = "run session actor",
                      [POINT_UNWRITTEN] = "toolcall run session actor",
                      [POINT_WORKING] = "tool toolcall run session actor",
                      [POINT_UNJOURNALLED] = "toolcall run session actor",
                      [POINT_UNENDED] = "run session actor",
                      [POINT_ENDED] = "actor"},
    [SCENARIO_ASK] = {[POINT_ACCEPTED] = "actor",
                      [POINT_UNWRITTEN] = "llmcall actor",
                      [POINT_WORKING] = "llmcall actor",
                      [POINT_TOOL] = "tool toolcall run actor",
                      [POINT_UNJOURNALLED] = "llmcall actor",
                      [POINT_UNENDED] = "actor",
                      [POINT_ENDED] = "actor"},
};
static const char everybody[] = "launcher root eventlog registry toolcalls llmcalls runs actors gateway client";
static const char *const point_names[] = {
#define X(id, name) [POINT_##id] = name,
    POINTS(X)
#undef X
};

#define ROWS_MAX 256u
static struct row rows[ROWS_MAX];
static struct tree_case cases[ROWS_MAX + 16];
static size_t n_rows, n_cases;

static void add_rows(enum scenario scenario, enum point point, const char *victims, bool as_user) {
    static char words[ROWS_MAX * 4][16];
    static size_t n_words;
    for (const char *at = victims; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
        struct row *row = &rows[n_rows++];
        (void)snprintf(words[n_words], sizeof words[0], "%.*s", (int)strcspn(at, " "), at);
        *row = (struct row){scenario, point, words[n_words++], ""};
        (void)snprintf(row->name, sizeof row->name, "kill-%s-%s-%s%s", scenario == SCENARIO_RUN ? "run" : "ask",
                       point_names[point], row->victim, as_user ? "-user" : "");
        cases[n_cases++] = (struct tree_case){.name = row->name, .body = body, .as_user = as_user, .arg = row};
    }
}

int main(int argc, char **argv) {
    for (int s = SCENARIO_RUN; s <= SCENARIO_ASK; s++)
        for (int p = 0; p < POINT__COUNT; p++)
            if (workers[s][p]) {
                add_rows((enum scenario)s, (enum point)p, everybody, false);
                add_rows((enum scenario)s, (enum point)p, workers[s][p], false);
            }
    /* in a user namespace other rules hold for who may kill and reap whom */
    add_rows(SCENARIO_RUN, POINT_WORKING, everybody, true);
    add_rows(SCENARIO_RUN, POINT_WORKING, workers[SCENARIO_RUN][POINT_WORKING], true);
    return tree_main(argc, argv, cases, n_cases);
}
