/* The whole worker in a real namespace, with the test as run and event log. Daemons are watched by a FIFO that they
 * hold open: as long as one of them lives, reading it says EAGAIN, and the end of the file is the proof of death. */
#include "common/cleanup.h"
#include "common/title.h"
#include "tests/kit/peers.h"
#include "tests/toolcall/scope.h"
#include "tests/toolcall/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char folder[] = "/tmp/soma-toolcall-XXXXXX";
static char fifo[sizeof folder + 8];

/* ---- manifests ---- */

#define ANY "{\"type\":\"object\"}"
#define TEXT                                                                                                           \
    "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"],"                    \
    "\"additionalProperties\":false}"
#define PATHS                                                                                                          \
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\"},\"text\":{\"type\":\"string\"},"              \
    "\"mode\":{\"type\":\"string\"}},\"required\":[\"path\"]}"
#define TOOL(name, profile, available, schema, rest)                                                                   \
    "{\"name\":\"" name "\",\"description\":\"d\",\"input_schema\":" schema                                            \
    ",\"effect\":\"pure\",\"idempotent\":true,\"timeout_ms\":10000,\"profile\":\"" profile                             \
    "\",\"available\":" available ",\"read\":[],\"write\":[],\"net\":[],\"env\":{},\"limits\":{}," rest "}"
#define BUILTIN(name, profile, schema)                                                                                 \
    TOOL(name, profile, "true", schema, "\"builtin\":\"" name "\",\"output\":\"json\"")
#define COMMAND(name, schema, argv, input)                                                                             \
    TOOL(name, "pure", "true", schema, "\"command\":[" argv "],\"input\":" input ",\"output\":\"text\"")
#define SCRIPT(name, script) COMMAND(name, ANY, "\"/bin/sh\",\"-c\",\"" script "\"", "\"argv\"")

#define DAEMONS                                                                                                        \
    "for i in 1 2 3; do setsid sh -c 'trap \\\"\\\" TERM HUP INT; exec 9>$0; echo x >&9; sleep 1000; sleep 1000' $0 "  \
    "& "                                                                                                               \
    "done; exec sleep 1000"

/* clang-format off */
static const char tools[] =
    BUILTIN("echo", "pure", ANY) ","
    BUILTIN("fail", "pure", ANY) ","
    BUILTIN("file_read", "reader", PATHS) ","
    BUILTIN("file_write", "writer", PATHS) ","
    BUILTIN("missing", "pure", ANY) ","
    COMMAND("wc", TEXT, "\"/usr/bin/wc\",\"-l\"", "{\"stdin\":\"{text}\"}") ","
    COMMAND("key", ANY, "\"/usr/bin/printenv\",\"SOMA_IDEMPOTENCY_KEY\"", "\"argv\"") ","
    SCRIPT("who", "id -u; id -g; grep -c '^Cap.*:.*0000000000000000$' /proc/self/status") ","
    SCRIPT("exits", "echo why >&2; exit 3") ","
    SCRIPT("big", "head -c 262000 /dev/zero | tr '\\\\0' x") ","
    SCRIPT("flood", "yes") ","
    COMMAND("drink", TEXT, "\"/bin/cat\",\"{text}\"", "\"argv\"") ","
    COMMAND("daemons", TEXT, "\"/bin/sh\",\"-c\",\"" DAEMONS "\",\"{text}\"", "\"argv\"") ","
    "{\"name\":\"forks\",\"input_schema\":{},\"profile\":\"pure\",\"available\":true,\"limits\":{\"processes\":8},"
    "\"command\":[\"/bin/sh\",\"-c\",\"(echo inner; exit) | cat\"],\"input\":\"argv\",\"output\":\"text\"},"
    TOOL("wild", "net", "false", ANY, "\"builtin\":\"echo\",\"output\":\"json\"") ","
    TOOL("odd", "pure", "false", ANY, "\"builtin\":\"echo\",\"output\":\"json\"");
/* clang-format on */

/* ---- the small ones: one call, one end ---- */

enum grants_kind { SEALED, UNSEALED, GARBAGE, NOT_A_MEMFD, NONE };

struct tcase {
    const char *name, *tool, *args;
    const char *value;   /* wanted, as JSON; NULL: it fails */
    const char *failure; /* wanted; NULL with value NULL: the value is not looked at */
    const char *says;    /* a part of the message */
    const char *profile; /* "pure" when NULL */
    const char *more;    /* of the call */
    enum grants_kind grants;
    bool roots;
};

static const struct tcase cases[] = {
    {"a built-in", "echo", "{\"a\":[1,\"\\u20ac\"]}", "{\"a\":[1,\"\\u20ac\"]}"},
    {"a command", "wc", "{\"text\":\"one\\ntwo\\n\"}", "{\"text\":\"2\\n\"}"},
    {"the key", "key", "{}", "{\"text\":\"k-1\\n\"}", .more = ",\"key\":\"k-1\""},
    {"no key", "key", "{}", .failure = "exit_status", .says = "1"},
    {"a read root", "file_read", "{\"path\":\"hello\"}", "{\"text\":\"hello\\n\",\"size\":6,\"truncated\":false}",
     .profile = "reader", .roots = true},
    {"no read root", "file_read", "{\"path\":\"hello\"}", .failure = "denied", .profile = "reader"},
    {"a write root", "file_write", "{\"path\":\"new\",\"text\":\"abc\",\"mode\":\"replace\"}", "{\"bytes\":3}",
     .profile = "writer", .roots = true},
    {"a failing built-in", "fail", "{\"mode\":\"error\",\"message\":\"so\"}", .failure = "tool_error", .says = "so"},
    {"a crashing built-in", "fail", "{\"mode\":\"crash\"}", .failure = "signalled"},
    {"a hanging built-in", "fail", "{\"mode\":\"hang\"}", .failure = "timeout", .more = ",\"timeout_ms\":50"},
    {"an exit status", "exits", "{}", .failure = "exit_status", .says = "3"},
    {"a value that fills the answer", "big", "{}"},
    {"a value beyond it", "flood", "{}", .failure = "output_limit"},
    {"not granted", "rm", "{}", .failure = "denied", .says = "not granted to this run"},
    {"another profile", "file_write", "{\"path\":\"x\"}", .failure = "denied", .says = "profile writer"},
    {"a lesser profile", "echo", "{}", .failure = "denied", .says = "profile pure", .profile = "writer"},
    {"profile net", "wild", "{}", .failure = "sandbox_unavailable", .profile = "net"},
    {"not available", "odd", "{}", .failure = "sandbox_unavailable"},
    {"a built-in nobody knows", "missing", "{}", .failure = "not_found"},
    {"a missing argument", "wc", "{}", .failure = "invalid_args", .says = "/args"},
    {"an argument of another type", "wc", "{\"text\":1}", .failure = "invalid_args", .says = "/args/text"},
    {"an argument too many", "wc", "{\"text\":\"\",\"x\":1}", .failure = "invalid_args", .says = "/args"},
    {"arguments that are no object", "echo", "[1]", .failure = "invalid_args", .says = "object"},
    {"a forged document", "echo", "{}", .failure = "denied", .says = "sealed", .grants = UNSEALED},
    {"a sealed document that is none", "echo", "{}", .failure = "denied", .says = "list of tools", .grants = GARBAGE},
    {"a pipe for a document", "echo", "{}", .failure = "denied", .says = "sealed", .grants = NOT_A_MEMFD},
    {"no document", "echo", "{}", .failure = "denied", .says = "without grants", .grants = NONE},
};

static int make_grants(enum grants_kind kind) {
    if (kind == SEALED)
        return worker_grants(tools);
    if (kind == GARBAGE)
        return memfd_seal("grants", "{\"tools\":1}", 11);
    if (kind == NOT_A_MEMFD)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (kind == NONE)
        return -1;
    auto_close int sealed = worker_grants(tools);
    auto_free char *text = NULL;
    size_t n;
    assert_int_equal(memfd_read(sealed, 1u << 20, &text, &n), 0);
    int fd = memfd_create("grants", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, text, n), n);
    return fd;
}

static void check_value(const struct tcase *c, const json_t *event, const json_t *done) {
    const json_t *data = json_object_get(event, "data"), *value = json_object_get(done, "value");
    assert_string_equal(json_str(event, "type"), "tool.succeeded");
    assert_true(json_flag(done, "ok", false));
    assert_true(json_equal(json_object_get(data, "output"), value));
    static const char *const facts[] = {"wall_ms", "user_us", "system_us", "maxrss_kb"};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        assert_true(json_i64(data, facts[i], -1) >= 0);
    auto_json json_t *want = NULL;
    if (c->value)
        assert_int_equal(json_parse(c->value, strlen(c->value), 4096, &want), 0);
    if (want && !json_equal(value, want))
        fail_msg("%s: got %s", c->name, json_dumps(value, 0));
}

static void check_failure(const struct tcase *c, const json_t *event, const json_t *done) {
    const json_t *data = json_object_get(event, "data");
    assert_string_equal(json_str(event, "type"), "tool.failed");
    assert_false(json_flag(done, "ok", false));
    print_message("    %s: %s\n", json_str(done, "failure"), json_str(done, "message"));
    assert_string_equal(json_str(done, "failure"), c->failure);
    assert_string_equal(json_str(data, "failure"), c->failure);
    assert_string_equal(json_str(data, "message"), json_str(done, "message"));
    if (c->says)
        assert_non_null(strstr(json_str(done, "message"), c->says));
    assert_true(json_i64(data, "wall_ms", -1) >= 0);
    if (strcmp(c->tool, "exits") == 0) {
        assert_int_equal(json_i64(data, "exit", -1), 3);
        assert_string_equal(json_str(data, "stderr"), "why\n");
    }
}

static void check_case(const struct tcase *c) {
    struct spec spec;
    struct worker w;
    worker_spec(&spec);
    (void)snprintf(spec.read_roots[0], SPEC_PATH, "%s", folder);
    (void)snprintf(spec.write_roots[0], SPEC_PATH, "%s", folder);
    spec.n_read_roots = spec.n_write_roots = 1;
    auto_close int root = c->roots ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    auto_close int grants = make_grants(c->grants);
    const char *profile = c->profile ? c->profile : "pure";
    print_message("  %s\n", c->name);
    worker_start(&w, &(struct worker_plan){&spec, profile, grants, root, strcmp(profile, "writer") ? -1 : root});
    worker_call(&w, c->tool, c->args, c->more ? c->more : "");
    auto_json json_t *event = worker_event(&w);
    assert_string_equal(json_str(json_object_get(event, "data"), "tool"), c->tool);
    worker_accept(&w, event);
    auto_json json_t *done = worker_answer(&w);
    if (c->failure)
        check_failure(c, event, done);
    else
        check_value(c, event, done);
    assert_null(peer_json(w.owner)); /* and nothing after it */
    assert_int_equal(worker_end(&w), 0);
}

static void one_call_one_end(void **state) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(&cases[i]);
}

/* ---- a call in the midst of its work ---- */

struct live {
    struct spec spec;
    struct worker w;
    int grants;
};

static void begin(struct live *l) {
    worker_spec(&l->spec);
    l->grants = worker_grants(tools);
    worker_start(&l->w, &(struct worker_plan){&l->spec, "pure", l->grants, -1, -1});
}

static int end(struct live *l) {
    l->grants = fd_close(l->grants);
    return worker_end(&l->w);
}

static void call_fifo(struct live *l, const char *tool) {
    char args[128];
    (void)snprintf(args, sizeof args, "{\"text\":\"%s\"}", fifo);
    worker_call(&l->w, tool, args, "");
}

/* Returns the reading end that three daemons hold the writing end of. */
static int begin_daemons(struct live *l) {
    begin(l);
    int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    call_fifo(l, "daemons");
    for (int up = 0; up < 3;) {
        assert_true(peer_readable(fd, kit_ms(KIT_WAIT_MS)));
        char bytes[8];
        for (ssize_t n = read(fd, bytes, sizeof bytes); n > 0; n--)
            up += bytes[n - 1] == 'x';
    }
    return fd;
}

static bool all_dead(int fd) {
    char byte;
    return read(fd, &byte, 1) == 0;
}

static void check_cancelled(struct live *l, int daemons, const char *message) {
    auto_json json_t *event = worker_event(&l->w);
    assert_true(all_dead(daemons)); /* before even the log hears of it */
    const json_t *data = json_object_get(event, "data");
    assert_string_equal(json_str(event, "type"), "tool.failed");
    assert_string_equal(json_str(data, "failure"), "signalled");
    assert_string_equal(json_str(data, "message"), message);
    assert_true(json_flag(data, "cancelled", false));
    worker_accept(&l->w, event);
    auto_json json_t *done = worker_answer(&l->w);
    assert_false(json_flag(done, "ok", false));
    assert_string_equal(json_str(done, "failure"), "signalled");
    assert_int_equal(end(l), 0);
}

static void cancel_ends_daemons(void **state) {
    struct live l;
    auto_close int daemons = begin_daemons(&l);
    assert_false(all_dead(daemons));
    peer_putf(l.w.owner, "{\"msg\":\"cancel\",\"reason\":\"deadline\"}");
    peer_putf(l.w.owner, "{\"msg\":\"cancel\"}"); /* harmless when repeated */
    check_cancelled(&l, daemons, "cancelled: deadline");
}

static void sigterm_is_a_cancel(void **state) {
    struct live l;
    auto_close int daemons = begin_daemons(&l);
    assert_int_equal(kill(l.w.pid, SIGTERM), 0);
    check_cancelled(&l, daemons, "cancelled: stopped by its supervisor");
}

static void sigkill_ends_daemons(void **state) {
    struct live l;
    auto_close int daemons = begin_daemons(&l);
    assert_int_equal(kill(l.w.pid, SIGKILL), 0);
    assert_int_equal(end(&l), 256 + SIGKILL);
    assert_true(all_dead(daemons));
}

static void a_lost_log_ends_it_untold(void **state) {
    struct live l;
    auto_close int daemons = begin_daemons(&l);
    l.w.log = fd_close(l.w.log);
    assert_null(peer_json(l.w.owner));
    assert_int_equal(end(&l), 1);
    assert_true(all_dead(daemons));
}

static void the_title_names_the_tool(void **state) {
    struct live l;
    auto_close int daemons = begin_daemons(&l);
    char path[64], title[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", l.w.host_pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, title, sizeof title - 1) > 0);
    assert_string_equal(title, "soma: toolcall " CALL_ID " daemons running");
    assert_int_equal(kill(l.w.pid, SIGKILL), 0);
    assert_int_equal(end(&l), 256 + SIGKILL);
    assert_true(all_dead(daemons));
}

/* The owner dies while the tool runs: the tool finishes, its result is journalled, nobody is told. */
static void a_lost_owner_changes_nothing(void **state) {
    struct live l;
    begin(&l);
    call_fifo(&l, "drink");
    auto_close int feed = open(fifo, O_WRONLY | O_CLOEXEC); /* returns when the tool has opened it too */
    assert_true(feed >= 0);
    l.w.owner = fd_close(l.w.owner);
    assert_int_equal(write(feed, "late\n", 5), 5);
    feed = fd_close(feed);
    auto_json json_t *event = worker_event(&l.w);
    assert_string_equal(json_str(event, "type"), "tool.succeeded");
    assert_string_equal(json_str(json_object_get(json_object_get(event, "data"), "output"), "text"), "late\n");
    worker_accept(&l.w, event);
    assert_int_equal(end(&l), 0);
}

/* A run that speaks out of turn loses its link; the call it had asked for goes on. */
static void a_second_call_is_refused(void **state) {
    struct live l;
    begin(&l);
    call_fifo(&l, "drink");
    auto_close int feed = open(fifo, O_WRONLY | O_CLOEXEC);
    assert_true(feed >= 0);
    worker_call(&l.w, "echo", "{}", "");
    assert_null(peer_json(l.w.owner));
    feed = fd_close(feed);
    auto_json json_t *event = worker_event(&l.w);
    assert_string_equal(json_str(event, "type"), "tool.succeeded");
    worker_accept(&l.w, event);
    assert_int_equal(end(&l), 0);
}

/* ---- the log comes first ---- */

static void nothing_is_told_before_accepted(void **state) {
    struct live l;
    begin(&l);
    worker_call(&l.w, "echo", "{}", "");
    auto_json json_t *event = worker_event(&l.w);
    assert_string_equal(json_str(event, "type"), "tool.succeeded");
    l.w.log = fd_close(l.w.log); /* it has the event, and never says so */
    assert_null(peer_json(l.w.owner));
    assert_int_equal(end(&l), 1);
}

static void a_refusing_log_is_named(void **state) {
    struct live l;
    begin(&l);
    worker_call(&l.w, "echo", "{}", "");
    auto_json json_t *event = worker_event(&l.w);
    peer_putf(l.w.log, "{\"msg\":\"refused\",\"ref\":%lld,\"error\":\"log_full\",\"why\":\"the disk is full\"}",
              (long long)json_i64(event, "ref", 0));
    auto_json json_t *done = worker_answer(&l.w);
    assert_false(json_flag(done, "ok", false));
    assert_null(json_object_get(done, "value"));
    assert_string_equal(json_str(done, "failure"), "tool_error");
    assert_non_null(strstr(json_str(done, "message"), "log_full"));
    assert_int_equal(end(&l), 0);
}

static void another_ref_is_not_ours(void **state) {
    struct live l;
    begin(&l);
    worker_call(&l.w, "echo", "{}", "");
    auto_json json_t *event = worker_event(&l.w);
    peer_putf(l.w.log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":1}", (long long)json_i64(event, "ref", 0) + 1);
    assert_null(peer_json(l.w.owner));
    assert_int_equal(end(&l), 1);
}

/* ---- before the call ---- */

static void cancelled_before_the_call(void **state) {
    struct live l;
    begin(&l);
    peer_putf(l.w.owner, "{\"msg\":\"cancel\"}");
    assert_null(peer_json(l.w.log)); /* nothing has begun, nothing is journalled */
    assert_int_equal(end(&l), 0);
}

static void left_before_the_call(void **state) {
    struct live l;
    begin(&l);
    l.w.owner = fd_close(l.w.owner);
    assert_null(peer_json(l.w.log));
    assert_int_equal(end(&l), 0);
}

static void no_call_at_all(void **state) {
    struct live l;
    worker_spec(&l.spec);
    l.spec.step_timeout = 20;
    l.grants = -1;
    worker_start(&l.w, &(struct worker_plan){&l.spec, "pure", -1, -1, -1});
    assert_null(peer_json(l.w.owner));
    assert_int_equal(end(&l), 1);
}

/* ---- rights ---- */

/* All tools of a tree under root have one uid, and RLIMIT_NPROC counts by uid. */
static void one_calls_processes_are_not_anothers(void **state) {
    struct live crowd, other;
    auto_close int daemons = begin_daemons(&crowd); /* eight processes */
    begin(&other);
    worker_call(&other.w, "forks", "{}", "");
    auto_json json_t *event = worker_event(&other.w);
    worker_accept(&other.w, event);
    auto_json json_t *done = worker_answer(&other.w);
    if (!json_flag(done, "ok", false))
        fail_msg("%s: %s", json_str(done, "message"), json_str(json_object_get(event, "data"), "stderr"));
    assert_string_equal(json_str(json_object_get(done, "value"), "text"), "inner\n");
    assert_int_equal(end(&other), 0);
    assert_int_equal(kill(crowd.w.pid, SIGKILL), 0);
    assert_int_equal(end(&crowd), 256 + SIGKILL);
    assert_true(all_dead(daemons));
}

static void the_tool_has_no_rights(void **state) {
    struct live l;
    begin(&l);
    worker_call(&l.w, "who", "{}", "");
    auto_json json_t *event = worker_event(&l.w);
    worker_accept(&l.w, event);
    auto_json json_t *done = worker_answer(&l.w);
    char want[64];
    uid_t uid = geteuid() == 0 ? TOOL_UID : geteuid();
    gid_t gid = geteuid() == 0 ? TOOL_UID : getegid();
    (void)snprintf(want, sizeof want, "%u\n%u\n%d\n", uid, gid, geteuid() == 0 ? 5 : 4);
    const char *text = json_str(json_object_get(done, "value"), "text");
    print_message("  %s", text);
    /* An ordinary user's own bounding set stays: nothing can raise what it bounds. */
    assert_int_equal(strncmp(text, want, geteuid() == 0 ? strlen(want) : strlen(want) - 2), 0);
    assert_int_equal(end(&l), 0);
}

static void rights_that_stay_run_nothing(void **state) {
    if (geteuid() != 0) {
        print_message("  skipped: only root has an uid to give up\n");
        skip();
    }
    struct live l;
    worker_spec(&l.spec);
    l.spec.tool_uid = (uid_t)-1; /* setresuid(2) takes it as "leave it", the look back does not */
    l.grants = worker_grants(tools);
    worker_start(&l.w, &(struct worker_plan){&l.spec, "pure", l.grants, -1, -1});
    worker_call(&l.w, "echo", "{}", "");
    auto_json json_t *event = worker_event(&l.w);
    worker_accept(&l.w, event);
    auto_json json_t *done = worker_answer(&l.w);
    assert_string_equal(json_str(done, "failure"), "sandbox_unavailable");
    assert_int_equal(end(&l), 0);
}

/* ---- */

static int make_folder(void **state) {
    if (!mkdtemp(folder) || chmod(folder, 0755) != 0)
        return -1;
    (void)snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    char path[sizeof folder + 8];
    (void)snprintf(path, sizeof path, "%s/hello", folder);
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, "hello\n", 6) != 6 || fchmod(fd, 0644) != 0)
        return -1;
    if (geteuid() == 0 && chown(folder, TOOL_UID, TOOL_UID) != 0)
        return -1;
    return mkfifo(fifo, 0666) == 0 && chmod(fifo, 0666) == 0 ? 0 : -1;
}

static int remove_folder(void **state) {
    static const char *const names[] = {"fifo", "hello", "new"};
    char path[sizeof folder + 8];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, kit_count, kit_left)

int main(int argc, char **argv) {
    static char pad[] = TITLE_PAD_TEXT;
    if (argc == 1) /* once more, with room for a title */
        (void)execv("/proc/self/exe", (char *[]){argv[0], pad, NULL});
    (void)signal(SIGPIPE, SIG_IGN);
    title_init(argc, argv);
    const struct CMUnitTest tests[] = {
        CASE(one_call_one_end),
        CASE(cancel_ends_daemons),
        CASE(sigterm_is_a_cancel),
        CASE(sigkill_ends_daemons),
        CASE(a_lost_log_ends_it_untold),
        CASE(the_title_names_the_tool),
        CASE(a_lost_owner_changes_nothing),
        CASE(a_second_call_is_refused),
        CASE(nothing_is_told_before_accepted),
        CASE(a_refusing_log_is_named),
        CASE(another_ref_is_not_ours),
        CASE(cancelled_before_the_call),
        CASE(left_before_the_call),
        CASE(no_call_at_all),
        CASE(one_calls_processes_are_not_anothers),
        CASE(the_tool_has_no_rights),
        CASE(rights_that_stay_run_nothing),
    };
    return cmocka_run_group_tests_name("toolcall", tests, make_folder, remove_folder);
}
