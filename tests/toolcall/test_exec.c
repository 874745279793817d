/* Real programs in real namespaces. Each case runs as PID 1 of a fresh one, and each ends by looking for what is left:
 * processes, zombies, descriptors. */
#include "tests/kit/process.h"
#include "tests/toolcall/scope.h"
#include "toolcall/argv.h"
#include "toolcall/exec_impl.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define MIB (1024u * 1024u)
#define OK TOOL_FAILURE__COUNT /* the case does not fail */
#define TOOL_UID 64998         /* nobody's on a Debian system */

#define SH(script)                                                                                                     \
    { "/bin/sh", "-c", (script), NULL }

struct wanted {
    enum tool_failure_name failure;
    const char *value;   /* the whole result as JSON; NULL: not looked at */
    const char *err_end; /* how the tail of stderr ends */
    int signal, exit_status;
    bool stderr_truncated;
};

struct scase {
    const char *name;
    const char *argv[8];
    const char *input;
    bool json;
    struct tool_limits limits;
    int64_t timeout_ms; /* 0: a minute, which no case may take */
    int64_t within_ms;  /* 0: not looked at */
    struct wanted want;
};

static const struct scase cases[] = {
    {.name = "wc counts lines from stdin",
     .argv = {"/usr/bin/wc", "-l"},
     .input = "one\ntwo\n",
     .want = {OK, "{\"text\":\"2\\n\"}"}},
    {.name = "sort", .argv = {"/usr/bin/sort"}, .input = "b\na\n", .want = {OK, "{\"text\":\"a\\nb\\n\"}"}},
    {.name = "arguments are whole elements",
     .argv = {"/usr/bin/printf", "%s|", "a b", "$HOME", "*"},
     .want = {OK, "{\"text\":\"a b|$HOME|*|\"}"}},
    {.name = "no output", .argv = {"/bin/true"}, .want = {OK, "{\"text\":\"\"}"}},
    {.name = "JSON output", .argv = {"/bin/echo", "{\"a\":[1,2]}"}, .json = true, .want = {OK, "{\"a\":[1,2]}"}},
    {.name = "JSON output that is none", .argv = {"/bin/echo", "nope"}, .json = true, .want = {TOOL_BAD_OUTPUT}},
    {.name = "no JSON output", .argv = {"/bin/true"}, .json = true, .want = {TOOL_BAD_OUTPUT}},
    {.name = "bad UTF-8", .argv = {"/usr/bin/printf", "ok \\377"}, .want = {TOOL_BAD_OUTPUT}},
    {.name = "half a character", .argv = {"/usr/bin/printf", "\\342\\202"}, .want = {TOOL_BAD_OUTPUT}},
    {.name = "NUL in text", .argv = {"/usr/bin/printf", "a\\0b"}, .want = {TOOL_BAD_OUTPUT}},
    {.name = "exit status with stderr",
     .argv = SH("echo out; echo why >&2; exit 3"),
     .want = {TOOL_EXIT_STATUS, .err_end = "why\n", .exit_status = 3}},
    {.name = "stderr that is not text",
     .argv = SH("printf 'x\\377y' >&2; exit 1"),
     .want = {TOOL_EXIT_STATUS, .err_end = "x?y", .exit_status = 1}},
    {.name = "signalled", .argv = SH("kill -SEGV $$"), .want = {TOOL_SIGNALLED, .signal = SIGSEGV}},
    {.name = "kills itself by -1",
     .argv = SH("kill -KILL -1; kill -KILL $$"),
     .want = {TOOL_SIGNALLED, .signal = SIGKILL}},
    {.name = "no such program", .argv = {"/nowhere/at/all"}, .want = {TOOL_NOT_FOUND, .exit_status = 125}},
    {.name = "a file that is not executable",
     .argv = {"/etc/passwd"},
     .want = {TOOL_NOT_EXECUTABLE, .exit_status = 125}},
    {.name = "a folder", .argv = {"/usr"}, .want = {TOOL_NOT_EXECUTABLE, .exit_status = 125}},
    {.name = "output flood",
     .argv = {"/usr/bin/yes"},
     .want = {TOOL_OUTPUT_LIMIT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "output at its limit",
     .argv = SH("printf 12345678"),
     .limits = {.output_bytes = 8},
     .want = {OK, "{\"text\":\"12345678\"}"}},
    {.name = "output one over its limit",
     .argv = SH("printf 123456789"),
     .limits = {.output_bytes = 8},
     .want = {TOOL_OUTPUT_LIMIT, .exit_status = -2}},
    {.name = "text that grows over the limit when encoded",
     .argv = SH("head -c 100000 /dev/zero | tr '\\0' '\\1'"),
     .want = {TOOL_OUTPUT_LIMIT}},
    {.name = "JSON that grows over the limit when encoded",
     .argv = SH("printf '[0.1'; yes ,0.1 | head -n 50000 | tr -d '\\n'; printf ]"),
     .json = true,
     .want = {TOOL_OUTPUT_LIMIT}},
    {.name = "stderr flood is dropped",
     .argv = SH("yes error | head -c 4999998 >&2; echo last >&2; echo fine"),
     .want = {OK, "{\"text\":\"fine\\n\"}", .err_end = "error\nlast\n", .stderr_truncated = true}},
    {.name = "both floods at once, without a deadlock",
     .argv = SH("yes e | head -c 3000000 >&2 & yes o | head -c 100000; wait"),
     .want = {OK, .stderr_truncated = true}},
    {.name = "timeout",
     .argv = {"/bin/sleep", "1000"},
     .timeout_ms = 100,
     .within_ms = 3000,
     .want = {TOOL_TIMEOUT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "timeout of one that ignores signals",
     .argv = SH("trap '' TERM INT HUP QUIT; while :; do sleep 100; done"),
     .timeout_ms = 100,
     .within_ms = 3000,
     .want = {TOOL_TIMEOUT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "timeout of one that is stopped",
     .argv = SH("kill -STOP $$"),
     .timeout_ms = 100,
     .within_ms = 3000,
     .want = {TOOL_TIMEOUT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "a daemon that holds stdout",
     .argv = SH("(setsid sh -c \"trap '' TERM HUP; sleep 1000\" &); echo done"),
     .within_ms = 3000,
     .want = {OK, "{\"text\":\"done\\n\"}"}},
    {.name = "forty daemons, their own sessions",
     .argv =
         SH("i=0; while [ $i -lt 40 ]; do (setsid sleep 1000 >/dev/null 2>&1 </dev/null &); i=$((i+1)); done; echo x"),
     .within_ms = 10000,
     .want = {OK, "{\"text\":\"x\\n\"}"}},
    {.name = "a chain of forks that runs away",
     .argv = SH("f() { f & }; f; sleep 1000"),
     .timeout_ms = 200,
     .within_ms = 5000,
     .want = {TOOL_TIMEOUT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "a chain of forks behind a main process that ended",
     .argv = SH("f() { f & }; f & echo gone"),
     .within_ms = 5000,
     .want = {OK, "{\"text\":\"gone\\n\"}"}},
    {.name = "the closed descriptors of a main process that lives on",
     .argv = SH("exec >&- 2>&-; sleep 0.1"),
     .want = {OK, "{\"text\":\"\"}"}},
    {.name = "memory of one process",
     .argv = {"/usr/bin/perl", "-e", "while (1) { push @x, q(a) x 100000 }"},
     .limits = {.memory_bytes = 64 * MIB},
     .want = {TOOL_MEMORY_LIMIT, .exit_status = -2}},
    {.name = "memory of several processes together",
     .argv = SH("for i in 1 2 3 4; do perl -e '$n = 20; $x = q(a) x ($n << 20); sleep 1000' & done; wait"),
     .limits = {.memory_bytes = 60 * MIB},
     .want = {TOOL_MEMORY_LIMIT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "memory of daemons behind a double fork",
     .argv = SH("(setsid perl -e '$n = 50; $x = q(a) x ($n << 20); sleep 1000' &); sleep 1000"),
     .limits = {.memory_bytes = 40 * MIB},
     .want = {TOOL_MEMORY_LIMIT, .signal = SIGKILL, .exit_status = -1}},
    {.name = "memory that nobody was quick enough to sample",
     .argv = {"/usr/bin/perl", "-e", "$n = 14; $x = q(a) x ($n << 20); exit 1"},
     .limits = {.memory_bytes = 10 * MIB},
     .want = {TOOL_MEMORY_LIMIT, .exit_status = -2}},
    {.name = "memory within its limit",
     .argv = {"/usr/bin/perl", "-e",
              "$n = 8; $x = q(a) x ($n << 20); select undef, undef, undef, 0.2; print length $x"},
     .limits = {.memory_bytes = 64 * MIB},
     .want = {OK, "{\"text\":\"8388608\"}"}},
    {.name = "processor time",
     .argv = SH("while :; do :; done"),
     .limits = {.cpu_ms = 1000},
     .want = {TOOL_TIMEOUT, .signal = SIGXCPU, .exit_status = -1}},
    {.name = "a file over its limit",
     .argv = SH("umask 0; exec head -c 100000 /dev/zero > \"$TMPDIR/large\""),
     .limits = {.file_bytes = 5000},
     .want = {TOOL_OUTPUT_LIMIT, .signal = SIGXFSZ, .exit_status = -1}},
    {.name = "environment, exactly",
     .argv = {"/usr/bin/env", "-u", "TMPDIR", "/usr/bin/env"},
     .want = {OK, "{\"text\":\"PATH=/usr/bin:/bin\\n\"}"}},
    {.name = "descriptors, exactly (the last one is of ls)",
     .argv = {"/bin/ls", "/proc/self/fd"},
     .want = {OK, "{\"text\":\"0\\n1\\n2\\n3\\n\"}"}},
    {.name = "umask, core, folder",
     .argv = SH("umask; ulimit -c; pwd"),
     .want = {OK, "{\"text\":\"0077\\n0\\n/\\n\"}"}},
    {.name = "signals as a program expects them, and no new rights",
     .argv = {"/bin/grep", "-E", "^(SigBlk|SigIgn|NoNewPrivs)", "/proc/self/status"},
     .want = {OK, "{\"text\":\"SigBlk:\\t0000000000000000\\nSigIgn:\\t0000000000000000\\nNoNewPrivs:\\t1\\n\"}"}},
    {.name = "its own session",
     .argv = {"/usr/bin/perl", "-MPOSIX", "-e", "print getpgrp == $$ ? q(leader) : q(member)"},
     .want = {OK, "{\"text\":\"leader\"}"}},
};

static char folder[] = "/tmp/soma-exec-XXXXXX";

static const char *const *environment(void) {
    static char tmpdir[64];
    static const char *list[] = {"PATH=/usr/bin:/bin", tmpdir, NULL};
    (void)snprintf(tmpdir, sizeof tmpdir, "TMPDIR=%s", folder);
    return list;
}

static int64_t now(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int check_value(const char *name, const json_t *value, const char *wanted) {
    auto_json json_t *parsed = NULL;
    auto_free char *text = NULL;
    size_t n;
    if (json_parse(wanted, strlen(wanted), JSON_TEXT_MAX, &parsed) != 0)
        return scope_wrong(name, "the case is wrong: %s", err_text());
    if (json_equal(value, parsed))
        return 0;
    return scope_wrong(name, "value %s", json_text(value, JSON_TEXT_MAX, &text, &n) == 0 ? text : "?");
}

/* In `want`, exit_status -2 stands for "any": which of two was first is not the point of the case. */
static int check_result(const char *name, const struct exec_result *r, const struct wanted *want) {
    if (r->failed != (want->failure != OK) || (r->failed && r->failure.name != want->failure))
        return scope_wrong(name, "failed=%d %s: %s (stderr: %.300s)", r->failed, tool_failure_text(r->failure.name),
                           r->failure.message, r->stderr_tail);
    if (r->failed != (r->value == NULL))
        return scope_wrong(name, "a value and a failure, or neither");
    if (want->value && check_value(name, r->value, want->value) != 0)
        return 1;
    size_t n = strlen(r->stderr_tail), end_n = want->err_end ? strlen(want->err_end) : 0;
    if (n < end_n || (want->err_end && strcmp(r->stderr_tail + n - end_n, want->err_end) != 0))
        return scope_wrong(name, "stderr '%s'", r->stderr_tail);
    if (r->stderr_truncated != want->stderr_truncated)
        return scope_wrong(name, "stderr_truncated %d", r->stderr_truncated);
    if (want->exit_status != -2 && (r->exit_status != want->exit_status || r->signal != want->signal) &&
        !(want->signal && r->signal == want->signal))
        return scope_wrong(name, "exit status %d, signal %d", r->exit_status, r->signal);
    auto_json json_t *report = exec_report(r);
    return report ? 0 : scope_wrong(name, "no report");
}

static int run_and_check(const char *name, const struct exec_spec *spec, const struct wanted *want, int64_t within_ms) {
    struct exec_result result;
    int fds = kit_fds(0);
    int64_t begun = now();
    int r = exec_run_blocking(spec, &result);
    if (r < 0)
        return scope_wrong(name, "exec_run_blocking: %s", err_text());
    int64_t took = now() - begun;
    int wrong = check_result(name, &result, want);
    if (result.memory_sampled != (spec->limits.memory_bytes > 0))
        wrong = scope_wrong(name, "memory_sampled %d", result.memory_sampled);
    exec_result_deinit(&result);
    if (within_ms > 0 && took > kit_ms(within_ms))
        wrong = scope_wrong(name, "took %" PRId64 " ms", took);
    if (kit_fds(0) != fds)
        wrong = scope_wrong(name, "%d descriptors, %d before", kit_fds(0), fds);
    return wrong | scope_alone(name);
}

static int case_body(const void *arg) {
    const struct scase *c = arg;
    struct exec_spec spec = {
        .argv = (char *const *)c->argv,
        .envp = (char *const *)environment(),
        .input = c->input,
        .input_n = c->input ? strlen(c->input) : 0,
        .json_output = c->json,
        .limits = c->limits,
        .timeout_ms = c->timeout_ms ? c->timeout_ms : kit_ms(60000),
    };
    return run_and_check(c->name, &spec, &c->want, c->within_ms);
}

static void test_programs(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        wrong += scope_run(case_body, &cases[i], false) != 0;
    assert_int_equal(wrong, 0);
}

/* More input than a pipe holds, into a program that answers as much: both directions must move at the same time. */
static int large_body(const void *arg) {
    (void)arg;
    static char input[240 * 1024];
    const char *cat[] = {"/bin/cat", NULL}, *deaf[] = {"/bin/true", NULL};
    memset(input, 'x', sizeof input);
    struct exec_spec spec = {.argv = (char *const *)cat,
                             .envp = (char *const *)environment(),
                             .input = input,
                             .input_n = sizeof input,
                             .timeout_ms = kit_ms(60000)};
    struct exec_result result;
    if (exec_run_blocking(&spec, &result) != 0)
        return scope_wrong("large input", "%s", err_text());
    const json_t *text = json_object_get(result.value, "text");
    if (result.failed || json_string_length(text) != sizeof input)
        return scope_wrong("large input", "%s, %zu bytes", result.failure.message, json_string_length(text));
    int wrong = memcmp(json_string_value(text), input, sizeof input) != 0;
    exec_result_deinit(&result);
    spec.argv = (char *const *)deaf;
    return wrong | run_and_check("input nobody reads", &spec, &(struct wanted){OK, "{\"text\":\"\"}"}, 0);
}

static void test_large_input(void **state) {
    (void)state;
    assert_int_equal(scope_run(large_body, NULL, false), 0);
}

static int put_program(const char *name, const char *text, char path[128]) {
    (void)snprintf(path, 128, "%s/%s", folder, name);
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return scope_wrong(name, "cannot be written: %s", strerror(errno));
    return 0;
}

static int own_programs_body(const void *arg) {
    (void)arg;
    static const struct {
        const char *name, *text;
        struct wanted want;
    } rows[] = {
        {"garbage", "this is no program\n", {TOOL_NOT_EXECUTABLE, .exit_status = 125}},
        {"lost", "#!/nowhere/interpreter\n", {TOOL_NOT_FOUND, .exit_status = 125}},
        {"script", "#!/bin/sh\necho \"$0\" | tail -c 7\n", {OK, "{\"text\":\"script\\n\"}"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[128];
        const char *argv[] = {path, NULL};
        struct exec_spec spec = {
            .argv = (char *const *)argv, .envp = (char *const *)environment(), .timeout_ms = kit_ms(60000)};
        if (put_program(rows[i].name, rows[i].text, path) != 0)
            return 1;
        if (run_and_check(rows[i].name, &spec, &rows[i].want, 0) != 0)
            return 1;
    }
    static char huge[200 * 1024]; /* an element may have 128 KiB with its terminator */
    memset(huge, 'x', sizeof huge - 1);
    const char *argv[] = {"/bin/echo", huge, NULL};
    struct exec_spec spec = {
        .argv = (char *const *)argv, .envp = (char *const *)environment(), .timeout_ms = kit_ms(60000)};
    struct wanted want = {TOOL_INVALID_ARGS, .exit_status = 125};
    if (run_and_check("an element over execve's limit", &spec, &want, 0) != 0)
        return 1;
    const char *pwd[] = {"/bin/pwd", NULL};
    spec.argv = (char *const *)pwd;
    spec.workdir = "/usr";
    if (run_and_check("working folder", &spec, &(struct wanted){OK, "{\"text\":\"/usr\\n\"}"}, 0) != 0)
        return 1;
    spec.workdir = "/nowhere";
    want.failure = TOOL_SANDBOX_UNAVAILABLE;
    return run_and_check("no working folder", &spec, &want, 0);
}

static void test_own_programs(void **state) {
    (void)state;
    assert_int_equal(scope_run(own_programs_body, NULL, false), 0);
}

static int builtins_body(const void *arg) {
    (void)arg;
    static const struct {
        const char *name, *args;
        int64_t timeout_ms;
        struct wanted want;
    } rows[] = {
        {"echo", "{\"a\":1}", 0, {OK, "{\"a\":1}"}},
        {"sleep", "{\"ms\":1}", 0, {OK, "{\"slept_ms\":1}"}},
        {"sleep", "{\"ms\":100000}", 50, {TOOL_TIMEOUT, .signal = SIGKILL}},
        {"fail", "{\"mode\":\"error\",\"message\":\"as asked\"}", 0, {TOOL_TOOL_ERROR}},
        {"fail", "{\"mode\":\"crash\"}", 0, {TOOL_SIGNALLED, .signal = SIGABRT}},
        {"fail", "{\"mode\":\"hang\"}", 50, {TOOL_TIMEOUT, .signal = SIGKILL}},
        {"file_read", "{\"path\":\"note\"}", 0, {OK, "{\"text\":\"hello\",\"size\":5,\"truncated\":false}"}},
        {"file_read", "{\"path\":\"../../etc/passwd\"}", 0, {TOOL_DENIED}},
        {"file_write", "{\"path\":\"new\",\"text\":\"x\",\"mode\":\"create\"}", 0, {OK, "{\"bytes\":1}"}},
        {"nothing_like_it", "{}", 0, {TOOL_NOT_FOUND}},
    };
    char path[128];
    if (put_program("note", "hello", path) != 0)
        return 1;
    auto_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct tool_roots roots = {.read = {{fd, folder}}, .n_read = 1, .write = {{fd, folder}}, .n_write = 1};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_json json_t *args = NULL;
        if (json_parse(rows[i].args, strlen(rows[i].args), JSON_TEXT_MAX, &args) != 0)
            return scope_wrong(rows[i].name, "%s", err_text());
        struct exec_spec spec = {.builtin = rows[i].name,
                                 .args = args,
                                 .roots = &roots,
                                 .limits = {.memory_bytes = 256 * MIB},
                                 .timeout_ms = rows[i].timeout_ms ? rows[i].timeout_ms : kit_ms(60000)};
        if (run_and_check(rows[i].name, &spec, &rows[i].want, 0) != 0)
            return 1;
    }
    return 0;
}

static void test_builtins(void **state) {
    (void)state;
    assert_int_equal(scope_run(builtins_body, NULL, false), 0);
}

/* The result of a built-in may be as large as a value may be, and no larger. */
static int builtin_size_body(const void *arg) {
    (void)arg;
    for (int over = 0; over < 2; over++) {
        auto_free char *text = malloc(TOOL_VALUE_MAX);
        size_t n = TOOL_VALUE_MAX - strlen("{\"t\":\"\"}") + (size_t)over;
        if (!text)
            return 1;
        memset(text, 'x', n);
        auto_json json_t *args = json_pack("{s:s%}", "t", text, n);
        struct exec_spec spec = {.builtin = "echo", .args = args, .timeout_ms = kit_ms(60000)};
        struct wanted want = {over ? TOOL_OUTPUT_LIMIT : OK};
        if (run_and_check(over ? "echo over the limit" : "echo at the limit", &spec, &want, 0) != 0)
            return 1;
    }
    return 0;
}

static void test_builtin_size(void **state) {
    (void)state;
    assert_int_equal(scope_run(builtin_size_body, NULL, false), 0);
}

/* The tools that are shipped as examples do what they say. */
static int example_body(const void *arg) {
    (void)arg;
    static const struct {
        const char *file, *args;
        struct wanted want;
    } rows[] = {
        {"wc.json", "{\"text\":\"a\\nb\\n\"}", {OK, "{\"text\":\"2\\n\"}"}},
        {"sort.json", "{\"text\":\"b\\na\\n\"}", {OK, "{\"text\":\"a\\nb\\n\"}"}},
        {"sort.json", "{\"text\":\"9\\n10\\n\",\"how\":\"--numeric-sort\"}", {OK, "{\"text\":\"9\\n10\\n\"}"}},
        {"uniq_count.json", "{\"text\":\"a\\na\\nb\\n\"}", {OK, "{\"text\":\"      2 a\\n      1 b\\n\"}"}},
        {"sha256sum.json",
         "{\"text\":\"abc\"}",
         {OK, "{\"text\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\\n\"}"}},
        {"date.json", "{}", {OK}},
        {"date.json", "{\"format\":\"+%%\"}", {OK, "{\"text\":\"%\\n\"}"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512], text[4096];
        auto_json json_t *manifest = NULL;
        auto_json json_t *args = NULL;
        struct argv built = ARGV_NULL;
        struct tool_failure failure;
        (void)snprintf(path, sizeof path, "%s/examples/tools/%s", SOURCE_ROOT, rows[i].file);
        auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
        if (n <= 0 || json_parse(text, (size_t)n, sizeof text, &manifest) != 0 ||
            json_parse(rows[i].args, strlen(rows[i].args), JSON_TEXT_MAX, &args) != 0)
            return scope_wrong(rows[i].file, "cannot be read: %s", err_text());
        if (argv_build(manifest, args, NULL, &built, &failure) != 0)
            return scope_wrong(rows[i].file, "%s", failure.message);
        struct exec_spec spec = {.argv = built.argv,
                                 .envp = built.envp,
                                 .input = built.input,
                                 .input_n = built.input_n,
                                 .timeout_ms = kit_ms(60000)};
        int wrong = run_and_check(rows[i].file, &spec, &rows[i].want, 0);
        argv_deinit(&built);
        if (wrong)
            return wrong;
    }
    return 0;
}

static void test_examples(void **state) {
    (void)state;
    assert_int_equal(scope_run(example_body, NULL, false), 0);
}

/* With a /proc of the scope's own, where this process is called 1. */
static void test_own_proc(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strncmp(cases[i].name, "memory", 6) == 0)
            assert_int_equal(scope_run(case_body, &cases[i], true), 0);
}

/* Only what is below PID 1 counts: not PID 1 itself, and not the machine around, whichever /proc is mounted. */
static int empty_body(const void *arg) {
    (void)arg;
    uint64_t bytes = 1;
    auto_close int proc = exec_memory_open();
    if (proc < 0 || exec_memory(proc, &bytes) != 0)
        return scope_wrong("memory of nobody", "%s", err_text());
    return bytes == 0 ? 0 : scope_wrong("memory of nobody", "%" PRIu64 " bytes", bytes);
}

static void test_memory_of_nobody(void **state) {
    (void)state;
    assert_int_equal(scope_run(empty_body, NULL, false), 0);
    assert_int_equal(scope_run(empty_body, NULL, true), 0);
}

static int wait_for_output(struct exec *x) {
    struct pollfd fds[EXEC_FDS_MAX];
    while (x->output_n == 0) {
        size_t n = exec_pollfds(x, fds, EXEC_FDS_MAX);
        if (n == 0 || poll(fds, n, (int)kit_ms(30000)) <= 0)
            return -1;
        for (size_t i = 0; i < n; i++)
            if (fds[i].revents && exec_on_io(x, fds[i].fd, fds[i].revents) != 0)
                return -1;
    }
    return 0;
}

/* Driven by hand, as a role's loop does it: cancelled while daemons run. `arg` non-NULL: thrown away instead. */
static int cancel_body(const void *arg) {
    const char *argv[] = SH("trap '' TERM; (setsid sleep 1000 &); (setsid sleep 1000 &); echo up; sleep 1000");
    struct exec_spec spec = {
        .argv = (char *const *)argv, .envp = (char *const *)environment(), .timeout_ms = kit_ms(60000)};
    struct exec x;
    struct exec_result result;
    int fds = kit_fds(0);
    if (exec_start(&x, &spec) != 0 || wait_for_output(&x) != 0)
        return scope_wrong("cancel", "no start: %s", err_text());
    if (exec_result(&x, &result) != -EBUSY)
        return scope_wrong("cancel", "a result before the end");
    if (!arg) {
        exec_cancel(&x);
        while (!exec_done(&x)) {
            (void)poll(NULL, 0, (int)(exec_next_ms(&x) - now() > 0 ? exec_next_ms(&x) - now() : 0));
            exec_on_time(&x, now());
        }
        if (exec_next_ms(&x) != -1 || exec_result(&x, &result) != 0 || !result.cancelled || !result.failed)
            return scope_wrong("cancel", "not cancelled");
        exec_cancel(&x); /* too late: nothing happens */
        exec_result_deinit(&result);
    }
    exec_deinit(&x);
    exec_deinit(&x);
    if (kit_fds(0) != fds)
        return scope_wrong("cancel", "descriptors are left");
    return scope_alone("cancel");
}

static void test_cancel(void **state) {
    (void)state;
    assert_int_equal(scope_run(cancel_body, NULL, false), 0);
    assert_int_equal(scope_run(cancel_body, "thrown away", false), 0);
}

/* Without a namespace of its own exec would kill the world: it refuses. */
static void test_refusals(void **state) {
    (void)state;
    const char *argv[] = {"/bin/true", NULL};
    struct exec_spec spec = {.argv = (char *const *)argv, .envp = (char *const *)environment(), .timeout_ms = 1000};
    struct exec x;
    assert_int_not_equal(getpid(), 1);
    assert_int_equal(exec_start(&x, &spec), -EPERM);
    exec_deinit(&x);
}

static int refusals_body(const void *arg) {
    (void)arg;
    struct exec_spec spec = {.builtin = "echo"};
    struct exec x;
    if (exec_start(&x, &spec) != -EINVAL)
        return scope_wrong("refusals", "ran without a timeout");
    spec = (struct exec_spec){.timeout_ms = 1000};
    return exec_start(&x, &spec) == -EINVAL ? scope_alone("refusals") : scope_wrong("refusals", "ran nothing");
}

static void test_refusals_inside(void **state) {
    (void)state;
    assert_int_equal(scope_run(refusals_body, NULL, false), 0);
}

static int rights_body(const void *arg) {
    (void)arg;
    uid_t uid = geteuid() == 0 ? TOOL_UID : geteuid();
    gid_t gid = geteuid() == 0 ? TOOL_UID : getegid();
    const gid_t groups[] = {0, 12};
    if (geteuid() == 0 && setgroups(2, groups) != 0)
        return scope_wrong("rights", "setgroups: %s", strerror(errno));
    if (exec_become_tool(uid, gid) != 0)
        return scope_wrong("rights", "%s", err_text());
    if (uid == TOOL_UID && getgroups(0, NULL) != 0)
        return scope_wrong("rights", "groups are left");
    if (geteuid() != uid || prctl(PR_GET_DUMPABLE) != 0)
        return scope_wrong("rights", "uid %u, dumpable %d", geteuid(), prctl(PR_GET_DUMPABLE));
    const char *caps[] = {"/bin/grep", "-Ec", "^Cap(Inh|Prm|Eff|Bnd|Amb):.0+$", "/proc/self/status", NULL};
    struct exec_spec spec = {.argv = (char *const *)caps,
                             .envp = (char *const *)environment(),
                             .limits = {.processes = 100000, .memory_bytes = 256 * MIB},
                             .timeout_ms = kit_ms(60000)};
    if (run_and_check("no capabilities", &spec, &(struct wanted){OK, "{\"text\":\"5\\n\"}"}, 0) != 0)
        return 1;
    const char *daemon[] = SH("(setsid sleep 1000 &); id -u");
    char want[64];
    (void)snprintf(want, sizeof want, "{\"text\":\"%u\\n\"}", uid);
    spec.argv = (char *const *)daemon;
    return run_and_check("daemons without rights", &spec, &(struct wanted){OK, want}, 0);
}

static void test_rights(void **state) {
    (void)state;
    assert_int_equal(scope_run(rights_body, NULL, false), 0);
    assert_int_equal(scope_run(rights_body, NULL, true), 0);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    auto_dir DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            return -1;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs), cmocka_unit_test(test_large_input),  cmocka_unit_test(test_own_programs),
        cmocka_unit_test(test_builtins), cmocka_unit_test(test_builtin_size), cmocka_unit_test(test_own_proc),
        cmocka_unit_test(test_cancel),   cmocka_unit_test(test_refusals),     cmocka_unit_test(test_refusals_inside),
        cmocka_unit_test(test_rights),   cmocka_unit_test(test_examples),     cmocka_unit_test(test_memory_of_nobody),
    };
    json_init();
    return cmocka_run_group_tests_name("toolcall/exec", tests, make_folder, remove_folder);
}
