/* The event log as its peers see it: what it answers, in which order, and what is on disk when it says so. */
#include "log_fixture.h"

#include <sys/resource.h>

static char run_a[ID_SIZE], run_b[ID_SIZE], call_a[ID_SIZE], task_a[ID_SIZE];

static int make_ids(void **state) {
    (void)state;
    id_make('r', run_a);
    id_make('r', run_b);
    id_make('c', call_a);
    id_make('t', task_a);
    return 0;
}

static int run_peer(int runs, const char *run) {
    return introduce_from(runs, (struct msg_introduce){.role = "run", .run = run, .actor = "s-1", .pid = 99});
}

/* One page from the gateway; the message points into l->text. */
static struct msg_page ask(struct logd *l, int gateway, struct msg_query q) {
    q.ref = 77;
    put(gateway, MSG_QUERY, &q);
    struct msg m = get(l, gateway, MSG_PAGE);
    assert_int_equal(m.page.ref, 77);
    return m.page;
}

static bool page_has(struct msg_page page, const char *text) {
    return memmem(page.events.p, page.events.n, text, strlen(text)) != NULL;
}

static unsigned page_count(struct msg_page page) {
    unsigned n = 0;
    for (const char *p = page.events.p, *end = p + page.events.n; (p = memmem(p, (size_t)(end - p), "{\"v\":1,", 7)); p++)
        n++;
    return n;
}

/* ---- replies ---- */

static void accepted_then_durable(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs");
    append(runs, 1, "process.started", true);
    assert_int_equal(get_accepted(l, runs, 1), 1);
    assert_int_equal(get_durable(l, runs, 1), 1);
    append(runs, 2, "process.exited", false); /* relaxed: no durable */
    append(runs, 0, "process.exited", false); /* wants no reply at all */
    append(runs, 4, "process.started", true);
    assert_int_equal(get_accepted(l, runs, 2), 2);
    assert_int_equal(get_accepted(l, runs, 4), 4);
    assert_int_equal(get_durable(l, runs, 4), 4);
    append(l->control, 5, "system.boot", true); /* root speaks on its control link */
    assert_int_equal(get_accepted(l, l->control, 5), 5);
    assert_int_equal(get_durable(l, l->control, 5), 5);
    (void)close(runs);
}

/* Everything that waits while nothing can be committed goes to disk in one transaction. */
static void one_commit(struct logd *l, unsigned n, unsigned relaxed) {
    int links[100];
    assert_true(n <= 100);
    for (unsigned i = 0; i < n; i++) {
        links[i] = peer(l, "runs");
        (void)append_durable(l, links[i], 1, "process.started");
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
            (void)get_accepted(l, links[i], 2);
        int64_t seq = get_accepted(l, links[i], 3);
        assert_int_equal(get_durable(l, links[i], 3), seq);
    }
    assert_int_equal(commits(l), before + 1);
    for (unsigned i = 0; i < n; i++)
        (void)close(links[i]);
}

static void one_commit_for_all(void **state) {
    one_commit(*state, 16, 0);
    one_commit(*state, 1, 50);
    one_commit(*state, 100, 1); /* more links than the loop serves in one turn */
}

/* Nobody sends a barrier; the query waits before, so only a commit of the log's own accord can answer it. */
static void relaxed_reaches_the_disk(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    put(gateway, MSG_QUERY, &(struct msg_query){.ref = 1, .by = "all", .wait_ms = 60000});
    put(gateway, MSG_HEAD, &(struct msg_head){.ref = 2});
    assert_int_equal(get(l, gateway, MSG_HEAD_IS).head_is.seq, 0); /* so the query waits */
    uint64_t before = commits(l);
    append(runs, 1, "process.started", false);
    (void)get_accepted(l, runs, 1);
    struct msg m = get(l, gateway, MSG_PAGE);
    assert_int_equal(m.page.next, 1);
    assert_int_equal(commits(l), before + 1);
    (void)close(gateway);
    (void)close(runs);
}

/* ---- who says what ---- */

static void stamps_come_from_the_link(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), toolcalls = peer(l, "toolcalls");
    int call = introduce_from(toolcalls, (struct msg_introduce){
                                             .role = "toolcall", .run = run_a, .actor = "reviewer", .call = call_a, .pid = 1234});
    put(call, MSG_APPEND,
        &(struct msg_append){.ref = 1, .type = "tool.succeeded", .step = "read", .task = task_a, .corr = "x-1",
                             .barrier = true, .data = SPAN("{ \"output\" : 1}")});
    (void)get_accepted(l, call, 1);
    (void)get_durable(l, call, 1);
    char wanted[512];
    (void)snprintf(wanted, sizeof wanted,
                   "\"type\":\"tool.succeeded\",\"actor\":\"reviewer\",\"task\":\"%s\",\"run\":\"%s\",\"step\":\"read\","
                   "\"call\":\"%s\",\"corr\":\"x-1\",\"pid\":1234,\"data\":{ \"output\" : 1}}",
                   task_a, run_a, call_a);
    struct msg_page page = ask(l, gateway, (struct msg_query){.by = "run", .key = run_a});
    assert_true(page_has(page, wanted));
    assert_int_equal(page.events.p[0], '[');
    for (const char *const *by = (const char *const[]){"actor", "reviewer", "task", task_a, "corr", "x-1", NULL}; *by; by += 2)
        assert_int_equal(page_count(ask(l, gateway, (struct msg_query){.by = by[0], .key = by[1]})), 1);
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
        put(cases[i].fd, MSG_APPEND, &event);
        get_refused(l, cases[i].fd, event.ref, cases[i].error);
    }
    assert_int_equal(append_durable(l, run, 99, "run.accepted"), 1); /* nothing of all that remains */
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
        assert_int_equal(put_bytes(bad, frame, sizeof be + strlen(cases[i].text), NULL, 0), 0);
        get_end(bad);
        (void)close(bad);
    }
    int thief = run_peer(runs, run_b), ends[2];
    pair(ends);
    put_fds(thief, MSG_INTRODUCE, &(struct msg_introduce){.role = "root"}, &ends[1], 1);
    get_end(thief);
    (void)close(ends[1]);
    get_end(ends[0]);
    (void)append_durable(l, good, 1, "run.accepted");
    (void)append_durable(l, runs, 1, "process.started");
    (void)close(ends[0]);
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
        get_end(fd);
        (void)close(fd);
    }
    (void)append_durable(l, runs, 1, "process.started");
    int gateway = introduce_from(actors, (struct msg_introduce){.role = "gateway"});
    get_end(actors);
    get_end(gateway);
    int root = introduce_from(runs, (struct msg_introduce){.role = "root"});
    get_end(runs);
    get_end(root);
    (void)append_durable(l, l->control, 1, "system.ready");
    (void)close(gateway);
    (void)close(root);
    (void)close(actors);
    (void)close(runs);
}

/* ---- one owner per run ---- */

static void run_in_use(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), owner = run_peer(runs, run_a);
    (void)append_durable(l, owner, 1, "run.accepted");
    int second = run_peer(runs, run_a);
    for (int ref = 1; ref < 3; ref++) {
        append(second, ref, ref == 1 ? "run.accepted" : "run.started", true);
        get_refused(l, second, ref, "run_in_use");
    }
    (void)append_durable(l, owner, 2, "run.started");
    int other = run_peer(runs, run_b); /* other ids are free */
    (void)append_durable(l, other, 1, "run.accepted");
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
        (void)append_durable(l, owner, 1, "run.accepted");
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
        (void)get_accepted(l, successor, 1);
        int64_t seq = get_durable(l, successor, 1);
        struct msg_page page = ask(l, gateway, (struct msg_query){.by = "run", .key = run});
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
    (void)append_durable(l, run, 1, "run.accepted");
    append(run, 2, "run.accepted", true);
    get_refused(l, run, 2, "run_in_use");
    (void)close(run);
    run = run_peer(runs, run_a); /* a successor goes on, but may not begin again */
    append(run, 1, "run.accepted", true);
    get_refused(l, run, 1, "run_in_use");
    (void)append_durable(l, run, 2, "run.failed");
    append(run, 3, "run.started", true);
    get_refused(l, run, 3, "bad_event");
    (void)close(run);
    run = run_peer(runs, run_a); /* now the log knows it from the disk */
    append(run, 1, "run.accepted", true);
    get_refused(l, run, 1, "run_in_use");
    append(run, 2, "step.started", true);
    get_refused(l, run, 2, "bad_event");
    (void)close(run);
    (void)close(runs);
}

/* ---- queries ---- */

static void fill(struct logd *l, int fd, int n, const char *type) {
    for (int i = 0; i < n; i++)
        append(fd, i == n - 1 ? 9 : 0, type, i == n - 1);
    (void)get_accepted(l, fd, 9);
    (void)get_durable(l, fd, 9);
}

static void pages(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    fill(l, runs, 450, "process.started");
    struct msg_page p = ask(l, gateway, (struct msg_query){.by = "all"});
    assert_int_equal(page_count(p), 200);
    assert_int_equal(p.next, 200);
    assert_true(p.more);
    p = ask(l, gateway, (struct msg_query){.by = "all", .after = 200, .limit = 1000});
    assert_int_equal(page_count(p), 250);
    assert_int_equal(p.next, 450);
    assert_false(p.more);
    p = ask(l, gateway, (struct msg_query){.by = "all", .after = 450});
    assert_int_equal(page_count(p), 0);
    assert_int_equal(p.next, 450);
    assert_int_equal(p.events.n, 2);
    p = ask(l, gateway, (struct msg_query){.by = "all", .tail = 3});
    assert_int_equal(page_count(p), 3);
    assert_int_equal(p.next, 450);
    assert_true(page_has(p, "\"seq\":448,") && !page_has(p, "\"seq\":447,"));
    (void)close(gateway);
    (void)close(runs);
}

/* The largest events there can be come one per page, and a reader that asks for many pages at once and reads none of them
 * gets them all later. */
static void large_and_slow(void **state) {
    struct logd *l = *state;
    enum { N = 14 };
    static char data[786432];
    memset(data, 'x', sizeof data);
    memcpy(data, "{\"x\":\"", 6);
    memcpy(data + sizeof data - 2, "\"}", 2);
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    for (int i = 1; i <= N; i++) {
        put(runs, MSG_APPEND,
            &(struct msg_append){.ref = i, .type = "process.exited", .data = {data, sizeof data}, .barrier = true});
        (void)get_accepted(l, runs, i);
        (void)get_durable(l, runs, i);
    }
    for (int i = 1; i <= N; i++)
        put(gateway, MSG_QUERY, &(struct msg_query){.ref = i, .by = "all", .after = i - 1});
    (void)append_durable(l, runs, 99, "process.started"); /* it lives on meanwhile */
    for (int i = 1; i <= N; i++) {
        struct msg m = get(l, gateway, MSG_PAGE);
        assert_int_equal(m.page.next, m.page.ref == N ? N + 1 : m.page.ref);
        assert_true(m.page.events.n > sizeof data);
    }
    (void)close(gateway);
    (void)close(runs);
}

static void sees_what_was_accepted(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    append(runs, 1, "process.started", false);
    (void)get_accepted(l, runs, 1);
    assert_int_equal(page_count(ask(l, gateway, (struct msg_query){.by = "all"})), 1);
    append(runs, 2, "process.started", false);
    (void)get_accepted(l, runs, 2);
    put(gateway, MSG_HEAD, &(struct msg_head){.ref = 3, .verify = true});
    struct msg m = get(l, gateway, MSG_HEAD_IS);
    assert_int_equal(m.head_is.seq, 2);
    assert_int_equal(strspn(m.head_is.hash, "0123456789abcdef"), 64);
    (void)close(gateway);
    (void)close(runs);
}

static void prefixes(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    static const char *const ids[] = {"r-01ABCD00000000000000000001", "r-01ABCE00000000000000000001"};
    for (size_t i = 0; i < 2; i++) {
        int run = run_peer(runs, ids[i]);
        (void)append_durable(l, run, 1, "run.accepted");
        (void)close(run);
    }
    struct msg_page p = ask(l, gateway, (struct msg_query){.by = "run", .key = "r-01ABCE"});
    assert_string_equal(p.key, ids[1]);
    assert_int_equal(page_count(p), 1);
    static const struct {
        struct msg_query q;
        const char *error;
    } cases[] = {
        {{.by = "run", .key = "r-01AB"}, "ambiguous"},
        {{.by = "run", .key = "r-01ZZ"}, "not_found"},
        {{.by = "run", .key = "x"}, "not_found"},
        {{.by = "run", .key = "r-01ABCF00000000000000000001"}, "not_found"},
        {{.by = "run"}, "bad_event"},
        {{.by = "pid", .key = "1"}, "bad_event"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct msg_query q = cases[i].q;
        q.ref = (int64_t)i + 1;
        put(gateway, MSG_QUERY, &q);
        get_refused(l, gateway, q.ref, cases[i].error);
    }
    (void)close(gateway);
    (void)close(runs);
}

static void waiting_queries(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs"), a = run_peer(runs, run_a), b = run_peer(runs, run_b);
    struct msg_page p = ask(l, gateway, (struct msg_query){.by = "all", .after = 5, .wait_ms = 1}); /* nobody comes */
    assert_int_equal(p.events.n, 2);
    assert_int_equal(p.next, 5);
    put(gateway, MSG_QUERY, &(struct msg_query){.ref = 1, .by = "run", .key = run_a, .wait_ms = 60000});
    put(gateway, MSG_QUERY, &(struct msg_query){.ref = 2, .by = "run", .key = run_b, .wait_ms = 60000});
    put(gateway, MSG_QUERY, &(struct msg_query){.ref = 3, .by = "all", .after = 1, .wait_ms = 60000});
    put(gateway, MSG_HEAD, &(struct msg_head){.ref = 4});
    (void)get(l, gateway, MSG_HEAD_IS); /* all three wait now */
    (void)append_durable(l, b, 1, "run.accepted");
    assert_int_equal(get(l, gateway, MSG_PAGE).page.ref, 2);
    (void)append_durable(l, a, 1, "run.accepted");
    for (int i = 0; i < 2; i++) {
        struct msg m = get(l, gateway, MSG_PAGE);
        assert_int_equal(m.page.ref, i ? 3 : 1);
        assert_int_equal(page_count(m.page), 1);
    }
    (void)close(a);
    (void)close(b);
    (void)close(gateway);
    (void)close(runs);
}

/* As many may wait as the limit says; one more is refused by name. A link that ends takes its waiting queries along. */
static void too_many_wait(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    for (int i = 1; i <= 257; i++)
        put(gateway, MSG_QUERY, &(struct msg_query){.ref = i, .by = "all", .wait_ms = 60000});
    get_refused(l, gateway, 257, "too_large");
    (void)close(gateway);
    gateway = peer(l, "gateway");
    put(gateway, MSG_QUERY, &(struct msg_query){.ref = 1, .by = "all", .wait_ms = 60000});
    (void)append_durable(l, runs, 1, "process.started");
    assert_int_equal(get(l, gateway, MSG_PAGE).page.ref, 1);
    (void)close(gateway);
    (void)close(runs);
}

static void only_ones_own(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), actors = peer(l, "actors"), run = run_peer(runs, run_a);
    int actor = introduce_from(actors, (struct msg_introduce){.role = "actor", .actor = "reviewer"});
    const struct {
        int fd;
        struct msg_query q;
        bool allowed;
    } cases[] = {
        {run, {.by = "run", .key = run_a}, true},       {run, {.by = "run", .key = run_b}, false},
        {run, {.by = "actor", .key = "s-1"}, false},    {run, {.by = "all"}, false},
        {actor, {.by = "actor", .key = "reviewer"}, true}, {actor, {.by = "actor", .key = "assistant"}, false},
        {actor, {.by = "run", .key = run_a}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct msg_query q = cases[i].q;
        q.ref = 1;
        put(cases[i].fd, MSG_QUERY, &q);
        if (cases[i].allowed)
            assert_int_equal(get(l, cases[i].fd, MSG_PAGE).page.events.n, 2);
        else
            get_refused(l, cases[i].fd, 1, "denied");
    }
    put(run, MSG_HEAD, &(struct msg_head){.ref = 1, .verify = true});
    get_refused(l, run, 1, "denied");
    (void)close(run);
    (void)close(actor);
    (void)close(runs);
    (void)close(actors);
}

static void open_runs(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs");
    char last[ID_SIZE] = "";
    for (int i = 0; i < 120; i++) {
        char id[ID_SIZE];
        id_make('r', id);
        int run = run_peer(runs, id);
        append(run, 1, "run.accepted", false);
        (void)get_accepted(l, run, 1);
        if (i % 12 == 0) { /* ten of them are over */
            append(run, 2, "run.completed", false);
            (void)get_accepted(l, run, 2);
        }
        (void)close(run);
    }
    unsigned pages_n = 0, total = 0;
    for (bool more = true; more; pages_n++) {
        put(runs, MSG_OPEN_RUNS, &(struct msg_open_runs){.ref = 5, .after = last[0] ? last : NULL});
        struct msg m = get(l, runs, MSG_OPEN_RUNS_ARE);
        more = m.open_runs_are.more;
        const char *p = m.open_runs_are.runs.p, *end = p + m.open_runs_are.runs.n;
        for (; (p = memmem(p, (size_t)(end - p), "\"r-", 3)); p += ID_LEN, total++) {
            assert_true(strncmp(last, p + 1, ID_LEN) < 0);
            (void)snprintf(last, sizeof last, "%.*s", (int)ID_LEN, p + 1);
        }
    }
    assert_int_equal(pages_n, 2);
    assert_int_equal(total, 110);
    (void)close(runs);
}

/* ---- the end, and failures ---- */

static void term_takes_everything(void **state) {
    struct logd *l = *state;
    enum { LINKS = 3, EVENTS = 20 };
    int links[LINKS + 1];
    for (int i = 0; i < LINKS; i++)
        links[i] = peer(l, "runs");
    (void)append_durable(l, links[0], 1, "process.started");
    logd_hold(l);
    for (int i = 0; i < LINKS; i++)
        for (int k = 1; k <= EVENTS; k++)
            append(links[i], k, "process.started", k == EVENTS);
    links[LINKS] = run_peer(links[0], run_a); /* and a link that it has not even met */
    append(links[LINKS], 1, "run.accepted", true);
    assert_int_equal(kill(l->pid, SIGTERM), 0);
    logd_go(l);
    int status = logd_wait(l);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (int i = 0; i < LINKS; i++) {
        for (int k = 1; k <= EVENTS; k++)
            (void)get_accepted(l, links[i], k);
        (void)get_durable(l, links[i], EVENTS);
    }
    (void)get_accepted(l, links[LINKS], 1);
    (void)get_durable(l, links[LINKS], 1);
    for (int i = 0; i <= LINKS; i++)
        (void)close(links[i]);
    struct store *store = NULL;
    uint64_t bad;
    assert_int_equal(store_open(l->dir.fd, false, &store), 0);
    assert_int_equal(store_durable(store).seq, 1 + LINKS * EVENTS + 1);
    assert_int_equal(store_verify(store, &bad), 0);
    store_close(store);
}

static void root_gone(void **state) {
    struct logd *l = *state;
    l->control = fd_close(l->control);
    int status = logd_wait(l);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

struct told {
    uint64_t seq[2048]; /* by n of the event; 0 = never told durable */
    unsigned wrong;
};

static int check_told(void *arg, uint64_t seq, const char *record, size_t n) {
    struct told *told = arg;
    static const char mark[] = "\"data\":{\"n\":";
    const char *at = memmem(record, n, mark, sizeof mark - 1);
    unsigned long i = at ? strtoul(at + sizeof mark - 1, NULL, 10) : 0;
    if (i >= sizeof told->seq / sizeof *told->seq)
        told->wrong++;
    else if (told->seq[i] == seq)
        told->seq[i] = 0; /* found */
    else if (told->seq[i])
        told->wrong++;
    return 0;
}

/* Reads replies of one link until it has heard `durable` so often. */
static void hear(struct logd *l, int fd, struct told *told, unsigned times) {
    while (times > 0) {
        uint32_t be;
        struct msg m;
        assert_true(take(fd, &be, sizeof be));
        assert_true(ntohl(be) <= FRAME_MAX && take(fd, l->text, ntohl(be)));
        assert_int_equal(msg_decode(l->text, ntohl(be), &m), 0);
        if (m.type == MSG_DURABLE) {
            told->seq[m.durable.ref] = (uint64_t)m.durable.seq;
            times--;
        }
    }
}

/* Everything whose `durable` was heard is there, under its number, wherever between two commits the kill struck. */
static void killed(void **state) {
    struct logd *l = *state;
    static struct told told;
    int64_t n = 0;
    for (unsigned round = 0; round < 10; round++) {
        int runs = peer(l, "runs");
        memset(&told, 0, sizeof told);
        for (unsigned k = 0; k < 100; k++) {
            char data[32];
            (void)snprintf(data, sizeof data, "{\"n\":%lld}", (long long)++n);
            put(runs, MSG_APPEND,
                &(struct msg_append){.ref = n, .type = "process.started", .barrier = true, .data = SPAN(data)});
        }
        hear(l, runs, &told, 1 + 9 * round);
        assert_int_equal(kill(l->pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(logd_wait(l)));
        (void)close(runs);
        l->control = fd_close(l->control);
        struct store *store = NULL;
        bool more;
        uint64_t bad;
        assert_int_equal(store_open(l->dir.fd, false, &store), 0);
        assert_int_equal(store_verify(store, &bad), 0);
        assert_int_equal(store_query(store, STORE_ALL, NULL, 0, SIZE_MAX, SIZE_MAX, check_told, &told, &more), 0);
        store_close(store);
        assert_int_equal(told.wrong, 0);
        for (size_t i = 0; i < sizeof told.seq / sizeof *told.seq; i++)
            assert_int_equal(told.seq[i], 0);
        logd_start(l);
    }
}

static void limit_files(const struct logd *l, rlim_t bytes) {
    struct rlimit lim = {bytes, RLIM_INFINITY};
    assert_int_equal(prlimit(l->pid, RLIMIT_FSIZE, &lim, NULL), 0);
}

/* A commit that cannot be written: what was accepted is refused, reads go on, and so do appends when there is room. */
static void failed_commit(void **state) {
    struct logd *l = *state;
    int runs = peer(l, "runs"), gateway = peer(l, "gateway"), run = run_peer(runs, run_a);
    (void)append_durable(l, run, 1, "run.accepted");
    limit_files(l, 8192);
    append(run, 2, "run.completed", true);
    (void)get_accepted(l, run, 2);
    get_refused(l, run, 2, "io"); /* EFBIG; a full disk would be log_full */
    append(runs, 3, "process.started", false);
    (void)get_accepted(l, runs, 3);
    get_refused(l, runs, 3, "io"); /* a relaxed one hears of it, too */
    assert_int_equal(page_count(ask(l, gateway, (struct msg_query){.by = "run", .key = run_a})), 1);
    limit_files(l, RLIM_INFINITY);
    assert_int_equal(append_durable(l, run, 4, "run.failed"), 2); /* the run had not ended after all */
    (void)close(run);
    (void)close(gateway);
    (void)close(runs);
}

static void cannot_start(void **state) {
    struct logd *l = *state;
    logd_end(l);
    auto_close int file = openat(l->dir.fd, STORE_FILE, O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(file, 5000), 0);
    int ends[2];
    struct spec spec;
    spec_defaults(&spec);
    pair(ends);
    (void)fflush(NULL);
    l->pid = fork();
    if (l->pid == 0)
        logd_become(ends[1]);
    (void)close(ends[1]);
    auto_close int sealed = spec_seal(&spec);
    put_fds(ends[0], MSG_BEGIN, &(struct msg_begin){.generation = 1}, (int[]){sealed, l->dir.fd}, 2);
    get_end(ends[0]);
    (void)close(ends[0]);
    int status = logd_wait(l);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
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
        T(pages),
        T(large_and_slow),
        T(sees_what_was_accepted),
        T(prefixes),
        T(waiting_queries),
        T(too_many_wait),
        T(only_ones_own),
        T(open_runs),
        T(term_takes_everything),
        T(root_gone),
        T(killed),
        T(failed_commit),
        T(cannot_start),
    };
    return cmocka_run_group_tests(tests, make_ids, NULL);
}
