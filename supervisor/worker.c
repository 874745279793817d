/* Chained hashing: ids are random at their end, pids are small and dense. */
#include "supervisor/worker.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <string.h>

static uint32_t bucket_of(const char *id) {
    uint32_t h = 2166136261u;
    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * 16777619u;
    return h % WORKER_BUCKETS;
}

struct worker *workers_find(struct workers *w, const char *id) {
    struct worker *worker = w->by_id[bucket_of(id)];
    while (worker && strcmp(worker->start.id, id) != 0)
        worker = worker->by_id;
    return worker;
}

struct worker *workers_find_pid(struct workers *w, pid_t pid) {
    struct worker *worker = w->by_pid[(uint32_t)pid % WORKER_BUCKETS];
    while (worker && worker->pid != pid)
        worker = worker->by_pid;
    return worker;
}

struct worker *workers_add(struct workers *w, const char *id) {
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        (void)err_raise(-ENOMEM, "a worker");
        return NULL;
    }
    (void)snprintf(worker->start.id, sizeof worker->start.id, "%s", id);
    worker->monitor = worker->grants = -1;
    uint32_t b = bucket_of(id);
    worker->by_id = w->by_id[b];
    w->by_id[b] = worker;
    w->n++;
    return worker;
}

static void unlink_pid(struct workers *w, struct worker *worker) {
    if (!worker->pid)
        return;
    struct worker **at = &w->by_pid[(uint32_t)worker->pid % WORKER_BUCKETS];
    while (*at && *at != worker)
        at = &(*at)->by_pid;
    if (*at)
        *at = worker->by_pid;
    worker->pid = 0;
}

void workers_set_pid(struct workers *w, struct worker *worker, pid_t pid) {
    unlink_pid(w, worker);
    worker->pid = pid;
    if (!pid)
        return;
    uint32_t b = (uint32_t)pid % WORKER_BUCKETS;
    worker->by_pid = w->by_pid[b];
    w->by_pid[b] = worker;
}

void workers_remove(struct workers *w, struct worker *worker) {
    unlink_pid(w, worker);
    struct worker **at = &w->by_id[bucket_of(worker->start.id)];
    while (*at && *at != worker)
        at = &(*at)->by_id;
    if (*at) {
        *at = worker->by_id;
        w->n--;
    }
    worker->monitor = fd_close(worker->monitor);
    worker->grants = fd_close(worker->grants);
    while (worker->n_watchers)
        (void)fd_close(worker->watchers[--worker->n_watchers]);
    chan_close(worker->own_link);
    free(worker->policy);
    free(worker);
}

void workers_each(struct workers *w, void (*each)(struct worker *worker, void *arg), void *arg) {
    for (uint32_t b = 0; b < WORKER_BUCKETS; b++)
        for (struct worker *worker = w->by_id[b], *next; worker; worker = next) {
            next = worker->by_id;
            each(worker, arg);
        }
}

static int by_id(const void *a, const void *b) {
    return strcmp((*(struct worker *const *)a)->start.id, (*(struct worker *const *)b)->start.id);
}

struct worker **workers_sorted(struct workers *w) {
    struct worker **list = w->n ? calloc(w->n, sizeof(struct worker *)) : NULL;
    uint32_t n = 0;
    for (uint32_t b = 0; list && b < WORKER_BUCKETS; b++)
        for (struct worker *worker = w->by_id[b]; worker; worker = worker->by_id)
            list[n++] = worker;
    if (list)
        qsort(list, n, sizeof *list, by_id);
    return list;
}
