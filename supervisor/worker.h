/* The workers of one supervisor: a table by id and by pid. Internal to supervisor/. */
#ifndef SOMA_SUPERVISOR_WORKER_H
#define SOMA_SUPERVISOR_WORKER_H

#include "supervisor/supervisor.h"

#include <sys/resource.h>

#define WORKER_BUCKETS 1024u
#define WATCHERS_MAX 8u   /* monitors beside the owner's, of one worker */
#define KILLERS_MAX 8192u /* unanswered kill requests of one supervisor; the next one costs its sender the endpoint */

/* How an incarnation ended. */
struct ended {
    int code, signal;
    bool core;
    struct rusage usage;
};

struct worker {
    struct worker *by_id, *by_pid; /* chains */
    struct sup *sup;
    const struct worker_kind *kind;
    struct worker_start start;
    pid_t pid, host_pid; /* 0 = not running */
    uint32_t restarts;
    int64_t started_ms;
    int monitor; /* the owner's; -1 = nobody watches */
    int watchers[WATCHERS_MAX];
    uint32_t n_watchers;
    int grants;                    /* kept for incarnations to come; -1 = none */
    struct chan *own_link;         /* the owner's end, when this supervisor itself is the owner */
    struct restart_policy *policy; /* NULL for temporary workers */
    struct loop_timer timer;       /* the policy's next deadline, or the grace of a kill */
    bool killed, stopping;
    struct ended last;
};

struct workers {
    struct worker *by_id[WORKER_BUCKETS], *by_pid[WORKER_BUCKETS];
    uint32_t n;
};

struct worker *workers_find(struct workers *w, const char *id);
struct worker *workers_find_pid(struct workers *w, pid_t pid);
/* NULL when there is no memory. Descriptors are -1. */
struct worker *workers_add(struct workers *w, const char *id);
void workers_set_pid(struct workers *w, struct worker *worker, pid_t pid);
void workers_remove(struct workers *w, struct worker *worker); /* frees it and closes its descriptors */
/* Calls `each` for every worker; it may remove the one it is called with. */
void workers_each(struct workers *w, void (*each)(struct worker *worker, void *arg), void *arg);
/* All workers sorted by id, malloc'ed array of n; the caller frees it. NULL when empty or without memory. */
struct worker **workers_sorted(struct workers *w);

#endif
