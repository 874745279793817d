/* The store when nothing goes wrong: what was appended and committed is there, in order, by every index, also after
 * reopening; and every stated bound is kept. */
#include "store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct dir dir;

static int setup(void **state) {
    *state = NULL;
    return dir_make(&dir) == 0 && store_open(dir.fd, true, (struct store **)state) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    store_close(*state);
    dir_remove(&dir);
    return 0;
}

static void reopen(void **state, bool writable) {
    store_close(*state);
    *state = NULL;
    int r = store_open(dir.fd, writable, (struct store **)state);
    if (r < 0)
        fail_msg("reopen: %d %s", r, err_text());
}

static void assert_whole(struct store *s, uint64_t last) {
    uint64_t bad = 0;
    int r = store_verify(s, &bad);
    if (r < 0)
        fail_msg("verify: %llu: %s", (unsigned long long)bad, err_text());
    assert_int_equal(store_durable(s).seq, last);
}

static void empty(void **state) {
    struct store *s = *state;
    struct seen seen = {0};
    bool more = true;
    assert_int_equal(store_durable(s).seq, 0);
    assert_int_equal(strspn(store_durable(s).hash, "0"), 64);
    assert_int_equal(store_pending(s), 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_query(s, STORE_ALL, NULL, 0, 10, 1000, see, &seen, &more), 0);
    assert_false(more);
    assert_int_equal(store_tail(s, STORE_ALL, NULL, 10, 1000, see, &seen), 0);
    assert_int_equal(store_tail(s, STORE_BY_RUN, "r-1", 10, 1000, see, &seen), 0);
    assert_int_equal(seen.n, 0);
    assert_whole(s, 0);
}

static void file_is_private(void **state) {
    struct stat st;
    assert_int_equal(fstatat(dir.fd, STORE_FILE, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(faccessat(dir.fd, STORE_FILE "-lock", F_OK, 0), -1);
    assert_int_equal(faccessat(dir.fd, "events.new", F_OK, 0), -1);
}

static void accepted_is_not_durable(void **state) {
    struct store *s = *state;
    struct seen seen = {0};
    bool more;
    for (int i = 0; i < 3; i++)
        assert_int_equal(add(s, "x", NULL), 0);
    assert_int_equal(store_pending(s), 3);
    assert_int_equal(store_last_seq(s), 3);
    assert_int_equal(store_durable(s).seq, 0);
    assert_int_equal(store_query(s, STORE_ALL, NULL, 0, 10, 1000, see, &seen, &more), 0);
    assert_int_equal(seen.n, 0);
    reopen(state, true); /* what was only accepted is gone, and its numbers are free */
    assert_int_equal(store_last_seq(*state), 0);
}

struct copy {
    char text[4096];
    size_t n;
};

static int copy_record(void *arg, uint64_t seq, const char *record, size_t n) {
    struct copy *c = arg;
    c->n = n;
    memcpy(c->text, record, n < sizeof c->text ? n : sizeof c->text);
    return (int)seq; /* ends the query, which returns it */
}

static void record_is_stored_as_sent(void **state) {
    struct store *s = *state;
    static const char data[] = "{ \"odd\" :  [1 ,2], \"u\":\"\\u0041\" }";
    struct copy c = {0};
    bool more = true;
    assert_int_equal(add_data(s, "tool.started", "r-1", data, sizeof data - 1), 0);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_query(s, STORE_ALL, NULL, 0, 10, 4096, copy_record, &c, &more), 1);
    assert_true(more); /* untouched */
    assert_memory_equal(c.text + c.n - sizeof data, data, sizeof data - 1);
    assert_int_equal(c.text[c.n - 1], '}');
}

static void chain_goes_on_across_reopen(void **state) {
    struct store_head before, after;
    for (uint64_t round = 1; round <= 4; round++) {
        assert_int_equal(add(*state, "x", "r-1"), 0);
        assert_int_equal(add(*state, "y", "r-2"), 0);
        assert_int_equal(store_commit(*state), 0);
        before = store_durable(*state);
        reopen(state, round % 2);
        after = store_durable(*state);
        assert_int_equal(after.seq, 2 * round);
        assert_string_equal(after.hash, before.hash);
        reopen(state, true);
    }
    assert_whole(*state, 8);
}

static void read_only(void **state) {
    assert_int_equal(add(*state, "x", "r-1"), 0);
    assert_int_equal(store_commit(*state), 0);
    reopen(state, false);
    assert_int_equal(add(*state, "x", "r-1"), -EROFS);
    assert_int_equal(store_commit(*state), 0);
    assert_whole(*state, 1);
}

static void read_only_makes_nothing(void **state) {
    struct dir other;
    struct store *s = NULL;
    assert_int_equal(dir_make(&other), 0);
    assert_int_equal(store_open(other.fd, false, &s), -ENOENT);
    assert_null(s);
    assert_int_equal(faccessat(other.fd, STORE_FILE, F_OK, 0), -1);
    dir_remove(&other);
}

/* Four indexes, and values of which one is the beginning of another. */
static void fill_indexes(struct store *s, unsigned n) {
    static const char *const run[] = {"r-1", "r-10", "r-", NULL};
    static const char *const actor[] = {"a", "ab", NULL};
    for (unsigned i = 0; i < n; i++) {
        struct store_event e = {.type = "x",
                                .run = run[i % 4],
                                .actor = actor[i % 3],
                                .task = i % 5 ? NULL : "t-1",
                                .corr = "r-1",
                                .data = "{}",
                                .data_n = 2};
        uint64_t seq;
        assert_int_equal(store_append(s, &e, &seq), 0);
        assert_int_equal(seq, i + 1);
        if (i % 7 == 6)
            assert_int_equal(store_commit(s), 0);
    }
    assert_int_equal(store_commit(s), 0);
}

static void indexes(void **state) {
    static const struct {
        enum store_index index;
        const char *key;
        unsigned every, first; /* the records wanted: first, first + every, … */
    } cases[] = {
        {STORE_ALL, NULL, 1, 1},         {STORE_BY_RUN, "r-1", 4, 1},  {STORE_BY_RUN, "r-10", 4, 2},
        {STORE_BY_RUN, "r-", 4, 3},      {STORE_BY_ACTOR, "a", 3, 1},  {STORE_BY_ACTOR, "ab", 3, 2},
        {STORE_BY_TASK, "t-1", 5, 1},    {STORE_BY_CORR, "r-1", 1, 1}, {STORE_BY_CORR, "r-", 1, 9999},
        {STORE_BY_TASK, "r-1", 1, 9999}, {STORE_BY_RUN, "r", 1, 9999}, {STORE_BY_RUN, "zz", 1, 9999},
    };
    enum { N = 600 };
    fill_indexes(*state, N);
    assert_whole(*state, N);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen all = {0}, tail = {0};
        uint64_t after = 0;
        bool more = true;
        while (more) { /* pages of 7 */
            size_t n = all.n;
            assert_int_equal(store_query(*state, cases[i].index, cases[i].key, after, 7, 1 << 20, see, &all, &more), 0);
            assert_true(all.n - n == 7 || !more);
            after = all.n ? all.seq[all.n - 1] : 0;
        }
        size_t want = cases[i].first > N ? 0 : (N - cases[i].first) / cases[i].every + 1;
        assert_int_equal(all.n, want);
        for (size_t k = 0; k < want; k++)
            assert_int_equal(all.seq[k], cases[i].first + k * cases[i].every);
        assert_int_equal(store_tail(*state, cases[i].index, cases[i].key, 5, 1 << 20, see, &tail), 0);
        assert_int_equal(tail.n, want < 5 ? want : 5);
        for (size_t k = 0; k < tail.n; k++)
            assert_int_equal(tail.seq[k], all.seq[want - tail.n + k]);
    }
}

static void query_bounds(void **state) {
    static const struct {
        const char *name;
        uint64_t after;
        size_t limit, records; /* max_bytes is this many records' bytes, and half a record */
        size_t n;
        bool more;
    } cases[] = {
        {"all", 0, 100, 100, 10, false},
        {"limit", 0, 3, 100, 3, true},
        {"limit is all", 0, 10, 100, 10, false},
        {"bytes", 0, 100, 4, 4, true},
        {"bytes for none: one", 0, 100, 0, 1, true},
        {"bytes for none, the last", 9, 100, 0, 1, false},
        {"nothing asked", 0, 0, 100, 0, true},
        {"after the last", 10, 5, 100, 0, false},
        {"after everything", UINT64_MAX, 5, 100, 0, false},
        {"nothing asked, nothing left", 10, 0, 0, 0, false},
    };
    struct seen one = {0};
    bool more;
    for (int i = 0; i < 10; i++)
        assert_int_equal(add(*state, "x", "r-1"), 0);
    assert_int_equal(store_commit(*state), 0);
    assert_int_equal(store_query(*state, STORE_ALL, NULL, 0, 1, 4096, see, &one, &more), 0);
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        size_t c = i / 2;
        struct seen seen = {0};
        size_t bytes = cases[c].records * one.bytes + one.bytes / 2;
        int r = store_query(*state, i % 2 ? STORE_BY_RUN : STORE_ALL, "r-1", cases[c].after, cases[c].limit, bytes, see,
                            &seen, &more);
        if (r != 0 || seen.n != cases[c].n || more != cases[c].more)
            fail_msg("%s: %d, %zu records, more %d", cases[c].name, r, seen.n, more);
    }
    static const size_t tails[][3] = {{3, 100, 3}, {100, 100, 10}, {0, 100, 0}, {100, 4, 4}, {100, 0, 1}, {1, 0, 1}};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        struct seen seen = {0};
        size_t bytes = tails[i][1] * (one.bytes + 1) + one.bytes / 2;
        assert_int_equal(store_tail(*state, STORE_BY_RUN, "r-1", tails[i][0], bytes, see, &seen), 0);
        assert_int_equal(seen.n, tails[i][2]);
        assert_true(seen.n == 0 || seen.seq[seen.n - 1] == 10);
    }
}

static void keys_refused(void **state) {
    char key[STORE_KEY_MAX + 2];
    struct seen seen = {0};
    bool more;
    memset(key, 'k', sizeof key);
    key[STORE_KEY_MAX + 1] = '\0';
    assert_int_equal(store_query(*state, STORE_BY_RUN, key, 0, 1, 1, see, &seen, &more), -EINVAL);
    assert_int_equal(store_query(*state, STORE_BY_RUN, "", 0, 1, 1, see, &seen, &more), -EINVAL);
    assert_int_equal(store_tail(*state, STORE_BY_TASK, NULL, 1, 1, see, &seen), -EINVAL);
    assert_int_equal(add(*state, "x", key), -EINVAL);
    key[STORE_KEY_MAX] = '\0';
    assert_int_equal(add(*state, "x", key), 0);
    assert_int_equal(store_commit(*state), 0);
    assert_int_equal(store_query(*state, STORE_BY_RUN, key, 0, 1, 1, see, &seen, &more), 0);
    assert_int_equal(seen.n, 1);
}

static void refused_appends_change_nothing(void **state) {
    struct store *s = *state;
    static char data[STORE_RECORD_MAX];
    memset(data, ' ', sizeof data);
    data[0] = '{';
    data[sizeof data - 1] = '}';
    assert_int_equal(add_data(s, "x", NULL, data, sizeof data), -EMSGSIZE);
    assert_int_equal(add(s, "x\n", NULL), -EINVAL);
    assert_int_equal(add(s, "run.accepted", NULL), -EINVAL);
    assert_int_equal(store_pending(s), 0);
    assert_int_equal(store_last_seq(s), 0);
    data[sizeof data - 1001] = '}';
    size_t n = 0;
    int r;
    while ((r = add_data(s, "x", NULL, data, sizeof data - 1000)) == 0)
        n++;
    assert_int_equal(r, -ENOBUFS);
    assert_in_range(n, STORE_PENDING_MAX / STORE_RECORD_MAX - 1, STORE_PENDING_MAX / STORE_RECORD_MAX);
    while ((r = add(s, "x", NULL)) == 0) /* to the last byte */
        n++;
    assert_int_equal(r, -ENOBUFS);
    assert_int_equal(store_pending(s), n);
    assert_int_equal(store_last_seq(s), n);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(add(s, "x", NULL), 0);
    assert_int_equal(store_commit(s), 0);
    assert_whole(s, n + 1);
}

struct ids {
    char text[1024];
};

static int join(void *arg, const char *run) {
    struct ids *ids = arg;
    strcat(strcat(ids->text, run), " ");
    return 0;
}

static int first_only(void *arg, const char *run) {
    return 7;
}

static void open_runs(void **state) {
    static const struct {
        const char *type, *run, *open;
    } steps[] = {
        {"run.accepted", "r-b", "r-b "},     {"run.accepted", "r-a", "r-a r-b "}, {"run.started", "r-c", "r-a r-b "},
        {"run.in_doubt", "r-a", "r-a r-b "}, {"run.accepted", "r-a", "r-a r-b "}, {"run.completed", "r-b", "r-a "},
        {"run.completed", "r-b", "r-a "},    {"run.accepted", "r-c", "r-a r-c "}, {"run.failed", "r-a", "r-c "},
        {"run.timeout", "r-c", ""},          {"run.accepted", "r-d", "r-d "},     {"run.cancelled", "r-d", ""},
        {"step.completed", "r-d", ""},       {"run.accepted", "r-e", "r-e "},     {"tool.failed", "r-e", "r-e "},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct ids ids = {0};
        assert_int_equal(add(*state, steps[i].type, steps[i].run), 0);
        assert_int_equal(store_commit(*state), 0);
        assert_int_equal(store_open_runs(*state, join, &ids), 0);
        assert_string_equal(ids.text, steps[i].open);
    }
    assert_int_equal(add(*state, "run.accepted", "r-f"), 0); /* both ends in one batch */
    assert_int_equal(add(*state, "run.failed", "r-f"), 0);
    assert_int_equal(store_commit(*state), 0);
    reopen(state, true);
    struct ids ids = {0};
    assert_int_equal(store_open_runs(*state, join, &ids), 0);
    assert_string_equal(ids.text, "r-e ");
    assert_int_equal(store_open_runs(*state, first_only, NULL), 7);
}

static void resolve(void **state) {
    static const char *const runs[] = {"r-01AAAA", "r-01AABB", "r-01AABBCC", "r-02XXXX", "q-99"};
    static const struct {
        const char *prefix;
        int r;
        const char *want;
    } cases[] = {
        {"r-01AAA", 0, "r-01AAAA"},   {"r-01AAAA", 0, "r-01AAAA"},  {"r-01AA", -ENOTUNIQ, NULL},
        {"r-02XX", 0, "r-02XXXX"},    {"r-01AABB", 0, "r-01AABB"},  {"r-01AABBC", 0, "r-01AABBCC"},
        {"r-01AAB", -ENOTUNIQ, NULL}, {"r-02XXXXX", -ENOENT, NULL}, {"r-00AA", -ENOENT, NULL},
        {"r-ZZZZ", -ENOENT, NULL},    {"r-02X", -EINVAL, NULL},     {"q-9999", -EINVAL, NULL},
        {"", -EINVAL, NULL},
    };
    for (size_t i = 0; i < 2 * (sizeof runs / sizeof *runs); i++) {
        struct store_event e = {.type = "x", .run = runs[i / 2], .task = "r-03TASK", .data = "{}", .data_n = 2};
        uint64_t seq;
        assert_int_equal(store_append(*state, &e, &seq), 0);
    }
    assert_int_equal(store_commit(*state), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[STORE_KEY_MAX + 1] = "untouched";
        int r = store_resolve_run(*state, cases[i].prefix, out);
        if (r != cases[i].r || strcmp(out, cases[i].want ? cases[i].want : "untouched") != 0)
            fail_msg("%s: %d %s", cases[i].prefix, r, out);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(empty),
        CASE(file_is_private),
        CASE(accepted_is_not_durable),
        CASE(record_is_stored_as_sent),
        CASE(chain_goes_on_across_reopen),
        CASE(read_only),
        CASE(read_only_makes_nothing),
        CASE(indexes),
        CASE(query_bounds),
        CASE(keys_refused),
        CASE(refused_appends_change_nothing),
        CASE(open_runs),
        CASE(resolve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
