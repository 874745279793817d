/* The tree below root: one table of child specs, in start order, and the wiring of one child. docs/ARCHITECTURE.md's
 * "what dies with what" is derived from this table (somad --print-tree). */
#ifndef SOMA_SUPERVISOR_TREE_H
#define SOMA_SUPERVISOR_TREE_H

#include "common/role.h"

struct child_spec {
    enum role_id role;
    const char *room, *program; /* folder in the build tree, name of the executable */
    bool supervisor;            /* PID 1 of a PID namespace of its own */
    uint32_t wires;             /* endpoints it gets, all to children before it */
};

#define TREE_CHILDREN 7u
extern const struct child_spec tree[TREE_CHILDREN];

struct tree_child {
    struct chan *control;
    pid_t pid, host_pid;
    uint32_t generation;
    uint32_t restarts;
    int64_t started_ms;
};

/* Starts child `index`: fork and exec, its wires introduced to the children before it, then `begin`. `spec_fd` and
 * `extra_fd` (-1 = none) stay the caller's. Returns 0 or a negative errno with nothing left behind but, possibly, a
 * child that will be reaped. */
int tree_start(struct role_ctx *ctx, struct tree_child children[TREE_CHILDREN], uint32_t index, uint32_t generation,
               int spec_fd, int extra_fd);

/* Path of an executable of ours, found from our own location. -ENOENT names what was looked for. */
int tree_program(const char *room, const char *program, char out[SPEC_PATH]);

#endif
