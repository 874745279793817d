/* The timer belongs to the state: it is cleared synchronously when the state changes, and the loop never calls a timer
 * that was cleared, also when it was already due. */
#include "common/fsm.h"

#include "common/err.h"
#include "common/log.h"

static void on_timeout(void *arg) {
    struct fsm *fsm = arg;
    (void)fsm_step(fsm, fsm->def->timeouts[fsm->state].event, NULL);
}

static void arm(struct fsm *fsm) {
    const struct fsm_timeout *t = fsm->def->timeouts ? &fsm->def->timeouts[fsm->state] : NULL;
    if (!fsm->loop || !t || !t->ms)
        return;
    int64_t ms = t->ms(fsm->self);
    if (ms >= 0 && loop_timer_set(fsm->loop, &fsm->timer, now_ms() + ms, on_timeout, fsm) < 0)
        die(1, "state timer");
}

void fsm_init(struct fsm *fsm, const struct fsm_def *def, struct loop *loop, void *self, unsigned state) {
    *fsm = (struct fsm){.def = def, .loop = loop, .self = self, .state = state};
    arm(fsm);
    if (def->entered)
        def->entered(self, state);
}

void fsm_deinit(struct fsm *fsm) {
    if (fsm->loop)
        loop_timer_clear(fsm->loop, &fsm->timer);
}

static void enter(struct fsm *fsm, unsigned to) {
    if (fsm->state == to)
        return;
    log_debug("event=state machine=%s change=\"%s -> %s\"", fsm->def->name, fsm_state_name(fsm),
              fsm->def->state_names[to]);
    if (fsm->loop)
        loop_timer_clear(fsm->loop, &fsm->timer);
    fsm->state = to;
    arm(fsm);
    if (fsm->def->entered)
        fsm->def->entered(fsm->self, to);
}

static int step_once(struct fsm *fsm, unsigned event, const void *arg) {
    const struct fsm_cell *cell = &fsm->def->cells[fsm->state * fsm->def->n_events + event];
    if (!cell->set) {
        log_warn("event=unexpected machine=%s state=%s got=%s", fsm->def->name, fsm_state_name(fsm),
                 fsm->def->event_names[event]);
        return err_raise(-EPROTO, "%s: %s in state %s", fsm->def->name, fsm->def->event_names[event],
                         fsm_state_name(fsm));
    }
    enter(fsm, cell->to);
    return cell->act ? cell->act(fsm->self, arg) : 0;
}

int fsm_step(struct fsm *fsm, unsigned event, const void *arg) {
    fsm->stepping = true;
    int r = step_once(fsm, event, arg);
    while (fsm->n_posted) {
        unsigned next = fsm->posted[0];
        fsm->n_posted--;
        for (unsigned i = 0; i < fsm->n_posted; i++)
            fsm->posted[i] = fsm->posted[i + 1];
        int k = step_once(fsm, next, NULL);
        r = r < 0 ? r : k;
    }
    fsm->stepping = false;
    return r;
}

void fsm_post(struct fsm *fsm, unsigned event) {
    if (fsm->n_posted == FSM_POSTED_MAX)
        die(1, "too many posted events");
    fsm->posted[fsm->n_posted++] = event;
}

const char *fsm_state_name(const struct fsm *fsm) {
    return fsm->def->state_names[fsm->state];
}
