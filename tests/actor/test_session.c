/* A session as a process among fakes: it owns runs, outlives their failures, and leaves in the ways it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>

#include "actor/session.h"
#include "common/cleanup.h"
#include "tests/actor/fakes.h"

#define PLAN "{\"name\":\"p\",\"steps\":[]}"

static char session_id[ID_SIZE];

static void setup(struct fakes *f, const struct line *script, size_t n) {
    id_make('s', session_id);
    fakes_init(f, &session_role, session_id);
    f->script = script;
    f->n_script = n;
}
#define SETUP(f, script) setup(f, script, sizeof(script) / sizeof *(script))

static const char *run(struct fakes *f, bool detached) {
    static char id[ID_SIZE];
    id_make('r', id);
    struct msg_session_run m = {.run = id, .plan = SPAN(PLAN), .detached = detached};
    assert_int_equal(chan_send(f->link, MSG_SESSION_RUN, &m), 0);
    return id;
}

static void cancel(struct fakes *f) {
    assert_int_equal(chan_send(f->link, MSG_CANCEL, &(struct msg_cancel){.reason = "client_gone"}), 0);
}

static void expect_done(struct fakes *f, const char *id, const char *status, const char *error) {
    const json_t *done = fakes_hear(f, "run_done");
    const char *got = json_str(json_object_get(done, "error"), "name");
    assert_string_equal(json_str(done, "run"), id);
    assert_string_equal(json_str(done, "status"), status);
    assert_string_equal(got ? got : "", error);
}

/* It runs again after each failure: one session, one run after another. */
static void runs_again(void **state) {
    static const struct line script[] = {
        {OUTPUTS, "{\"a\":1}"},    {FAILS, "{\"name\":\"not_found\",\"message\":\"no\"}"},
        {REJECTS, "invalid_plan"}, {CRASHES, NULL},
        {GARBAGE, NULL},           {OUTPUTS, "{\"b\":2}"}};
    struct fakes f;
    SETUP(&f, script);
    fakes_start(&f);
    const char *id = run(&f, false); /* before the grants are there */
    assert_string_equal(json_str(fakes_hear(&f, "run_accepted"), "run"), id);
    const json_t *done = fakes_hear(&f, "run_done");
    assert_string_equal(json_str(done, "status"), "completed");
    assert_int_equal(json_i64(json_object_get(done, "outputs"), "a", 0), 1);
    expect_done(&f, run(&f, false), "failed", "not_found");
    (void)run(&f, false);
    assert_string_equal(json_str(fakes_hear(&f, "run_rejected"), "error"), "invalid_plan");
    expect_done(&f, run(&f, false), "failed", "run_lost");
    expect_done(&f, run(&f, false), "failed", "run_lost");
    expect_done(&f, run(&f, false), "completed", "");
    assert_int_equal(json_array_size(f.plans), 6);
    cancel(&f);
    assert_int_equal(fakes_reap(&f), 0);
}

/* A run that dies after its terminal event: the log says how it ended, not its death. */
static void the_log_knows(void **state) {
    static const struct line script[] = {{CRASHES, NULL}};
    struct fakes f;
    SETUP(&f, script);
    f.history = "[{\"seq\":4,\"type\":\"run.accepted\",\"data\":{}},"
                "{\"seq\":9,\"type\":\"run.completed\",\"data\":{\"outputs\":{\"a\":7}}}]";
    fakes_start(&f);
    const char *id = run(&f, false);
    const json_t *done = fakes_hear(&f, "run_done");
    assert_string_equal(json_str(done, "run"), id);
    assert_string_equal(json_str(done, "status"), "completed");
    assert_int_equal(json_i64(json_object_get(done, "outputs"), "a", 0), 7);
    cancel(&f);
    assert_int_equal(fakes_reap(&f), 0);
}

static void limit_of_runs(void **state) {
    static struct line script[SESSION_RUNS_MAX];
    struct fakes f;
    for (unsigned i = 0; i < SESSION_RUNS_MAX; i++)
        script[i].verb = HANGS;
    SETUP(&f, script);
    fakes_start(&f);
    char first[ID_SIZE];
    (void)snprintf(first, sizeof first, "%s", run(&f, false));
    for (unsigned i = 1; i < SESSION_RUNS_MAX; i++)
        (void)run(&f, i % 2);
    const char *more = run(&f, false);
    const json_t *rejected = fakes_hear(&f, "run_rejected");
    assert_string_equal(json_str(rejected, "run"), more);
    struct msg_session_run again = {.run = first, .plan = SPAN(PLAN)};
    assert_int_equal(chan_send(f.link, MSG_SESSION_RUN, &again), 0);
    assert_string_equal(json_str(fakes_hear(&f, "run_rejected"), "error"), "run_in_use");
    fakes_until(&f, f.plans, SESSION_RUNS_MAX);
    cancel(&f); /* detached or not: the owner's word */
    for (unsigned i = 0; i < SESSION_RUNS_MAX; i++)
        assert_string_equal(json_str(fakes_hear(&f, "run_done"), "status"), "cancelled");
    assert_string_equal(json_string_value(json_array_get(f.cancels, 0)), "client_gone");
    assert_int_equal(fakes_reap(&f), 0);
}

/* ---- ways to leave ---- */

static void start_two(struct fakes *f, bool first_detached) {
    fakes_start(f);
    (void)run(f, first_detached);
    (void)run(f, true);
    fakes_until(f, f->plans, 2);
    (void)fakes_hear(f, "run_accepted");
    (void)fakes_hear(f, "run_accepted");
}

static const struct line two_hang[] = {{HANGS, NULL}, {HANGS, NULL}};

static void end_worker(struct fakes *f, size_t i) {
    struct fake_worker *w = &f->workers[i];
    struct msg_run_done done = {.run = w->id, .status = "completed", .outputs = SPAN("{}")};
    assert_int_equal(chan_send(w->link, MSG_RUN_DONE, &done), 0);
    assert_int_equal(chan_send(w->monitor, MSG_DOWN, &(struct msg_down){.id = w->id, .reason = "exited"}), 0);
}

static void idle_and_unowned(void **state) {
    struct fakes f;
    setup(&f, NULL, 0);
    fakes_start(&f);
    assert_int_equal(fakes_end(&f), 0);
}

static void owner_lost(void **state) {
    struct fakes f;
    SETUP(&f, two_hang);
    f.spec.orphan_timeout = 30;
    start_two(&f, false);
    chan_close(f.link);
    f.link = NULL;
    fakes_until(&f, f.cancels, 1); /* of the one in the foreground */
    assert_string_equal(json_string_value(json_array_get(f.cancels, 0)), "owner_lost");
    end_worker(&f, 1);
    assert_int_equal(fakes_reap(&f), 0);
}

static void detached_goes_on(void **state) {
    struct fakes f;
    SETUP(&f, two_hang);
    f.spec.orphan_timeout = 0; /* there is nobody to wait for */
    start_two(&f, true);
    chan_close(f.link);
    f.link = NULL;
    end_worker(&f, 0);
    end_worker(&f, 1);
    size_t cancels = json_array_size(f.cancels);
    assert_int_equal(fakes_reap(&f), 0);
    assert_int_equal(cancels, 0);
}

static void adopted(void **state) {
    struct fakes f;
    SETUP(&f, two_hang);
    f.spec.orphan_timeout = 600000;
    start_two(&f, false);
    assert_int_equal(kill(f.pid, SIGUSR1), 0);
    chan_close(f.link);
    f.link = NULL;
    end_worker(&f, 0);
    end_worker(&f, 1);
    assert_int_equal(fakes_reap(&f), 0); /* when the last run is over, and nothing was cancelled */
}

static void stopped(void **state) {
    struct fakes f;
    SETUP(&f, two_hang);
    f.spec.cancel_timeout = 600000;
    start_two(&f, false);
    assert_int_equal(kill(f.pid, SIGTERM), 0);
    fakes_until(&f, f.cancels, 1);
    assert_string_equal(json_str(fakes_hear(&f, "run_done"), "status"), "cancelled");
    assert_int_equal(fakes_reap(&f), 0); /* without the detached one, which `runs` ends */
}

/* ---- a successor ---- */

static void successor(void **state) {
    char live[ID_SIZE], over[ID_SIZE], history[2048];
    id_make('r', live);
    id_make('r', over);
    (void)snprintf(history, sizeof history,
                   "[{\"seq\":1,\"type\":\"run.accepted\",\"run\":\"%s\",\"data\":{\"detached\":false}},"
                   "{\"seq\":2,\"type\":\"run.started\",\"run\":\"%s\",\"data\":{}},"
                   "{\"seq\":3,\"type\":\"run.accepted\",\"run\":\"%s\",\"data\":{\"detached\":true}},"
                   "{\"seq\":4,\"type\":\"run.failed\",\"run\":\"%s\",\"data\":{\"error\":{\"name\":\"interrupted\","
                   "\"message\":\"x\"}}}]",
                   over, over, live, over);
    struct fakes f;
    setup(&f, NULL, 0);
    f.recover = true;
    f.history = history;
    fakes_start(&f);
    expect_done(&f, over, "failed", "interrupted");
    fakes_until(&f, f.attached, 1);
    assert_string_equal(json_string_value(json_array_get(f.attached, 0)), live);
    char later[512];
    (void)snprintf(later, sizeof later,
                   "[{\"seq\":3,\"type\":\"run.accepted\",\"run\":\"%s\",\"data\":{}},"
                   "{\"seq\":7,\"type\":\"run.completed\",\"run\":\"%s\",\"data\":{\"outputs\":{}}}]",
                   live, live);
    f.history = later;
    assert_int_equal(chan_send(f.workers[0].monitor, MSG_DOWN, &(struct msg_down){.id = live, .reason = "exited"}), 0);
    expect_done(&f, live, "completed", "");
    cancel(&f);
    assert_int_equal(fakes_reap(&f), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_again),       cmocka_unit_test(the_log_knows), cmocka_unit_test(limit_of_runs),
        cmocka_unit_test(idle_and_unowned), cmocka_unit_test(owner_lost),    cmocka_unit_test(detached_goes_on),
        cmocka_unit_test(adopted),          cmocka_unit_test(stopped),       cmocka_unit_test(successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
