/* An actor as a process among fakes: what it says to whom, in what order, and that it stays up whatever happens to a
 * task. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>

#include "actor/actor.h"
#include "actor/mailbox.h"
#include "common/cleanup.h"
#include "tests/actor/fakes.h"

#define CATALOG                                                                                                        \
    "{\"generation\":1,\"tools\":[{\"name\":\"wc\",\"description\":\"counts\",\"input_schema\":{\"type\":\"object\","  \
    "\"properties\":"                                                                                                  \
    "{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}},"                                                      \
    "{\"name\":\"rm\",\"description\":\"not allowed\",\"input_schema\":{\"type\":\"object\"}}]}"
#define DEFINITION(llm_calls, steps, timeout_ms)                                                                       \
    "{\"name\":\"helper\",\"description\":\"\",\"provider\":\"script\",\"model\":\"m\",\"system\":\"be brief\","       \
    "\"tools\":[\"wc\",\"gone\"],\"budget\":{\"llm_calls\":" #llm_calls ",\"steps\":" #steps                           \
    ",\"timeout_ms\":" #timeout_ms "},\"restart\":\"permanent\"}"
#define CALL(id, name, args)                                                                                           \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":" args "}}"
#define CALLS(list) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" list "]}"
#define WC CALL("x", "wc", "\"{\\\"text\\\":\\\"a b c\\\"}\"")
#define THREE "{\"role\":\"assistant\",\"content\":\"three\"}"

static void setup(struct fakes *f, const struct line *script, size_t n) {
    fakes_init(f, &actor_role, "helper");
    f->definition = DEFINITION(8, 8, 60000);
    f->catalog = CATALOG;
    f->script = script;
    f->n_script = n;
}
#define SETUP(f, script) setup(f, script, sizeof(script) / sizeof *(script))

static void start(struct fakes *f) {
    fakes_start(f);
    fakes_connect(f);
}

static const char *ask(struct fakes *f, const char *text) {
    static char id[ID_SIZE];
    id_make('t', id);
    assert_int_equal(chan_send(f->client, MSG_ASK, &(struct msg_ask){.task = id, .text = text}), 0);
    return id;
}

/* Waits for the next task_done. */
static const json_t *expect_done(struct fakes *f, const char *status, const char *error) {
    const json_t *done = fakes_hear(f, "task_done");
    const char *got = json_str(done, "error");
    if (strcmp(json_str(done, "status"), status) != 0 || strcmp(got ? got : "", error) != 0)
        fail_msg("status %s, error %s (%s); wanted %s, %s; events: %s", json_str(done, "status"), got ? got : "-",
                 json_str(done, "why"), status, error, fakes_trail(f));
    return done;
}

static void expect_json(const json_t *value, const char *wanted) {
    auto_free char *text = NULL;
    size_t n;
    assert_int_equal(json_text(value, JSON_TEXT_MAX, &text, &n), 0);
    assert_string_equal(text, wanted);
}

/* ---- one round ---- */

static void tool_round(void **state) {
    static const struct line script[] = {{SAY, CALLS(WC)}, {OUTPUTS, "{\"call_1\":{\"text\":\"3\"}}"}, {SAY, THREE}};
    struct fakes f;
    SETUP(&f, script);
    start(&f);
    const char *task = ask(&f, "how many words?");
    assert_string_equal(json_str(fakes_hear(&f, "task_accepted"), "task"), task);
    const json_t *done = expect_done(&f, "completed", "");
    assert_string_equal(json_str(done, "reply"), "three");
    assert_string_equal(json_str(done, "task"), task);
    assert_string_equal(fakes_trail(&f),
                        "actor.started actor.message.received task.accepted llm.started proposal.created "
                        "proposal.approved proposal.executed llm.started proposal.created task.completed");
    expect_json(json_array_get(f.plans, 0), "{\"name\":\"proposal\",\"steps\":[{\"id\":\"call_1\",\"tool\":\"wc\","
                                            "\"args\":{\"text\":\"a b c\"}}]}");
    expect_json(json_array_get(f.requests, 1),
                "{\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
                "{\"role\":\"user\",\"content\":\"how many words?\"},"
                "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\","
                "\"function\":{\"name\":\"wc\",\"arguments\":\"{\\\"text\\\":\\\"a b c\\\"}\"}}]},"
                "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"{\\\"text\\\":\\\"3\\\"}\"}],"
                "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"wc\",\"description\":\"counts\","
                "\"parameters\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},"
                "\"required\":[\"text\"]}}}]}"); /* only what is both allowed and there */
    const json_t *llm = fakes_event(&f, "llm.started", 0);
    assert_true(id_valid(json_str(llm, "call"), 'c'));
    assert_string_equal(json_str(llm, "task"), task);
    assert_string_equal(json_str(llm, "corr"), task); /* none was given */
    assert_int_equal(fakes_term(&f), 0);
}

/* ---- failures are data ---- */

static const struct {
    const char *name;
    struct line script[4];
    const char *status, *error;
    const char *trail;       /* after task.accepted */
    const char *observation; /* part of the last request, or NULL */
} failures[] = {
    {"model fails", {{FAILS, "timeout"}}, "failed", "llm_timeout", "llm.started task.failed", NULL},
    {"model crashes", {{CRASHES, NULL}}, "failed", "llm_lost", "llm.started task.failed", NULL},
    {"garbage on the link", {{GARBAGE, NULL}}, "failed", "llm_lost", "llm.started task.failed", NULL},
    {"malformed proposal",
     {{SAY, "{}"}},
     "failed",
     "bad_proposal",
     "llm.started proposal.created proposal.rejected task.failed",
     NULL},
    {"denied tool",
     {{SAY, CALLS(CALL("x", "rm", "\"{}\""))}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created policy.denied proposal.rejected llm.started proposal.created task.completed",
     "\\\"denied\\\""},
    {"invalid arguments",
     {{SAY, CALLS(CALL("x", "wc", "\"{\\\"text\\\":1}\""))}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created proposal.rejected llm.started proposal.created task.completed",
     "/args/text"},
    {"one good, one denied",
     {{SAY, CALLS(CALL("x", "rm", "\"{}\"") "," WC)}, {OUTPUTS, "{\"call_2\":{\"text\":\"3\"}}"}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created policy.denied proposal.approved proposal.executed llm.started proposal.created "
     "task.completed",
     "\\\"text\\\":\\\"3\\\""},
    {"run fails",
     {{SAY, CALLS(WC)}, {FAILS, "{\"name\":\"not_found\",\"message\":\"no such file\"}"}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created proposal.approved proposal.executed llm.started proposal.created task.completed",
     "no such file"},
    {"run is rejected",
     {{SAY, CALLS(WC)}, {REJECTS, "invalid_plan"}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created proposal.approved proposal.executed llm.started proposal.created task.completed",
     "invalid_plan"},
    {"run crashes",
     {{SAY, CALLS(WC)}, {CRASHES, NULL}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created proposal.approved proposal.executed llm.started proposal.created task.completed",
     "run_lost"},
    {"garbage from the run",
     {{SAY, CALLS(WC)}, {GARBAGE, NULL}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created proposal.approved proposal.executed llm.started proposal.created task.completed",
     "run_lost"},
    {"output is missing",
     {{SAY, CALLS(WC)}, {OUTPUTS, "{\"call_7\":1}"}, {SAY, THREE}},
     "completed",
     "",
     "llm.started proposal.created proposal.approved proposal.executed llm.started proposal.created task.completed",
     "no_output"},
};

/* All in one actor, one after another: each also proves that it survived the one before. */
static void failures_are_data(void **state) {
    struct fakes f;
    setup(&f, NULL, 0);
    start(&f);
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        f.script = failures[i].script;
        f.n_script = 4;
        f.at = 0;
        json_array_clear(f.requests);
        if (i)
            json_array_clear(f.events);
        (void)ask(&f, "how many words?");
        expect_done(&f, failures[i].status, failures[i].error);
        char wanted[1024];
        (void)snprintf(wanted, sizeof wanted, "%sactor.message.received task.accepted %s", i ? "" : "actor.started ",
                       failures[i].trail);
        if (strcmp(fakes_trail(&f), wanted) != 0)
            fail_msg("%s: %s", failures[i].name, fakes_trail(&f));
        auto_free char *last = NULL;
        size_t n;
        assert_int_equal(
            json_text(json_array_get(f.requests, json_array_size(f.requests) - 1), JSON_TEXT_MAX, &last, &n), 0);
        if (failures[i].observation && !strstr(last, failures[i].observation))
            fail_msg("%s: %s", failures[i].name, last);
    }
    assert_int_equal(fakes_term(&f), 0);
}

static void budgets(void **state) {
    static const struct {
        const char *definition, *status, *error, *trail;
        struct line script[2];
    } cases[] = {
        {DEFINITION(0, 8, 60000), "failed", "budget", "budget.exceeded task.failed", {{HANGS, NULL}}},
        {DEFINITION(1, 8, 60000),
         "failed",
         "budget",
         "llm.started proposal.created policy.denied proposal.rejected budget.exceeded task.failed",
         {{SAY, CALLS(CALL("x", "rm", "\"{}\""))}}},
        {DEFINITION(8, 1, 60000),
         "failed",
         "budget",
         "llm.started proposal.created proposal.rejected budget.exceeded task.failed",
         {{SAY, CALLS(WC "," WC)}}},
        {DEFINITION(8, 8, 30), "timeout", "timeout", "llm.started task.timeout", {{HANGS, NULL}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fakes f;
        setup(&f, cases[i].script, 2);
        f.definition = cases[i].definition;
        start(&f);
        (void)ask(&f, "how many words?");
        expect_done(&f, cases[i].status, cases[i].error);
        char wanted[1024];
        (void)snprintf(wanted, sizeof wanted, "actor.started actor.message.received task.accepted %s", cases[i].trail);
        assert_string_equal(fakes_trail(&f), wanted);
        assert_int_equal(fakes_term(&f), 0);
    }
}

/* ---- the log comes first ---- */

static void log_refuses(void **state) {
    static const struct {
        const char *type, *status;
    } cases[] = {{"task.accepted", "rejected"},
                 {"llm.started", "failed"},
                 {"proposal.executed", "failed"},
                 {"task.completed", "failed"}};
    static const struct line script[] = {{SAY, CALLS(WC)}, {OUTPUTS, "{\"call_1\":{\"text\":\"3\"}}"}, {SAY, THREE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fakes f;
        SETUP(&f, script);
        f.refuse = cases[i].type;
        start(&f);
        (void)ask(&f, "how many words?");
        assert_null(json_str(expect_done(&f, cases[i].status, "log_full"), "reply"));
        f.at = 0;
        (void)ask(&f, "and now?");
        expect_done(&f, "completed", "");
        assert_int_equal(fakes_term(&f), 0);
    }
}

/* The request stays here until its event is on disk; meanwhile the actor answers others. */
static void request_waits_for_the_disk(void **state) {
    static const struct line script[] = {{SAY, THREE}, {SAY, THREE}};
    struct fakes f;
    SETUP(&f, script);
    f.hold = "llm.started";
    start(&f);
    (void)ask(&f, "how many words?");
    fakes_until_event(&f, "llm.started");
    while (!f.helloed)
        (void)loop_turn(f.loop, -1);
    (void)ask(&f, "are you there?");
    (void)fakes_hear(&f, "task_accepted");
    (void)fakes_hear(&f, "task_accepted");
    assert_int_equal(json_array_size(f.requests), 0);
    f.hold = NULL;
    fakes_release(&f);
    expect_done(&f, "completed", "");
    assert_int_equal(json_array_size(f.requests), 1);
    expect_done(&f, "completed", ""); /* and the second had waited for its turn */
    assert_int_equal(fakes_term(&f), 0);
}

/* ---- cancel ---- */

static void cancel(struct fakes *f, const char *task) {
    assert_int_equal(chan_send(f->client, MSG_TASK_CANCEL, &(struct msg_task_cancel){.task = task}), 0);
}

static void cancel_ends_the_work(void **state) {
    static const struct line model[] = {{HANGS, NULL}, {SAY, THREE}}, deaf[] = {{DEAF, NULL}, {SAY, THREE}},
                             run[] = {{SAY, CALLS(WC)}, {HANGS, NULL}, {SAY, THREE}};
    static const struct {
        const struct line *script;
        size_t n, live; /* requests and plans when it is cancelled */
        size_t kills;
    } cases[] = {{model, 2, 1, 0}, {deaf, 2, 1, 1}, {run, 3, 2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fakes f;
        setup(&f, cases[i].script, cases[i].n);
        f.spec.cancel_timeout = cases[i].kills ? 30 : 60000;
        start(&f);
        const char *task = ask(&f, "how many words?");
        while (json_array_size(f.requests) + json_array_size(f.plans) < cases[i].live)
            (void)loop_turn(f.loop, -1);
        cancel(&f, task);
        expect_done(&f, "cancelled", "cancelled");
        assert_int_equal(json_array_size(f.cancels), 1);
        assert_string_equal(json_string_value(json_array_get(f.cancels, 0)), "cancelled");
        assert_int_equal(json_array_size(f.kills), cases[i].kills);
        for (size_t w = 0; w < f.n_workers; w++)
            assert_null(f.workers[w].monitor); /* all were down before the answer */
        assert_non_null(fakes_event(&f, "task.cancelled", 0));
        (void)ask(&f, "and now?");
        expect_done(&f, "completed", "");
        assert_int_equal(fakes_term(&f), 0);
    }
}

static void cancel_of_a_waiting_task(void **state) {
    static const struct line script[] = {{HANGS, NULL}};
    struct fakes f;
    SETUP(&f, script);
    start(&f);
    (void)ask(&f, "first");
    fakes_until(&f, f.requests, 1);
    const char *second = ask(&f, "second");
    fakes_until(&f, f.said, 2);
    cancel(&f, second);
    assert_string_equal(json_str(expect_done(&f, "cancelled", "cancelled"), "task"), second);
    assert_int_equal(json_array_size(f.requests), 1);
    cancel(&f, second); /* it is gone */
    expect_done(&f, "rejected", "no_such_task");
    assert_int_equal(fakes_term(&f), 0);
}

/* ---- mailbox and owners ---- */

static void mailbox_full(void **state) {
    static const struct line script[] = {{HANGS, NULL}};
    struct fakes f;
    SETUP(&f, script);
    start(&f);
    (void)ask(&f, "first");
    fakes_until(&f, f.requests, 1);
    for (unsigned i = 0; i < MAILBOX_MAX; i++)
        (void)ask(&f, "more");
    (void)ask(&f, "too many");
    (void)ask(&f, "");
    while (json_array_size(f.said) < 1 + MAILBOX_MAX + 2)
        (void)loop_turn(f.loop, -1);
    unsigned full = 0, empty = 0, accepted = 0;
    size_t i;
    const json_t *said;
    json_array_foreach(f.said, i, said) {
        const char *error = json_str(said, "error");
        accepted += strcmp(json_str(said, "msg"), "task_accepted") == 0;
        full += error && strcmp(error, "mailbox_full") == 0;
        empty += error && strcmp(error, "empty_message") == 0;
    }
    assert_int_equal(accepted, 1 + MAILBOX_MAX);
    assert_int_equal(full, 1);
    assert_int_equal(empty, 1);
    assert_int_equal(fakes_term(&f), 0);
}

static void owner_lost(void **state) {
    static const struct line script[] = {{HANGS, NULL}, {SAY, THREE}};
    struct fakes f;
    SETUP(&f, script);
    f.spec.orphan_timeout = 30;
    start(&f);
    (void)ask(&f, "how many words?");
    fakes_until(&f, f.requests, 1);
    chan_close(f.client);
    fakes_until_event(&f, "task.cancelled");
    const json_t *error = json_object_get(json_object_get(fakes_event(&f, "task.cancelled", 0), "data"), "error");
    assert_string_equal(json_str(error, "name"), "owner_lost");
    assert_string_equal(json_string_value(json_array_get(f.cancels, 0)), "owner_lost");
    fakes_connect(&f);
    (void)ask(&f, "and now?");
    expect_done(&f, "completed", "");
    assert_int_equal(fakes_term(&f), 0);
}

/* The gateway's next incarnation asks for the same task, and hears its end. */
static void owned_again(void **state) {
    static const struct line script[] = {{SAY, THREE}};
    struct fakes f;
    SETUP(&f, script);
    f.hold = "llm.started";
    start(&f);
    char task[ID_SIZE];
    (void)snprintf(task, sizeof task, "%s", ask(&f, "how many words?"));
    (void)fakes_hear(&f, "task_accepted");
    fakes_until_event(&f, "llm.started");
    chan_close(f.client);
    fakes_connect(&f);
    assert_int_equal(chan_send(f.client, MSG_ASK, &(struct msg_ask){.task = task, .text = ""}), 0);
    assert_string_equal(json_str(fakes_hear(&f, "task_accepted"), "task"), task);
    fakes_release(&f);
    expect_done(&f, "completed", "");
    assert_null(fakes_event(&f, "task.accepted", 1));
    assert_int_equal(fakes_term(&f), 0);
}

/* ---- start and end ---- */

static void interrupted_tasks_fail(void **state) {
    static const char history[] =
        "[{\"seq\":1,\"type\":\"task.accepted\",\"task\":\"t-1\",\"corr\":\"c1\"},"
        "{\"seq\":2,\"type\":\"llm.started\",\"task\":\"t-1\",\"call\":\"c-1\"},"
        "{\"seq\":3,\"type\":\"llm.succeeded\",\"task\":\"t-1\",\"call\":\"c-1\"},"
        "{\"seq\":4,\"type\":\"proposal.executed\",\"task\":\"t-1\",\"data\":{\"run\":\"r-1\"}},"
        "{\"seq\":5,\"type\":\"run.completed\",\"task\":\"t-1\",\"run\":\"r-1\"},"
        "{\"seq\":6,\"type\":\"task.completed\",\"task\":\"t-1\"},"
        "{\"seq\":7,\"type\":\"task.accepted\",\"task\":\"t-2\",\"corr\":\"c2\"},"
        "{\"seq\":8,\"type\":\"proposal.executed\",\"task\":\"t-2\",\"data\":{\"run\":\"r-2\"}},"
        "{\"seq\":9,\"type\":\"run.failed\",\"task\":\"t-2\",\"run\":\"r-2\"},"
        "{\"seq\":10,\"type\":\"proposal.executed\",\"task\":\"t-2\",\"data\":{\"run\":\"r-3\"}},"
        "{\"seq\":11,\"type\":\"task.accepted\",\"task\":\"t-3\"},"
        "{\"seq\":12,\"type\":\"llm.started\",\"task\":\"t-3\",\"call\":\"c-3\"}]";
    static const struct line script[] = {{SAY, THREE}};
    struct fakes f;
    SETUP(&f, script);
    f.recover = true;
    f.history = history;
    start(&f);
    fakes_until_event(&f, "actor.restored");
    expect_json(f.kills, "[\"r-3\",\"c-3\"]");
    assert_string_equal(fakes_trail(&f), "task.failed task.failed actor.restored");
    assert_string_equal(json_str(fakes_event(&f, "task.failed", 0), "task"), "t-2");
    assert_string_equal(json_str(fakes_event(&f, "task.failed", 0), "corr"), "c2");
    assert_string_equal(json_str(fakes_event(&f, "task.failed", 1), "task"), "t-3");
    (void)ask(&f, "and now?");
    expect_done(&f, "completed", "");
    assert_int_equal(fakes_term(&f), 0);
}

static void stop_ends_its_tasks(void **state) {
    static const struct line script[] = {{HANGS, NULL}};
    struct fakes f;
    SETUP(&f, script);
    start(&f);
    (void)ask(&f, "first");
    fakes_until(&f, f.requests, 1);
    (void)ask(&f, "second");
    fakes_until(&f, f.said, 2);
    assert_int_equal(kill(f.pid, SIGTERM), 0);
    fakes_until_event(&f, "actor.stopped");
    assert_non_null(fakes_event(&f, "task.cancelled", 1));
    assert_int_equal(json_array_size(f.cancels), 1);
    fakes_until(&f, f.said, 4);
    assert_int_equal(fakes_reap(&f), 0);
}

static void without_its_supervisor_it_ends(void **state) {
    struct fakes f;
    setup(&f, NULL, 0);
    start(&f);
    fakes_until_event(&f, "actor.started");
    assert_int_equal(fakes_end(&f), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tool_round),
        cmocka_unit_test(failures_are_data),
        cmocka_unit_test(budgets),
        cmocka_unit_test(log_refuses),
        cmocka_unit_test(request_waits_for_the_disk),
        cmocka_unit_test(cancel_ends_the_work),
        cmocka_unit_test(cancel_of_a_waiting_task),
        cmocka_unit_test(mailbox_full),
        cmocka_unit_test(owner_lost),
        cmocka_unit_test(owned_again),
        cmocka_unit_test(interrupted_tasks_fail),
        cmocka_unit_test(stop_ends_its_tasks),
        cmocka_unit_test(without_its_supervisor_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
