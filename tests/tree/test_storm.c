/* One process after the other killed at a moment that nobody chose, under a run that may be anywhere. What must hold
 * then holds at every moment: one end per accepted run, no effect twice, a client that tells the truth, a tree that
 * works again, a log without a gap. SOMA_TEST_ROUNDS sets the number of kills (default 8), SOMA_TEST_SEED repeats a
 * storm. */
#include "tests/tree/tools.h"

#include <string.h>
#include <time.h>

#define WINDOW_US 9000 /* a run of two steps takes about half of it */

static struct tree t;
static struct client c;
static unsigned seed;

static unsigned pick(unsigned n) {
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % n;
}

static long number(const char *variable, long fallback) {
    const char *text = getenv(variable);
    return text ? atol(text) : fallback;
}

/* Kills one process of the tree, any of those that live now; its title. */
static const char *strike(void) {
    static struct proc_list list;
    static char title[PROC_TITLE_MAX];
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)pick(WINDOW_US) * 1000}, NULL);
    tree_all(&t, &list);
    unsigned n = pick((unsigned)list.n + 1);
    struct proc victim = n == list.n ? t.launcher : list.at[n].id;
    (void)snprintf(title, sizeof title, "%s", n == list.n ? "launcher" : list.at[n].title);
    if (proc_alive(victim))
        (void)kill(victim.pid, SIGKILL);
    return title;
}

static void tree_again(const char *victim) {
    bool whole = strcmp(victim, "launcher") == 0 || strncmp(victim, "soma: root", 10) == 0;
    if (!whole)
        return;
    (void)client_end(&t, &c);
    CHECK(tree_wait(&t) != 0, "%s", victim);
    tree_check_empty(&t);
    tree_up(&t);
}

/* Tried again as long as the runtime says that it is not itself: between a death and the restarts that follow it. */
static bool works(char id[32]) {
    auto_json json_t *answer = NULL;
    json_t *plan = json_pack("{s:[{s:s, s:s, s:{}}]}", "steps", "id", "e", "tool", "echo", "args");
    int r = rpc_call(tree_rpc(&t), "run.start", json_pack("{s:o}", "plan", plan), slack_ms(TREE_WAIT_MS), &answer);
    if (r == -ECONNRESET)
        tree_rpc_close(&t);
    CHECK(r == 0 || r == -ECONNRESET || (r == 1 && strcmp(rpc_error(answer), "E_RUNTIME") == 0), "%d %s", r,
          rpc_error(answer));
    if (r != 0)
        return false;
    (void)snprintf(id, 32, "%s", json_str(answer, "run"));
    auto_json json_t *end = tree_end_of(&t, "run", id);
    return strcmp(json_str(end, "type"), "run.completed") == 0;
}

/* The client's run has two steps. */
static bool is_ours(const json_t *record) {
    return json_array_size(json_object_get(json_object_get(json_object_get(record, "data"), "plan"), "steps")) == 2;
}

static void check_round(int round, const char *victim, int64_t before) {
    char mark[32], id[32];
    (void)snprintf(mark, sizeof mark, "marks/m%d", round);
    int code = client_end(&t, &c);
    WAIT(works(id), "after %s", victim);
    auto_json json_t *events = tree_events_after(&t, before);
    size_t i, ends = 0;
    const json_t *record;
    json_array_foreach(events, i, record) {
        CHECK(json_i64(record, "seq", 0) == before + 1 + (int64_t)i, "after %s: a gap", victim);
        if (strcmp(json_str(record, "type"), "run.accepted") != 0 || !is_ours(record))
            continue;
        auto_json json_t *end = tree_end_of(&t, "run", json_str(record, "run"));
        bool completed = strcmp(json_str(end, "type"), "run.completed") == 0;
        CHECK(code != 0 || completed, "after %s: exit 0 of %s", victim, json_str(end, "type"));
        CHECK(!completed || tree_lines(&t, mark) == 1, "after %s: completed with %zu effects", victim,
              tree_lines(&t, mark));
        ends++;
    }
    CHECK(ends <= 1 && (code != 0 || ends == 1), "after %s: exit %d, %zu ends", victim, code, ends);
    CHECK(tree_lines(&t, mark) <= 1, "after %s: %zu effects", victim, tree_lines(&t, mark));
}

static void storm(void) {
    long rounds = number("SOMA_TEST_ROUNDS", 8);
    seed = (unsigned)number("SOMA_TEST_SEED", (long)now_ms());
    printf("storm: seed %u, %ld rounds\n", seed, rounds);
    tree_init(&t);
    tree_up(&t);
    for (int round = 0; round < rounds; round++) {
        char mark[32];
        (void)snprintf(mark, sizeof mark, "marks/m%d", round);
        tree_write(&t, "plan.json",
                   "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {}},\n"
                   "  {\"id\": \"n\", \"tool\": \"note\", \"args\": {\"file\": \"%s\"}}]}\n",
                   tree_path(&t, mark));
        auto_json json_t *head = tree_call(&t, "head", NULL);
        client_start(&t, &c, WORDS("run", "plan.json"));
        const char *victim = strike();
        tree_again(victim);
        check_round(round, victim, json_i64(head, "seq", 0));
    }
    tree_check_end(&t);
}

static const struct tree_case cases[] = {
    {"kill-storm", storm},
    {"kill-storm-user", storm, .as_user = true},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
