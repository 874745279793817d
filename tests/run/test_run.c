/* Order is what a run promises: of events, of frames, and of both. Each test plays the worker's peers step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "peers.h"

static struct peers peers;

static int setup(void **state) {
    peers_init(&peers);
    return 0;
}

static int teardown(void **state) {
    peers_deinit(&peers);
    return 0;
}

#define ECHO(id) "{\"id\":\"" id "\",\"tool\":\"echo\"}"
#define WRITE(id) "{\"id\":\"" id "\",\"tool\":\"write\"}"

static void test_two_steps_in_order(void **state) {
    struct call first, second;
    peers_launch(&peers, false, true);
    start_plan(&peers,
               "{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"args\":{\"x\":1}},{\"id\":\"b\",\"tool\":\"text\","
               "\"args\":{\"t\":{\"$from\":\"a\",\"at\":\"/y\"}}}]}",
               false);
    expect_event(&peers, "run.accepted", true,
                 "{\"plan\":{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"args\":{\"x\":1}},{\"id\":\"b\",\"tool\":"
                 "\"text\",\"args\":{\"t\":{\"$from\":\"a\",\"at\":\"/y\"}}}]},\"owner\":\"" SESSION_ID
                 "\",\"detached\":false}");
    int64_t accepted = peers.ref;
    expect_event(&peers, "run.started", false, "{\"steps\":2,\"timeout_ms\":600000}");
    expect_event(&peers, "step.started", false, "{\"tool\":\"echo\"}");
    expect_event(&peers, "tool.started", false,
                 "{\"tool\":\"echo\",\"args\":{\"x\":1},\"profile\":\"pure\",\"effect\":\"pure\",\"idempotent\":true,"
                 "\"timeout_ms\":10000}");
    expect_spawn(&peers, &first); /* the scope is asked for while the disk works */
    call_hello(&first);
    expect_silence(&peers, first.link); /* but nothing runs in a run that may yet be refused */
    expect_silence(&peers, peers.owner);
    peer_put(peers.log, MSG_DURABLE, &(struct msg_durable){.ref = accepted, .seq = 1});
    expect_accepted(&peers);
    expect_call(&first, "echo", "{\"x\":1}");
    call_ok(&first, "{\"y\":\"abc\",\"r\":0.1}");
    expect_events(&peers, "step.succeeded step.started");
    expect_event(&peers, "tool.started", false, NULL);
    expect_spawn(&peers, &second);
    assert_string_not_equal(first.id, second.id);
    call_serve(&second, "text", "{\"t\":\"abc\"}", "[1, 2]");
    expect_events(&peers, "step.succeeded");
    call_down(&second, "exited", 0);
    expect_silence(&peers, peers.log); /* the first call still lives */
    call_down(&first, "exited", 0);
    struct msg *m = get_event(&peers, "run.completed");
    assert_true(m->append.barrier);
    assert_string_equal(m->append.corr, "corr-1");
    static const char outputs[] =
        "{\"outputs\":{\"a\":{\"y\":\"abc\",\"r\":0.1},\"b\":[1, 2]}}"; /* as the calls wrote it */
    assert_int_equal(m->append.data.n, strlen(outputs));
    assert_memory_equal(m->append.data.p, outputs, strlen(outputs));
    expect_silence(&peers, peers.owner);
    durable(&peers);
    expect_done(&peers, "completed", "{\"a\":{\"y\":\"abc\",\"r\":0.1},\"b\":[1,2]}");
    peers_ended(&peers, 0);
}

static void test_unsafe_first_waits_for_its_event(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" WRITE("w") "]}", false);
    expect_start(&peers, false, &call); /* one sync for both: run.accepted is no barrier */
    call_hello(&call);
    expect_silence(&peers, call.link);
    expect_silence(&peers, peers.owner);
    durable(&peers);
    expect_accepted(&peers);
    expect_call(&call, "write", "{}");
    call_ok(&call, "{\"bytes\":3}");
    expect_events(&peers, "step.succeeded");
    call_down(&call, "exited", 0);
    expect_end(&peers, "completed", "{\"outputs\":{\"w\":{\"bytes\":3}}}");
    expect_done(&peers, "completed", "{\"w\":{\"bytes\":3}}");
    peers_ended(&peers, 0);
}

static void test_unsafe_later_waits_for_its_event(void **state) {
    struct call first, second;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" ECHO("a") "," WRITE("w") "]}", false);
    expect_start(&peers, true, &first);
    call_serve(&first, "echo", "{}", "{}");
    expect_events(&peers, "step.succeeded step.started");
    expect_event(&peers, "tool.started", true, NULL);
    expect_spawn(&peers, &second);
    expect_silence(&peers, second.link);
    durable(&peers); /* the other order: on disk before the scope is there */
    expect_silence(&peers, second.link);
    call_serve(&second, "write", "{}", "null");
    expect_events(&peers, "step.succeeded");
    call_down(&first, "exited", 0);
    call_down(&second, "exited", 0);
    expect_end(&peers, "completed", "{\"outputs\":{\"a\":{},\"w\":null}}");
    expect_done(&peers, "completed", "{\"a\":{},\"w\":null}");
    peers_ended(&peers, 0);
}

/* An old acknowledgement is not the one that an unsafe tool waits for. */
static void test_another_events_durable_lets_nothing_go(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" WRITE("w") "]}", false);
    expect_start(&peers, false, &call);
    call_hello(&call);
    peer_put(peers.log, MSG_DURABLE, &(struct msg_durable){.ref = peers.ref - 1, .seq = peers.seq - 1});
    expect_accepted(&peers);
    expect_silence(&peers, call.link);
    durable(&peers);
    expect_call(&call, "write", "{}");
    call_ok(&call, "1");
    expect_events(&peers, "step.succeeded");
    call_down(&call, "exited", 0);
    expect_end(&peers, "completed", NULL);
    expect_done(&peers, "completed", "{\"w\":1}");
    peers_ended(&peers, 0);
}

static void test_no_steps(void **state) {
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[]}", false);
    expect_events(&peers, "run.accepted run.started");
    expect_end(&peers, "completed", "{\"outputs\":{}}");
    expect_accepted(&peers);
    expect_done(&peers, "completed", "{}");
    peers_ended(&peers, 0);
}

static const struct {
    const char *plan, *grants, *error, *why;
} refusals[] = {
    {"{\"steps\":7}", NULL, "invalid_plan", "/steps: expected an array of steps, got an integer"},
    {"{\"steps\":[{\"id\":\"a\",\"tool\":\"text\",\"args\":{\"t\":1}}]}", NULL, "invalid_plan",
     "/steps/0/args/t: expected string, got integer"},
    {"{\"steps\":[{\"id\":\"a\",\"tool\":\"rm\"}]}", NULL, "unknown_tool",
     "/steps/0/tool: no tool \"rm\" is granted to this run; `soma tool list` shows which there are"},
    {"{\"steps\":[]}", "{\"tools\":7}", "runtime", "grants: /tools is no array"},
};

static void test_refused_plans_leave_no_event(void **state) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        peers_launch(&peers, false, true);
        if (refusals[i].grants)
            start_plan_with(&peers, refusals[i].plan, refusals[i].grants, false);
        else
            start_plan(&peers, refusals[i].plan, false);
        struct msg *m = peer_get(peers.owner, MSG_RUN_REJECTED);
        assert_string_equal(m->run_rejected.run, RUN_ID);
        assert_string_equal(m->run_rejected.error, refusals[i].error);
        assert_string_equal(m->run_rejected.why, refusals[i].why);
        peers_ended(&peers, 0);
        peers_deinit(&peers);
    }
}

/* ---- failing steps ---- */

static void test_failure_trail(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" ECHO("a") "," ECHO("b") "]}", false);
    expect_start(&peers, true, &call);
    call_hello(&call);
    expect_call(&call, "echo", "{}");
    call_fails(&call, "exit_status", "status 3");
    expect_event(&peers, "step.failed", false, "{\"error\":{\"name\":\"exit_status\",\"message\":\"status 3\"}}");
    expect_silence(&peers, peers.log);
    call_down(&call, "exited", 0);
    expect_end(&peers, "failed", "{\"error\":{\"name\":\"exit_status\",\"step\":\"a\",\"message\":\"status 3\"}}");
    expect_done(&peers, "failed", "{\"name\":\"exit_status\",\"step\":\"a\",\"message\":\"status 3\"}");
    peers_ended(&peers, 0);
}

static void test_a_steps_timeout_is_the_runs(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"timeout\":\"7s\"}]}", false);
    expect_start(&peers, true, &call);
    call_hello(&call);
    assert_int_equal(peer_get(call.link, MSG_CALL)->call.timeout_ms, 7000);
    call_fails(&call, "timeout", "took too long");
    expect_events(&peers, "step.failed");
    call_down(&call, "exited", 0);
    expect_end(&peers, "timeout", NULL);
    expect_done(&peers, "timeout", "{\"name\":\"timeout\",\"step\":\"a\",\"message\":\"took too long\"}");
    peers_ended(&peers, 0);
}

static const struct {
    const char *reason;
    int number;
    const char *message;
} losses[] = {
    {"signalled", 9, "the call's process was ended by signal 9 before it answered"},
    {"exited", 3, "the call's process exited with status 3 before it answered"},
    {"refused", 0, "refused: too many"},
    {"noproc", 0, "noproc: the call was lost before it answered"},
};

static void lost_call(const char *reason, const char *message) {
    char killed[100], error[300], data[400];
    (void)snprintf(killed, sizeof killed, "{\"tool\":\"echo\",\"reason\":\"%s\"}", reason);
    (void)snprintf(error, sizeof error, "{\"name\":\"call_lost\",\"step\":\"a\",\"message\":\"%s\"}", message);
    (void)snprintf(data, sizeof data, "{\"error\":%s}", error);
    expect_event(&peers, "tool.killed", false, killed);
    expect_events(&peers, "step.failed");
    expect_end(&peers, "failed", data);
    expect_done(&peers, "failed", error);
}

static void test_lost_calls(void **state) {
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        struct call call;
        peers_init(&peers);
        peers_launch(&peers, false, true);
        start_plan(&peers, "{\"steps\":[" ECHO("a") "]}", false);
        expect_start(&peers, true, &call);
        peer_put(call.monitor, MSG_DOWN,
                 &(struct msg_down){.id = call.id,
                                    .reason = losses[i].reason,
                                    .signal = strcmp(losses[i].reason, "signalled") == 0 ? losses[i].number : 0,
                                    .code = strcmp(losses[i].reason, "exited") == 0 ? losses[i].number : 0,
                                    .why = strcmp(losses[i].reason, "refused") == 0 ? "too many" : NULL});
        lost_call(losses[i].reason, losses[i].message);
        peers_ended(&peers, 0);
        peers_deinit(&peers);
        (void)fd_close(call.link);
        (void)fd_close(call.monitor);
    }
}

static void test_lost_supervisor(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" ECHO("a") "]}", false);
    expect_start(&peers, true, &call);
    call_hello(&call);
    expect_call(&call, "echo", "{}");
    (void)fd_close(call.monitor);
    lost_call("supervisor_lost", "supervisor_lost: the call was lost before it answered");
    peers_ended(&peers, 0);
    (void)fd_close(call.link);
}

/* What a call had sent counts, also when `down` is noticed first: the run is stopped while both arrive. */
static void test_answer_comes_before_down(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" ECHO("a") "]}", false);
    expect_start(&peers, true, &call);
    call_hello(&call);
    expect_call(&call, "echo", "{}");
    assert_int_equal(kill(peers.pid, SIGSTOP), 0);
    call_ok(&call, "5");
    call_down(&call, "signalled", 9);
    assert_int_equal(kill(peers.pid, SIGCONT), 0);
    expect_events(&peers, "step.succeeded");
    expect_end(&peers, "completed", NULL);
    expect_done(&peers, "completed", "{\"a\":5}");
    peers_ended(&peers, 0);
}

static void test_retry(void **state) {
    struct call call;
    peers_launch(&peers, false, true);
    start_plan(&peers,
               "{\"steps\":[{\"id\":\"a\",\"tool\":\"echo\",\"retry\":{\"max\":2,\"backoff\":\"2ms\"}},"
               "{\"id\":\"b\",\"tool\":\"echo\",\"retry\":{\"max\":1,\"backoff\":\"1ms\"}}]}",
               false);
    expect_start(&peers, true, &call);
    char first[NAME_SIZE];
    (void)snprintf(first, sizeof first, "%s", call.id);
    call_hello(&call);
    expect_call(&call, "echo", "{}");
    call_fails(&call, "exit_status", "status 1");
    expect_event(&peers, "step.retrying", false, "{\"attempt\":2,\"next_ms\":2,\"failure\":\"exit_status\"}");
    expect_event(&peers, "tool.started", false, NULL);
    call_down(&call, "exited", 0);
    expect_spawn(&peers, &call);
    assert_string_not_equal(first, call.id);
    call_down(&call, "signalled", 11);
    expect_events(&peers, "tool.killed");
    expect_event(&peers, "step.retrying", false, "{\"attempt\":3,\"next_ms\":4,\"failure\":\"call_lost\"}");
    expect_events(&peers, "tool.started");
    expect_spawn(&peers, &call);
    call_serve(&call, "echo", "{}", "1");
    call_down(&call, "exited", 0);
    expect_events(&peers, "step.succeeded step.started tool.started");
    expect_spawn(&peers, &call); /* of b; its count begins anew */
    call_hello(&call);
    expect_call(&call, "echo", "{}");
    call_fails(&call, "denied", "no"); /* another attempt would meet the same answer */
    call_down(&call, "exited", 0);
    expect_events(&peers, "step.failed");
    expect_end(&peers, "failed", NULL);
    expect_done(&peers, "failed", "{\"name\":\"denied\",\"step\":\"b\",\"message\":\"no\"}");
    peers_ended(&peers, 0);
}

static const struct {
    const char *value, *message;
} substitutions[] = {
    {"{\"y\":7}", "/steps/1/args/t: expected string, got integer"},
    {"{\"x\":\"abc\"}", "/steps/1/args/t: the output of step \\\"a\\\" has nothing at this pointer"},
};

static void test_bad_arguments_start_no_tool(void **state) {
    for (size_t i = 0; i < sizeof substitutions / sizeof *substitutions; i++) {
        struct call call;
        char error[300];
        peers_init(&peers);
        peers_launch(&peers, false, true);
        start_plan(&peers,
                   "{\"steps\":[" ECHO("a") ",{\"id\":\"b\",\"tool\":\"text\",\"args\":{\"t\":{\"$from\":\"a\",\"at\":"
                                            "\"/y\"}}}]}",
                   false);
        expect_start(&peers, true, &call);
        call_serve(&call, "echo", "{}", substitutions[i].value);
        call_down(&call, "exited", 0);
        expect_events(&peers, "step.succeeded step.started step.failed");
        expect_end(&peers, "failed", NULL);
        (void)snprintf(error, sizeof error, "{\"name\":\"invalid_args\",\"step\":\"b\",\"message\":\"%s\"}",
                       substitutions[i].message);
        expect_done(&peers, "failed", error);
        peers_ended(&peers, 0);
        peers_deinit(&peers);
    }
}

/* ---- hostile calls ---- */

static void deep_value(char *out, unsigned depth) {
    memset(out, '[', depth);
    memset(out + depth, ']', depth);
    out[2 * depth] = 0;
}

static void test_bad_outputs(void **state) {
    char deep[200];
    deep_value(deep, 49);
    const struct {
        struct msg_call_done done;
        const char *name;
    } rows[] = {
        {{.ok = true}, "bad_output"},
        {{.ok = true, .value = SPAN(deep)}, "output_limit"},
        {{.failure = "no name at all\x1b", .message = "m"}, "bad_result"},
        {{.message = "m"}, "bad_result"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct call call;
        peers_init(&peers);
        peers_launch(&peers, false, true);
        start_plan(&peers, "{\"steps\":[" ECHO("a") "]}", false);
        expect_start(&peers, true, &call);
        call_hello(&call);
        expect_call(&call, "echo", "{}");
        peer_put(call.link, MSG_CALL_DONE, &rows[i].done);
        call_down(&call, "exited", 0);
        expect_events(&peers, "step.failed");
        expect_end(&peers, "failed", NULL);
        auto_buf struct buf name = BUF_NULL(100);
        struct msg *m = peer_get(peers.owner, MSG_RUN_DONE);
        (void)buf_printf(&name, "{\"name\":\"%s\",", rows[i].name);
        assert_memory_equal(m->run_done.error.p, name.p, name.n);
        peers_ended(&peers, 0);
        peers_deinit(&peers);
    }
}

static void says_ok_before_call(struct call *call) {
    call_hello(call);
    call_ok(call, "1");
}
static void says_hello_twice(struct call *call) {
    call_hello(call);
    call_hello(call);
}
static void sends_garbage(struct call *call) {
    assert_int_equal(send(call->link, "\0\0\0\1!", 5, MSG_NOSIGNAL), 5);
}
static void sends_an_owners_message(struct call *call) {
    peer_put(call->link, MSG_CANCEL, &(struct msg_cancel){.reason = "x"});
}
static void lies_about_its_id(struct call *call) {
    peer_put(call->link, MSG_HELLO, &(struct msg_hello){.id = RUN_ID, .pid = 1, .generation = 1});
}
static void ends_its_link(struct call *call) {
    call->link = fd_close(call->link);
}

/* Each costs the call its life, and the run one step. The run's own acceptance is withheld, so no call is sent. */
static void test_misbehaviour_is_killed(void **state) {
    static void (*const acts[])(struct call *) = {says_ok_before_call,     says_hello_twice,  sends_garbage,
                                                  sends_an_owners_message, lies_about_its_id, ends_its_link};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        struct call call;
        peers_init(&peers);
        peers.spec.cancel_timeout = acts[i] == ends_its_link ? 1 : 3600000; /* whoever lies is not waited for */
        peers_launch(&peers, false, true);
        start_plan(&peers, "{\"steps\":[" WRITE("a") "]}", false);
        expect_start(&peers, false, &call);
        acts[i](&call);
        expect_kill(&peers, call.id);
        call_down(&call, "signalled", 9);
        expect_events(&peers, "tool.killed step.failed");
        expect_end(&peers, "failed", NULL);
        expect_accepted(&peers);
        expect_done(&peers, "failed",
                    "{\"name\":\"call_lost\",\"step\":\"a\",\"message\":\"the call's process was ended by signal 9 "
                    "before it answered\"}");
        peers_ended(&peers, 0);
        peers_deinit(&peers);
    }
}

static void test_outputs_have_a_ceiling(void **state) {
    enum { BYTES = 250000 };
    static char value[BYTES + 1];
    memset(value, 'x', BYTES);
    value[0] = value[BYTES - 1] = '"';
    struct call calls[3];
    peers_launch(&peers, false, true);
    start_plan(&peers, "{\"steps\":[" ECHO("a") "," ECHO("b") "," ECHO("c") "," ECHO("d") "]}", false);
    expect_start(&peers, true, &calls[0]);
    for (int i = 0; i < 3; i++) {
        call_serve(&calls[i], "echo", "{}", value);
        call_down(&calls[i], "exited", 0);
        expect_events(&peers, i < 2 ? "step.succeeded step.started tool.started" : "step.failed");
        if (i < 2)
            expect_spawn(&peers, &calls[i + 1]);
    }
    expect_end(&peers, "failed", NULL);
    expect_done(&peers, "failed",
                "{\"name\":\"output_limit\",\"step\":\"c\",\"message\":\"the outputs of the steps together exceed "
                "524288 bytes or 60000 values\"}");
    peers_ended(&peers, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two_steps_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unsafe_first_waits_for_its_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unsafe_later_waits_for_its_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_events_durable_lets_nothing_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_plans_leave_no_event, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_trail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_steps_timeout_is_the_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_supervisor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_comes_before_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_arguments_start_no_tool, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_outputs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_misbehaviour_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outputs_have_a_ceiling, setup, teardown),
    };
    (void)kit_count(NULL);
    int failed = cmocka_run_group_tests_name("run", tests, NULL, NULL);
    return failed ? failed : kit_left(NULL);
}
