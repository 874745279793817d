/* How a run ends when it is not by its steps: cancel, deadline, a silent call, lost owners, SIGTERM, a log that
 * refuses, and what a successor makes of it. In all of them everything below is dead before the terminal event, and
 * that is on disk before anybody is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "peers.h"

static struct peers peers;
static struct call call;

static int setup(void **state) {
    peers_init(&peers);
    call = (struct call){-1, -1, ""};
    return 0;
}

static int teardown(void **state) {
    peers_deinit(&peers);
    call.link = fd_close(call.link);
    call.monitor = fd_close(call.monitor);
    return 0;
}

#define ECHO "{\"id\":\"a\",\"tool\":\"echo\"}"
#define WRITE "{\"id\":\"a\",\"tool\":\"write\"}"
#define PLAN(step) "{\"steps\":[" step "]}"
#define ERROR(name, message) "{\"name\":\"" name "\",\"step\":\"a\",\"message\":\"" message "\"}"

static void launch(const char *plan, bool detached) {
    peers_launch(&peers, false, true);
    start_plan(&peers, plan, detached);
}

/* A run whose first tool, safe to repeat, is at work. */
static void launch_working(const char *plan, bool detached) {
    launch(plan, detached);
    expect_start(&peers, true, &call);
    call_hello(&call);
    expect_call(&call, "echo", "{}");
}

static void cancel(const char *reason) {
    peer_put(peers.owner, MSG_CANCEL, &(struct msg_cancel){.reason = reason});
}

/* The call is told; nothing is said before it is dead; then the trail and the answer. */
static void expect_cancelled(const char *why) {
    char error[200], data[250];
    (void)snprintf(error, sizeof error, ERROR("cancelled", "%s"), why);
    (void)snprintf(data, sizeof data, "{\"error\":%s}", error);
    expect_cancel(&call);
    expect_silence(&peers, peers.log);
    call_down(&call, "signalled", 9);
    expect_event(&peers, "tool.killed", false, "{\"tool\":\"echo\",\"reason\":\"cancelled\"}");
    expect_events(&peers, "step.failed");
    if (peers.owner >= 0) {
        expect_end(&peers, "cancelled", data);
        expect_done(&peers, "cancelled", error);
    } else {
        expect_event(&peers, "run.cancelled", true, data);
        durable(&peers);
    }
    peers_ended(&peers, 0);
}

static void test_cancel(void **state) {
    launch_working(PLAN(ECHO), false);
    cancel("client_gone");
    cancel("again"); /* changes nothing */
    expect_cancelled("client_gone");
}

static void test_cancel_with_an_answer(void **state) {
    launch_working(PLAN(ECHO), false);
    cancel(NULL);
    expect_cancel(&call);
    call_fails(&call, "cancelled", "stopped on request"); /* it has its own event: no tool.killed */
    expect_event(&peers, "step.failed", false,
                 "{\"error\":{\"name\":\"cancelled\",\"message\":\"stopped on request\"}}");
    expect_silence(&peers, peers.log);
    call_down(&call, "exited", 0);
    expect_end(&peers, "cancelled", NULL);
    expect_done(&peers, "cancelled", ERROR("cancelled", "cancelled"));
    peers_ended(&peers, 0);
}

static void test_cancel_too_late_for_the_step(void **state) {
    launch_working(PLAN(ECHO), false);
    cancel(NULL);
    expect_cancel(&call);
    call_ok(&call, "1");
    expect_events(&peers, "step.succeeded"); /* the trail tells the truth, the outcome stays */
    call_down(&call, "exited", 0);
    expect_end(&peers, "cancelled", NULL);
    expect_done(&peers, "cancelled", ERROR("cancelled", "cancelled"));
    peers_ended(&peers, 0);
}

static void test_cancel_before_the_scope_is_there(void **state) {
    launch(PLAN(WRITE), false);
    expect_start(&peers, false, &call);
    cancel(NULL);
    expect_cancel(&call);
    call_hello(&call);
    durable(&peers);
    expect_accepted(&peers);
    expect_silence(&peers, call.link); /* no call */
    call_down(&call, "exited", 0);
    expect_events(&peers, "tool.killed step.failed");
    expect_end(&peers, "cancelled", NULL);
    expect_done(&peers, "cancelled", ERROR("cancelled", "cancelled"));
    peers_ended(&peers, 0);
}

static void test_cancel_waits_for_the_logs_word(void **state) {
    launch(PLAN(ECHO), false);
    struct msg *m = get_event(&peers, "run.accepted");
    int64_t ref = m->append.ref;
    cancel(NULL);
    expect_silence(&peers, peers.log);
    peer_put(peers.log, MSG_ACCEPTED, &(struct msg_accepted){.ref = ref, .seq = 1});
    peers.seq = 1;
    expect_events(&peers, "run.started");
    expect_end(&peers, "cancelled", "{\"error\":{\"name\":\"cancelled\",\"message\":\"cancelled\"}}");
    expect_accepted(&peers);
    expect_done(&peers, "cancelled", "{\"name\":\"cancelled\",\"message\":\"cancelled\"}");
    peers_ended(&peers, 0);
}

static void test_cancel_without_a_plan(void **state) {
    peers_launch(&peers, false, true);
    cancel(NULL);
    struct msg *m = peer_get(peers.owner, MSG_RUN_REJECTED);
    assert_string_equal(m->run_rejected.error, "runtime");
    peers_ended(&peers, 0);
}

static void test_cancel_while_waiting_to_retry(void **state) {
    launch_working(PLAN("{\"id\":\"a\",\"tool\":\"echo\",\"retry\":{\"max\":1,\"backoff\":\"1h\"}}"), false);
    call_fails(&call, "exit_status", "status 1");
    call_down(&call, "exited", 0);
    expect_events(&peers, "step.retrying");
    cancel(NULL);
    expect_events(&peers, "step.failed");
    expect_end(&peers, "cancelled", NULL);
    expect_done(&peers, "cancelled", ERROR("cancelled", "cancelled"));
    peers_ended(&peers, 0);
}

static void test_a_deaf_call_is_killed(void **state) {
    peers.spec.cancel_timeout = 1;
    launch_working(PLAN(ECHO), false);
    cancel(NULL);
    expect_cancel(&call);
    expect_kill(&peers, call.id);
    call_down(&call, "signalled", 9);
    expect_events(&peers, "tool.killed step.failed");
    expect_end(&peers, "cancelled", NULL);
    expect_done(&peers, "cancelled", ERROR("cancelled", "cancelled"));
    peers_ended(&peers, 0);
}

static void test_deadline(void **state) {
    launch_working("{\"timeout\":\"30ms\",\"steps\":[" ECHO "]}", false);
    expect_cancel(&call);
    expect_silence(&peers, peers.log);
    call_down(&call, "signalled", 9);
    expect_event(&peers, "tool.killed", false, "{\"tool\":\"echo\",\"reason\":\"deadline\"}");
    expect_events(&peers, "step.failed");
    expect_end(&peers, "timeout", NULL);
    expect_done(&peers, "timeout", ERROR("timeout", "the run's own deadline of 30 ms has passed"));
    peers_ended(&peers, 0);
}

/* The call is to end its tool in time and say so; when it does neither, its supervisor ends it. */
static void test_a_silent_call_is_killed(void **state) {
    peers.spec.cancel_timeout = 500; /* also the patience with a link that ends before its `down` is there */
    launch_working(PLAN("{\"id\":\"a\",\"tool\":\"echo\",\"timeout\":\"1ms\"}"), false);
    expect_kill(&peers, call.id);
    call_down(&call, "signalled", 9);
    expect_event(&peers, "tool.killed", false, "{\"tool\":\"echo\",\"reason\":\"timeout\"}");
    expect_events(&peers, "step.failed");
    expect_end(&peers, "timeout", NULL);
    expect_done(&peers, "timeout", ERROR("timeout", "the call did not answer within its 1 ms and was killed"));
    peers_ended(&peers, 0);
}

/* ---- owners ---- */

static void test_nobody_came(void **state) {
    peers.spec.orphan_timeout = 1;
    launch_working(PLAN(ECHO), false);
    peers.owner = fd_close(peers.owner);
    expect_cancelled("owner_lost");
}

static void test_a_detached_run_needs_nobody(void **state) {
    peers.spec.orphan_timeout = 1;
    launch_working("{\"timeout\":\"1h\",\"steps\":[" ECHO "]}", true);
    peers.owner = fd_close(peers.owner);
    expect_silence(&peers, call.link);
    call_ok(&call, "1");
    call_down(&call, "exited", 0);
    expect_events(&peers, "step.succeeded");
    expect_event(&peers, "run.completed", true, "{\"outputs\":{\"a\":1}}");
    durable(&peers);
    peers_ended(&peers, 0);
}

/* The run's deadline is the clock: without the adoption the owner would have been given up long before. */
static void test_adopted(void **state) {
    peers.spec.orphan_timeout = 1000;
    launch_working("{\"timeout\":\"1500ms\",\"steps\":[" ECHO "]}", false);
    peers.owner = fd_close(peers.owner);
    expect_silence(&peers, call.link);
    assert_int_equal(kill(peers.pid, SIGUSR1), 0);
    assert_string_equal(peer_get(call.link, MSG_CANCEL)->cancel.reason, "deadline");
    call_down(&call, "exited", 0);
    expect_events(&peers, "tool.killed step.failed");
    expect_event(&peers, "run.timeout", true, NULL);
    durable(&peers);
    peers_ended(&peers, 0);
}

static void test_owner_gone_before_the_plan(void **state) {
    peers_launch(&peers, false, true);
    peers.owner = fd_close(peers.owner);
    peers_ended(&peers, 0);
}

static void test_term(void **state) {
    launch_working(PLAN(ECHO), false);
    assert_int_equal(kill(peers.pid, SIGTERM), 0);
    expect_cancelled("stopped");
}

static void test_term_leaves_a_detached_run_open(void **state) {
    launch_working(PLAN(ECHO), true);
    assert_int_equal(kill(peers.pid, SIGTERM), 0);
    assert_string_equal(peer_get(call.link, MSG_CANCEL)->cancel.reason, "stopped");
    expect_silence(&peers, peers.log);
    call_down(&call, "signalled", 15);
    expect_event(&peers, "tool.killed", false, "{\"tool\":\"echo\",\"reason\":\"stopped\"}");
    peers_ended(&peers, 3); /* and nothing else in the log or to the owner */
}

/* ---- a log that says no ---- */

/* The disk fills up between the log's number and its sync: a run that has begun never was. */
static void test_acceptance_refused_late(void **state) {
    launch(PLAN(WRITE), false);
    expect_event(&peers, "run.accepted", false, NULL);
    int64_t accepted = peers.ref;
    expect_events(&peers, "run.started step.started");
    int64_t ref = get_event(&peers, "tool.started")->append.ref;
    expect_spawn(&peers, &call);
    call_hello(&call);
    refuse(&peers, accepted, "log_full");
    refuse(&peers, ref, "log_full");
    expect_cancel(&call);
    call_down(&call, "exited", 0);
    struct msg *m = peer_get(peers.owner, MSG_RUN_REJECTED);
    assert_string_equal(m->run_rejected.error, "log_full");
    peers_ended(&peers, 0);
}

static void test_acceptance_refused(void **state) {
    static const struct {
        const char *error, *told;
    } rows[] = {{"log_full", "log_full"}, {"run_in_use", "run_in_use"}, {"io", "runtime"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        launch(PLAN(WRITE), false);
        refuse(&peers, get_event(&peers, "run.accepted")->append.ref, rows[i].error);
        struct msg *m = peer_get(peers.owner, MSG_RUN_REJECTED);
        assert_string_equal(m->run_rejected.error, rows[i].told);
        assert_string_equal(m->run_rejected.why, "the log said no");
        peers_ended(&peers, 0);
        peers_deinit(&peers);
    }
}

/* No unsafe effect leaves, and the run ends, in the log if it has room for that, and to the owner in any case. */
static void refused_tool(bool room_for_the_end) {
    launch(PLAN(WRITE), false);
    expect_event(&peers, "run.accepted", false, NULL);
    int64_t accepted = peers.ref;
    expect_events(&peers, "run.started step.started");
    int64_t ref = get_event(&peers, "tool.started")->append.ref;
    expect_spawn(&peers, &call);
    call_hello(&call);
    refuse(&peers, ref, "log_full");
    expect_cancel(&call);
    peer_put(peers.log, MSG_DURABLE, &(struct msg_durable){.ref = accepted, .seq = 1});
    expect_accepted(&peers);
    call_down(&call, "exited", 0);
    expect_events(&peers, "tool.killed step.failed");
    if (room_for_the_end) {
        expect_end(&peers, "failed", NULL);
        expect_done(&peers, "failed", ERROR("log_full", "the log said no"));
    } else {
        refuse(&peers, get_event(&peers, "run.failed")->append.ref, "io");
        expect_done(&peers, "failed", "{\"name\":\"io\",\"message\":\"the log said no\"}");
    }
    peers_ended(&peers, room_for_the_end ? 0 : 3); /* not a normal end: a successor writes what is missing */
}

static void test_tool_refused(void **state) {
    refused_tool(true);
}

static void test_end_refused_too(void **state) {
    refused_tool(false);
}

static void test_log_gone(void **state) {
    launch_working(PLAN(ECHO), false);
    peers.log = fd_close(peers.log);
    peers_ended(&peers, 1); /* the successor closes the trail */
}

/* ---- successors ---- */

#define RECORD(type, more) "{\"v\":1,\"seq\":1,\"type\":\"" type "\",\"run\":\"" RUN_ID "\"" more "}"
#define ACCEPTED RECORD("run.accepted", ",\"corr\":\"corr-1\",\"data\":{\"plan\":{\"steps\":[]}}")

/* Its predecessor's calls are dead before it asks the log anything. */
static void recover(bool owned) {
    peers_launch(&peers, true, owned);
    expect_kill(&peers, RUN_ID);
    expect_silence(&peers, peers.log);
    struct msg_killed other = {.id = "c-01JD0000000000000000000000", .count = 1};
    peer_put(peers.calls, MSG_KILLED, &other); /* not what it waits for */
    expect_silence(&peers, peers.log);
    peer_put(peers.calls, MSG_KILLED, &(struct msg_killed){.id = RUN_ID, .count = 2});
}

static void page(int64_t after, const char *events, int64_t next, bool more) {
    struct msg *m = peer_get(peers.log, MSG_QUERY);
    assert_string_equal(m->query.by, "run");
    assert_string_equal(m->query.key, RUN_ID);
    assert_int_equal(m->query.after, after);
    struct msg_page body = {.ref = m->query.ref, .events = SPAN(events), .next = next, .more = more};
    peer_put(peers.log, MSG_PAGE, &body);
}

#define INTERRUPTED                                                                                                    \
    "the run's process ended before the run did; its calls were ended, see the trace for how far it came"

static void test_interrupted(void **state) {
    recover(true);
    page(0, "[" ACCEPTED "," RECORD("run.started", "") "," RECORD("step.started", ",\"step\":\"z\"") "]", 3, true);
    page(3, "[" RECORD("step.succeeded", ",\"step\":\"z\"") "," RECORD("step.started", ",\"step\":\"a\"") "]", 5,
         false);
    expect_event(&peers, "run.failed", true, NULL);
    assert_string_equal(peers.corr, "corr-1");
    expect_silence(&peers, peers.owner);
    durable(&peers);
    expect_done(&peers, "failed", ERROR("interrupted", INTERRUPTED));
    peers_ended(&peers, 0);
}

static void test_interrupted_without_an_owner(void **state) {
    recover(false);
    page(0, "[" ACCEPTED "," RECORD("step.started", ",\"step\":\"a\"") "," RECORD("step.succeeded", "") "]", 3, false);
    expect_event(&peers, "run.failed", true, "{\"error\":{\"name\":\"interrupted\",\"message\":\"" INTERRUPTED "\"}}");
    durable(&peers);
    peers_ended(&peers, 0);
}

static void test_it_was_over(void **state) {
    static const struct {
        const char *end, *status, *json;
    } rows[] = {
        {RECORD("run.completed", ",\"data\":{\"outputs\":{\"a\":[1]}}"), "completed", "{\"a\":[1]}"},
        {RECORD("run.failed", ",\"data\":{\"error\":" ERROR("call_lost", "m") "}"), "failed", ERROR("call_lost", "m")},
        {RECORD("run.timeout", ",\"data\":{\"error\":" ERROR("timeout", "m") "}"), "timeout", ERROR("timeout", "m")},
        {RECORD("run.cancelled", ",\"data\":{\"error\":" ERROR("cancelled", "m") "}"), "cancelled",
         ERROR("cancelled", "m")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char events[1000];
        (void)snprintf(events, sizeof events, "[%s,%s]", ACCEPTED, rows[i].end);
        recover(true);
        page(0, events, 2, false);
        expect_done(&peers, rows[i].status, rows[i].json);
        peers_ended(&peers, 0); /* and no second terminal event */
        peers_deinit(&peers);
    }
}

static void test_it_never_was(void **state) {
    recover(true);
    page(0, "[]", 0, false);
    assert_string_equal(peer_get(peers.owner, MSG_RUN_REJECTED)->run_rejected.error, "runtime");
    peers_ended(&peers, 0);
    peers_deinit(&peers);
    recover(true);
    refuse(&peers, peer_get(peers.log, MSG_QUERY)->query.ref, "not_found");
    assert_string_equal(peer_get(peers.owner, MSG_RUN_REJECTED)->run_rejected.error, "runtime");
    peers_ended(&peers, 0);
}

static void test_a_successor_is_stopped(void **state) {
    recover(true);
    (void)peer_get(peers.log, MSG_QUERY);
    cancel(NULL);
    expect_silence(&peers, peers.owner);
    assert_int_equal(kill(peers.pid, SIGTERM), 0);
    peers_ended(&peers, 3); /* the next start asks again */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_cancel),
        TEST(test_cancel_with_an_answer),
        TEST(test_cancel_too_late_for_the_step),
        TEST(test_cancel_before_the_scope_is_there),
        TEST(test_cancel_waits_for_the_logs_word),
        TEST(test_cancel_without_a_plan),
        TEST(test_cancel_while_waiting_to_retry),
        TEST(test_a_deaf_call_is_killed),
        TEST(test_deadline),
        TEST(test_a_silent_call_is_killed),
        TEST(test_nobody_came),
        TEST(test_a_detached_run_needs_nobody),
        TEST(test_adopted),
        TEST(test_owner_gone_before_the_plan),
        TEST(test_term),
        TEST(test_term_leaves_a_detached_run_open),
        TEST(test_acceptance_refused),
        TEST(test_acceptance_refused_late),
        TEST(test_tool_refused),
        TEST(test_end_refused_too),
        TEST(test_log_gone),
        TEST(test_interrupted),
        TEST(test_interrupted_without_an_owner),
        TEST(test_it_was_over),
        TEST(test_it_never_was),
        TEST(test_a_successor_is_stopped),
    };
    (void)kit_count(NULL);
    int failed = cmocka_run_group_tests_name("run-ends", tests, NULL, NULL);
    return failed ? failed : kit_left(NULL);
}
