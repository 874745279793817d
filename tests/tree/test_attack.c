/* What an attacker found, each once more: closed standard descriptors, folders open to others, tools that turn on their
 * keeper (tool_attack.c), siblings that die under a run, configurations that said one thing and meant another. */
#include "tests/tree/tools.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define ROUNDS 30

static struct tree t;
static struct client c, other;

static void begin(void) {
    tree_init(&t);
    tree_write(&t, "echo.json", "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {\"x\": 1}}]}\n");
}

static void check_said(int code, const char *what) {
    CHECK(c.code == code, "exit %d, not %d: %s%s", c.code, code, c.stdout_, c.stderr_);
    CHECK(strstr(c.stderr_, what), "no \"%s\" in: %s", what, c.stderr_);
}

/* Starts a program of ours by a shell, which opens and closes what `redirections` say. */
static void start_redirected(struct client *client, const char *program, const char *rest) {
    char command[2 * PATH_SIZE];
    (void)snprintf(command, sizeof command, "exec %s %s", tree_program(program), rest);
    client_exec(&t, client, WORDS("/bin/sh", "-c", command));
}

/* The door is that of `c`, not of a tree before it that is about to end. */
static bool serves(void) {
    struct rpc rpc = RPC_NULL;
    auto_json json_t *answer = NULL;
    bool there = rpc_open(t.runtime, &rpc) == 0 && rpc_call(&rpc, "hello", NULL, slack_ms(1000), &answer) == 0 &&
                 json_i64(answer, "launcher", 0) == c.pid;
    rpc_close(&rpc);
    return there;
}

/* `c` is a supervisor in the foreground: it serves, and ends when it is told to. */
static void check_serves(void) {
    WAIT(client_ended(&c) || serves(), "supervisor %d", c.pid);
    CHECK(c.code < 0, "the supervisor ended with %d: %s", c.code, c.stderr_);
    CHECK(SOMA(&t, &other, "run", "echo.json") == 0, "%s", other.stderr_);
    CHECK(strcmp(other.stdout_, "{\"x\":1}\n") == 0, "%s", other.stdout_);
    CHECK(SOMA(&t, &other, "stop") == 0, "%s", other.stderr_);
    CHECK(client_end(&t, &c) == 0, "exit %d: %s", c.code, c.stderr_);
    tree_check_empty(&t);
}

/* ---- standard descriptors ---- */

static const struct {
    const char *closed;
    int code;
    const char *out, *err;
} closings[] = {
    {"<&-", 0, "{\"x\":1}\n", ""},
    {">&-", 1, "", "E_OUTPUT"}, /* had it gone into another descriptor, this would have been a success */
    {"2>&-", 0, "{\"x\":1}\n", ""},
};

static void close_each(const char *options) {
    char rest[64];
    for (size_t i = 0; i < sizeof closings / sizeof *closings; i++) {
        (void)snprintf(rest, sizeof rest, "%s run echo.json %s", options, closings[i].closed);
        start_redirected(&c, "soma", rest);
        (void)client_end(&t, &c);
        check_said(closings[i].code, closings[i].err);
        CHECK(*options || strcmp(c.stdout_, closings[i].out) == 0, "%s: %s", rest, c.stdout_);
    }
}

static void closed_stdio(void) {
    static const char *const supervisors[][2] = {{"soma", "up <&- >&- 2>&-"}, {"somad", "<&- >&- 2>&-"}};
    char rest[PATH_SIZE + 64];
    begin();
    close_each(""); /* each brings its tree along */
    tree_check_empty(&t);
    tree_up(&t);
    close_each("");
    close_each("--json");
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(events_count(all, "run.completed") == 9);
    CHECK(tree_down(&t) == 0);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(rest, sizeof rest, "%s %.4000s %s", i ? "--config" : "", i ? t.conf : "", supervisors[i][1]);
        start_redirected(&c, supervisors[i][0], rest);
        check_serves();
    }
    tree_check_end(&t);
}

/* ---- folders and soma.conf ---- */

static void open_folders(void) {
    static const struct {
        const char *folder;
        mode_t mode;
    } rows[] = {{"state", 0755}, {"state", 01777}, {"state", 0710}, {"run", 0755}};
    struct stat st;
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *folder = tree_path(&t, rows[i].folder);
        CHECK((mkdir(folder, 0700) == 0 || errno == EEXIST) && chmod(folder, rows[i].mode) == 0);
        (void)SOMA(&t, &c, "up");
        check_said(2, folder);
        CHECK(stat(folder, &st) == 0 && (st.st_mode & 07777) == rows[i].mode, "mode %04o", st.st_mode & 07777);
        CHECK(!tree_has(&t, "state/events.mdb"), "row %zu: something was started", i);
        CHECK(chmod(folder, 0700) == 0);
    }
    tree_up(&t);
    tree_check_end(&t);
}

/* Both ways to have it read: somad's own, and soma's. */
static void check_refused(const char *what, const char *more) {
    client_exec(&t, &c, WORDS(tree_program("somad"), "--config", t.conf, "--check"));
    (void)client_end(&t, &c);
    check_said(2, what);
    check_said(2, more);
    (void)SOMA(&t, &c, "up");
    check_said(2, what);
    check_said(2, more);
    CHECK(!tree_has(&t, "state") && !tree_has(&t, "run"), "a refused configuration made something");
}

static void policy_folder(void) {
    static const char *const keys[] = {"read", "write"};
    begin();
    for (size_t i = 0; i < 2; i++) {
        tree_write(&t, "soma.conf", "[soma]\nstate = state\nruntime = run\n[policy]\n%s = /nonexistent\n", keys[i]);
        check_refused(keys[i], "/nonexistent");
        tree_write(&t, "soma.conf", "[soma]\nstate = state\nruntime = run\n[policy]\n%s = echo.json\n", keys[i]);
        check_refused(keys[i], "/echo.json is not a folder");
    }
    tree_check_end(&t);
}

static void comment(void) {
    begin();
    tree_write(&t, "soma.conf", "[soma]\nruntime = run\nstate = state ; comment\n");
    check_refused("soma.conf:3", "comment");
    tree_write(&t, "soma.conf", "[soma]\nstate = state\t; comment\nruntime = run\n");
    check_refused("soma.conf:2", "comment");
    tree_write(&t, "soma.conf", "; comment\n[soma]\nstate = state\n; another\nruntime = run\n");
    client_exec(&t, &c, WORDS(tree_program("somad"), "--config", t.conf, "--check"));
    CHECK(client_end(&t, &c) == 0, "%s", c.stderr_);
    tree_check_end(&t);
}

static void clients(void) {
    struct rpc idle[2] = {RPC_NULL, RPC_NULL};
    begin();
    tree_write(&t, "soma.conf", "[soma]\nstate = state\nruntime = run\n[limits]\nmax_clients = 2\n");
    tree_up(&t);
    CHECK(rpc_open(t.runtime, &idle[0]) == 0 && rpc_open(t.runtime, &idle[1]) == 0);
    (void)SOMA(&t, &c, "ps");
    check_said(7, "E_CAPACITY");
    rpc_close(&idle[0]);
    WAIT(SOMA(&t, &c, "ps") == 0, "%s", c.stderr_);
    rpc_close(&idle[1]);
    tree_check_end(&t);
}

static void back_to_back(void) {
    begin();
    for (int i = 0; i < ROUNDS; i++)
        CHECK(SOMA(&t, &c, "run", "echo.json") == 0, "round %d: exit %d %s", i, c.code, c.stderr_);
    client_start(&t, &c, WORDS("up"));
    check_serves();
    tree_check_end(&t);
}

/* ---- tools ---- */

/* The tool stands in the tree's folder, where its uid may come; the build may be in somebody's home. */
static void begin_attempt(const char *attempt) {
    char from[PATH_SIZE + 64];
    struct stat st;
    begin();
    (void)snprintf(from, sizeof from, "%s/tests/tree/tool-attack", tree_build);
    auto_close int in = open(from, O_RDONLY | O_CLOEXEC);
    auto_close int out = open(tree_path(&t, "bin/attack"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    CHECK(in >= 0 && out >= 0 && fstat(in, &st) == 0, "%s", from);
    CHECK(fchmod(out, 0755) == 0 && sendfile(out, in, NULL, (size_t)st.st_size) == st.st_size, "%s", from);
    tree_write(&t, "tools/attack.json",
               "{\"name\": \"attack\", \"description\": \"Wants out.\", \"input_schema\": {\"type\": \"object\",\n"
               " \"additionalProperties\": false}, \"effect\": \"reader\", \"idempotent\": true, \"timeout\": \"5s\",\n"
               " \"command\": [\"%s/bin/attack\", \"%s\"], \"input\": \"argv\", \"output\": \"text\",\n"
               " \"sandbox\": {\"profile\": \"reader\", \"limits\": {\"memory_bytes\": 16777216}}}\n",
               t.dir, attempt);
    tree_write(&t, "attack.json", "{\"steps\": [{\"id\": \"a\", \"tool\": \"attack\", \"args\": {}}]}\n");
}

static void forged_term(void) {
    begin_attempt("signals");
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "attack.json") == 0, "exit %d: %s", c.code, c.stderr_);
    CHECK(strcmp(c.stdout_, "survived\n") == 0, "%s", c.stdout_);
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(events_end(all, "run") && events_count(all, "run.completed") == 1);
    tree_check_end(&t);
}

static void memory(void) {
    begin_attempt("memory");
    tree_up(&t);
    (void)SOMA(&t, &c, "run", "attack.json");
    check_said(1, "memory_limit");
    auto_json json_t *all = tree_events(&t, "all", NULL);
    const json_t *end = events_end(all, "run");
    CHECK(end && strcmp(json_str(json_object_get(json_object_get(end, "data"), "error"), "name"), "memory_limit") == 0);
    tree_check_end(&t);
}

/* Segments of the size that the tool makes. */
static size_t segments(void) {
    char line[512];
    unsigned long long size;
    size_t n = 0;
    auto_file FILE *f = fopen("/proc/sysvipc/shm", "re");
    CHECK(f, "/proc/sysvipc/shm");
    while (fgets(line, sizeof line, f))
        n += sscanf(line, "%*d %*d %*o %llu", &size) == 1 && size == 1234567;
    return n;
}

static void ipc(void) {
    begin_attempt("ipc");
    size_t before = segments();
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "attack.json") == 0, "exit %d: %s", c.code, c.stderr_);
    CHECK(strcmp(c.stdout_, "made\n") == 0, "%s", c.stdout_);
    CHECK(segments() == before, "%zu segments, %zu before", segments(), before);
    tree_check_end(&t);
}

/* ---- siblings ---- */

/* A tool is at work for a foreground client when `victim` dies: the log has one end, interrupted, and the client says
 * that one. */
static void dies_under(const char *victim, const char *kind, const char *const words[]) {
    size_t marks = tree_lines(&t, "marks/m");
    auto_json json_t *head = tree_call(&t, "head", NULL);
    client_start(&t, &c, words);
    WAIT(tree_lines(&t, "marks/m") == marks + 1);
    tree_rpc_close(&t);
    proc_kill(tree_await(&t, victim, NULL));
    (void)client_end(&t, &c);
    check_said(7, "interrupted");
    auto_json json_t *events = tree_events_after(&t, json_i64(head, "seq", 0));
    const json_t *end = events_end(events, kind);
    CHECK(end && strcmp(strchr(json_str(end, "type"), '.'), ".failed") == 0, "%s under %s", kind, victim);
    const json_t *error = json_object_get(json_object_get(end, "data"), "error");
    CHECK(strcmp(json_str(error, "name"), "interrupted") == 0, "%s under %s: %s", kind, victim,
          json_str(error, "name"));
    CHECK(strstr(c.stderr_, json_str(end, kind)), "no %s in: %s", json_str(end, kind), c.stderr_);
}

static void die_all(const char *const victims[]) {
    begin();
    const char *mark = tree_path(&t, "marks/m");
    tree_write(&t, "plan.json", "{\"steps\": [{\"id\": \"s\", \"tool\": \"linger\", \"args\": {\"file\": \"%s\"}}]}\n",
               mark);
    tree_write(&t, "script.json",
               "{\"replies\": [{\"tool_calls\": [{\"name\": \"linger\", \"arguments\": {\"file\": \"%s\"}}]}]}\n",
               mark);
    tree_up(&t);
    for (size_t i = 0; victims[i]; i++) {
        dies_under(victims[i], "run", WORDS("run", "plan.json"));
        dies_under(victims[i], "task", WORDS("ask", "helper", "work"));
    }
    tree_check_end(&t);
}

static void sibling_dies(void) {
    die_all(WORDS("llmcalls", "registry"));
}

static void eventlog_dies(void) {
    die_all(WORDS("eventlog"));
}

static const struct tree_case cases[] = {
    {"attack-stdio", closed_stdio},
    {"attack-folder", open_folders},
    {"attack-memory", memory},
    {"attack-memory-user", memory, .as_user = true},
    {"attack-ipc", ipc},
    {"attack-ipc-user", ipc, .as_user = true},
    {"attack-forged-term", forged_term},
    {"attack-forged-term-user", forged_term, .as_user = true},
    {"attack-sibling-dies", sibling_dies},
    {"attack-eventlog-dies", eventlog_dies},
    {"attack-policy-folder", policy_folder},
    {"attack-comment", comment},
    {"attack-clients", clients},
    {"attack-back-to-back", back_to_back},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
