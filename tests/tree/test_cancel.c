/* Cancel and timeouts: the answer comes when everything under the run is dead, not before; the others go on. */
#include "tests/tree/tools.h"

#include <string.h>

static struct tree t;
static struct client c;

/* Starts a one-step run over the test's own connection, and collects what lives below its call once `ready`. */
static void start(const char *tool, const char *args, char id[32]) {
    char plan[PATH_SIZE + 256];
    (void)snprintf(plan, sizeof plan, "{\"steps\": [{\"id\": \"s\", \"tool\": \"%s\", \"args\": %s}]}", tool, args);
    tree_start_run(&t, plan, false, id);
}

static const char *file_args(const char *name) {
    static char args[PATH_SIZE + 32];
    (void)snprintf(args, sizeof args, "{\"file\": \"%s\"}", tree_path(&t, name));
    return args;
}

/* Cancels and looks at once: not a moment is given to what should be dead already. */
static void cancel(const char *id, const struct proc_list *victims) {
    CHECK(SOMA(&t, &c, "cancel", id) == 0, "%d %s", c.code, c.stderr_);
    CHECK(list_alive(victims) == 0, "%zu of %zu alive after the answer", list_alive(victims), victims->n);
    CHECK(!tree_count(&t, "toolcall") && !tree_count(&t, "tool"));
    auto_json json_t *events = tree_events(&t, "run", id);
    const json_t *end = events_end(events, "run");
    CHECK(end && strcmp(json_str(end, "type"), "run.cancelled") == 0, "%s", end ? json_str(end, "type") : "no end");
}

/* The door and its supervisor are who they were, and the same connection runs again. (A session has one run: gateway/
 * work_run.c.) */
static void go_on(struct proc actors, struct proc gateway) {
    char id[32];
    start("echo", "{\"x\": 1}", id);
    auto_json json_t *end = tree_end_of(&t, "run", id);
    CHECK(strcmp(json_str(end, "type"), "run.completed") == 0, "%s", json_str(end, "type"));
    CHECK(proc_alive(actors) && proc_alive(gateway));
}

static void cancel_one(const char *tool, const char *args, const char *mark, size_t least) {
    static struct proc_list victims;
    char id[32];
    tree_up(&t);
    start(tool, args, id);
    struct proc call = tree_await_state(&t, "toolcall", NULL, "running");
    if (mark)
        WAIT(tree_lines(&t, mark) == 1);
    WAIT((tree_below(call, &victims), victims.n >= least), "%zu processes", victims.n);
    struct proc actors = tree_await(&t, "actors", NULL), gateway = tree_await(&t, "gateway", NULL);
    cancel(id, &victims);
    go_on(actors, gateway);
    tree_check_end(&t);
}

static void cancel_sleep(void) {
    tree_init(&t);
    cancel_one("sleep", "{\"ms\": 50000}", NULL, 1);
}

static void cancel_daemons(void) {
    tree_init(&t);
    cancel_one("daemons", file_args("marks/m"), "marks/m", 5);
}

/* The same run cancelled again: the same answer, and nothing is appended. */
static void cancel_twice(void) {
    char id[32];
    tree_init(&t);
    tree_up(&t);
    start("sleep", "{\"ms\": 50000}", id);
    (void)tree_await_state(&t, "toolcall", NULL, "running");
    auto_json json_t *one = tree_call(&t, "run.cancel", json_pack("{s:s}", "run", id));
    auto_json json_t *before = tree_events(&t, "run", id);
    auto_json json_t *two = tree_call(&t, "run.cancel", json_pack("{s:s}", "run", id));
    auto_json json_t *after = tree_events(&t, "run", id);
    CHECK(json_equal(one, two));
    CHECK(events_count(before, "run.cancelled") == 1 && events_count(after, "run.cancelled") == 1);
    tree_check_end(&t);
}

/* ---- timeouts ---- */

static void timeout(const char *where) {
    static struct proc_list victims;
    char plan[2 * PATH_SIZE];
    tree_init(&t);
    bool of_run = strcmp(where, "run") == 0;
    (void)snprintf(plan, sizeof plan,
                   "{\"timeout\": \"%s\", \"steps\": [{\"id\": \"s\", \"tool\": \"late\", \"timeout\": \"%s\",\n"
                   "  \"args\": {\"file\": \"%s\", \"seconds\": \"600\"}}]}\n",
                   of_run ? "300ms" : "60s", of_run ? "50s" : "300ms", tree_path(&t, "marks/m"));
    tree_write(&t, "plan.json", "%s", plan);
    tree_up(&t);
    client_start(&t, &c, WORDS("run", "plan.json"));
    struct proc call = tree_await_state(&t, "toolcall", NULL, "running");
    WAIT((tree_below(call, &victims), victims.n >= 3), "%zu processes", victims.n); /* scope, shell, sleep */
    CHECK(client_end(&t, &c) == 124, "exit %d: %s", c.code, c.stderr_);
    CHECK(list_alive(&victims) == 0, "%zu alive after the answer", list_alive(&victims));
    CHECK(!tree_has(&t, "marks/m"));
    CHECK(strstr(c.stderr_, "timeout"), "%s", c.stderr_);
    tree_check_end(&t);
}

static void timeout_step(void) {
    timeout("step");
}

static void timeout_run(void) {
    timeout("run");
}

static const struct tree_case cases[] = {
    {"cancel-sleep", cancel_sleep},
    {"cancel-daemons", cancel_daemons},
    {"cancel-daemons-user", cancel_daemons, .as_user = true},
    {"cancel-twice", cancel_twice},
    {"timeout-step", timeout_step},
    {"timeout-run", timeout_run},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
