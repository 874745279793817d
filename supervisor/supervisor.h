/* The supervisor library: what toolcalls, llmcalls, runs and actors are. A kind is a table of the workers it may start;
 * its main.c hands that table to sup_main() and no worker code runs before the fork. */
#ifndef SOMA_SUPERVISOR_SUPERVISOR_H
#define SOMA_SUPERVISOR_SUPERVISOR_H

#include "common/role.h"
#include "supervisor/restart.h"

struct sup;

struct worker_kind {
    const struct role *role;
    enum restart_type restart;
    bool scope;     /* the worker is PID 1 of a PID namespace of its own */
    uint32_t wires; /* set of roles to which each worker gets an endpoint of its own */
};

/* One spawn on its way: hooks may fill descriptors (the library closes `secret`) and
 * refuse. */
struct sup_spawn {
    struct worker_start start;
    int grants, secret; /* -1 = none */
    uint32_t n_roots;   /* granted folders: borrowed from the kind, placed in SLOT_ROOTS */
    int roots[2 * SPEC_ROOTS_MAX];
};

struct kind {
    enum role_id id;
    const struct worker_kind *workers;
    size_t n_workers;
    struct profile profile;
    int (*boot)(struct sup *sup);                             /* before ready; may be NULL */
    bool boot_ready;                                          /* the kind itself says role_ready(), later */
    int (*prepare)(struct sup *sup, struct sup_spawn *spawn); /* before each fork; negative = refused with err_text() */
    int (*child_init)(const struct worker_start *start);      /* in the child, before the role; may be NULL */
    const struct accept *accepts;                             /* further messages of this kind; may be NULL */
    size_t n_accepts;
    void (*up)(struct sup *sup, const struct worker_start *start, pid_t host_pid); /* a worker runs; may be NULL */
    void (*down)(struct sup *sup, const struct worker_start *start, bool final);   /* reaped; may be NULL */
};

int sup_main(const struct kind *kind, int argc, char **argv);

struct role_ctx *sup_ctx(struct sup *sup);

/* Starts a worker without a requester: a declared actor (its owner is this supervisor), a run's successor. The owner's
 * end of the link, if `link` is not NULL, is the caller's. 0, or refused with err_text(). */
int sup_start(struct sup *sup, enum role_id role, const char *id, const char *actor, bool recover);
/* Sends one message with descriptors to a worker that this supervisor itself owns. -ESRCH when it is not up. */
int sup_tell(struct sup *sup, const char *id, enum msg_type type, const void *body, const int *fds, unsigned n_fds);

#endif
