/* A tree that a client brings along, and that ends after the last of them. It is nobody's child here: its launcher
 * comes to us when its client has ended, since we are the subreaper. */
#include "tests/tree/tools.h"

#include <string.h>

static struct tree t;
static struct client c, other;

static void begin(void) {
    tree_init(&t);
    gate_make(&t, "marks/gate");
    tree_write(&t, "echo.json", "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {\"x\": 1}}]}\n");
    tree_write(&t, "plan.json",
               "{\"steps\": [{\"id\": \"s\", \"tool\": \"once\", \"args\": {\"file\": \"%s\", \"gate\": \"%s\"}}]}\n",
               tree_path(&t, "marks/m"), tree_path(&t, "marks/gate"));
}

/* The clients have ended, and the tree does so by itself. */
static void check_ends(void) {
    tree_rpc_close(&t);
    tree_check_empty(&t);
    tree_check_end(&t);
}

/* The launcher of the tree that was brought, so that its processes can be looked at. */
static void find_launcher(void) {
    auto_json json_t *hello = tree_call(&t, "hello", NULL);
    CHECK(json_flag(hello, "short_lived", false));
    t.launcher = proc_of((pid_t)json_i64(hello, "launcher", 0));
    CHECK(proc_alive(t.launcher));
}

static void run(void) {
    begin();
    CHECK(SOMA(&t, &c, "run", "echo.json") == 0, "%s", c.stderr_);
    CHECK(strcmp(c.stdout_, "{\"x\":1}\n") == 0, "%s", c.stdout_);
    check_ends();
}

static void ask(void) {
    begin();
    CHECK(SOMA(&t, &c, "ask", "helper", "hello?") == 0, "%s", c.stderr_);
    CHECK(strcmp(c.stdout_, "hello\n") == 0, "%s", c.stdout_);
    check_ends();
}

/* The second one ends first; the tree stays for the first. */
static void second(void) {
    begin();
    client_start(&t, &c, WORDS("run", "plan.json"));
    WAIT(tree_lines(&t, "marks/m") == 1);
    CHECK(SOMA(&t, &other, "run", "echo.json") == 0, "%s", other.stderr_);
    CHECK(strcmp(other.stdout_, "{\"x\":1}\n") == 0, "%s", other.stdout_);
    auto_gate int gate = gate_open(&t, "marks/gate");
    CHECK(client_end(&t, &c) == 0, "%s", c.stderr_);
    CHECK(strcmp(c.stdout_, "open\n") == 0, "%s", c.stdout_);
    gate = fd_close(gate);
    tree_check_empty(&t);
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(events_count(all, "run.completed") == 2);
    check_ends();
}

/* Six at once, and no tree: one of them brings it. */
static void race(void) {
    static struct client many[6];
    begin();
    for (size_t i = 0; i < 6; i++)
        client_start(&t, &many[i], WORDS("run", "echo.json"));
    for (size_t i = 0; i < 6; i++)
        CHECK(client_end(&t, &many[i]) == 0, "client %zu: exit %d %s", i, many[i].code, many[i].stderr_);
    check_ends();
}

static void detach(void) {
    begin();
    CHECK(SOMA(&t, &c, "run", "--detach", "echo.json") == 5, "exit %d", c.code);
    CHECK(strstr(c.stderr_, "soma up") && !*c.stdout_, "%s", c.stderr_);
    CHECK(!tree_has(&t, "state/events.mdb"), "something was started");
    client_start(&t, &c, WORDS("run", "plan.json"));
    WAIT(tree_lines(&t, "marks/m") == 1);
    CHECK(SOMA(&t, &other, "run", "--detach", "echo.json") == 5, "exit %d %s", other.code, other.stderr_);
    CHECK(strstr(other.stderr_, "fix: "), "%s", other.stderr_);
    auto_gate int gate = gate_open(&t, "marks/gate");
    CHECK(client_end(&t, &c) == 0, "%s", c.stderr_);
    gate = fd_close(gate);
    check_ends();
}

/* The tree holds nothing of the shell's pipe: the substitution ends with the client. */
static void shell(void) {
    char command[2 * PATH_SIZE];
    begin();
    (void)snprintf(command, sizeof command, "x=$(%s run echo.json 2>/dev/null) && echo \"got $x\"",
                   tree_program("soma"));
    client_exec(&t, &c, WORDS("/bin/sh", "-c", command));
    CHECK(client_end(&t, &c) == 0, "%s", c.stderr_);
    CHECK(strcmp(c.stdout_, "got {\"x\":1}\n") == 0, "%s", c.stdout_);
    check_ends();
}

static void client_killed(void) {
    begin();
    client_start(&t, &c, WORDS("run", "plan.json"));
    WAIT(tree_lines(&t, "marks/m") == 1);
    proc_kill(c.proc);
    (void)client_end(&t, &c);
    tree_check_empty(&t);
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(events_count(all, "run.cancelled") == 1);
    check_ends();
}

/* The tree stays up while its only client has lost the gateway. */
static void gateway_dies(void) {
    begin();
    client_start(&t, &c, WORDS("run", "plan.json"));
    WAIT(tree_lines(&t, "marks/m") == 1);
    find_launcher();
    tree_rpc_close(&t);
    proc_kill(tree_await(&t, "gateway", NULL));
    (void)tree_await(&t, "gateway", NULL);
    auto_gate int gate = gate_open(&t, "marks/gate");
    CHECK(client_end(&t, &c) == 0, "exit %d: %s", c.code, c.stderr_);
    CHECK(strcmp(c.stdout_, "open\n") == 0, "%s", c.stdout_);
    gate = fd_close(gate);
    check_ends();
}

static const struct tree_case cases[] = {
    {"short-run", run},
    {"short-run-user", run, .as_user = true},
    {"short-ask", ask},
    {"short-second", second},
    {"short-race", race},
    {"short-detach", detach},
    {"short-shell", shell},
    {"short-client-killed", client_killed},
    {"short-gateway-dies", gateway_dies},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
