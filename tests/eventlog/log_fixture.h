/* The event log's role in a process of its own, with a fake root at its control link and fake peers at others. */
#ifndef SOMA_TESTS_EVENTLOG_LOG_FIXTURE_H
#define SOMA_TESTS_EVENTLOG_LOG_FIXTURE_H

#include "common/ids.h"
#include "eventlog/eventlog.h"
#include "store_fixture.h"
#include "tests/kit/peers.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

struct logd {
    struct dir dir;
    pid_t pid;
    int control;
};

/* ---- the process ---- */

static inline int logd_body(void) {
    (void)signal(SIGXFSZ, SIG_IGN); /* a test limits the file size: that is to be an error, not a signal */
    return kit_serve(&eventlog_role);
}

/* Begun, not yet ready. */
static inline void logd_begin(struct logd *l) {
    struct spec spec;
    spec_defaults(&spec);
    l->pid = kit_static(logd_body, &l->control);
    peer_begin(l->control, &spec, 1, l->dir.fd);
}

static inline void logd_start(struct logd *l) {
    logd_begin(l);
    (void)peer_get(l->control, MSG_READY);
}

/* Its exit status, or 256 + the signal. */
static inline int logd_wait(struct logd *l) {
    pid_t pid = l->pid;
    l->pid = 0;
    return kit_ended(pid);
}

/* Stops it: whatever is sent until logd_go() is there all at once. */
static inline void logd_hold(const struct logd *l) {
    int status;
    assert_int_equal(kill(l->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(l->pid, &status, WUNTRACED), l->pid);
    assert_true(WIFSTOPPED(status));
}

static inline void logd_go(const struct logd *l) {
    assert_int_equal(kill(l->pid, SIGCONT), 0);
}

static inline void logd_end(struct logd *l) {
    assert_int_equal(kill(l->pid, SIGTERM), 0);
    assert_int_equal(logd_wait(l), 0);
    l->control = fd_close(l->control);
}

static inline int logd_setup(void **state) {
    static struct logd l;
    l = (struct logd){.control = -1};
    *state = &l;
    if (dir_make(&l.dir) < 0)
        return -1;
    logd_start(&l);
    return 0;
}

static inline int logd_teardown(void **state) {
    struct logd *l = *state;
    if (l->pid)
        logd_end(l);
    l->control = fd_close(l->control);
    dir_remove(&l->dir);
    return 0;
}

/* ---- peers ---- */

static inline int introduce_from(int by, struct msg_introduce m) {
    int theirs, ours = peer_pair(CHAN_STREAM, &theirs);
    m.pid = m.pid ? m.pid : 4711;
    peer_put_fds(by, MSG_INTRODUCE, &m, &theirs, 1);
    (void)close(theirs);
    return ours;
}

/* A static child, by the root. */
static inline int peer(const struct logd *l, const char *role) {
    return introduce_from(l->control, (struct msg_introduce){.role = role});
}

static inline void append(int fd, int64_t ref, const char *type, bool barrier) {
    peer_put(fd, MSG_APPEND, &(struct msg_append){.ref = ref, .type = type, .barrier = barrier, .data = SPAN("{}")});
}

static inline int64_t get_accepted(int fd, int64_t ref) {
    struct msg m = *peer_get(fd, MSG_ACCEPTED);
    assert_int_equal(m.accepted.ref, ref);
    return m.accepted.seq;
}

static inline int64_t get_durable(int fd, int64_t ref) {
    struct msg m = *peer_get(fd, MSG_DURABLE);
    assert_int_equal(m.durable.ref, ref);
    return m.durable.seq;
}

static inline void get_refused(int fd, int64_t ref, const char *error) {
    struct msg m = *peer_get(fd, MSG_REFUSED);
    assert_int_equal(m.refused.ref, ref);
    assert_string_equal(m.refused.error, error);
    assert_true(strlen(m.refused.why) > 10);
}

/* Append with a barrier, and both answers. */
static inline int64_t append_durable(int fd, int64_t ref, const char *type) {
    append(fd, ref, type, true);
    int64_t seq = get_accepted(fd, ref);
    assert_int_equal(get_durable(fd, ref), seq);
    return seq;
}

/* Commits so far, by LMDB's own count: the transaction number of the younger of its two meta pages. */
static inline uint64_t commits(const struct logd *l) {
    uint64_t txn, most = 0;
    auto_close int fd = openat(l->dir.fd, STORE_FILE, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (int page = 0; page < 2; page++) {
        assert_int_equal(pread(fd, &txn, sizeof txn, page * sysconf(_SC_PAGESIZE) + 144), sizeof txn);
        most = txn > most ? txn : most;
    }
    return most;
}

/* ---- ids and pages ---- */

static char run_a[ID_SIZE], run_b[ID_SIZE], call_a[ID_SIZE], task_a[ID_SIZE];

static inline int make_ids(void **state) {
    (void)state;
    id_make('r', run_a);
    id_make('r', run_b);
    id_make('c', call_a);
    id_make('t', task_a);
    return 0;
}

static inline int run_peer(int runs, const char *run) {
    return introduce_from(runs, (struct msg_introduce){.role = "run", .run = run, .actor = "s-1", .pid = 99});
}

/* One page from the gateway, valid until the next message. */
static inline struct msg_page ask(int gateway, struct msg_query q) {
    q.ref = 77;
    peer_put(gateway, MSG_QUERY, &q);
    struct msg m = *peer_get(gateway, MSG_PAGE);
    assert_int_equal(m.page.ref, 77);
    return m.page;
}

static inline bool page_has(struct msg_page page, const char *text) {
    return memmem(page.events.p, page.events.n, text, strlen(text)) != NULL;
}

static inline unsigned page_count(struct msg_page page) {
    unsigned n = 0;
    for (const char *p = page.events.p, *end = p + page.events.n; (p = memmem(p, (size_t)(end - p), "{\"v\":1,", 7));
         p++)
        n++;
    return n;
}

#endif
