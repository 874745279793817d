/* `kill`: by a worker's id, or by a run's id for all its calls. It is answered when every victim is reaped; for a
 * transient worker only when it is over for good, because its successor still has to clean up after it. */
#include "supervisor/internal.h"

#include "common/err.h"
#include "common/log.h"

#include <stdio.h>
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
        (void)chan_send(killer->who, MSG_KILLED, &killed);
    *killer = (struct killer){0};
}

void sup_kill_answered(struct sup *sup, const struct worker *worker) {
    for (size_t i = 0; i < KILLERS_MAX; i++) {
        struct killer *killer = &sup->killers[i];
        if (killer->used && killer->left && victim_of(killer, worker) && --killer->left == 0)
            answer(killer);
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
        round->killer->left++;
}

static void end_one(struct worker *worker, void *arg) {
    struct round *round = arg;
    if (victim_of(round->killer, worker) && may_kill(round->who, worker))
        sup_end(worker->sup, worker, round->grace_ms);
}

int sup_on_kill(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = *(struct sup **)self;
    struct killer *killer = NULL;
    for (size_t i = 0; i < KILLERS_MAX && !killer; i++)
        if (!sup->killers[i].used)
            killer = &sup->killers[i];
    if (!killer)
        return err_raise(-EBUSY, "more than %u unanswered kills", KILLERS_MAX);
    *killer = (struct killer){.who = from, .used = true};
    (void)snprintf(killer->id, sizeof killer->id, "%s", m->kill.id);
    struct round round = {killer, chan_peer(from), m->kill.grace_ms};
    workers_each(&sup->workers, count_one, &round);
    killer->count = killer->left;
    if (killer->left)
        workers_each(&sup->workers, end_one, &round);
    else
        answer(killer);
    return 0;
}
