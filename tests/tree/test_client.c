/* Clients that go away, and a gateway that does. */
#include "tests/tree/tools.h"

#include <string.h>

static struct tree t;
static struct client c, other;

static void begin(const char *tool) {
    tree_init(&t);
    gate_make(&t, "marks/gate");
    tree_write(&t, "plan.json",
               "{\"steps\": [{\"id\": \"s\", \"tool\": \"%s\", \"args\": {\"file\": \"%s\", \"gate\": \"%s\"}}]}\n",
               tool, tree_path(&t, "marks/m"), tree_path(&t, "marks/gate"));
    tree_up(&t);
}

static const char *only(const char *type, const char *member) {
    static char id[80];
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(events_count(all, type) == 1);
    (void)snprintf(id, sizeof id, "%s", json_str(events_find(all, type), member));
    return id;
}

static void killed(void) {
    static struct proc_list victims;
    begin("once");
    client_start(&t, &c, WORDS("run", "plan.json"));
    WAIT(tree_lines(&t, "marks/m") == 1);
    tree_below(tree_await(&t, "toolcall", NULL), &victims);
    CHECK(victims.n >= 2);
    proc_kill(c.proc);
    CHECK(client_end(&t, &c) == 128 + SIGKILL);
    auto_json json_t *end = tree_end_of(&t, "run", only("run.accepted", "run"));
    CHECK(strcmp(json_str(end, "type"), "run.cancelled") == 0, "%s", json_str(end, "type"));
    CHECK(list_alive(&victims) == 0, "the end was told, %zu are alive", list_alive(&victims));
    WAIT(!tree_count(&t, "run") && !tree_count(&t, "session"));
    tree_check_end(&t);
}

static void detached(void) {
    begin("once");
    CHECK(SOMA(&t, &c, "run", "--detach", "plan.json") == 0, "%s", c.stderr_);
    char id[32];
    CHECK(sscanf(c.stdout_, "%31s", id) == 1, "%s", c.stdout_);
    WAIT(tree_lines(&t, "marks/m") == 1);
    auto_gate int gate = gate_open(&t, "marks/gate");
    auto_json json_t *end = tree_end_of(&t, "run", id);
    CHECK(strcmp(json_str(end, "type"), "run.completed") == 0, "%s", json_str(end, "type"));
    CHECK(tree_lines(&t, "marks/m") == 1);
    gate = fd_close(gate);
    tree_check_end(&t);
}

/* `what` is run under a gateway that dies while the tool stands at its gate. */
static void gateway_dies(const char *const words[], const char *said) {
    client_start(&t, &c, words);
    WAIT(tree_lines(&t, "marks/m") == 1);
    struct proc run = tree_await(&t, "run", NULL), call = tree_await(&t, "toolcall", NULL);
    struct proc actors = tree_await(&t, "actors", NULL), gateway = tree_await(&t, "gateway", NULL), next;
    proc_kill(gateway);
    WAIT(tree_find(&t, "gateway", NULL, &next) && !proc_same(next, gateway));
    CHECK(SOMA(&t, &other, "ps") == 0, "%s", other.stderr_);
    CHECK(proc_alive(run) && proc_alive(call) && proc_alive(actors));
    auto_gate int gate = gate_open(&t, "marks/gate");
    CHECK(client_end(&t, &c) == 0, "exit %d: %s", c.code, c.stderr_);
    CHECK(strstr(c.stdout_, said), "%s", c.stdout_);
    CHECK(tree_lines(&t, "marks/m") == 1);
    gate = fd_close(gate);
    tree_check_end(&t);
}

static void run_gateway(void) {
    begin("once");
    gateway_dies(WORDS("run", "plan.json"), "open");
}

static void ask_gateway(void) {
    tree_init(&t);
    gate_make(&t, "marks/gate");
    tree_write(
        &t, "script.json",
        "{\"replies\": [{\"tool_calls\": [{\"name\": \"once\", \"arguments\": {\"file\": \"%s\", \"gate\": \"%s\"}}]}, "
        "{\"content\": \"it is {{tool:/text}}\"}]}",
        tree_path(&t, "marks/m"), tree_path(&t, "marks/gate"));
    tree_up(&t);
    gateway_dies(WORDS("ask", "helper", "is it open?"), "it is open");
}

static const struct tree_case cases[] = {
    {"client-killed", killed},
    {"client-detached", detached},
    {"client-run-gateway-dies", run_gateway},
    {"client-ask-gateway-dies", ask_gateway},
    {"client-run-gateway-dies-user", run_gateway, .as_user = true},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
