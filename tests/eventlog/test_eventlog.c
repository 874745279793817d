/* The event log as its peers see it: what it answers and in which order, who may say what, and who owns a run id. */
#include "log_fixture.h"

#include <arpa/inet.h>

/* ---- replies ---- */

static void accepted_then_durable(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs");
    append(runs, 1, "process.started", true);
    assert_int_equal(get_accepted(runs, 1), 1);
    assert_int_equal(get_durable(runs, 1), 1);
    append(runs, 2, "process.exited", false); /* relaxed: no durable */
    append(runs, 0, "process.exited", false); /* wants no reply at all */
    append(runs, 4, "process.started", true);
    assert_int_equal(get_accepted(runs, 2), 2);
    assert_int_equal(get_accepted(runs, 4), 4);
    assert_int_equal(get_durable(runs, 4), 4);
    append(l->control, 5, "system.boot", true); /* root speaks on its control link */
    assert_int_equal(get_accepted(l->control, 5), 5);
    assert_int_equal(get_durable(l->control, 5), 5);
    (void)close(runs);
}

/* Everything that waits while nothing can be committed goes to disk in one transaction. */
static void one_commit(struct logd *l, unsigned n, unsigned relaxed, unsigned most) {
    int links[100];
    assert_true(n <= 100);
    for (unsigned i = 0; i < n; i++) {
        links[i] = peer(l, "runs");
        (void)append_durable(links[i], 1, "process.started");
    }
    uint64_t before = commits(l);
    logd_hold(l);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < relaxed; k++)
            append(links[i], 2, "process.exited", false);
        append(links[i], 3, "process.started", true);
    }
    logd_go(l);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < relaxed; k++)
            (void)get_accepted(links[i], 2);
        int64_t seq = get_accepted(links[i], 3);
        assert_int_equal(get_durable(links[i], 3), seq);
    }
    assert_in_range(commits(l), before + 1, before + most);
    for (unsigned i = 0; i < n; i++)
        (void)close(links[i]);
}

static void one_commit_for_all(void **state) {
    one_commit(*state, 16, 0, 1);
    one_commit(*state, 1, 50, 1);
    /* more links than the loop serves in one turn; on a slow machine the 2 ms of a relaxed event may end between two */
    one_commit(*state, 100, 1, 3);
}

/* Nobody sends a barrier; the query waits before, so only a commit of the log's own accord can answer it. */
static void relaxed_reaches_the_disk(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = 1, .by = "all", .wait_ms = 60000});
    peer_put(gateway, MSG_HEAD, &(struct msg_head){.ref = 2});
    assert_int_equal(peer_get(gateway, MSG_HEAD_IS)->head_is.seq, 0); /* so the query waits */
    uint64_t before = commits(l);
    append(runs, 1, "process.started", false);
    (void)get_accepted(runs, 1);
    struct msg m = *peer_get(gateway, MSG_PAGE);
    assert_int_equal(m.page.next, 1);
    assert_int_equal(commits(l), before + 1);
    (void)close(gateway);
    (void)close(runs);
}

/* ---- who says what ---- */

static void stamps_come_from_the_link(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), toolcalls = peer(l, "toolcalls");
    int call = introduce_from(
        toolcalls,
        (struct msg_introduce){.role = "toolcall", .run = run_a, .actor = "reviewer", .call = call_a, .pid = 1234});
    peer_put(call, MSG_APPEND,
             &(struct msg_append){.ref = 1,
                                  .type = "tool.succeeded",
                                  .step = "read",
                                  .task = task_a,
                                  .corr = "x-1",
                                  .barrier = true,
                                  .data = SPAN("{ \"output\" : 1}")});
    (void)get_accepted(call, 1);
    (void)get_durable(call, 1);
    char wanted[512];
    (void)snprintf(
        wanted, sizeof wanted,
        "\"type\":\"tool.succeeded\",\"actor\":\"reviewer\",\"task\":\"%s\",\"run\":\"%s\",\"step\":\"read\","
        "\"call\":\"%s\",\"corr\":\"x-1\",\"pid\":1234,\"data\":{ \"output\" : 1}}",
        task_a, run_a, call_a);
    struct msg_page page = ask(gateway, (struct msg_query){.by = "run", .key = run_a});
    assert_true(page_has(page, wanted));
    assert_int_equal(page.events.p[0], '[');
    for (const char *const *by = (const char *const[]){"actor", "reviewer", "task", task_a, "corr", "x-1", NULL}; *by;
         by += 2)
        assert_int_equal(page_count(ask(gateway, (struct msg_query){.by = by[0], .key = by[1]})), 1);
    (void)close(gateway);
    (void)close(toolcalls);
    (void)close(call);
}

static void refusals(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), toolcalls = peer(l, "toolcalls"), gateway = peer(l, "gateway");
    int run = run_peer(runs, run_a);
    int call = introduce_from(toolcalls, (struct msg_introduce){.role = "toolcall", .call = call_a});
    const struct {
        int fd;
        struct msg_append event;
        const char *error;
    } cases[] = {
        {run, {.type = "run.started", .run = run_b}, "denied"},
        {run, {.type = "system.boot"}, "denied"},
        {run, {.type = "tool.succeeded"}, "denied"},
        {run, {.type = "Run.started"}, "bad_event"},
        {run, {.type = "run"}, "bad_event"},
        {run, {.type = "run.started", .data = SPAN("[]")}, "bad_event"},
        {run, {.type = "run.started", .data = SPAN("\"{}\"")}, "bad_event"},
        {run, {.type = "step.started", .call = "c-1"}, "bad_event"},
        {run, {.type = "step.started", .step = "a\"b"}, "bad_event"},
        {run, {.type = "step.started", .step = ""}, "bad_event"},
        {run, {.type = "step.started", .task = run_b}, "bad_event"},
        {call, {.type = "tool.succeeded", .call = call_a}, "denied"},
        {call, {.type = "tool.succeeded", .run = run_a}, "denied"},
        {call, {.type = "tool.started"}, "denied"},
        {gateway, {.type = "run.completed", .run = run_a}, "denied"},
        {runs, {.type = "process.started", .run = "r-1"}, "bad_event"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct msg_append event = cases[i].event;
        event.ref = (int64_t)i + 1;
        event.barrier = true;
        event.data = event.data.p ? event.data : SPAN("{}");
        peer_put(cases[i].fd, MSG_APPEND, &event);
        get_refused(cases[i].fd, event.ref, cases[i].error);
    }
    assert_int_equal(append_durable(run, 99, "run.accepted"), 1); /* nothing of all that remains */
    (void)close(run);
    (void)close(call);
    (void)close(runs);
    (void)close(toolcalls);
    (void)close(gateway);
}

/* What is wrong with one link ends that link and nothing else. */
static void hostile_frames(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), good = run_peer(runs, run_a);
    static const struct {
        const char *text;
        uint32_t said; /* length that the frame says it has; 0 = the text's */
    } cases[] = {
        {"", 0},
        {"{}", UINT32_MAX},
        {"{}", FRAME_MAX + 1},
        {"{]", 0},
        {"[]", 0},
        {"{\"msg\":\"nope\"}", 0},
        {"{\"msg\":\"ready\"}", 0},
        {"{\"msg\":\"head\",\"ref\":1,\"ref\":2}", 0},
        {"{\"msg\":\"head\",\"ref\":1,\"more\":2}", 0},
        {"{\"msg\":\"append\",\"type\":\"run.started\",\"data\":{\"\xff\":1}}", 0},
        {"{\"msg\":\"open_runs\",\"ref\":1}", 0}, /* not a run's to ask */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[ID_SIZE], frame[128];
        uint32_t be = htonl(cases[i].said ? cases[i].said : (uint32_t)strlen(cases[i].text));
        id_make('r', id);
        int bad = run_peer(runs, id);
        memcpy(frame, &be, sizeof be);
        memcpy(frame + sizeof be, cases[i].text, strlen(cases[i].text));
        peer_put_bytes(bad, frame, sizeof be + strlen(cases[i].text), NULL, 0);
        peer_end(bad);
        (void)close(bad);
    }
    int thief = run_peer(runs, run_b), theirs, ours = peer_pair(CHAN_STREAM, &theirs);
    peer_put_fds(thief, MSG_INTRODUCE, &(struct msg_introduce){.role = "root"}, &theirs, 1);
    peer_end(thief);
    (void)close(theirs);
    peer_end(ours);
    (void)append_durable(good, 1, "run.accepted");
    (void)append_durable(runs, 1, "process.started");
    (void)close(ours);
    (void)close(thief);
    (void)close(good);
    (void)close(runs);
}

/* A worker whose identity cannot be one loses its link; a supervisor that introduces what it may not loses its own. */
static void introductions(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), actors = peer(l, "actors");
    const struct {
        int by;
        struct msg_introduce m;
    } nobody[] = {
        {runs, {.role = "run"}},
        {runs, {.role = "run", .run = "r-1"}},
        {runs, {.role = "run", .run = run_a, .actor = "a b"}},
        {actors, {.role = "session"}},
        {actors, {.role = "actor", .actor = "\""}},
    };
    for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
        int fd = introduce_from(nobody[i].by, nobody[i].m);
        peer_end(fd);
        (void)close(fd);
    }
    (void)append_durable(runs, 1, "process.started");
    int gateway = introduce_from(actors, (struct msg_introduce){.role = "gateway"});
    peer_end(actors);
    peer_end(gateway);
    int root = introduce_from(runs, (struct msg_introduce){.role = "root"});
    peer_end(runs);
    peer_end(root);
    (void)append_durable(l->control, 1, "system.ready");
    (void)close(gateway);
    (void)close(root);
    (void)close(actors);
    (void)close(runs);
}

/* ---- one owner per run ---- */

static void run_in_use(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), owner = run_peer(runs, run_a);
    (void)append_durable(owner, 1, "run.accepted");
    int second = run_peer(runs, run_a);
    for (int ref = 1; ref < 3; ref++) {
        append(second, ref, ref == 1 ? "run.accepted" : "run.started", true);
        get_refused(second, ref, "run_in_use");
    }
    (void)append_durable(owner, 2, "run.started");
    int other = run_peer(runs, run_b); /* other ids are free */
    (void)append_durable(other, 1, "run.accepted");
    (void)close(other);
    (void)close(second);
    (void)close(owner);
    (void)close(runs);
}

/* The dead owner's frames come first, whether the log sees them or the introduction of the successor first. */
static void freed_by_death(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), gateway = peer(l, "gateway");
    for (int introduced_first = 0; introduced_first < 2; introduced_first++) {
        char run[ID_SIZE];
        id_make('r', run);
        int owner = run_peer(runs, run), successor = -1;
        (void)append_durable(owner, 1, "run.accepted");
        logd_hold(l);
        if (introduced_first)
            successor = run_peer(runs, run);
        append(owner, 0, "run.started", false);
        append(owner, 0, "step.started", false);
        (void)close(owner);
        if (!introduced_first)
            successor = run_peer(runs, run);
        append(successor, 1, "run.failed", true);
        logd_go(l);
        (void)get_accepted(successor, 1);
        int64_t seq = get_durable(successor, 1);
        struct msg_page page = ask(gateway, (struct msg_query){.by = "run", .key = run});
        assert_int_equal(page_count(page), 4);
        assert_int_equal(page.next, seq); /* the last of them is the successor's */
        (void)close(successor);
    }
    (void)close(gateway);
    (void)close(runs);
}

static void ids_are_never_reused(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), run = run_peer(runs, run_a);
    (void)append_durable(run, 1, "run.accepted");
    append(run, 2, "run.accepted", true);
    get_refused(run, 2, "run_in_use");
    (void)close(run);
    run = run_peer(runs, run_a); /* a successor goes on, but may not begin again */
    append(run, 1, "run.accepted", true);
    get_refused(run, 1, "run_in_use");
    (void)append_durable(run, 2, "run.failed");
    append(run, 3, "run.started", true);
    get_refused(run, 3, "bad_event");
    (void)close(run);
    run = run_peer(runs, run_a); /* now the log knows it from the disk */
    append(run, 1, "run.accepted", true);
    get_refused(run, 1, "run_in_use");
    append(run, 2, "step.started", true);
    get_refused(run, 2, "bad_event");
    (void)close(run);
    (void)close(runs);
}

#define T(name) cmocka_unit_test_setup_teardown(name, logd_setup, logd_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(accepted_then_durable),
        T(one_commit_for_all),
        T(relaxed_reaches_the_disk),
        T(stamps_come_from_the_link),
        T(refusals),
        T(hostile_frames),
        T(introductions),
        T(run_in_use),
        T(freed_by_death),
        T(ids_are_never_reused),
    };
    return cmocka_run_group_tests(tests, make_ids, NULL);
}
