/* The identity map of an idmapped mount is that of a user namespace, so a short-lived child makes one and waits until
 * its descriptor has been taken. mount_setattr(2), "ID-mapped mounts". */
#include "toolcall/roots.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "supervisor/spawn.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static int write_map(pid_t pid, const char *file, uint32_t on_disk, uint32_t seen) {
    char path[64], line[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int n = snprintf(line, sizeof line, "%u %u 1", on_disk, seen);
    errno = 0;
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        return err_raise(errno ? -errno : -EIO, "write %s: %s", path, strerror(errno));
    return 0;
}

/* A descriptor of a user namespace that maps `st`'s owner to the tool's ids. */
static int map_namespace(const struct stat *st, const struct spec *spec) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        return err_raise(-errno, "pipe");
    auto_close int wait_fd = gate[0], hold = gate[1];
    int pidfd_raw = -1;
    struct clone_args_user {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } args = {.flags = CLONE_NEWUSER | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd_raw, .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0)
        return err_raise(-errno, "a user namespace for an idmapped mount");
    if (pid == 0) {
        char byte;
        (void)close(hold);
        (void)!read(wait_fd, &byte, 1); /* until the parent has what it wants, or is gone */
        _exit(0);
    }
    auto_close int pidfd = pidfd_raw;
    pid_t host = spawn_host_pid(pidfd);
    int r = write_map(host, "uid_map", st->st_uid, spec->tool_uid);
    if (r == 0)
        r = write_map(host, "gid_map", st->st_gid, spec->tool_gid);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/ns/user", host);
    int ns = r < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (r == 0 && ns < 0)
        r = err_raise(-errno, "open %s: %s", path, strerror(errno));
    hold = fd_close(hold);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return r < 0 ? r : ns;
}

static int idmap(const char *path, int dir, bool writable, const struct spec *spec) {
    struct stat st;
    if (fstat(dir, &st) < 0)
        return err_raise(-errno, "fstat %s", path);
    auto_close int ns = map_namespace(&st, spec);
    if (ns < 0)
        return ns;
    auto_close int tree = (int)syscall(SYS_open_tree, dir, "", OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0)
        return err_raise(-errno, "open_tree %s: %s", path, strerror(errno));
    uint64_t read_only = writable ? 0u : (uint64_t)MOUNT_ATTR_RDONLY;
    struct mount_attr attr = {.attr_set = read_only | MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                              .userns_fd = (uint64_t)ns};
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
        return take_fd(&tree);
    int error =
        errno == EINVAL ? EOPNOTSUPP : errno; /* what the kernel says for a file system without FS_ALLOW_IDMAP */
    return err_raise(-error,
                     "[policy] write=%s: its file system cannot be mounted with other ids (%s); grant a folder on "
                     "ext4, xfs, btrfs or tmpfs",
                     path, strerror(error));
}

/* A folder for reading that lies in one for writing: what tools wrote there belongs to the folder's owner, so it must
 * be seen through the same map. Any other folder for reading is never mapped: its owner's private files stay private.
 */
static bool within_write_root(const char *path, const struct spec *spec) {
    for (uint32_t i = 0; i < spec->n_write_roots; i++) {
        size_t n = strlen(spec->write_roots[i]);
        if (strncmp(path, spec->write_roots[i], n) == 0 && (path[n] == 0 || path[n] == '/'))
            return true;
    }
    return false;
}

static int open_root(const char *path, bool writable, const struct spec *spec) {
    auto_close int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_raise(-errno, "[policy] %s=%s: %s", writable ? "write" : "read", path, strerror(errno));
    if (!spec->privileged || (!writable && !within_write_root(path, spec)))
        return take_fd(&dir);
    return idmap(path, dir, writable, spec);
}

int roots_open(const struct spec *spec, struct roots *out) {
    struct roots roots = {.n_read = spec->n_read_roots, .n_write = spec->n_write_roots};
    for (uint32_t i = 0; i < roots.n_read; i++)
        if ((roots.read[i] = open_root(spec->read_roots[i], false, spec)) < 0)
            return roots.read[i]; /* the process ends: what is open goes with it */
    for (uint32_t i = 0; i < roots.n_write; i++)
        if ((roots.write[i] = open_root(spec->write_roots[i], true, spec)) < 0)
            return roots.write[i];
    *out = roots;
    return 0;
}
