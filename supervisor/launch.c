/* The lock is flock(2) on the state folder itself; its open file description is shared by launcher, root and event log,
 * so it is free only when all three are gone. The socket is bound before root exists and outlives every gateway:
 * clients that come while one is being restarted wait in the backlog. */
#include "supervisor/launch.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/title.h"
#include "supervisor/config.h"
#include "supervisor/root.h"
#include "supervisor/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define LOCK_PATIENCE_MS 500
#define LOCK_AGAIN_MS 10

static int failed(struct launch *l, int r, const char *what, const char *fix) {
    l->what = what;
    l->fix = fix;
    return r;
}

/* A folder of our own: 0700, ours, not a link. */
static int own_folder(const char *path, int *out) {
    int r = config_make_parents(path);
    if (r < 0)
        return err_up(r);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_raise(-errno, "make %s: %s", path, strerror(errno));
    auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_raise(-errno, "open %s: %s", path, strerror(errno));
    if (st.st_uid != geteuid())
        return err_raise(-EPERM, "%s belongs to uid %u", path, st.st_uid);
    if (st.st_mode & 077)
        return err_raise(-EPERM, "%s can be entered by others (mode %04o)", path, st.st_mode & 07777);
    if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) < 0)
        return err_raise(-errno, "%s: %s", path, strerror(errno));
    *out = take_fd(&fd);
    return 0;
}

/* Paths over 107 bytes do not fit sockaddr_un: the folder's descriptor stands for its path. unix(7). */
static int bind_socket(int dir, int *out) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/soma.sock", dir);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_raise(-errno, "socket");
    if (unlinkat(dir, "soma.sock", 0) < 0 && errno != ENOENT) /* stale: we hold the lock */
        return err_raise(-errno, "remove the stale soma.sock: %s", strerror(errno));
    mode_t old = umask(0177);
    int r = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    (void)umask(old);
    if (r < 0 || listen(fd, 128) < 0)
        return err_raise(r ? r : -errno, "bind soma.sock: %s", strerror(r ? -r : errno));
    *out = take_fd(&fd);
    return 0;
}

/* Takes the folder's lock; a tree that is just ending still holds it for a moment. */
static int lock_folder(int fd) {
    for (int64_t until = now_ms() + LOCK_PATIENCE_MS;; (void)poll(NULL, 0, LOCK_AGAIN_MS)) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK || now_ms() >= until)
            return -errno;
    }
}

/* The folders that [policy] grants must be there: toolcalls would find out too late to say it well. */
static int check_roots(const char *key, const char (*paths)[SPEC_PATH], uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct stat st;
        if (stat(paths[i], &st) < 0)
            return err_raise(-errno, "[policy] %s: %s: %s", key, paths[i], strerror(errno));
        if (!S_ISDIR(st.st_mode))
            return err_raise(-ENOTDIR, "[policy] %s: %s is not a folder", key, paths[i]);
    }
    return 0;
}

int launch_places(const struct spec *spec, struct launch *out) {
    auto_close int state = -1, runtime = -1;
    int r = check_roots("read", spec->read_roots, spec->n_read_roots);
    if (r == 0)
        r = check_roots("write", spec->write_roots, spec->n_write_roots);
    if (r < 0)
        return failed(out, r, "a granted folder cannot be used", "make the folder, or take it out of soma.conf");
    r = own_folder(spec->state_dir, &state);
    if (r < 0)
        return failed(
            out, r, "the state folder cannot be used",
            "make it a folder of your own that only you can enter (chmod 0700), or set [soma] state= in soma.conf");
    if (lock_folder(state) < 0) {
        (void)err_raise(-EBUSY, "%s is locked by another process", spec->state_dir);
        return failed(out, -EBUSY, "another supervisor uses this state folder",
                      "use it (`soma ps`), stop it (`soma stop`, or TERM to the `somad` that `ps` shows), or give this "
                      "one a state folder "
                      "of its own");
    }
    r = own_folder(spec->runtime_dir, &runtime);
    if (r < 0)
        return failed(
            out, r, "the runtime folder cannot be used",
            "make it a folder of your own that only you can enter (chmod 0700), or set [soma] runtime= in soma.conf");
    /* two state folders may share a runtime folder: the door belongs to whoever holds this second lock */
    if (lock_folder(runtime) < 0) {
        (void)err_raise(-EBUSY, "%s is locked by another process", spec->runtime_dir);
        return failed(out, -EBUSY, "another supervisor uses this runtime folder",
                      "give this one a runtime folder of its own: [soma] runtime= in soma.conf");
    }
    r = bind_socket(runtime, &out->listener);
    if (r < 0)
        return failed(out, r, "the door cannot be opened", "see why; the socket is soma.sock in the runtime folder");
    out->runtime = take_fd(&runtime);
    out->state = take_fd(&state);
    return 0;
}

/* ---- root ---- */

static const char no_namespaces[] =
    "soma needs PID namespaces: run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1 or "
    "user.max_user_namespaces, and on AppArmor systems kernel.apparmor_restrict_unprivileged_userns=0)";

static void root_body(const int fds[ROOT_FD__END - ROOT_FD_SPEC], bool map, uid_t uid, gid_t gid)
    __attribute__((noreturn));
static void root_body(const int fds[ROOT_FD__END - ROOT_FD_SPEC], bool map, uid_t uid, gid_t gid) {
    static char name[] = "somad", flag[] = "--root", pad[] = TITLE_PAD_TEXT;
    char *const argv[] = {name, flag, pad, NULL};
    char *const envp[] = {NULL};
    int high[ROOT_FD__END - ROOT_FD_SPEC];
    const int n = ROOT_FD__END - ROOT_FD_SPEC;
    if (map && spawn_map_self(uid, gid) < 0) { /* allowed to make the namespace, not to use it */
        (void)!write(fds[n - 1], no_namespaces, sizeof no_namespaces - 1);
        _exit(126);
    }
    for (int i = 0; i < n; i++) /* out of the way of each other first */
        if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64)) < 0)
            _exit(126);
    for (int i = 0; i < n; i++)
        if (dup2(high[i], ROOT_FD_SPEC + i) < 0)
            _exit(126);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
        syscall(SYS_close_range, (unsigned)ROOT_FD__END, ~0U, 0U) < 0)
        _exit(126);
    /* The launcher's signal mask is kept: the first process of a namespace drops an unhandled SIGTERM, a blocked one
     * stays pending until root's loop takes it. */
    (void)execve("/proc/self/exe", argv, envp);
    _exit(126);
}

int launch_root(const struct spec *spec, struct launch *out) {
    int status[2];
    auto_close int sealed = spec_seal(spec);
    auto_close int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (sealed < 0 || self < 0 || pipe2(status, O_CLOEXEC) < 0) {
        (void)err_raise(-errno, "descriptors for root: %s", strerror(errno));
        return failed(out, -EIO, "root cannot be started", "raise the limit of open files (ulimit -n)");
    }
    auto_close int ours = status[0], theirs = status[1];
    const int fds[] = {sealed, out->state, out->listener, self, theirs};
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct clone_args args = {.flags = CLONE_NEWPID | (spec->privileged ? 0u : (uint64_t)CLONE_NEWUSER),
                              .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        root_body(fds, !spec->privileged, uid, gid);
    if (pid < 0) {
        int r = -errno;
        (void)err_raise(r, "clone3 with a new PID namespace: %s", strerror(-r));
        return failed(out, r, "no PID namespace can be made", no_namespaces);
    }
    out->root = pid;
    out->status = take_fd(&ours);
    return 0;
}

void launch_end(const struct spec *spec, struct launch *l) {
    if (l->runtime >= 0)
        (void)unlinkat(l->runtime, "soma.sock", 0); /* a later supervisor replaces it anyway */
    l->listener = fd_close(l->listener);
    l->runtime = fd_close(l->runtime);
    l->state = fd_close(l->state);
    l->status = fd_close(l->status);
}
