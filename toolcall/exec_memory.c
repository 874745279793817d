/* How much memory the namespace holds right now. The procfs that is mounted may belong to an outer PID namespace, where
 * our processes have other numbers: so nothing here asks getpid(). /proc/self says what we are called in that procfs,
 * and the `children` files of our threads, of their children's threads and so on name all the rest in the same numbers:
 * whatever loses its parent becomes a child of PID 1, so the walk from there reaches everything. It is a sample: what
 * is born or dies meanwhile may be missed, and is seen by the next one. */
#include "common/cleanup.h"
#include "common/err.h"
#include "toolcall/exec_impl.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIDS_MAX 4096u /* beyond, the sum is a lower bound; RLIMIT_NPROC ends such a call long before */

struct walk {
    int proc;
    size_t n;
    int pids[PIDS_MAX];
};

/* Reads numbers from a `children` file as it comes, so that its length does not matter. */
static void take_children(struct walk *w, int fd) {
    char buffer[1024];
    int pid = 0;
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (isdigit((unsigned char)buffer[i])) {
                pid = pid * 10 + (buffer[i] - '0');
                continue;
            }
            if (pid > 0 && w->n < PIDS_MAX)
                w->pids[w->n++] = pid;
            pid = 0;
        }
}

/* Children of every thread of one process. A process that is gone has none. */
static int add_children(struct walk *w, int pid) {
    char path[64];
    (void)snprintf(path, sizeof path, "%d/task", pid);
    int fd = openat(w->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    auto_dir DIR *tasks = fdopendir(fd);
    if (!tasks) {
        int r = -errno;
        (void)fd_close(fd);
        return r;
    }
    int found = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (!isdigit((unsigned char)task->d_name[0]))
            continue;
        (void)snprintf(path, sizeof path, "%.20s/children", task->d_name);
        auto_close int children = openat(fd, path, O_RDONLY | O_CLOEXEC);
        if (children < 0)
            continue;
        found = 1;
        take_children(w, children);
    }
    return found ? 0 : -ENOENT;
}

static uint64_t status_kib(const char *status, const char *key) {
    const char *at = strstr(status, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0; /* a zombie has no such lines, and no memory */
}

/* File pages are left out: the kernel can drop them, and every process of a tool shares its libraries. */
static uint64_t resident(int proc, int pid) {
    char path[32], status[4096];
    (void)snprintf(path, sizeof path, "%d/status", pid);
    auto_close int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, status, sizeof status - 1);
    if (n <= 0)
        return 0;
    status[n] = '\0';
    return 1024 * (status_kib(status, "\nRssAnon:") + status_kib(status, "\nRssShmem:"));
}

int exec_memory(int proc, uint64_t *bytes) {
    struct walk w = {.proc = proc, .n = 1};
    char self[16] = "";
    if (readlinkat(proc, "self", self, sizeof self - 1) <= 0)
        return err_raise(-ENOENT, "the mounted /proc does not show this process");
    w.pids[0] = atoi(self);
    uint64_t sum = 0;
    for (size_t i = 0; i < w.n; i++) {
        if (i > 0)
            sum += resident(proc, w.pids[i]);
        int r = add_children(&w, w.pids[i]);
        if (r < 0 && i == 0)
            return err_raise(r, "read the children of this process: %s", strerror(-r));
    }
    *bytes = sum;
    return 0;
}

int exec_memory_open(void) {
    auto_close int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    uint64_t bytes;
    if (proc < 0)
        return err_raise(-errno, "open /proc: %s", strerror(errno));
    int r = exec_memory(proc, &bytes);
    return r < 0 ? err_up(r) : take_fd(&proc);
}
