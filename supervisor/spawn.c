/* Between clone3 and the acknowledgement the child touches nothing it shares: no open, close or dup. The supervisor is
 * single-threaded and uses no stdio, so running its own code in a raw clone is safe. */
#include "supervisor/spawn.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/title.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND UINT64_C(0x100000000)
#endif

#define SPAWN_PATIENCE_MS 5000 /* from fork to the child's first word */

static int write_text(const char *path, const char *text) {
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return err_raise(-errno, "write %s", path);
    return 0;
}

int spawn_map_self(uid_t uid, gid_t gid) {
    char map[64];
    int r = write_text("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (r == 0)
        r = write_text("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof map, "%u %u 1", gid, gid);
    return r < 0 ? r : write_text("/proc/self/gid_map", map);
}

pid_t spawn_host_pid(int pidfd) {
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = 0;
    const char *at = strstr(text, "\nPid:");
    return at ? (pid_t)strtol(at + 5, NULL, 10) : 0;
}

static pid_t clone_child(uint64_t flags, int *pidfd) {
    struct clone_args args = {
        .flags = flags | CLONE_CLEAR_SIGHAND | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static uint64_t namespaces(bool new_pid, bool new_user) {
    return (new_pid ? (uint64_t)CLONE_NEWPID : 0u) | (new_user ? (uint64_t)CLONE_NEWUSER : 0u);
}

static void block_all(sigset_t *old) {
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, old);
}

/* The signals that every role's loop takes stay blocked, hence pending, until that loop runs: the first process of a
 * namespace drops an unhandled SIGTERM, and SIGUSR1 would kill a worker that is not listening yet. */
static void unblock_most(void) {
    static const int kept[] = {SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP};
    sigset_t mask;
    (void)sigemptyset(&mask);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        (void)sigaddset(&mask, kept[i]);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* ---- workers ---- */

static void worker_body(const struct spawn *spawn, uid_t uid, gid_t gid) __attribute__((noreturn));
static void worker_body(const struct spawn *spawn, uid_t uid, gid_t gid) {
    if (syscall(SYS_close_range, (unsigned)SLOT__END, ~0U, CLOSE_RANGE_UNSHARE) < 0)
        _exit(125);
    if (spawn->new_user && spawn_map_self(uid, gid) < 0)
        _exit(125);
    if (write(SLOT_ACK, "a", 1) != 1)
        _exit(125);
    (void)close(SLOT_ACK);
    unblock_most();
    _exit(spawn->body(spawn->arg));
}

/* A child that stands still where everybody waits for it (somebody froze it) is killed; returns when it is dead. */
static int give_up(int pidfd) {
    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    struct pollfd dead = {pidfd, POLLIN, 0};
    while (poll(&dead, 1, -1) < 0 && errno == EINTR)
        ;
    return err_raise(-EAGAIN, "a child did not begin within %d ms", SPAWN_PATIENCE_MS);
}

/* Waits for the byte or for the child's death; -ECHILD when it died without a word. */
static int await_ack(int pipe_fd, int pidfd) {
    struct pollfd fds[2] = {{pipe_fd, POLLIN, 0}, {pidfd, POLLIN, 0}};
    int n;
    while ((n = poll(fds, 2, SPAWN_PATIENCE_MS)) < 0 && errno == EINTR)
        ;
    if (n <= 0) /* the low slots stay shared until it is dead */
        return give_up(pidfd);
    char byte;
    return read(pipe_fd, &byte, 1) == 1 ? 0 : err_raise(-ECHILD, "a child died before it could begin");
}

static int place(const struct spawn *spawn, int ack) {
    for (int i = SLOT_LINK; i < SLOT__END; i++) {
        int fd = i == SLOT_ACK ? ack : spawn->slot[i];
        if (fd >= 0 && dup3(fd, i, 0) < 0)
            return err_raise(-errno, "place descriptor %d", i);
    }
    return 0;
}

static void vacate(const struct spawn *spawn, int null_fd) {
    for (int i = SLOT_LINK; i < SLOT__END; i++)
        if (i == SLOT_ACK || spawn->slot[i] >= 0)
            (void)dup3(null_fd, i, O_CLOEXEC);
}

int spawn_worker(const struct spawn *spawn, struct spawned *out) {
    auto_close int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ack[2];
    if (null_fd < 0 || pipe2(ack, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_raise(-errno, "descriptors for a child: %s", strerror(errno));
    auto_close int ack_read = ack[0], ack_write = ack[1];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    sigset_t old;
    block_all(&old);
    int pidfd_raw = -1;
    int r = place(spawn, ack_write);
    pid_t pid = r < 0 ? -1
                      : clone_child(CLONE_FILES | (spawn->new_ipc ? (uint64_t)CLONE_NEWIPC : 0u) |
                                        namespaces(spawn->new_pid, spawn->new_user),
                                    &pidfd_raw);
    if (pid == 0)
        worker_body(spawn, uid, gid);
    if (r == 0 && pid < 0)
        r = err_raise(-errno, "clone3: %s", strerror(errno));
    auto_close int pidfd = pid > 0 ? pidfd_raw : -1;
    if (r == 0)
        r = await_ack(ack_read, pidfd);
    vacate(spawn, null_fd);
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    if (r < 0)
        return r;
    *out = (struct spawned){pid, spawn_host_pid(pidfd)};
    return 0;
}

/* ---- executables ---- */

static void exec_body(const char *path, const char *name, int control, bool map, uid_t uid, gid_t gid, int report)
    __attribute__((noreturn));
static void exec_body(const char *path, const char *name, int control, bool map, uid_t uid, gid_t gid, int report) {
    static char pad[] = TITLE_PAD_TEXT;
    char *const argv[] = {(char *)(uintptr_t)name, pad, NULL};
    char *const envp[] = {NULL};
    int failed = 0, tell = report;
    if (map && spawn_map_self(uid, gid) < 0)
        failed = errno ? errno : EPERM;
    /* both may be any number: move them out of each other's way, then to 3 and 4 */
    int a = fcntl(control, F_DUPFD, 10), b = fcntl(report, F_DUPFD, 10);
    if (!failed &&
        (a < 0 || b < 0 || dup2(a, 3) < 0 || dup3(b, 4, O_CLOEXEC) < 0 || syscall(SYS_close_range, 5U, ~0U, 0U) < 0))
        failed = errno;
    if (!failed) {
        tell = 4;
        unblock_most();
        (void)execve(path, argv, envp);
        failed = errno;
    }
    (void)!write(tell, &failed, sizeof failed);
    _exit(127);
}

int spawn_exec(const char *path, const char *name, int control, bool new_pid, bool new_user, struct spawned *out) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_raise(-errno, "pipe");
    auto_close int from = report[0], to = report[1];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    sigset_t old;
    block_all(&old);
    int pidfd_raw = -1;
    pid_t pid = clone_child(namespaces(new_pid, new_user), &pidfd_raw);
    if (pid == 0)
        exec_body(path, name, control, new_user, uid, gid, to);
    int r = pid < 0 ? err_raise(-errno, "clone3: %s", strerror(errno)) : 0;
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    if (r < 0)
        return r;
    auto_close int pidfd = pidfd_raw;
    to = fd_close(to);
    int failed = 0;
    struct pollfd word = {from, POLLIN, 0}; /* the errno of a failed exec, or the end of file that a good one is */
    int ready;
    while ((ready = poll(&word, 1, SPAWN_PATIENCE_MS)) < 0 && errno == EINTR)
        ;
    if (ready <= 0) {
        r = give_up(pidfd);
        (void)waitpid(pid, NULL, 0);
        return r;
    }
    ssize_t n;
    while ((n = read(from, &failed, sizeof failed)) < 0 && errno == EINTR)
        ;
    if (n == sizeof failed) { /* nothing is left to reap */
        (void)waitpid(pid, NULL, 0);
        return err_raise(-failed, "execute %s", path);
    }
    *out = (struct spawned){pid, spawn_host_pid(pidfd)};
    return 0;
}
