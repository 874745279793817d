/* A log in a folder of its own, for the tests of the store. Nothing here asserts: forked children use it too. */
#ifndef SOMA_TESTS_EVENTLOG_STORE_FIXTURE_H
#define SOMA_TESTS_EVENTLOG_STORE_FIXTURE_H

#include "common/cleanup.h"
#include "common/err.h"
#include "eventlog/store.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

struct dir {
    char path[256];
    int fd;
};

/* The store refuses overlay, on which the /tmp of a container often is. */
static inline int dir_make(struct dir *d) {
    const char *bases[] = {getenv("TMPDIR"), "/tmp", "/dev/shm"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        struct statfs fs;
        if (!bases[i] || statfs(bases[i], &fs) < 0 || fs.f_type == OVERLAYFS_SUPER_MAGIC)
            continue;
        (void)snprintf(d->path, sizeof d->path, "%s/store-XXXXXX", bases[i]);
        if (!mkdtemp(d->path))
            continue;
        d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return d->fd < 0 ? -errno : 0;
    }
    return -ENOENT;
}

static inline void dir_remove(struct dir *d) {
    (void)unlinkat(d->fd, STORE_FILE, 0);
    d->fd = fd_close(d->fd);
    (void)rmdir(d->path);
}

static inline int add_data(struct store *s, const char *type, const char *run, const char *data, size_t n) {
    struct store_event e = {.type = type, .run = run, .data = data, .data_n = n};
    uint64_t seq;
    return store_append(s, &e, &seq);
}

static inline int add(struct store *s, const char *type, const char *run) {
    return add_data(s, type, run, "{}", 2);
}

/* What a query brought: the numbers, and how many bytes. */
struct seen {
    uint64_t seq[4096];
    size_t n, bytes;
};

static inline int see(void *arg, uint64_t seq, const char *record, size_t n) {
    struct seen *seen = arg;
    if (seen->n < sizeof seen->seq / sizeof *seen->seq)
        seen->seq[seen->n] = seq;
    seen->n++;
    seen->bytes += n;
    return 0;
}

#endif
