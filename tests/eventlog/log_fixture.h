/* The event log's role in a process of its own, with a fake root at its control link and fake peers at others. The
 * test's ends are plain blocking sockets with a deadline: what does not come fails the test by name. */
#ifndef SOMA_TESTS_EVENTLOG_LOG_FIXTURE_H
#define SOMA_TESTS_EVENTLOG_LOG_FIXTURE_H

#include "common/chan.h"
#include "common/ids.h"
#include "common/spec.h"
#include "eventlog/eventlog.h"
#include "store_fixture.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define DEADLINE_S 20

struct logd {
    struct dir dir;
    pid_t pid;
    int control;
    char text[FRAME_MAX + 1]; /* of the last frame read: strings of a message point into it */
};

static inline int slack(void) {
    const char *text = getenv("SOMA_TEST_SLACK");
    int n = text ? atoi(text) : 1;
    return n > 0 ? n : 1;
}

static inline void pair(int out[2]) {
    struct timeval deadline = {.tv_sec = DEADLINE_S * slack()};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
    assert_int_equal(setsockopt(out[0], SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline), 0);
    assert_int_equal(setsockopt(out[0], SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline), 0);
}

/* ---- frames ---- */

static inline int put_bytes(int fd, const void *bytes, size_t n, const int *fds, unsigned n_fds) {
    char control[CMSG_SPACE(3 * sizeof(int))] = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds) {
        mh.msg_control = control;
        mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
    }
    return sendmsg(fd, &mh, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

static inline void put_text(int fd, const char *text, size_t n, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    uint32_t be = htonl((uint32_t)n);
    (void)buf_add(&b, &be, sizeof be);
    assert_int_equal(buf_add(&b, text, n), 0);
    assert_int_equal(put_bytes(fd, b.p, b.n, fds, n_fds), 0);
}

static inline void put_fds(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    if (msg_encode(type, body, &b) < 0)
        fail_msg("%s", err_text());
    put_text(fd, b.p, b.n, fds, n_fds);
}

static inline void put(int fd, enum msg_type type, const void *body) {
    put_fds(fd, type, body, NULL, 0);
}

static inline bool take(int fd, void *out, size_t n) {
    return recv(fd, out, n, MSG_WAITALL) == (ssize_t)n;
}

/* The next frame, which must be of this type. */
static inline struct msg get(struct logd *l, int fd, enum msg_type type) {
    uint32_t be;
    struct msg m;
    if (!take(fd, &be, sizeof be))
        fail_msg("no frame where %s was due: %s", msg_name(type), strerror(errno));
    size_t n = ntohl(be);
    assert_true(n <= FRAME_MAX && take(fd, l->text, n));
    if (msg_decode(l->text, n, &m) < 0)
        fail_msg("%s", err_text());
    if (m.type != type)
        fail_msg("%s where %s was due%s%s", msg_name(m.type), msg_name(type), m.type == MSG_REFUSED ? ": " : "",
                 m.type == MSG_REFUSED ? m.refused.why : "");
    return m;
}

static inline void get_end(int fd) {
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

/* ---- the process ---- */

static inline _Noreturn void logd_become(int control) {
    static char name[] = "soma-eventlog                                                        ";
    char *argv[] = {name, NULL};
    (void)signal(SIGXFSZ, SIG_IGN); /* a test limits the file size: that is to be an error, not a signal */
    if (dup2(control, CONTROL_FD) < 0 || close_range(CONTROL_FD + 1, ~0u, 0) < 0)
        _exit(99);
    exit(role_main(&eventlog_role, 1, argv)); /* not _exit(): the leak checker reports here */
}

static inline void logd_start(struct logd *l) {
    struct spec spec;
    int ends[2];
    spec_defaults(&spec);
    pair(ends);
    (void)fflush(NULL);
    l->pid = fork();
    if (l->pid == 0)
        logd_become(ends[1]);
    assert_true(l->pid > 0);
    (void)close(ends[1]);
    l->control = ends[0];
    int sealed = spec_seal(&spec);
    assert_true(sealed >= 0);
    put_fds(l->control, MSG_BEGIN, &(struct msg_begin){.generation = 1}, (int[]){sealed, l->dir.fd}, 2);
    (void)close(sealed);
    (void)get(l, l->control, MSG_READY);
}

static inline int logd_wait(struct logd *l) {
    int status = -1;
    assert_int_equal(waitpid(l->pid, &status, 0), l->pid);
    l->pid = 0;
    return status;
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
    int status = logd_wait(l);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
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
    int ends[2];
    pair(ends);
    m.pid = m.pid ? m.pid : 4711;
    put_fds(by, MSG_INTRODUCE, &m, &ends[1], 1);
    (void)close(ends[1]);
    return ends[0];
}

/* A static child, by the root. */
static inline int peer(const struct logd *l, const char *role) {
    return introduce_from(l->control, (struct msg_introduce){.role = role});
}

static inline void append(int fd, int64_t ref, const char *type, bool barrier) {
    put(fd, MSG_APPEND, &(struct msg_append){.ref = ref, .type = type, .barrier = barrier, .data = SPAN("{}")});
}

static inline int64_t get_accepted(struct logd *l, int fd, int64_t ref) {
    struct msg m = get(l, fd, MSG_ACCEPTED);
    assert_int_equal(m.accepted.ref, ref);
    return m.accepted.seq;
}

static inline int64_t get_durable(struct logd *l, int fd, int64_t ref) {
    struct msg m = get(l, fd, MSG_DURABLE);
    assert_int_equal(m.durable.ref, ref);
    return m.durable.seq;
}

static inline void get_refused(struct logd *l, int fd, int64_t ref, const char *error) {
    struct msg m = get(l, fd, MSG_REFUSED);
    assert_int_equal(m.refused.ref, ref);
    assert_string_equal(m.refused.error, error);
    assert_true(strlen(m.refused.why) > 10);
}

/* Append with a barrier, and both answers. */
static inline int64_t append_durable(struct logd *l, int fd, int64_t ref, const char *type) {
    append(fd, ref, type, true);
    int64_t seq = get_accepted(l, fd, ref);
    assert_int_equal(get_durable(l, fd, ref), seq);
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

/* One page from the gateway; the message points into l->text. */
static inline struct msg_page ask(struct logd *l, int gateway, struct msg_query q) {
    q.ref = 77;
    put(gateway, MSG_QUERY, &q);
    struct msg m = get(l, gateway, MSG_PAGE);
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
