/* Runs as a person sees them: what happens, in which order, in which processes, and what stands on disk before what. */
#include "tests/tree/tools.h"

#include <string.h>

static struct tree t;
static struct client c;

/* The types of a run's records, one per line; what supervisors say of processes left out. */
static const char *trail(json_t *events) {
    static char text[4096];
    size_t i, n = 0;
    const json_t *record;
    *text = 0;
    json_array_foreach(events, i, record) {
        const char *type = json_str(record, "type");
        if (strncmp(type, "process.", 8) != 0)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s ", type);
    }
    return text;
}

static const char *only_run(void) {
    static char id[32];
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(events_count(all, "run.accepted") == 1);
    (void)snprintf(id, sizeof id, "%s", json_str(events_find(all, "run.accepted"), "run"));
    return id;
}

static void happy(void) {
    tree_init(&t);
    tree_write(&t, "read/in.txt", "two\nlines\n");
    tree_write(
        &t, "plan.json",
        "{\"name\": \"happy\", \"steps\": [\n"
        " {\"id\": \"read\", \"tool\": \"file_read\", \"args\": {\"path\": \"in.txt\"}},\n"
        " {\"id\": \"mark\", \"tool\": \"note\", \"args\": {\"file\": \"%s\"}},\n"
        " {\"id\": \"grep\", \"tool\": \"text_grep\", \"args\": {\"text\": {\"$from\": \"read\", \"at\": \"/text\"}, "
        "\"pattern\": \"two\"}}]}\n",
        tree_path(&t, "marks/m"));
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "--json", "plan.json") == 0, "%s", c.stderr_);
    auto_json json_t *out = NULL;
    CHECK(json_parse(c.stdout_, strlen(c.stdout_), JSON_TEXT_MAX, &out) == 0, "%s", c.stdout_);
    const json_t *outputs = json_object_get(out, "outputs");
    CHECK(strcmp(json_str(json_object_get(outputs, "read"), "text"), "two\nlines\n") == 0, "%s", c.stdout_);
    CHECK(strcmp(json_str(json_object_get(outputs, "mark"), "text"), "noted\n") == 0, "%s", c.stdout_);
    CHECK(json_i64(json_object_get(outputs, "grep"), "match_count", -1) == 1, "%s", c.stdout_);
    CHECK(tree_lines(&t, "marks/m") == 1);
    auto_json json_t *events = tree_events(&t, "run", only_run());
    CHECK(strcmp(trail(events), "run.accepted run.started "
                                "step.started tool.started tool.succeeded step.succeeded "
                                "step.started tool.started tool.succeeded step.succeeded "
                                "step.started tool.started tool.succeeded step.succeeded "
                                "run.completed ") == 0,
          "%s", trail(events));
    tree_check_end(&t);
}

/* Every step in a process of its own; and every other process has its own pid, too. */
static void pids(void) {
    tree_init(&t);
    tree_write(&t, "plan.json",
               "{\"steps\": [{\"id\": \"a\", \"tool\": \"echo\", \"args\": {}}, "
               "{\"id\": \"b\", \"tool\": \"echo\", \"args\": {}}]}\n");
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "plan.json") == 0, "%s", c.stderr_);
    auto_json json_t *all = tree_events(&t, "all", NULL);
    size_t i, j, n = 0;
    json_t *record;
    int64_t pid[64];
    json_array_foreach(all, i, record) if (strcmp(json_str(record, "type"), "process.started") == 0 && n < 64)
        pid[n++] = json_i64(json_object_get(record, "data"), "pid", 0);
    CHECK(n >= 7 + 1 + 1 + 1 + 2, "%zu starts", n); /* root's children, an actor, a session, a run, two calls */
    for (i = 0; i < n; i++)
        for (j = 0; j < i; j++)
            CHECK(pid[i] > 0 && pid[i] != pid[j], "pid %lld twice", (long long)pid[i]);
    tree_check_end(&t);
}

/* The log is frozen under a run whose scope is already there: nothing is written until tool.started is on disk. */
static void log_first(void) {
    char id[32];
    tree_init(&t);
    tree_write(&t, "plan.json",
               "{\"steps\": [{\"id\": \"w\", \"tool\": \"file_write\", \"args\": {\"path\": "
               "\"out.txt\", \"text\": \"x\", \"mode\": \"create\"}}]}\n");
    tree_up(&t);
    struct proc log = tree_await(&t, "eventlog", NULL);
    proc_freeze(log);
    client_start(&t, &c, WORDS("run", "plan.json"));
    struct proc run = tree_hold_accepted(&t, id);
    proc_freeze(log);
    proc_thaw(run);
    (void)tree_await_state(&t, "toolcall", NULL, "waiting");
    HOLDS(150, !tree_has(&t, "write/out.txt"), "an effect before its event");
    CHECK(!client_ended(&c));
    proc_thaw(log);
    CHECK(client_end(&t, &c) == 0, "%s", c.stderr_);
    CHECK(tree_has(&t, "write/out.txt"));
    tree_check_end(&t);
}

/* failure trail: tool.failed, step.failed, run.failed; the same connection runs another */
static void failure(void) {
    tree_init(&t);
    tree_write(&t, "plan.json",
               "{\"steps\": [{\"id\": \"f\", \"tool\": \"fail\", \"args\": {\"mode\": \"crash\"}}, "
               "{\"id\": \"b\", \"tool\": \"echo\", \"args\": {}}]}\n");
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "plan.json") == 1, "exit %d, %s", c.code, c.stderr_);
    CHECK(!*c.stdout_ && strstr(c.stderr_, "why: ") && strstr(c.stderr_, "fix: "), "%s", c.stderr_);
    auto_json json_t *events = tree_events(&t, "run", only_run());
    CHECK(strcmp(trail(events),
                 "run.accepted run.started step.started tool.started tool.failed step.failed run.failed ") == 0,
          "%s", trail(events));
    char id[32];
    tree_start_run(&t, "{\"steps\": [{\"id\": \"f\", \"tool\": \"fail\", \"args\": {\"mode\": \"crash\"}}]}", false,
                   id);
    auto_json json_t *failed = tree_end_of(&t, "run", id);
    struct proc gateway = tree_await(&t, "gateway", NULL);
    tree_start_run(&t, "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {}}]}", false, id);
    auto_json json_t *good = tree_end_of(&t, "run", id);
    CHECK(strcmp(json_str(failed, "type"), "run.failed") == 0 && strcmp(json_str(good, "type"), "run.completed") == 0);
    CHECK(proc_alive(gateway));
    tree_check_end(&t);
}

static void ask(void) {
    tree_init(&t);
    tree_write(&t, "script.json",
               "{\"replies\": [{\"tool_calls\": [{\"name\": \"note\", \"arguments\": {\"file\": \"%s\"}}]}, "
               "{\"content\": \"the tool said {{tool:/text}}\"}]}",
               tree_path(&t, "marks/m"));
    tree_up(&t);
    CHECK(SOMA(&t, &c, "ask", "helper", "please") == 0, "%s", c.stderr_);
    CHECK(strstr(c.stdout_, "the tool said noted"), "%s", c.stdout_);
    CHECK(tree_lines(&t, "marks/m") == 1);
    auto_json json_t *all = tree_events(&t, "all", NULL);
    auto_json json_t *events = tree_events(&t, "task", json_str(events_find(all, "task.accepted"), "task"));
    CHECK(events_count(events, "llm.succeeded") == 2 && events_count(events, "task.completed") == 1, "%s",
          trail(events));
    CHECK(events_count(all, "run.completed") == 1 && events_count(all, "proposal.executed") == 1);
    tree_check_end(&t);
}

static const struct tree_case cases[] = {
    {"run-pids", pids},
    {"run-log-first", log_first},
    {"run-failure", failure},
    {"ask-happy", ask},
    {"ask-happy-user", ask, .as_user = true},
    {"run-happy", happy},
    {"run-happy-user", happy, .as_user = true},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
