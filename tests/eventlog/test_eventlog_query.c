/* Reading the log through its process: pages, prefixes, waiting, who may ask what, and readers that do not read. */
#include "log_fixture.h"

static void fill(struct logd *l, int fd, int n, const char *type) {
    for (int i = 0; i < n; i++)
        append(fd, i == n - 1 ? 9 : 0, type, i == n - 1);
    (void)get_accepted(fd, 9);
    (void)get_durable(fd, 9);
}

static void pages(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    fill(l, runs, 450, "process.started");
    struct msg_page p = ask(gateway, (struct msg_query){.by = "all"});
    assert_int_equal(page_count(p), 200);
    assert_int_equal(p.next, 200);
    assert_true(p.more);
    p = ask(gateway, (struct msg_query){.by = "all", .after = 200, .limit = 1000});
    assert_int_equal(page_count(p), 250);
    assert_int_equal(p.next, 450);
    assert_false(p.more);
    p = ask(gateway, (struct msg_query){.by = "all", .after = 450});
    assert_int_equal(page_count(p), 0);
    assert_int_equal(p.next, 450);
    assert_int_equal(p.events.n, 2);
    p = ask(gateway, (struct msg_query){.by = "all", .tail = 3});
    assert_int_equal(page_count(p), 3);
    assert_int_equal(p.next, 450);
    assert_true(page_has(p, "\"seq\":448,") && !page_has(p, "\"seq\":447,"));
    (void)close(gateway);
    (void)close(runs);
}

/* The largest events there can be come one per page, and a reader that asks for many pages at once and reads none of
 * them gets them all later. */
static void large_and_slow(void **state) {
    struct logd *l = *state;
    enum { N = 14 };
    static char data[786432];
    memset(data, 'x', sizeof data);
    memcpy(data, "{\"x\":\"", 6);
    memcpy(data + sizeof data - 2, "\"}", 2);
    int gateway = peer(l, "gateway"), runs = peer(l, "runs");
    for (int i = 1; i <= N; i++) {
        peer_put(
            runs, MSG_APPEND,
            &(struct msg_append){.ref = i, .type = "process.exited", .data = {data, sizeof data}, .barrier = true});
        (void)get_accepted(runs, i);
        (void)get_durable(runs, i);
    }
    for (int i = 1; i <= N; i++)
        peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = i, .by = "all", .after = i - 1});
    (void)append_durable(runs, 99, "process.started"); /* it lives on meanwhile */
    for (int i = 1; i <= N; i++) {
        struct msg m = *peer_get(gateway, MSG_PAGE);
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
    (void)get_accepted(runs, 1);
    assert_int_equal(page_count(ask(gateway, (struct msg_query){.by = "all"})), 1);
    append(runs, 2, "process.started", false);
    (void)get_accepted(runs, 2);
    peer_put(gateway, MSG_HEAD, &(struct msg_head){.ref = 3, .verify = true});
    struct msg m = *peer_get(gateway, MSG_HEAD_IS);
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
        (void)append_durable(run, 1, "run.accepted");
        (void)close(run);
    }
    struct msg_page p = ask(gateway, (struct msg_query){.by = "run", .key = "r-01ABCE"});
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
        peer_put(gateway, MSG_QUERY, &q);
        get_refused(gateway, q.ref, cases[i].error);
    }
    (void)close(gateway);
    (void)close(runs);
}

static void waiting_queries(void **state) {
    struct logd *l = *state;
    int gateway = peer(l, "gateway"), runs = peer(l, "runs"), a = run_peer(runs, run_a), b = run_peer(runs, run_b);
    struct msg_page p = ask(gateway, (struct msg_query){.by = "all", .after = 5, .wait_ms = 1}); /* nobody comes */
    assert_int_equal(p.events.n, 2);
    assert_int_equal(p.next, 5);
    peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = 1, .by = "run", .key = run_a, .wait_ms = 60000});
    peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = 2, .by = "run", .key = run_b, .wait_ms = 60000});
    peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = 3, .by = "all", .after = 1, .wait_ms = 60000});
    peer_put(gateway, MSG_HEAD, &(struct msg_head){.ref = 4});
    (void)peer_get(gateway, MSG_HEAD_IS); /* all three wait now */
    (void)append_durable(b, 1, "run.accepted");
    assert_int_equal(peer_get(gateway, MSG_PAGE)->page.ref, 2);
    (void)append_durable(a, 1, "run.accepted");
    for (int i = 0; i < 2; i++) {
        struct msg m = *peer_get(gateway, MSG_PAGE);
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
        peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = i, .by = "all", .wait_ms = 60000});
    get_refused(gateway, 257, "too_large");
    (void)close(gateway);
    gateway = peer(l, "gateway");
    peer_put(gateway, MSG_QUERY, &(struct msg_query){.ref = 1, .by = "all", .wait_ms = 60000});
    (void)append_durable(runs, 1, "process.started");
    assert_int_equal(peer_get(gateway, MSG_PAGE)->page.ref, 1);
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
        {run, {.by = "run", .key = run_a}, true},          {run, {.by = "run", .key = run_b}, false},
        {run, {.by = "actor", .key = "s-1"}, false},       {run, {.by = "all"}, false},
        {actor, {.by = "actor", .key = "reviewer"}, true}, {actor, {.by = "actor", .key = "assistant"}, false},
        {actor, {.by = "run", .key = run_a}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct msg_query q = cases[i].q;
        q.ref = 1;
        peer_put(cases[i].fd, MSG_QUERY, &q);
        if (cases[i].allowed)
            assert_int_equal(peer_get(cases[i].fd, MSG_PAGE)->page.events.n, 2);
        else
            get_refused(cases[i].fd, 1, "denied");
    }
    peer_put(run, MSG_HEAD, &(struct msg_head){.ref = 1, .verify = true});
    get_refused(run, 1, "denied");
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
        (void)get_accepted(run, 1);
        if (i % 12 == 0) { /* ten of them are over */
            append(run, 2, "run.completed", false);
            (void)get_accepted(run, 2);
        }
        (void)close(run);
    }
    unsigned pages_n = 0, total = 0;
    for (bool more = true; more; pages_n++) {
        peer_put(runs, MSG_OPEN_RUNS, &(struct msg_open_runs){.ref = 5, .after = last[0] ? last : NULL});
        struct msg m = *peer_get(runs, MSG_OPEN_RUNS_ARE);
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

#define T(name) cmocka_unit_test_setup_teardown(name, logd_setup, logd_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(pages),           T(large_and_slow), T(sees_what_was_accepted), T(prefixes),
        T(waiting_queries), T(too_many_wait),  T(only_ones_own),          T(open_runs),
    };
    return cmocka_run_group_tests(tests, make_ids, NULL);
}
