/* What is wrong on the way in: named, told where, nothing started, nothing lost, the tree unharmed. */
#include "tests/tree/tools.h"

#include <arpa/inet.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct tree t;
static struct client c;

/* The identities of the static children: unharmed means that they are the same. */
static struct proc_list before;
static void remember(void) {
    tree_all(&t, &before);
    CHECK(before.n >= 8, "%zu processes", before.n);
}
static void check_unharmed(void) {
    CHECK(list_alive(&before) == before.n, "%zu of %zu are alive", list_alive(&before), before.n);
}

/* An error says what, why and what to do. */
static void check_said(int code, const char *why) {
    CHECK(c.code == code, "exit %d, not %d: %s", c.code, code, c.stderr_);
    CHECK(strstr(c.stderr_, "why: ") && strstr(c.stderr_, "fix: "), "%s", c.stderr_);
    CHECK(strstr(c.stderr_, why), "no \"%s\" in: %s", why, c.stderr_);
}

/* ---- folders ---- */

static void second_up(void) {
    tree_init(&t);
    tree_up(&t);
    remember();
    (void)SOMA(&t, &c, "up");
    check_said(7, "locked by another process");
    check_unharmed();
    CHECK(SOMA(&t, &c, "ps") == 0, "%s", c.stderr_);
    tree_check_end(&t);
}

static void stale_socket(void) {
    tree_init(&t);
    CHECK(mkdir(t.runtime, 0700) == 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%.80s/soma.sock", t.runtime);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    fd = fd_close(fd);
    CHECK(SOMA(&t, &c, "ps") == 5, "%d %s", c.code, c.stderr_);
    tree_up(&t);
    CHECK(SOMA(&t, &c, "ps") == 0, "%s", c.stderr_);
    tree_check_end(&t);
}

static void unwritable(void) {
    tree_init(&t);
    tree_write(&t, "soma.conf", "[soma]\nstate = /proc/soma\nruntime = run\n");
    (void)SOMA(&t, &c, "up");
    check_said(2, "/proc/soma");
    tree_write(&t, "file", "not a folder");
    tree_write(&t, "soma.conf", "[soma]\nstate = file\nruntime = run\n");
    (void)SOMA(&t, &c, "up");
    check_said(2, "file");
    tree_check_end(&t);
}

static void foreign_folder(void) {
    tree_init(&t);
    tree_write(&t, "soma.conf", "[soma]\nstate = /root/soma\nruntime = run\n");
    (void)SOMA(&t, &c, "up");
    check_said(2, "/root");
    tree_check_end(&t);
}

static void long_path(void) {
    static const char part[] = "a-folder-with-a-name-that-is-long-enough-to-matter";
    tree_init(&t);
    (void)snprintf(t.runtime, sizeof t.runtime, "%s/%s", t.dir, part);
    CHECK(mkdir(t.runtime, 0700) == 0);
    (void)snprintf(t.runtime, sizeof t.runtime, "%s/%s/%s", t.dir, part, part);
    CHECK(mkdir(t.runtime, 0700) == 0);
    (void)snprintf(t.runtime, sizeof t.runtime, "%s/%s/%s/run", t.dir, part, part);
    tree_write(&t, "soma.conf", "[soma]\nstate = state\nruntime = %s/%s/run\n[tools]\ndir = tools\n", part, part);
    tree_write(&t, "plan.json", "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {}}]}\n");
    CHECK(SOMA(&t, &c, "run", "plan.json") == 0, "%s", c.stderr_);
    tree_check_empty(&t);
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "plan.json") == 0, "%s", c.stderr_);
    tree_check_end(&t);
}

/* ---- soma.conf ---- */

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
static const struct {
    const char *text, *why;
} configurations[] = {
    {"[soma]\nstate = /" HUNDRED HUNDRED "\n", "soma.conf:2"},
    {"[soma]\nstate = state\n  more\n", "soma.conf:3"},
    {"[soma]\nstate = state\nstate = other\n", "soma.conf:3"},
    {"[soma]\nstate = a\n[limits]\n[soma]\nstate = b\n", "soma.conf:5"},
    {"[soma]\nstats = state\n", "stats"},
    {"[soma]\nstats = state\n", "soma.conf:2"},
    {"[sauce]\nstate = state\n", "sauce"},
    {"[supervisor]\nbackoff = 5 parsecs\n", "duration"},
    {"[supervisor]\nrestart_intensity = -1\n", "restart_intensity"},
    {"[tools]\nuid = 0\n", "uid"},
    {"[provider \"x\"]\nkind = script\n", "script"},
    {"[soma]\nstate\n", "soma.conf:2"},
    {"[soma]\nstate = \xff\xfe\n", "UTF-8"},
};

static void configuration(void) {
    tree_init(&t);
    for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
        tree_write(&t, "soma.conf", "%s", configurations[i].text);
        (void)SOMA(&t, &c, "up");
        check_said(2, configurations[i].why);
        CHECK(!tree_has(&t, "state") && !tree_has(&t, "other"), "case %zu made something", i);
    }
    (void)unlink(t.conf);
    (void)SOMA(&t, &c, "up");
    check_said(2, "soma.conf");
    tree_check_end(&t);
}

/* ---- the door ---- */

/* What a client sends as it is; whether the connection may go on, and the name of the error in the answer. */
static const struct {
    const char *name;
    size_t claimed; /* length in the header; 0 = that of the body */
    const char *body;
    bool closed;
    const char *error;
} frames[] = {
    {"no JSON", 0, "hello", true, "E_BAD_REQUEST"},
    {"cut JSON", 0, "{\"jsonrpc\":\"2.0\"", true, "E_BAD_REQUEST"},
    {"bad UTF-8", 0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", true, "E_BAD_REQUEST"},
    {"duplicate keys", 0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ps\"}", true, "E_BAD_REQUEST"},
    {"too long", 1u << 21, "{", true, NULL},
    {"huge", 0xffffffff, "{", true, NULL},
    {"batch", 0, "[]", false, "E_BAD_REQUEST"},
    {"notification", 0, "{\"jsonrpc\":\"2.0\",\"method\":\"ps\"}", false, "E_BAD_REQUEST"},
    {"version", 0, "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ps\"}", false, "E_BAD_REQUEST"},
    {"method", 0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pst\"}", false, "E_NO_METHOD"},
    {"member", 0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ps\",\"x\":1}", false, "E_BAD_REQUEST"},
    {"parameter", 0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ps\",\"params\":{\"x\":1}}", false, "E_BAD_PARAMS"},
    {"type", 0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"run.cancel\",\"params\":{\"run\":1}}", false,
     "E_BAD_PARAMS"},
};

static void send_one(size_t i) {
    struct rpc rpc = RPC_NULL;
    auto_free char *answer = NULL;
    CHECK(rpc_open(t.runtime, &rpc) == 0);
    size_t n = strlen(frames[i].body);
    uint32_t length = htonl((uint32_t)(frames[i].claimed ? frames[i].claimed : n));
    CHECK(rpc_write(&rpc, &length, sizeof length) == 0);
    int r = rpc_write(&rpc, frames[i].body, n); /* a header can be enough for the other side */
    CHECK(r == 0 || frames[i].closed, "%s: %d", frames[i].name, r);
    r = rpc_read_frame(&rpc, slack_ms(TREE_WAIT_MS), &answer);
    CHECK(r == 0 || (r == -ECONNRESET && !frames[i].error), "%s: %d", frames[i].name, r);
    CHECK(!frames[i].error || strstr(answer, frames[i].error), "%s: %s", frames[i].name, answer);
    free(take_ptr(&answer));
    if (frames[i].closed && r == 0)
        CHECK(rpc_read_frame(&rpc, slack_ms(TREE_WAIT_MS), &answer) == -ECONNRESET, "%s: goes on", frames[i].name);
    if (!frames[i].closed) {
        json_t *result = NULL;
        CHECK(rpc_call(&rpc, "hello", NULL, slack_ms(TREE_WAIT_MS), &result) == 0, "%s: does not go on",
              frames[i].name);
        json_decref(result);
    }
    rpc_close(&rpc);
}

static void malformed_frames(void) {
    tree_init(&t);
    tree_up(&t);
    remember();
    json_decref(tree_call(&t, "hello", NULL)); /* a good neighbour, connected all the time */
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        send_one(i);
    struct rpc rpc = RPC_NULL;
    CHECK(rpc_open(t.runtime, &rpc) == 0 && rpc_write(&rpc, "\0\0\0\0", 4) == 0);
    auto_free char *answer = NULL;
    int r = rpc_read_frame(&rpc, slack_ms(TREE_WAIT_MS), &answer);
    CHECK(r == 0 || r == -ECONNRESET, "an empty frame: %d", r);
    rpc_close(&rpc);
    CHECK(rpc_open(t.runtime, &rpc) == 0 && rpc_write(&rpc, "\0\0", 2) == 0); /* half a header, and gone */
    rpc_close(&rpc);
    int64_t id = rpc_send(tree_rpc(&t), "ps", NULL);
    json_t *result = NULL;
    CHECK(rpc_wait(tree_rpc(&t), id, slack_ms(TREE_WAIT_MS), &result) == 0, "the neighbour was hurt");
    json_decref(result);
    check_unharmed();
    tree_check_end(&t);
}

/* ---- plans ---- */

#define STEP(id, tool, args) "{\"id\": \"" id "\", \"tool\": \"" tool "\", \"args\": " args "}"
static const struct {
    const char *plan;
    int code;
    const char *why;
} plans[] = {
    {"{\"steps\": [" STEP("a", "nosuch", "{}") "]}", 3, "nosuch"},
    {"{\"steps\": [" STEP("a", "echo", "{}") ", " STEP("a", "echo", "{}") "]}", 2, "/steps/1/id"},
    {"{\"steps\": [" STEP("a", "echo", "{\"x\": {\"$from\": \"b\"}}") ", " STEP("b", "echo", "{}") "]}", 2,
     "/steps/0/args/x"},
    {"{\"steps\": [" STEP("a", "sleep", "{\"ms\": \"long\"}") "]}", 2, "/steps/0/args/ms"},
    {"{\"steps\": [" STEP("a", "sleep", "{\"ms\": 1, \"x\": 1}") "]}", 2, "/steps/0/args"},
    {"{\"steps\": [{\"id\": \"a\", \"tool\": \"echo\", \"args\": {}, \"colour\": 1}]}", 2, "/steps/0/colour"},
    {"{\"stebs\": []}", 2, "ste"},
    {"{\"timeout\": \"soon\", \"steps\": [" STEP("a", "echo", "{}") "]}", 2, "/timeout"},
    {"[]", 2, "object"},
    {"{\"steps\": [}", 2, "plan.json"},
    {"{\"name\": \"\xff\", \"steps\": []}", 2, "0xff"},
};

static void malformed_plans(void) {
    tree_init(&t);
    tree_up(&t);
    remember();
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        tree_write(&t, "plan.json", "%s", plans[i].plan);
        (void)SOMA(&t, &c, "run", "plan.json");
        check_said(plans[i].code, plans[i].why);
    }
    (void)SOMA(&t, &c, "run", "missing.json");
    check_said(2, "missing.json");
    (void)SOMA(&t, &c, "ask", "nobody", "hello");
    check_said(3, "nobody");
    auto_json json_t *all = tree_events(&t, "all", NULL);
    CHECK(!events_count(all, "run.accepted") && !events_count(all, "tool.started"));
    check_unharmed();
    tree_check_end(&t);
}

/* ---- manifests ---- */

static void malformed_manifests(void) {
    static const char *const bad[][2] = {
        {"tools/bad1.json", "{"},
        {"tools/bad2.json", "{\"name\": \"bad2\"}"},
        {"tools/bad3.json", "\xff\xfe"},
        {"tools/bad4.json",
         "{\"name\": \"note\", \"description\": \"a second note\", \"input_schema\": {\"type\": \"object\"}, "
         "\"effect\": \"pure\", \"command\": [\"/bin/true\"], \"input\": \"argv\", \"sandbox\": "
         "{\"profile\": \"pure\"}}"},
        {"actors/bad5.json", "{\"name\": \"x\", \"colour\": 1}"},
    };
    tree_init(&t);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        tree_write(&t, bad[i][0], "%s", bad[i][1]);
    tree_write(&t, "plan.json", "{\"steps\": [{\"id\": \"n\", \"tool\": \"note\", \"args\": {\"file\": \"%s\"}}]}\n",
               tree_path(&t, "marks/m"));
    tree_up(&t);
    CHECK(SOMA(&t, &c, "run", "plan.json") == 0, "%s", c.stderr_);
    CHECK(SOMA(&t, &c, "ask", "helper", "hello") == 0, "%s", c.stderr_);
    CHECK(SOMA(&t, &c, "tool", "list") == 0, "%s", c.stderr_);
    for (size_t i = 0; i < 4; i++)
        CHECK(strstr(c.stderr_, bad[i][0] + sizeof "tools"), "%s is not named: %s", bad[i][0], c.stderr_);
    tree_check_end(&t);
}

/* ---- a full disk ---- */

static void check_all_ended(void) {
    auto_json json_t *all = tree_events(&t, "all", NULL);
    size_t i;
    const json_t *record;
    json_array_foreach(all, i, record) if (strcmp(json_str(record, "type"), "run.accepted") == 0)
        json_decref(tree_end_of(&t, "run", json_str(record, "run")));
}

/* A state folder on a small file system of this process's own mount namespace: work is refused by name, what is there
 * can be read, and when there is room again it goes on. What was
 * accepted has its end at the latest after the next start. */
static void full_disk(void) {
    char plan[40000], text[30001];
    tree_init(&t);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mkdir(t.state, 0700) == 0);
    CHECK(mount("soma-test", t.state, "tmpfs", 0, "size=1m,mode=0700") == 0);
    tree_up(&t);
    remember();
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (void)snprintf(plan, sizeof plan, "{\"steps\": [{\"id\": \"e\", \"tool\": \"echo\", \"args\": {\"x\": \"%s\"}}]}\n",
                   text);
    tree_write(&t, "plan.json", "%s", plan);
    int code = 0;
    for (int i = 0; i < 60 && code == 0; i++)
        code = SOMA(&t, &c, "run", "--detach", "plan.json");
    CHECK(code == 7, "exit %d: %s", code, c.stderr_);
    WAIT(!tree_count(&t, "run"));
    (void)SOMA(&t, &c, "run", "plan.json");
    check_said(7, "E_LOG_FULL");
    CHECK(SOMA(&t, &c, "log", "-n", "3") == 0, "%s", c.stderr_);
    check_unharmed();
    CHECK(mount("soma-test", t.state, "tmpfs", MS_REMOUNT, "size=64m") == 0);
    WAIT(SOMA(&t, &c, "run", "plan.json") == 0, "%s", c.stderr_);
    check_unharmed();
    CHECK(tree_down(&t) == 0);
    tree_up(&t);
    check_all_ended();
    CHECK(tree_down(&t) == 0);
    tree_check_empty(&t);
    tree_check_log(&t);
    CHECK(umount(t.state) == 0);
    tree_check_end(&t);
}

static const struct tree_case cases[] = {
    {"input-second-up", second_up},
    {"input-stale-socket", stale_socket},
    {"input-unwritable", unwritable},
    {"input-foreign-folder", foreign_folder, .as_user = true, .root_only = true},
    {"input-long-path", long_path},
    {"input-configuration", configuration},
    {"input-frames", malformed_frames},
    {"input-plans", malformed_plans},
    {"input-manifests", malformed_manifests},
    {"input-full-disk", full_disk, .root_only = true},
};

int main(int argc, char **argv) {
    return tree_main(argc, argv, cases, sizeof cases / sizeof *cases);
}
