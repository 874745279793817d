/* Without a supervisor: a short-lived tree is started, another client's is waited for, the log is read by its own
 * program. The programs here are scripts that keep to the contract with somad and soma-eventlog. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "tests/cli/fixture.h"

#include <unistd.h>

static struct outcome o;

static void path_in(const struct place *p, const char *name, char out[4352]) {
    (void)snprintf(out, 4352, "%s/%s", p->dir, name);
}

static void plan_in(const struct place *p, char out[4352]) {
    path_in(p, "plan.json", out);
    FILE *f = fopen(out, "we");
    assert_non_null(f);
    assert_true(fputs("{\"steps\":[]}", f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const struct {
    const char *script;
    int code;
    const char *err;
} start_cases[] = {
    {"#!/bin/sh\nprintf '7\\nno tree\\nnamespaces are forbidden here\\nmove\\n' >&3\nexit 7\n", 7,
     "soma: no tree\n  why: namespaces are forbidden here\n  fix: move"},
    {"#!/bin/sh\nprintf '2\\nrefused\\nsoma.conf:3: no key\\ncorrect it\\n' >&3\nexit 2\n", 2,
     "why: soma.conf:3: no key"},
    {"#!/bin/sh\nexit 0\n", 7, "without a word"},
    {"#!/nonexistent/interpreter\n", 7, "exec "},
};

static void test_start_fails(void **state) {
    for (size_t i = 0; i < sizeof start_cases / sizeof *start_cases; i++) {
        struct place p;
        char program[4352], plan[4352];
        assert_int_equal(place_make(&p, 0), 0);
        path_in(&p, "cli/soma", program);
        plan_in(&p, plan);
        assert_int_equal(place_install(&p, "supervisor/somad", start_cases[i].script), 0);
        assert_int_equal(program_run(&p, program, (const char *const[]){"run", plan, NULL}, &o), 0);
        assert_int_equal(o.code, start_cases[i].code);
        assert_non_null(strstr(o.err, start_cases[i].err));
        assert_string_equal(o.out, "");
        place_remove(&p);
    }
}

#define DONE                                                                                                           \
    "\"result\":{\"events\":[{\"seq\":1,\"type\":\"run.completed\",\"run\":\"r-1\",\"data\":{\"outputs\":{\"a\":1}}}]" \
    "}"

/* somad writes down how it was called and with which descriptors, waits until the gateway listens, says ready. */
static const char somad[] = "#!/bin/sh\ncd \"${0%/*}/..\"\necho \"$@\" >called\n"
                            "readlink /proc/$$/fd/0 >>called\nps -o sid= -p $$ | tr -d ' ' >>called\necho $$ >>called\n"
                            "echo diagnostics >&2\nmkfifo there\necho x >go\nread x <there\n";

static void start_with(const char *last_words) {
    const struct line script[] = {{"hello", NULL, "\"result\":{\"protocol\":1,\"launcher\":0,\"short_lived\":true}", 0},
                                  {"run.start", NULL, "\"result\":{\"run\":\"r-1\",\"seq\":1}", 0},
                                  {"events", NULL, DONE, 0}};
    struct place p;
    struct running r;
    char program[4352], plan[4352], text[1024], go[4352], there[4352], x[8];
    assert_int_equal(place_make(&p, 0), 0);
    path_in(&p, "cli/soma", program);
    path_in(&p, "go", go);
    path_in(&p, "there", there);
    plan_in(&p, plan);
    (void)snprintf(text, sizeof text, "%s%s", somad, last_words);
    assert_int_equal(place_install(&p, "supervisor/somad", text), 0);
    const char *const args[] = {"-c", "mkfifo \"$0\"", go, NULL};
    assert_int_equal(program_run(&p, "/bin/sh", args, &o), 0);
    assert_int_equal(program_start(&p, program, (const char *const[]){"run", plan, NULL}, &r), 0);
    FILE *f = fopen(go, "re"); /* blocks until somad has come so far */
    assert_non_null(f);
    assert_non_null(fgets(x, sizeof x, f));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(place_listen(&p), 0);
    pid_t gateway = gateway_start(&p, script, 3, 0);
    f = fopen(there, "we");
    assert_non_null(f);
    assert_true(fputs("x\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(program_end(&r, &o), 0);
    assert_int_equal(gateway_end(gateway), 0);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "1\n");
    char called[4352], line[256], pid[256];
    path_in(&p, "called", called);
    f = fopen(called, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "--short-lived --ready-fd 3\n");
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "/dev/null\n");
    assert_non_null(fgets(line, sizeof line, f));
    assert_non_null(fgets(pid, sizeof pid, f));
    assert_string_equal(line, pid); /* a session of its own */
    assert_int_equal(fclose(f), 0);
    path_in(&p, "somad.log", called);
    f = fopen(called, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "diagnostics\n");
    assert_int_equal(fclose(f), 0);
    place_remove(&p);
}

static void test_start(void **state) {
    start_with("echo ready >&3\n");
}

/* Another client was faster: its tree holds the state folder and is about to listen. */
static void test_busy(void **state) {
    start_with("printf '7\\nanother supervisor\\n/state is locked by another process\\nuse it\\n' >&3\nexit 7\n");
}

/* --- the log without a supervisor ------------------------------------------------------------------------------- */

static const char reader[] = "#!/bin/sh\necho \"$@\" >\"${0%/*}/../called\"\n"
                             "case \"$*\" in\n"
                             "*--head*) echo '{\"seq\":2,\"hash\":\"ab\"}';;\n"
                             "*busy*) test -e \"$0.second\" || { >\"$0.second\"; echo 'soma-eventlog: a supervisor is "
                             "using this log' >&2; exit 7; };;\n"
                             "*--verify*) echo 'record 2 was altered' >&2; exit 1;;\n"
                             "*none*) ;;\n"
                             "*) echo "
                             "'{\"v\":1,\"seq\":1,\"ts\":1700000000000000000,\"type\":\"run.accepted\",\"run\":\"r-1\","
                             "\"data\":{\"a\":\"\\u001b\"}}'\n"
                             "echo "
                             "'{\"v\":1,\"seq\":2,\"ts\":1700000000004000000,\"type\":\"run.failed\",\"run\":\"r-1\","
                             "\"data\":{\"error\":{\"name\":"
                             "\"not_found\",\"step\":\"x\"}}}';;\n"
                             "esac\n";

static const struct {
    const char *args[6];
    int code;
    const char *called, *out, *err;
} log_cases[] = {
    {{"log"},
     0,
     "/state --by all\n",
     "-- 2023-11-14\n     1  22:13:20.000  run.accepted        r-1  {\"a\":\"\\u001B\"}\n",
     ""},
    {{"log", "--json", "--run", "r-1", "-n", "5"},
     0,
     "/state --by run --key r-1 --tail 5\n",
     "{\"v\":1,\"seq\":1,",
     ""},
    {{"log", "--actor", "a", "--after", "3"}, 0, "/state --by actor --key a --after 3\n", "run.failed", ""},
    {{"log", "head"}, 0, "/state --head\n", "2 ab\n", ""},
    {{"log", "verify"}, 1, "/state --verify\n", "", "why: record 2 was altered"},
    {{"show", "r-1"}, 0, "/state --by run --key r-1\n", "error     not_found at step x\n", ""},
    {{"trace", "busy"}, 3, "/state --by corr --key busy\n", "", "E_NOT_FOUND"}, /* the second time it is free */
    {{"trace", "none"}, 3, "/state --by corr --key none\n", "", "E_NOT_FOUND"},
};

static void test_log(void **state) {
    struct place p;
    char program[4352], called[4352];
    assert_int_equal(place_make(&p, 0), 0);
    path_in(&p, "cli/soma", program);
    path_in(&p, "called", called);
    assert_int_equal(place_install(&p, "eventlog/soma-eventlog", reader), 0);
    for (size_t i = 0; i < sizeof log_cases / sizeof *log_cases; i++) {
        const char *args[7] = {NULL};
        char line[8192] = "";
        memcpy(args, log_cases[i].args, sizeof log_cases[i].args);
        assert_int_equal(program_run(&p, program, args, &o), 0);
        auto_file FILE *f = fopen(called, "re");
        assert_non_null(f);
        assert_non_null(fgets(line, sizeof line, f));
        assert_non_null(strstr(line, log_cases[i].called));
        if (!strstr(o.out, log_cases[i].out) || !strstr(o.err, log_cases[i].err))
            print_error("case %zu: %s\n%s\n", i, o.out, o.err);
        assert_int_equal(o.code, log_cases[i].code);
        assert_non_null(strstr(o.out, log_cases[i].out));
        assert_non_null(strstr(o.err, log_cases[i].err));
    }
    place_remove(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
