/* What is on disk when the log process ends, is killed, or cannot write. */
#include "log_fixture.h"

#include <sys/resource.h>

static void term_takes_everything(void **state) {
    struct logd *l = *state;
    enum { LINKS = 3, EVENTS = 20 };
    int links[LINKS + 1];
    for (int i = 0; i < LINKS; i++)
        links[i] = peer(l, "runs");
    (void)append_durable(links[0], 1, "process.started");
    logd_hold(l);
    for (int i = 0; i < LINKS; i++)
        for (int k = 1; k <= EVENTS; k++)
            append(links[i], k, "process.started", k == EVENTS);
    links[LINKS] = run_peer(links[0], run_a); /* and a link that it has not even met */
    append(links[LINKS], 1, "run.accepted", true);
    assert_int_equal(kill(l->pid, SIGTERM), 0);
    logd_go(l);
    assert_int_equal(logd_wait(l), 0);
    for (int i = 0; i < LINKS; i++) {
        for (int k = 1; k <= EVENTS; k++)
            (void)get_accepted(links[i], k);
        (void)get_durable(links[i], EVENTS);
    }
    (void)get_accepted(links[LINKS], 1);
    (void)get_durable(links[LINKS], 1);
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
    assert_int_equal(logd_wait(l), 1);
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
static void hear(int fd, struct told *told, unsigned times) {
    while (times > 0) {
        const struct msg *m = peer_hear(fd);
        assert_non_null(m);
        if (m->type == MSG_DURABLE) {
            told->seq[m->durable.ref] = (uint64_t)m->durable.seq;
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
            peer_put(runs, MSG_APPEND,
                     &(struct msg_append){.ref = n, .type = "process.started", .barrier = true, .data = SPAN(data)});
        }
        hear(runs, &told, 1 + 9 * round);
        assert_int_equal(kill(l->pid, SIGKILL), 0);
        assert_int_equal(logd_wait(l), 256 + SIGKILL);
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
    (void)append_durable(run, 1, "run.accepted");
    limit_files(l, 8192);
    append(run, 2, "run.completed", true);
    (void)get_accepted(run, 2);
    get_refused(run, 2, "io"); /* EFBIG; a full disk would be log_full */
    append(runs, 3, "process.started", false);
    (void)get_accepted(runs, 3);
    get_refused(runs, 3, "io"); /* a relaxed one hears of it, too */
    assert_int_equal(page_count(ask(gateway, (struct msg_query){.by = "run", .key = run_a})), 1);
    limit_files(l, RLIM_INFINITY);
    assert_int_equal(append_durable(run, 4, "run.failed"), 2); /* the run had not ended after all */
    (void)close(run);
    (void)close(gateway);
    (void)close(runs);
}

static void cannot_start(void **state) {
    struct logd *l = *state;
    logd_end(l);
    auto_close int file = openat(l->dir.fd, STORE_FILE, O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(file, 5000), 0);
    logd_begin(l);
    peer_end(l->control);
    assert_int_equal(logd_wait(l), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, logd_setup, logd_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(term_takes_everything), T(root_gone), T(killed), T(failed_commit), T(cannot_start),
    };
    return cmocka_run_group_tests(tests, make_ids, NULL);
}
