/* The gateway against fake peers: what it asks, what it answers, what it does when either side goes away. */
#include "tests/gateway/fixture.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof *(a))
#define RUN_A "r-01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define SESSION_A "s-01ARZ3NDEKTSV4RRFFQ69G5FAW"
#define TASK_A "t-01ARZ3NDEKTSV4RRFFQ69G5FAX"
#define CALL(id, method, params) "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method "\",\"params\":" params "}"
#define START CALL(1, "run.start", "{\"plan\":{\"steps\":[]},\"corr\":\"k\"}")

static int setup(void **state) {
    struct spec spec;
    fixture_spec(&spec);
    struct fixture *f = malloc(sizeof *f);
    fixture_start(f, &spec, 1);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture_stop(*state);
    free(*state);
    return 0;
}

/* ---- runs ---- */

struct session {
    int link, monitor;
    char id[ID_SIZE], run[ID_SIZE];
};

static struct session take_spawn(struct fixture *f) {
    const struct msg *m = want_msg(f, f->wire[ROLE_ACTORS], MSG_SPAWN);
    assert_string_equal(m->spawn.role, "session");
    assert_int_equal(m->n_fds, 2);
    struct session s = {.link = m->fds[0], .monitor = m->fds[1]};
    assert_true(id_valid(m->spawn.id, 's'));
    (void)snprintf(s.id, sizeof s.id, "%s", m->spawn.id);
    return s;
}

static struct session take_session(struct fixture *f) {
    struct session s = take_spawn(f);
    put_msg(s.link, MSG_HELLO, &(struct msg_hello){.id = s.id, .pid = 4711, .generation = 1}, NULL, 0);
    const struct msg *m = want_msg(f, s.link, MSG_SESSION_RUN);
    assert_true(id_valid(m->session_run.run, 'r'));
    (void)snprintf(s.run, sizeof s.run, "%s", m->session_run.run);
    return s;
}

static void accept_run(struct session *s, int client) {
    put_msg(s->link, MSG_RUN_ACCEPTED, &(struct msg_run_accepted){.run = s->run, .seq = 9}, NULL, 0);
    auto_json json_t *result = want_result(client, 1);
    assert_string_equal(json_str(result, "run"), s->run);
    assert_int_equal(json_i64(result, "seq", 0), 9);
}

static void session_ends(struct session *s, const char *reason) {
    put_msg(s->monitor, MSG_DOWN, &(struct msg_down){.id = s->id, .reason = reason}, NULL, 0);
    (void)close(s->link);
    (void)close(s->monitor);
}

static void test_foreground_run(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, START);
    struct session s = take_session(f);
    assert_string_equal(f->msg.session_run.corr, "k");
    assert_int_equal(f->msg.session_run.plan.n, strlen("{\"steps\":[]}"));
    assert_memory_equal(f->msg.session_run.plan.p, "{\"steps\":[]}", f->msg.session_run.plan.n);
    assert_false(f->msg.session_run.detached);
    accept_run(&s, client);
    (void)close(client);
    assert_string_equal(want_msg(f, s.link, MSG_CANCEL)->cancel.reason, "client_gone");
    session_ends(&s, "exited");
    barrier(f);
}

static void test_client_leaves_before_accepted(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, START);
    struct session s = take_session(f);
    (void)close(client);
    (void)want_msg(f, s.link, MSG_CANCEL);
    put_msg(s.link, MSG_RUN_ACCEPTED, &(struct msg_run_accepted){.run = s.run, .seq = 9}, NULL, 0);
    session_ends(&s, "exited");
    barrier(f);
}

static void test_rejected_run(void **state) {
    static const struct {
        const char *error, *name;
        int exit;
    } cases[] = {{"invalid_plan", "E_INVALID_PLAN", 2},
                 {"unknown_tool", "E_UNKNOWN_TOOL", 3},
                 {"log_full", "E_LOG_FULL", 7},
                 {"runtime", "E_RUNTIME", 7},
                 {"run_in_use", "E_RUNTIME", 7}};
    struct fixture *f = *state;
    for (size_t i = 0; i < LEN(cases); i++) {
        auto_close int client = client_connect(f);
        client_put(client, START);
        struct session s = take_session(f);
        struct msg_run_rejected no = {.run = s.run, .error = cases[i].error, .why = "/steps/0: no"};
        put_msg(s.link, MSG_RUN_REJECTED, &no, NULL, 0);
        want_error(client, 1, cases[i].name, cases[i].exit, "/steps/0: no");
        (void)want_msg(f, s.link, MSG_CANCEL);
        session_ends(&s, "exited");
    }
}

static void page(struct fixture *f, const char *events) {
    struct msg_page page = {.ref = f->msg.query.ref, .events = SPAN(events), .next = 3};
    put_msg(f->wire[ROLE_EVENTLOG], MSG_PAGE, &page, NULL, 0);
}

static void test_session_down_before_accepted(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    client_put(client, START);
    struct session s = take_spawn(f);
    put_msg(s.monitor, MSG_DOWN, &(struct msg_down){.id = s.id, .reason = "refused", .why = "too many"}, NULL, 0);
    want_error(client, 1, "E_CAPACITY", 7, "too many");
    (void)close(s.link);
    (void)close(s.monitor);
    client_put(client, START);
    s = take_session(f);
    (void)close(s.monitor); /* the supervisor is lost: was it accepted? the log says no */
    assert_string_equal(want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.key, s.run);
    page(f, "[]");
    assert_string_equal(want_msg(f, f->wire[ROLE_RUNS], MSG_KILL)->kill.id, s.run);
    want_error(client, 1, "E_RUNTIME", 7, "died before");
    (void)close(s.link);
    /* the same, and the log says yes: the client has its run, and takes it along when it goes */
    int other = client_connect(f);
    client_put(other, START);
    s = take_session(f);
    (void)close(s.monitor);
    (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
    page(f, "[{\"seq\":7,\"type\":\"run.accepted\"}]");
    json_t *accepted = want_result(other, 1);
    assert_int_equal(json_i64(accepted, "seq", 0), 7);
    assert_string_equal(json_str(accepted, "run"), s.run);
    json_decref(accepted);
    (void)close(s.link);
    (void)close(other);
    assert_string_equal(want_msg(f, f->wire[ROLE_RUNS], MSG_KILL)->kill.id, s.run);
    /* a successor that knows nothing of the run */
    client_put(client, START);
    s = take_session(f);
    int link[2];
    assert_int_equal(chan_pair(CHAN_STREAM, link), 0);
    put_msg(s.monitor, MSG_UP, &(struct msg_up){.id = s.id, .generation = 2}, &link[1], 1);
    (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
    page(f, "[]");
    want_error(client, 1, "E_RUNTIME", 7, "died before");
    (void)want_msg(f, link[0], MSG_CANCEL);
    (void)close(link[0]);
    (void)close(link[1]);
    session_ends(&s, "exited");
}

static void test_detached_run(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, CALL(1, "run.start", "{\"plan\":{},\"detached\":true}"));
    struct session s = take_session(f);
    assert_true(f->msg.session_run.detached);
    accept_run(&s, client);
    (void)close(client);
    barrier(f);
    assert_false(readable(s.link, 0)); /* not cancelled */
    put_msg(s.link, MSG_RUN_DONE, &(struct msg_run_done){.run = s.run, .status = "completed"}, NULL, 0);
    (void)want_msg(f, s.link, MSG_CANCEL); /* it may end */
    session_ends(&s, "exited");
}

/* A session that breaks after its run was accepted leaves the run to its supervisor when the client goes. */
static void test_broken_session(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, START);
    struct session s = take_session(f);
    accept_run(&s, client);
    session_ends(&s, "gave_up");
    barrier(f);
    (void)close(client);
    assert_string_equal(want_msg(f, f->wire[ROLE_RUNS], MSG_KILL)->kill.id, s.run);
}

#define ACCEPTED_BY(owner, detached)                                                                                   \
    "[{\"seq\":3,\"type\":\"run.accepted\",\"run\":\"" RUN_A "\",\"data\":{\"plan\":{},\"owner\":\"" owner             \
    "\",\"detached\":" detached "}}]"
#define ENDED "[{\"seq\":8,\"type\":\"run.cancelled\",\"run\":\"" RUN_A "\",\"data\":{}}]"

static void test_own_run(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f), log = f->wire[ROLE_EVENTLOG];
    client_put(client, CALL(1, "run.own", "{\"run\":\"" RUN_A "\"}"));
    assert_string_equal(want_msg(f, log, MSG_QUERY)->query.key, RUN_A);
    page(f, ACCEPTED_BY(SESSION_A, "false"));
    assert_true(want_msg(f, log, MSG_QUERY)->query.tail > 0);
    page(f, ACCEPTED_BY(SESSION_A, "false"));
    const struct msg *m = want_msg(f, f->wire[ROLE_ACTORS], MSG_ATTACH);
    assert_string_equal(m->attach.id, SESSION_A);
    int monitor = m->fds[0];
    json_decref(want_result(client, 1));
    (void)close(client);
    m = want_msg(f, f->wire[ROLE_ACTORS], MSG_KILL);
    assert_string_equal(m->kill.id, SESSION_A);
    assert_int_equal(m->kill.grace_ms, 3 * 60000); /* a session: its run's time and its own */
    (void)close(monitor);
}

static void test_own_run_not(void **state) {
    static const struct {
        const char *first, *last, *error;
    } cases[] = {
        {"[]", NULL, "E_NO_SUCH_RUN"},
        {ACCEPTED_BY("assistant", "false"), "[]", "E_RUNTIME"},
        {ACCEPTED_BY(SESSION_A, "true"), "[]", NULL},   /* detached: nothing to own */
        {ACCEPTED_BY(SESSION_A, "false"), ENDED, NULL}, /* over */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < LEN(cases); i++) {
        auto_close int client = client_connect(f);
        client_put(client, CALL(1, "run.own", "{\"run\":\"" RUN_A "\"}"));
        (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
        page(f, cases[i].first);
        if (cases[i].last) {
            (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
            page(f, cases[i].last);
        }
        if (cases[i].error)
            want_error(client, 1, cases[i].error, strcmp(cases[i].error, "E_RUNTIME") == 0 ? 7 : 3, RUN_A);
        else
            json_decref(want_result(client, 1));
    }
    barrier(f);
    assert_false(readable(f->wire[ROLE_ACTORS], 0));
}

/* ---- cancel ---- */

static void want_cancelled(int client) {
    auto_json json_t *result = want_result(client, 2);
    assert_string_equal(json_str(result, "run"), RUN_A);
    assert_string_equal(json_str(result, "status"), "cancelled");
}

static void begin_cancel(struct fixture *f, int client, const char *owner_page) {
    client_put(client, CALL(2, "run.cancel", "{\"run\":\"r-01ARZ\"}"));
    assert_string_equal(want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.key, "r-01ARZ");
    page(f, owner_page);
    assert_string_equal(want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.key, RUN_A);
}

static void killed(struct fixture *f, enum role_id kind, const char *id) {
    assert_string_equal(want_msg(f, f->wire[kind], MSG_KILL)->kill.id, id);
    assert_int_equal(f->msg.kill.grace_ms, 2 * 60000);
    put_msg(f->wire[kind], MSG_KILLED, &(struct msg_killed){.id = id, .count = 1}, NULL, 0);
}

static void test_cancel_over(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    begin_cancel(f, client, ACCEPTED_BY(SESSION_A, "false"));
    page(f, ENDED);
    want_cancelled(client);
}

static void test_cancel_of_others(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    begin_cancel(f, client, ACCEPTED_BY(SESSION_A, "true")); /* a session of an earlier gateway */
    page(f, "[]");
    killed(f, ROLE_RUNS, RUN_A);
    assert_int_equal(want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.after, 3);
    assert_true(f->msg.query.wait_ms > 0);
    page(f, ENDED);
    want_cancelled(client);
    begin_cancel(f, client, ACCEPTED_BY("assistant", "false")); /* an actor's */
    page(f, "[]");
    killed(f, ROLE_RUNS, RUN_A);
    (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
    page(f, ENDED);
    want_cancelled(client);
}

/* A run of this gateway's own session; another client asks for its end. */
static struct session begin_cancel_ours(struct fixture *f, int client, int other) {
    char call[128];
    client_put(client, START);
    struct session s = take_session(f);
    accept_run(&s, client);
    (void)snprintf(call, sizeof call, CALL(5, "run.cancel", "{\"run\":\"%s\"}"), s.run);
    client_put(other, call);
    assert_string_equal(want_msg(f, s.link, MSG_CANCEL)->cancel.reason, "cancelled");
    return s;
}

static void want_cancelled_ours(int other) {
    auto_json json_t *result = want_result(other, 5);
    assert_string_equal(json_str(result, "status"), "cancelled");
}

/* What the session tells is the answer as soon as the run is reaped; the log is not asked. */
static void test_cancel_ours(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    auto_close int other = client_connect(f);
    struct session s = begin_cancel_ours(f, client, other);
    put_msg(s.link, MSG_RUN_DONE, &(struct msg_run_done){.run = s.run, .status = "cancelled"}, NULL, 0);
    barrier(f);
    assert_false(readable(other, 0)); /* not reaped yet */
    killed(f, ROLE_RUNS, s.run);
    want_cancelled_ours(other);
    assert_false(readable(f->wire[ROLE_EVENTLOG], 0));
    session_ends(&s, "exited");
}

/* The session dies with its run: the log knows. */
static void test_cancel_ours_untold(void **state) {
    struct fixture *f = *state;
    int log = f->wire[ROLE_EVENTLOG];
    auto_close int client = client_connect(f);
    auto_close int other = client_connect(f);
    struct session s = begin_cancel_ours(f, client, other);
    char first[256], last[256];
    (void)snprintf(first, sizeof first,
                   "[{\"seq\":3,\"type\":\"run.accepted\",\"run\":\"%s\",\"data\":{\"owner\":\"%s\"}}]", s.run, s.id);
    (void)snprintf(last, sizeof last, "[{\"seq\":8,\"type\":\"run.cancelled\",\"run\":\"%s\",\"data\":{}}]", s.run);
    killed(f, ROLE_RUNS, s.run);
    assert_int_equal(want_msg(f, log, MSG_QUERY)->query.after, 0);
    assert_true(f->msg.query.wait_ms > 0);
    page(f, first);
    assert_int_equal(want_msg(f, log, MSG_QUERY)->query.after, 3);
    page(f, last);
    want_cancelled_ours(other);
    session_ends(&s, "exited");
}

static void test_cancel_refused(void **state) {
    static const struct {
        const char *error, *name;
        int exit;
    } cases[] = {{"not_found", "E_NO_SUCH_RUN", 3}, {"ambiguous", "E_AMBIGUOUS", 3}, {"io", "E_RUNTIME", 7}};
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    for (size_t i = 0; i < LEN(cases); i++) {
        client_put(client, CALL(2, "run.cancel", "{\"run\":\"r-01ARZ\"}"));
        int64_t ref = want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.ref;
        struct msg_refused no = {.ref = ref, .error = cases[i].error, .why = "because"};
        put_msg(f->wire[ROLE_EVENTLOG], MSG_REFUSED, &no, NULL, 0);
        want_error(client, 2, cases[i].name, cases[i].exit, "because");
    }
    client_put(client, CALL(2, "run.cancel", "{\"run\":\"r-0\"}"));
    want_error(client, 2, "E_NO_SUCH_RUN", 3, "4 more");
}

/* ---- actors ---- */

static void name_is(struct fixture *f, const char *id, bool declared) {
    int64_t ref = want_msg(f, f->wire[ROLE_REGISTRY], MSG_WHEREIS)->whereis.ref;
    struct msg_name_is is = {.ref = ref, .id = id, .generation = 1, .declared = declared};
    put_msg(f->wire[ROLE_REGISTRY], MSG_NAME_IS, &is, NULL, 0);
}

#define ASK CALL(3, "ask", "{\"actor\":\"assistant\",\"text\":\"why?\"}")

static int take_connect(struct fixture *f) {
    const struct msg *m = want_msg(f, f->wire[ROLE_ACTORS], MSG_CONNECT);
    assert_string_equal(m->connect.name, "assistant");
    return m->fds[0];
}

static void test_ask(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, ASK);
    name_is(f, "a-1", true);
    auto_close int actor = take_connect(f);
    char task[ID_SIZE];
    assert_string_equal(want_msg(f, actor, MSG_ASK)->ask.text, "why?");
    (void)snprintf(task, sizeof task, "%s", f->msg.ask.task);
    put_msg(actor, MSG_TASK_ACCEPTED, &(struct msg_task_accepted){.task = task, .seq = 22}, NULL, 0);
    json_t *result = want_result(client, 3);
    assert_string_equal(json_str(result, "task"), task);
    assert_int_equal(json_i64(result, "seq", 0), 22);
    json_decref(result);
    /* a second one over the same channel is refused; the first is cancelled with the connection */
    client_put(client, ASK);
    name_is(f, "a-1", true);
    char second[ID_SIZE];
    (void)snprintf(second, sizeof second, "%s", want_msg(f, actor, MSG_ASK)->ask.task);
    struct msg_task_done no = {.task = second, .status = "rejected", .error = "mailbox_full", .why = "16 wait"};
    put_msg(actor, MSG_TASK_DONE, &no, NULL, 0);
    want_error(client, 3, "E_CAPACITY", 7, "16 wait");
    (void)close(client);
    assert_string_equal(want_msg(f, actor, MSG_TASK_CANCEL)->task_cancel.task, task);
    put_msg(actor, MSG_TASK_DONE, &(struct msg_task_done){.task = task, .status = "cancelled"}, NULL, 0);
    barrier(f);
    assert_false(readable(actor, 0));
}

static void test_ask_nobody(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    client_put(client, ASK);
    name_is(f, NULL, false);
    want_error(client, 3, "E_NO_SUCH_ACTOR", 3, "assistant");
    client_put(client, ASK);
    name_is(f, NULL, true);
    want_error(client, 3, "E_ACTOR_DOWN", 7, "assistant");
    client_put(client, ASK);
    name_is(f, "a-1", true);
    (void)close(take_connect(f)); /* died meanwhile */
    want_error(client, 3, "E_ACTOR_DOWN", 7, "assistant");
    client_put(client, CALL(3, "ask", "{\"actor\":\"no/name\",\"text\":\"x\"}"));
    want_error(client, 3, "E_NO_SUCH_ACTOR", 3, "no/name");
}

static void test_own_task(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, CALL(1, "task.own", "{\"task\":\"" TASK_A "\"}"));
    for (int i = 0; i < 2; i++) {
        assert_string_equal(want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.by, "task");
        page(f, "[{\"seq\":3,\"type\":\"task.accepted\",\"task\":\"" TASK_A "\",\"actor\":\"assistant\",\"data\":{}}]");
    }
    json_decref(want_result(client, 1));
    auto_close int actor = take_connect(f);
    assert_string_equal(want_msg(f, actor, MSG_ASK)->ask.task, TASK_A); /* the actor is told who owns it now */
    assert_string_equal(f->msg.ask.text, "");
    (void)close(client);
    assert_string_equal(want_msg(f, actor, MSG_TASK_CANCEL)->task_cancel.task, TASK_A);
}

/* ---- reading ---- */

static void test_events(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    client_put(client, CALL(4, "events", "{\"by\":\"run\",\"key\":\"r-01ARZ\",\"after\":2,\"wait_ms\":30000}"));
    const struct msg *m = want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
    assert_int_equal(m->query.wait_ms, 30000);
    assert_int_equal(m->query.after, 2);
    int64_t ref = m->query.ref;
    barrier(f); /* others are served meanwhile */
    assert_false(readable(client, 0));
    struct msg_page told = {
        .ref = ref, .events = SPAN("[{\"seq\":3, \"x\":1.50}]"), .next = 3, .key = RUN_A, .more = true};
    put_msg(f->wire[ROLE_EVENTLOG], MSG_PAGE, &told, NULL, 0);
    char text[512];
    const char *wanted = "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{\"events\":[{\"seq\":3, \"x\":1.50}],\"next\":3,"
                         "\"more\":true,\"key\":\"" RUN_A "\"}}";
    assert_true(readable(client, WAIT_MS));
    assert_int_equal(recv(client, text, strlen(wanted) + 4, MSG_WAITALL), strlen(wanted) + 4);
    assert_memory_equal(text + 4, wanted, strlen(wanted)); /* not re-encoded */
    client_put(client, CALL(4, "events", "{\"by\":\"run\"}"));
    want_error(client, 4, "E_BAD_PARAMS", 2, "/params/key");
    client_put(client, CALL(4, "events", "{\"by\":\"all\",\"wait_ms\":60001}"));
    want_error(client, 4, "E_BAD_PARAMS", 2, "/params/wait_ms");
    client_put(client, CALL(4, "nothing", "{}"));
    want_error(client, 4, "E_NO_METHOD", 2, "nothing");
}

/* A client that goes away leaves a question behind; its answer is nobody's. */
static void test_abandoned_question(void **state) {
    struct fixture *f = *state;
    int client = client_connect(f);
    client_put(client, CALL(4, "events", "{\"by\":\"all\",\"wait_ms\":30000}"));
    (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
    (void)close(client);
    struct msg_page told = {.ref = f->msg.query.ref, .events = SPAN("[]")};
    barrier(f);
    put_msg(f->wire[ROLE_EVENTLOG], MSG_PAGE, &told, NULL, 0);
    barrier(f);
}

static void test_lost_peer(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    client_put(client, CALL(4, "events", "{\"by\":\"all\",\"wait_ms\":30000}"));
    client_put(client, CALL(4, "head", "{}"));
    (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY);
    (void)want_msg(f, f->wire[ROLE_EVENTLOG], MSG_HEAD);
    (void)shutdown(f->wire[ROLE_EVENTLOG], SHUT_RDWR);
    assert_null(client_get(client)); /* root is about to restart this gateway: its clients ask the next one */
    auto_close int late = client_connect(f);
    client_put(late, CALL(4, "head", "{}"));
    assert_false(readable(late, 50)); /* it waits in the backlog */
}

static void list(struct fixture *f, int fd, const char *after, const char *rows, bool more) {
    const char *from = want_msg(f, fd, MSG_LIST)->list.after;
    assert_string_equal(from ? from : "", after);
    put_msg(fd, MSG_LISTING, &(struct msg_listing){.children = SPAN(rows), .more = more}, NULL, 0);
}

#define ROOT_ROWS                                                                                                      \
    "[{\"role\":\"launcher\",\"id\":\"launcher\",\"pid\":10},{\"role\":\"root\",\"id\":\"root\",\"pid\":11},"          \
    "{\"role\":\"runs\",\"id\":\"runs\",\"pid\":12}]"

static void test_ps_and_hello(void **state) {
    static const struct {
        const char *role;
        int pid, parent;
    } wanted[] = {{"launcher", 10, 0}, {"root", 11, 10}, {"runs", 12, 11}, {"run", 20, 12}, {"run", 21, 12}};
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    client_put(client, CALL(1, "ps", "{}"));
    list(f, f->wire[ROLE_RUNS], "", "[{\"role\":\"run\",\"id\":\"r-1\",\"pid\":20}]", true);
    list(f, f->wire[ROLE_TOOLCALLS], "", "[]", false);
    list(f, f->wire[ROLE_LLMCALLS], "", "[]", false);
    list(f, f->control, "", ROOT_ROWS, false);
    list(f, f->wire[ROLE_ACTORS], "", "[]", false);
    list(f, f->wire[ROLE_RUNS], "r-1", "[{\"role\":\"run\",\"id\":\"r-2\",\"pid\":21}]", false);
    json_t *result = want_result(client, 1);
    json_t *rows = json_object_get(result, "processes");
    assert_int_equal(json_array_size(rows), LEN(wanted));
    for (size_t i = 0; i < LEN(wanted); i++) {
        assert_string_equal(json_str(json_array_get(rows, i), "role"), wanted[i].role);
        assert_int_equal(json_i64(json_array_get(rows, i), "pid", -1), wanted[i].pid);
        assert_int_equal(json_i64(json_array_get(rows, i), "parent", -1), wanted[i].parent);
    }
    json_decref(result);
    for (int i = 0; i < 2; i++) { /* the second time it is known */
        client_put(client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}");
        if (i == 0)
            list(f, f->control, "", ROOT_ROWS, false);
        result = want_result(client, 1);
        assert_int_equal(json_i64(result, "launcher", 0), 10);
        assert_string_equal(json_str(result, "state_dir"), "/state?");
        json_decref(result);
    }
    client_put(client, CALL(1, "stop", "{}"));
    (void)want_msg(f, f->control, MSG_STOP_TREE);
    result = want_result(client, 1);
    assert_true(json_flag(result, "stopping", false));
    json_decref(result);
}

static void document(struct fixture *f, enum msg_type type, int64_t ref, const char *text) {
    auto_close int fd = memfd_seal("doc", text, strlen(text));
    struct msg_document doc = {.ref = ref, .generation = 3, .bytes = (int64_t)strlen(text)};
    assert_int_equal(f->msg.type, type);
    put_msg(f->wire[ROLE_REGISTRY], MSG_DOCUMENT, &doc, &fd, 1);
}

static void test_registry(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    client_put(client, CALL(1, "tools", "{}"));
    int64_t ref = want_msg(f, f->wire[ROLE_REGISTRY], MSG_CATALOG)->catalog.ref;
    document(f, MSG_CATALOG, ref, "{\"generation\":3,\"tools\":[{\"name\":\"echo\"}]}");
    ref = want_msg(f, f->wire[ROLE_REGISTRY], MSG_PROBLEMS)->problems.ref;
    document(f, MSG_PROBLEMS, ref, "{\"problems\":[{\"file\":\"a\",\"why\":\"b\"}]}");
    json_t *result = want_result(client, 1);
    assert_string_equal(json_str(json_at(result, "/tools/0"), "name"), "echo");
    assert_string_equal(json_str(json_at(result, "/problems/0"), "why"), "b");
    assert_int_equal(json_i64(result, "generation", 0), 3);
    json_decref(result);
    client_put(client, CALL(1, "actors", "{}"));
    ref = want_msg(f, f->wire[ROLE_REGISTRY], MSG_ACTORS_DECLARED)->actors_declared.ref;
    document(f, MSG_ACTORS_DECLARED, ref, "{\"actors\":[{\"name\":\"a\",\"restart\":\"permanent\"},{\"name\":\"b\"}]}");
    name_is(f, "a-1", true);
    name_is(f, NULL, true);
    result = want_result(client, 1);
    assert_true(json_flag(json_at(result, "/actors/0"), "up", false));
    assert_string_equal(json_str(json_at(result, "/actors/0"), "id"), "a-1");
    assert_false(json_flag(json_at(result, "/actors/1"), "up", true));
    json_decref(result);
}

/* ---- hostile clients ---- */

#define BYTES(text) text, sizeof(text) - 1
static const struct {
    const char *name, *bytes;
    size_t n;
    bool hangs_up; /* nothing can be answered: the frame never becomes whole */
} hostile[] = {
    {"zero length", BYTES("\0\0\0\0"), false},
    {"2^31", BYTES("\x80\0\0\0{}"), false},
    {"one above the limit", BYTES("\0\x10\0\1{}"), false},
    {"garbage", BYTES("\0\0\0\4\1\2\3\4"), false},
    {"not UTF-8", BYTES("\0\0\0\x0a{\"id\":\"\xc3\"}"), false},
    {"duplicate keys", BYTES("\0\0\0\x0f{\"id\":1,\"id\":2}"), false},
    {"trailing bytes", BYTES("\0\0\0\3{}x"), false},
    {"HTTP", BYTES("GET / HTTP/1.1\r\n\r\n"), false},
    {"half a frame", BYTES("\0\0\1\0{\"jso"), true},
    {"half a length", BYTES("\0\0"), true},
};

static void test_hostile(void **state) {
    struct fixture *f = *state;
    auto_close int bystander = client_connect(f);
    for (size_t i = 0; i < LEN(hostile); i++) {
        auto_close int client = client_connect(f);
        client_put_bytes(client, hostile[i].bytes, hostile[i].n);
        if (hostile[i].hangs_up) {
            (void)shutdown(client, SHUT_WR);
        } else {
            json_t *frame = client_get(client);
            assert_non_null(frame);
            assert_true(json_is_null(json_object_get(frame, "id")));
            assert_int_equal(json_i64(json_at(frame, "/error"), "code", 0), -32700);
            json_decref(frame);
        }
        assert_null(client_get(client)); /* and it is over */
    }
    barrier(f);
    client_put(bystander, "[]"); /* refused, and it goes on */
    json_t *frame = client_get(bystander);
    assert_int_equal(json_i64(json_at(frame, "/error"), "code", 0), -32600);
    json_decref(frame);
    client_put(bystander, CALL(8, "events", "{\"by\":\"some\"}"));
    want_error(bystander, 8, "E_BAD_PARAMS", 2, "/params/by");
}

/* Nested deeper than allowed, inside parameters. */
static void test_deep(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    char text[512] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":";
    memset(text + strlen(text), '[', 80);
    client_put(client, text);
    want_error(client, -1, "E_BAD_REQUEST", 2, "nesting");
    assert_null(client_get(client));
}

/* One page of blanks, as fast as the gateway reads it. */
static void put_large_page(int fd, int64_t ref, struct json_span events) {
    struct msg_page told = {.ref = ref, .events = events};
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    (void)buf_add(&b, "\0\0\0\0", 4);
    assert_int_equal(msg_encode(MSG_PAGE, &told, &b), 0);
    for (int k = 0; k < 4; k++)
        b.p[k] = (char)((b.n - 4) >> (24 - 8 * k));
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    for (size_t at = 0; at < b.n;) {
        ssize_t w = send(fd, b.p + at, b.n - at, MSG_NOSIGNAL);
        assert_true(w > 0);
        at += (size_t)w;
    }
}

static void test_does_not_read(void **state) {
    struct fixture *f = *state;
    auto_close int client = client_connect(f);
    size_t n = 900000;
    auto_free char *events = malloc(n);
    memset(events, ' ', n);
    events[0] = '[';
    events[n - 1] = ']';
    for (int i = 0; i < 8; i++)
        client_put(client, CALL(1, "events", "{\"by\":\"all\"}"));
    for (int i = 0; i < 8; i++) { /* 7.2 MB, 4 MiB may wait */
        int64_t ref = want_msg(f, f->wire[ROLE_EVENTLOG], MSG_QUERY)->query.ref;
        put_large_page(f->wire[ROLE_EVENTLOG], ref, (struct json_span){events, n});
    }
    barrier(f); /* all answers were made; others are served */
    size_t got = 0;
    for (ssize_t r; (r = read(client, events, n)) > 0;)
        got += (size_t)r;
    assert_true(got < 8 * n); /* then the end: it was dropped */
}

/* ---- who may come, and idleness ---- */

static void test_strangers(void **state) {
    struct fixture *f = *state;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) { /* exit status only */
        if (setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        int fd = client_connect(f);
        char text[1024] = {0};
        _exit(recv(fd, text, sizeof text - 1, 0) > 4 && strstr(text + 4, "\"E_FORBIDDEN\"") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    barrier(f);
}

static void test_too_many(void **state) {
    struct spec spec;
    fixture_spec(&spec);
    spec.max_clients = 2;
    struct fixture f;
    fixture_start(&f, &spec, 1);
    int a = client_connect(&f), b = client_connect(&f), c = client_connect(&f);
    want_error(c, -1, "E_CAPACITY", 7, "max_clients");
    assert_null(client_get(c));
    (void)close(a);
    (void)close(c);
    client_put(b, CALL(1, "x", "{}")); /* answered behind a's end */
    want_error(b, 1, "E_NO_METHOD", 2, "x");
    barrier(&f); /* there is room again */
    (void)close(b);
    fixture_stop(&f);
}

static void test_idle(void **state) {
    struct spec spec;
    fixture_spec(&spec);
    spec.short_lived = true;
    struct fixture f;
    fixture_start(&f, &spec, 1);
    int client = client_connect(&f);
    client_put(client, CALL(1, "run.start", "{\"plan\":{},\"detached\":true}"));
    want_error(client, 1, "E_SHORT_LIVED", 5, "ends with its clients");
    client_put(client, START);
    struct session s = take_session(&f);
    accept_run(&s, client);
    (void)close(client);
    (void)want_msg(&f, s.link, MSG_CANCEL);
    assert_false(readable(f.control, 0)); /* its end is waited for */
    session_ends(&s, "exited");
    (void)want_msg(&f, f.control, MSG_IDLE);
    fixture_stop(&f);
}

/* Nobody came within the start timeout; whoever comes after idle was said is not let in any more. */
static void test_idle_unvisited(void **state) {
    struct spec spec;
    fixture_spec(&spec);
    spec.short_lived = true;
    spec.start = 1;
    struct fixture f;
    fixture_start(&f, &spec, 1);
    (void)want_msg(&f, f.control, MSG_IDLE);
    int client = client_connect(&f); /* into the backlog */
    client_put(client, CALL(1, "hello", "{}"));
    assert_false(readable(client, 50));
    (void)close(client);
    fixture_stop(&f);
}

/* The clients of a former incarnation get orphan_timeout to come back. */
static void test_idle_restarted(void **state) {
    struct spec spec;
    fixture_spec(&spec);
    spec.short_lived = true;
    spec.start = 1;
    struct fixture f;
    fixture_start(&f, &spec, 2);
    assert_false(readable(f.control, 50));
    int client = client_connect(&f);
    client_put(client, CALL(1, "x", "{}"));
    want_error(client, 1, "E_NO_METHOD", 2, "x");
    (void)close(client);
    (void)want_msg(&f, f.control, MSG_IDLE);
    fixture_stop(&f);
}

/* Ended by SIGTERM with everything in flight: no run is cancelled by it (the stop is clean: fixture_stop checks). */
static void test_term_in_flight(void **state) {
    struct spec spec;
    fixture_spec(&spec);
    struct fixture f;
    fixture_start(&f, &spec, 1);
    int client = client_connect(&f);
    client_put(client, START);
    struct session s = take_session(&f);
    client_put(client, ASK);
    client_put(client, CALL(4, "events", "{\"by\":\"all\",\"wait_ms\":30000}"));
    (void)want_msg(&f, f.wire[ROLE_EVENTLOG], MSG_QUERY);
    assert_int_equal(kill(f.pid, SIGTERM), 0);
    assert_null(client_get(client));
    char c;
    assert_int_equal(read(s.link, &c, 1), 0); /* end of file, not cancel */
    (void)close(s.link);
    (void)close(s.monitor);
    (void)close(client);
    fixture_stop(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(test_foreground_run),
        TEST(test_client_leaves_before_accepted),
        TEST(test_rejected_run),
        TEST(test_session_down_before_accepted),
        TEST(test_detached_run),
        TEST(test_broken_session),
        TEST(test_own_run),
        TEST(test_own_run_not),
        TEST(test_cancel_over),
        TEST(test_cancel_of_others),
        TEST(test_cancel_ours),
        TEST(test_cancel_ours_untold),
        TEST(test_cancel_refused),
        TEST(test_ask),
        TEST(test_ask_nobody),
        TEST(test_own_task),
        TEST(test_events),
        TEST(test_abandoned_question),
        TEST(test_lost_peer),
        TEST(test_ps_and_hello),
        TEST(test_registry),
        TEST(test_hostile),
        TEST(test_deep),
        TEST(test_does_not_read),
        TEST(test_strangers),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_idle_unvisited),
        cmocka_unit_test(test_idle_restarted),
        cmocka_unit_test(test_term_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
