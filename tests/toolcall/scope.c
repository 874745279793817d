/* clone3(2) rather than unshare(2): the namespace is born with its PID 1, and nothing of the test's own process
 * changes. */
#include "tests/toolcall/scope.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int scope_wrong(const char *what, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "%s: ", what);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return 1;
}

int scope_alone(const char *what) {
    if (kill(-1, 0) == 0 || errno != ESRCH)
        return scope_wrong(what, "processes are left in the namespace");
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
        return scope_wrong(what, "children are left to reap");
    return 0;
}

static int put(const char *path, const char *text) {
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

static int map_ids(uid_t uid, gid_t gid) {
    char line[64];
    (void)snprintf(line, sizeof line, "%u %u 1", uid, uid);
    if (put("/proc/self/setgroups", "deny") != 0 || put("/proc/self/uid_map", line) != 0)
        return -1;
    (void)snprintf(line, sizeof line, "%u %u 1", gid, gid);
    return put("/proc/self/gid_map", line);
}

static int mount_proc(void) {
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return -1;
    return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

pid_t scope_fork(int (*body)(const void *arg), const void *arg, bool own_proc) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct clone_args args = {
        .flags = CLONE_NEWPID | (own_proc ? CLONE_NEWNS : 0) | (uid != 0 ? CLONE_NEWUSER : 0),
        .exit_signal = SIGCHLD,
    };
    (void)fflush(NULL); /* or the child writes it once more */
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid != 0)
        return pid;
    if ((uid != 0 && map_ids(uid, gid) != 0) || (own_proc && mount_proc() != 0))
        _exit(scope_wrong("scope", "set-up: %s", strerror(errno)) + 99);
    int status = body(arg);
    (void)fflush(NULL);
    _exit(status);
}

int scope_run(int (*body)(const void *arg), const void *arg, bool own_proc) {
    pid_t pid = scope_fork(body, arg, own_proc);
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        (void)fprintf(stderr, "scope: %s\n", strerror(errno));
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}
