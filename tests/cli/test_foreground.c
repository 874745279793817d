/* Commands against a scripted gateway, which may die in the middle and come back on the same socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "tests/cli/fixture.h"

#include <signal.h>
#include <unistd.h>

#define RUN "r-01AAAAAAAAAAAAAAAAAAAAAAAA"
#define TASK "t-01AAAAAAAAAAAAAAAAAAAAAAAA"
#define EV(seq, type, more)                                                                                            \
    "{\"v\":1,\"seq\":" seq ",\"ts\":170000000000" seq "000000,\"type\":\"" type "\",\"run\":\"" RUN "\"," more "}"
#define PAGE(list) "\"result\":{\"events\":[" list "],\"next\":0,\"more\":false}"
#define ACCEPTED                                                                                                       \
    EV("3", "run.accepted", "\"data\":{\"plan\":{\"name\":\"p\",\"steps\":[{\"id\":\"read\",\"tool\":\"file_read\"}]}}")
#define STEP EV("4", "step.started", "\"step\":\"read\",\"data\":{\"tool\":\"file_read\"}")
#define STEP_DONE EV("6", "step.succeeded", "\"step\":\"read\",\"data\":{}")
#define DONE EV("7", "run.completed", "\"data\":{\"outputs\":{\"read\":{\"text\":\"he\\u001bllo\"}}}")
#define START                                                                                                          \
    { "run.start", "\"corr\":\"q-", "\"result\":{\"run\":\"" RUN "\",\"seq\":3}", 0 }

static struct outcome o;
static struct place place;
static char hello_text[128], plan[4352];
#define HELLO                                                                                                          \
    { "hello", NULL, hello_text, 0 }

/* The launcher is this test: as long as it lives there is hope for the gateway. */
static int set_up(void **state) {
    (void)snprintf(hello_text, sizeof hello_text, "\"result\":{\"version\":\"0\",\"protocol\":1,\"launcher\":%d}",
                   getpid());
    if (place_make(&place, 0) < 0 || place_listen(&place) < 0)
        return -1;
    (void)snprintf(plan, sizeof plan, "%s/plan.json", place.dir);
    auto_file FILE *f = fopen(plan, "we");
    return f && fputs("{\"steps\":[]}", f) >= 0 ? 0 : -1;
}

static int tear_down(void **state) {
    place_remove(&place);
    return 0;
}

#define WITH(script, ...) with(script, sizeof(script) / sizeof *(script), (const char *const[]){__VA_ARGS__, NULL})
static void with(const struct line *script, size_t n, const char *const args[]) {
    pid_t gateway = gateway_start(&place, script, n, 0);
    assert_int_equal(program_run(&place, NULL, args, &o), 0);
    assert_int_equal(gateway_end(gateway), 0);
}

static void test_run(void **state) {
    const struct line script[] = {HELLO,
                                  START,
                                  {"events", "\"after\":2", PAGE(ACCEPTED "," STEP), 0},
                                  {"events", "\"after\":4", PAGE(STEP_DONE "," DONE), 0}};
    WITH(script, "run", plan);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "he\033llo\n"); /* no terminal: the bytes as they are */
    assert_non_null(strstr(o.err, "run " RUN " accepted: p\n"));
    assert_non_null(strstr(o.err, "step read: file_read ...\n"));
    assert_non_null(strstr(o.err, "step read succeeded (2.0 ms)\n"));
}

static void test_run_json(void **state) {
    const struct line script[] = {HELLO,
                                  {"run.start", "\"timeout\":\"3s\"", "\"result\":{\"run\":\"" RUN "\",\"seq\":3}", 0},
                                  {"events", NULL, PAGE(DONE), 0}};
    WITH(script, "run", "--json", "--timeout", "3s", plan);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "{\"run\":\"" RUN
                               "\",\"status\":\"completed\",\"outputs\":{\"read\":{\"text\":\"he\\u001Bllo\"}}}\n");
    assert_string_equal(o.err, "");
}

static const struct {
    const char *type, *error;
    int code;
} end_cases[] = {
    {"run.failed", "not_found", 1},     {"run.failed", "denied", 6},     {"run.failed", "sandbox_unavailable", 7},
    {"run.failed", "interrupted", 7},   {"run.timeout", "timeout", 124}, {"run.cancelled", "cancelled", 1},
    {"run.cancelled", "owner_lost", 7}, {"run.in_doubt", "in_doubt", 1},
};

static void test_ends(void **state) {
    for (size_t i = 0; i < sizeof end_cases / sizeof *end_cases; i++) {
        char answer[1024];
        (void)snprintf(answer, sizeof answer,
                       "\"result\":{\"events\":[{\"seq\":3,\"type\":\"%s\",\"run\":\"" RUN "\",\"data\":{\"error\":"
                       "{\"name\":\"%s\",\"step\":\"read\",\"message\":\"bad\\u001b[2J\"}}}]}",
                       end_cases[i].type, end_cases[i].error);
        const struct line script[] = {HELLO, START, {"events", NULL, answer, 0}};
        WITH(script, "run", plan);
        assert_int_equal(o.code, end_cases[i].code);
        assert_string_equal(o.out, "");
        assert_non_null(strstr(o.err, "at step read"));
        assert_non_null(strstr(o.err, "bad\\x1b[2J"));
        assert_null(strchr(o.err, '\033'));
    }
}

static void test_refused(void **state) {
    const struct line script[] = {HELLO,
                                  {"run.start", NULL,
                                   "\"error\":{\"code\":-32000,\"message\":\"the plan was refused\",\"data\":{\"name\":"
                                   "\"E_INVALID_PLAN\",\"why\":\"/steps/1\",\"fix\":\"correct it\",\"exit\":2}}",
                                   0}};
    WITH(script, "run", plan);
    assert_int_equal(o.code, 2);
    assert_string_equal(o.err,
                        "soma: the plan was refused\n  why: /steps/1\n  fix: correct it  [E_INVALID_PLAN, exit 2]\n");
}

/* The gateway dies while the run goes on; the client takes its run back and continues where it was. */
static void test_gateway_dies(void **state) {
    const struct line before[] = {
        HELLO, START, {"events", "\"after\":2", PAGE(ACCEPTED "," STEP), 0}, {"events", "\"after\":4", NULL, 0}};
    const struct line again[] = {HELLO, {"run.own", "\"run\":\"" RUN "\"", NULL, 0}}; /* dies once more */
    const struct line after[] = {HELLO,
                                 {"run.own", "\"run\":\"" RUN "\"", "\"result\":{\"run\":\"" RUN "\"}", 0},
                                 {"events", "\"after\":4", PAGE(STEP_DONE "," DONE), 0}};
    struct running r;
    pid_t first = gateway_start(&place, before, 4, 0);
    assert_int_equal(program_start(&place, NULL, (const char *const[]){"run", plan, NULL}, &r), 0);
    assert_int_equal(gateway_end(first), 0);
    assert_int_equal(gateway_end(gateway_start(&place, again, 2, 0)), 0);
    assert_int_equal(gateway_end(gateway_start(&place, after, 3, 0)), 0);
    assert_int_equal(program_end(&r, &o), 0);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "he\033llo\n");
    assert_non_null(strstr(o.err, "reconnecting"));
}

/* It dies before it answered the start: the correlation id finds the run. */
static void test_start_answer_lost(void **state) {
    const struct line before[] = {HELLO, {"run.start", NULL, NULL, 0}};
    const struct line after[] = {HELLO,
                                 {"events", "\"by\":\"corr\",\"key\":\"q-", PAGE(ACCEPTED), 0},
                                 {"run.own", RUN, "\"result\":{\"run\":\"" RUN "\"}", 0},
                                 {"events", "\"after\":2", PAGE(ACCEPTED "," DONE), 0}};
    const struct line never[] = {HELLO, {"events", "\"by\":\"corr\"", PAGE(""), 0}};
    struct running r;
    for (int found = 0; found < 2; found++) {
        pid_t first = gateway_start(&place, before, 2, 0);
        assert_int_equal(program_start(&place, NULL, (const char *const[]){"run", plan, NULL}, &r), 0);
        assert_int_equal(gateway_end(first), 0);
        assert_int_equal(gateway_end(gateway_start(&place, found ? after : never, found ? 4 : 2, 0)), 0);
        assert_int_equal(program_end(&r, &o), 0);
        assert_int_equal(o.code, found ? 0 : 7);
        assert_non_null(strstr(o.err, found ? "accepted" : "nothing was started"));
    }
}

/* The launcher is dead: nothing to wait for. */
static void test_tree_dies(void **state) {
    char hello[128];
    pid_t launcher = fork();
    if (launcher == 0) {
        (void)pause();
        _exit(0);
    }
    assert_true(launcher > 0);
    (void)snprintf(hello, sizeof hello, "\"result\":{\"protocol\":1,\"launcher\":%d}", launcher);
    const struct line script[] = {{"hello", NULL, hello, 0}, START, {"events", NULL, NULL, SIGKILL}};
    pid_t gateway = gateway_start(&place, script, 3, launcher);
    assert_int_equal(program_run(&place, NULL, (const char *const[]){"run", plan, NULL}, &o), 0);
    assert_int_equal(gateway_end(gateway), 0);
    assert_int_equal(gateway_end(launcher), 128 + SIGKILL);
    assert_int_equal(o.code, 7);
    assert_non_null(strstr(o.err, "soma show " RUN));
}

#define CANCELLED EV("8", "run.cancelled", "\"data\":{\"error\":{\"name\":\"cancelled\",\"message\":\"by its owner\"}}")

/* Starts the program, then a gateway that sends it a signal on the last line but `after`. */
static void interrupted(const struct line *script, size_t n) {
    struct running r;
    assert_int_equal(program_start(&place, NULL, (const char *const[]){"run", plan, NULL}, &r), 0);
    assert_int_equal(gateway_end(gateway_start(&place, script, n, r.pid)), 0);
    assert_int_equal(program_end(&r, &o), 0);
}

static void test_interrupt_cancels(void **state) {
    const struct line script[] = {
        HELLO,
        START,
        {"events", NULL, NULL, SIGINT},
        {"run.cancel", RUN, "\"result\":{\"run\":\"" RUN "\",\"status\":\"cancelled\"}", 0},
        /* the events request above is the first of this connection to be numbered 3 */
    };
    const struct line rest[] = {HELLO,
                                {"run.own", NULL, "\"error\":{\"code\":-32000,\"message\":\"it is over\"}", 0},
                                {"run.cancel", RUN, "\"error\":{\"code\":-32000,\"message\":\"it is over\"}", 0},
                                {"events", "\"after\":2", PAGE(CANCELLED), 0}};
    struct running r;
    assert_int_equal(program_start(&place, NULL, (const char *const[]){"run", plan, NULL}, &r), 0);
    assert_int_equal(gateway_end(gateway_start(&place, script, 4, r.pid)), 0);
    assert_int_equal(gateway_end(gateway_start(&place, rest, 4, r.pid)), 0);
    assert_int_equal(program_end(&r, &o), 0);
    assert_int_equal(o.code, 130);
    assert_non_null(strstr(o.err, "cancelling"));
}

static void test_second_interrupt_leaves(void **state) {
    const struct line script[] = {HELLO, START, {"events", NULL, NULL, SIGINT}, {"run.cancel", RUN, NULL, SIGINT}};
    interrupted(script, 4);
    assert_int_equal(o.code, 130);
}

static void test_terminated(void **state) {
    const struct line script[] = {HELLO, START, {"events", NULL, NULL, SIGTERM}};
    interrupted(script, 3);
    assert_int_equal(o.code, 143);
}

static void test_ask(void **state) {
    const struct line script[] = {
        HELLO,
        {"ask", "\"actor\":\"helper\",\"text\":\"how many?\"", "\"result\":{\"task\":\"" TASK "\",\"seq\":9}", 0},
        {"events", "\"by\":\"task\",\"key\":\"" TASK "\",\"after\":8",
         "\"result\":{\"events\":[{\"seq\":9,\"type\":\"task.accepted\",\"task\":\"" TASK "\",\"data\":{}},"
         "{\"seq\":10,\"type\":\"task.completed\",\"task\":\"" TASK "\",\"data\":{\"reply\":\"128 lines\"}}]}",
         0}};
    WITH(script, "ask", "helper", "how many?");
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, "128 lines\n");
}

static void test_detached(void **state) {
    const struct line script[] = {HELLO,
                                  {"run.start", "\"detached\":true", "\"result\":{\"run\":\"" RUN "\",\"seq\":3}", 0}};
    WITH(script, "run", "-d", plan);
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, RUN "\n");
}

static void test_cancel(void **state) {
    const struct line script[] = {
        HELLO, {"run.cancel", "\"run\":\"r-01\"", "\"result\":{\"run\":\"" RUN "\",\"status\":\"cancelled\"}", 0}};
    WITH(script, "cancel", "r-01");
    assert_int_equal(o.code, 0);
    assert_string_equal(o.out, RUN " cancelled\n");
}

static void test_ps(void **state) {
    char answer[512];
    (void)snprintf(
        answer, sizeof answer,
        "\"result\":{\"processes\":[{\"role\":\"run\",\"id\":\"r-1\",\"pid\":999999999,\"parent\":%d,\"state\":"
        "\"executing\",\"age_ms\":1500},{\"role\":\"runs\",\"id\":\"\",\"pid\":%d,\"parent\":1,\"state\":\"up\"}]}",
        getpid(), getpid());
    const struct line script[] = {HELLO, {"ps", NULL, answer, 0}};
    WITH(script, "ps", "--tree");
    assert_int_equal(o.code, 0);
    const char *runs = strstr(o.out, " runs "), *run = strstr(o.out, "`- run ");
    assert_true(runs && run && runs < run); /* the parent first */
    assert_non_null(strstr(o.out, "executing"));
    WITH(script, "ps", "--json");
    auto_json json_t *all = NULL;
    assert_int_equal(json_parse(o.out, strlen(o.out) - 1, OUT_MAX, &all), 0);
    assert_true(json_i64(json_at(all, "/processes/1"), "rss_bytes", 0) > 0); /* this test's own */
    assert_null(json_at(all, "/processes/0/rss_bytes"));                     /* nobody has that pid */
}

static void test_show_and_trace(void **state) {
    const struct line script[] = {HELLO,
                                  {"events", "\"key\":\"r-01AA\"", PAGE(ACCEPTED "," STEP "," STEP_DONE "," DONE), 0}};
    WITH(script, "show", "r-01AA");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "status    completed in 4.0 ms"));
    assert_non_null(strstr(o.out, "read  file_read  succeeded  2.0 ms"));
    WITH(script, "trace", "r-01AA");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "+0.0 ms  [==============================]  run.accepted"));
    assert_non_null(strstr(o.out, "|]  run.completed"));
    const struct line nothing[] = {HELLO, {"events", NULL, PAGE(""), 0}};
    WITH(nothing, "show", "r-01AA");
    assert_int_equal(o.code, 3);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_run),
        T(test_run_json),
        T(test_ends),
        T(test_refused),
        T(test_gateway_dies),
        T(test_start_answer_lost),
        T(test_tree_dies),
        T(test_interrupt_cancels),
        T(test_second_interrupt_leaves),
        T(test_terminated),
        T(test_ask),
        T(test_detached),
        T(test_cancel),
        T(test_ps),
        T(test_show_and_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
