/* The ends of a tree: asked, told by signal, told twice, at its first breath. Whatever the way, nothing is left. */
#include "tests/tree/tools.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>

static struct tree t;
static struct client c;

#define PLAN "{\"steps\": [{\"id\": \"s\", \"tool\": \"daemons\", \"args\": {\"file\": \"%s\"}}]}"

/* A tree with work in it that does not end by itself and ignores SIGTERM. */
static void busy_tree(char id[32]) {
    char plan[PATH_SIZE + 256];
    tree_init(&t);
    tree_up(&t);
    (void)snprintf(plan, sizeof plan, PLAN, tree_path(&t, "marks/m"));
    tree_start_run(&t, plan, true, id);
    WAIT(tree_lines(&t, "marks/m") == 1);
}

static void check_last(const char *wanted) {
    auto_json json_t *all = tree_events(&t, "all", NULL);
    const json_t *last = json_array_get(all, json_array_size(all) - 1);
    CHECK(strcmp(json_str(last, "type"), wanted) == 0, "the last record is %s", json_str(last, "type"));
}

/* An orderly stop: the last word is the stop itself. Detached work has no end yet, the next start gives it one: until
 * runs can be resumed it is `interrupted`. */
static void check_orderly(const char *id) {
    tree_check_empty(&t);
    check_last("system.stop");
    auto_json json_t *events = tree_events(&t, "run", id);
    CHECK(!events_end(events, "run"), "%s", json_str(events_end(events, "run"), "type"));
    tree_up(&t);
    auto_json json_t *end = tree_end_of(&t, "run", id);
    CHECK(strcmp(json_str(end, "type"), "run.failed") == 0, "%s", json_str(end, "type"));
    tree_check_end(&t);
}

static void command(void) {
    char id[32];
    busy_tree(id);
    CHECK(SOMA(&t, &c, "stop") == 0, "%d %s", c.code, c.stderr_);
    CHECK(tree_wait(&t) == 0, "status %x", (unsigned)t.status);
    check_orderly(id);
}

static void by_signal(int signo, int wanted) {
    char id[32];
    busy_tree(id);
    CHECK(kill(t.pid, signo) == 0);
    int code = tree_wait(&t);
    CHECK(code == wanted, "exit %d", code);
    check_orderly(id);
}

static void term(void) {
    by_signal(SIGTERM, 0);
}

static void interrupt(void) {
    by_signal(SIGINT, 130);
}

/* Root cannot answer the first one: it is frozen. The second ends it all. */
static void interrupt_twice(void) {
    char id[32];
    busy_tree(id);
    proc_freeze(tree_await(&t, "root", NULL));
    CHECK(kill(t.pid, SIGINT) == 0);
    HOLDS(50, proc_alive(t.launcher));
    CHECK(kill(t.pid, SIGINT) == 0);
    int code = tree_wait(&t);
    CHECK(code == 130, "exit %d", code);
    tree_check_end(&t);
}

static void quit(void) {
    char id[32];
    busy_tree(id);
    CHECK(kill(t.pid, SIGQUIT) == 0);
    int code = tree_wait(&t);
    CHECK(code != 0, "exit %d", code);
    tree_check_end(&t);
}

/* SD1: the children end in reverse start order, each only after the one behind it. */
static void order(void) {
    static const char *const wanted[] = {"gateway", "actors", "runs", "llmcalls", "toolcalls", "registry"};
    char id[32];
    busy_tree(id);
    CHECK(tree_down(&t) == 0);
    auto_json json_t *all = tree_events(&t, "all", NULL);
    size_t i, n = 0;
    const json_t *record;
    bool stopping = false;
    json_array_foreach(all, i, record) {
        const char *type = json_str(record, "type"), *role = json_str(json_object_get(record, "data"), "role");
        stopping = stopping || strcmp(type, "system.stopping") == 0;
        if (!stopping || strcmp(type, "process.exited") != 0 || json_object_get(json_object_get(record, "data"), "id"))
            continue;
        CHECK(n < 6 && strcmp(role, wanted[n]) == 0, "%s ended as number %zu", role, n);
        n++;
    }
    CHECK(n == 6, "%zu ends are in the log", n);
    tree_check_end(&t);
}

/* SG4, short: a signal at every moment of the start ends it. No time is judged, it only spreads the moments. */
static void early(int signo) {
    tree_init(&t);
    for (int i = 0; i < 30; i++) {
        auto_gate int ready = tree_launch(&t, NULL);
        (void)nanosleep(&(struct timespec){.tv_nsec = i * 170000L}, NULL);
        CHECK(kill(t.pid, signo) == 0);
        int code = tree_wait(&t);
        CHECK(code == 0 || code == 128 + signo, "exit %d at moment %d", code, i);
        tree_check_empty(&t);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    (void)unlink(tree_path(&t, "run/soma.sock")); /* a killed launcher cannot remove it */
    tree_check_end(&t);
}

static void early_term(void) {
    early(SIGTERM);
}

static void early_kill(void) {
    early(SIGKILL);
}

static const struct tree_case cases[] = {
    {"stop-command", command},
    {"stop-term", term},
    {"stop-term-user", term, .as_user = true},
    {"stop-interrupt", interrupt},
    {"stop-interrupt-twice", interrupt_twice},
    {"stop-quit", quit},
    {"stop-order", order},
    {"stop-early-term", early_term},
    {"stop-early-term-user", early_term, .as_user = true},
    {"stop-early-kill", early_kill},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
