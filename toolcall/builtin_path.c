/* Where a path argument leads. The kernel does the containment: every component is resolved by openat2(2) below the
 * descriptor of a granted folder, and a `..`, a symbolic link or an absolute link that would leave it is refused with
 * EXDEV. The only string work here is choosing the folder. */
#include "common/cleanup.h"
#include "toolcall/builtin_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHOWN "%.150s" /* of a path in a message */
#define RETRIES 64     /* openat2 says EAGAIN when a rename elsewhere raced with a `..`: openat2(2) */

int path_failure(const struct builtin_call *call, const char *path, int error) {
    struct tool_failure *failure = call->failure;
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return tool_fail(failure, TOOL_NOT_FOUND, SHOWN ": %s", path, strerror(error));
    case EXDEV:
        return tool_fail(failure, TOOL_DENIED, SHOWN ": leads out of the granted folder", path);
    case ELOOP:
        return tool_fail(failure, TOOL_DENIED, SHOWN ": a symbolic link that may not be followed", path);
    case EACCES:
    case EPERM:
    case EROFS:
        return tool_fail(failure, TOOL_DENIED, SHOWN ": %s", path, strerror(error));
    case EISDIR:
    case ENXIO: /* open(2) of a fifo nobody reads, or of a socket */
        return tool_fail(failure, TOOL_INVALID_ARGS, SHOWN ": not a regular file", path);
    case ENAMETOOLONG:
        return tool_fail(failure, TOOL_INVALID_ARGS, "argument path: too long");
    default:
        return tool_fail(failure, TOOL_TOOL_ERROR, SHOWN ": %s", path, strerror(error));
    }
}

int path_open_at(int dir, const char *name, int flags, unsigned mode, bool follow_links) {
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC | O_NOCTTY,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (follow_links ? 0 : RESOLVE_NO_SYMLINKS),
    };
    long fd = -1;
    for (int i = 0; i < RETRIES; i++) {
        fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

/* The part of an absolute `path` below `root`, "." for the root itself, NULL when it is not below. */
static const char *below(const char *root, const char *path, size_t *length) {
    size_t n = strlen(root);
    while (n > 0 && root[n - 1] == '/')
        n--;
    if (strncmp(root, path, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    path += n;
    while (*path == '/')
        path++;
    *length = n;
    return *path ? path : ".";
}

static int open_absolute(const struct tool_root *roots, size_t n_roots, const char *path, int flags) {
    const struct tool_root *best = NULL;
    const char *rest = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < n_roots; i++) {
        size_t length = 0;
        const char *candidate = below(roots[i].path, path, &length);
        if (candidate && (!best || length > longest)) {
            best = &roots[i];
            rest = candidate;
            longest = length;
        }
    }
    return best ? path_open_at(best->fd, rest, flags, 0, true) : -EXDEV;
}

static int open_relative(const struct tool_root *roots, size_t n_roots, const char *path, int flags) {
    int fd = -EXDEV;
    for (size_t i = 0; i < n_roots; i++) {
        fd = path_open_at(roots[i].fd, path, flags, 0, true);
        if (fd != -ENOENT)
            break;
    }
    return fd;
}

int path_open(const struct builtin_call *call, const struct tool_root *roots, size_t n_roots, const char *path,
              int flags, int *fd) {
    if (path[0] == '\0')
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument path: empty");
    if (n_roots == 0)
        return tool_fail(call->failure, TOOL_DENIED, SHOWN ": no folder is granted for this", path);
    int opened =
        path[0] == '/' ? open_absolute(roots, n_roots, path, flags) : open_relative(roots, n_roots, path, flags);
    if (opened == -EXDEV && path[0] == '/')
        return tool_fail(call->failure, TOOL_DENIED, SHOWN ": not below a granted folder", path);
    if (opened < 0)
        return path_failure(call, path, -opened);
    *fd = opened;
    return 0;
}
