/* Forking, the one place. Cost does not grow with the number of children: the child shares the descriptor table
 * (CLONE_FILES) and its first system call makes a private copy of the low slots only (close_range(2) with
 * CLOSE_RANGE_UNSHARE); then it acknowledges. Until the acknowledgement, or the child's death, the parent leaves the
 * low slots alone. clone3(2), user_namespaces(7), pid_namespaces(7). */
#ifndef SOMA_SUPERVISOR_SPAWN_H
#define SOMA_SUPERVISOR_SPAWN_H

#include "common/role.h"

#include <stdbool.h>
#include <sys/types.h>

struct spawn {
    int slot[SLOT__END];    /* descriptors to stand in the child's slots, by number; -1 = none */
    bool new_pid, new_user; /* namespaces of its own */
    bool new_ipc;           /* System V shared memory and queues that end with it */
    int (*body)(void *arg); /* runs in the child; its result is the exit status */
    void *arg;
};

struct spawned {
    pid_t pid;      /* in the caller's namespace */
    pid_t host_pid; /* as people see it */
};

/* Forks. On success the child has acknowledged: it runs with its own descriptor table, default signals, empty mask.
 * The caller keeps its descriptors. Blocks for the acknowledgement only. -EAGAIN, -ENOMEM, -EMFILE, -ECHILD (it died
 * first; it is left for the reaper). */
int spawn_worker(const struct spawn *spawn, struct spawned *out);

/* Forks and executes `path` with descriptor `control` as its fd 3 and everything above closed. The errno of a failed
 * exec is returned (and the child reaped). */
int spawn_exec(const char *path, const char *name, int control, bool new_pid, bool new_user, struct spawned *out);

/* In a child that is alone in a new user namespace: map its own uid and gid to themselves (no setgroups). */
int spawn_map_self(uid_t uid, gid_t gid);

/* The host's number of the process behind a pidfd: `Pid:` of its fdinfo (proc(5)). */
pid_t spawn_host_pid(int pidfd);

#endif
