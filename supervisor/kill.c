/* `kill`: by a worker's id, or by a run's id for all its calls. It is answered when every victim is reaped; for a
 * transient worker only when it is over for good, because its successor still has to clean up after it. */
#include "supervisor/internal.h"

#include "common/err.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool may_kill(const struct peer *who, const struct worker *worker) {
    switch (who->role) {
    case ROLE_GATEWAY:
    case ROLE_RUNS:
    case ROLE_ACTORS:
        return true;
    case ROLE_RUN:
        return strcmp(who->run, worker->start.run) == 0;
    default:
        return who->actor[0] && strcmp(who->actor, worker->start.actor) == 0;
    }
}

static bool victim_of(const struct killer *killer, const struct worker *worker) {
    return strcmp(killer->id, worker->start.id) == 0 || strcmp(killer->id, worker->start.run) == 0;
}

static void answer(struct killer *killer) {
    struct msg_killed killed = {.id = killer->id, .count = killer->count};
    if (killer->who)
        (void)chan_send(killer->who, MSG_KILLED, &killed); /* an asker that is gone asks nobody any more */
}

static void drop(struct sup *sup, struct killer **at) {
    struct killer *killer = *at;
    *at = killer->next;
    sup->n_killers--;
    free(killer);
}

struct census {
    const struct killer *killer;
    const struct worker *dead;
    uint32_t alive;
};

static void count_alive(struct worker *worker, void *arg) {
    struct census *census = arg;
    census->alive += worker != census->dead && victim_of(census->killer, worker);
}

void sup_kill_answered(struct sup *sup, const struct worker *worker) {
    for (struct killer **at = &sup->killers; *at;) {
        struct census census = {*at, worker, 0};
        bool concerned = victim_of(*at, worker);
        if (concerned)
            workers_each(&sup->workers, count_alive, &census);
        if (!concerned || census.alive) {
            at = &(*at)->next;
            continue;
        }
        answer(*at);
        drop(sup, at);
    }
}

struct round {
    struct killer *killer;
    const struct peer *who;
    int64_t grace_ms;
};

static void count_one(struct worker *worker, void *arg) {
    struct round *round = arg;
    if (victim_of(round->killer, worker) && may_kill(round->who, worker))
        round->killer->count++;
}

static void end_one(struct worker *worker, void *arg) {
    struct round *round = arg;
    if (victim_of(round->killer, worker) && may_kill(round->who, worker))
        sup_end(worker->sup, worker, round->grace_ms);
}

int sup_on_kill(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = *(struct sup **)self;
    struct killer *killer = sup->n_killers < KILLERS_MAX ? calloc(1, sizeof *killer) : NULL;
    if (!killer)
        return err_raise(-EBUSY, "more than %u unanswered kills", KILLERS_MAX);
    killer->who = from;
    (void)snprintf(killer->id, sizeof killer->id, "%s", m->kill.id);
    struct round round = {killer, chan_peer(from), m->kill.grace_ms};
    workers_each(&sup->workers, count_one, &round);
    if (!killer->count) {
        answer(killer);
        free(killer);
        return 0;
    }
    killer->next = sup->killers;
    sup->killers = killer;
    sup->n_killers++;
    workers_each(&sup->workers, end_one, &round);
    return 0;
}
