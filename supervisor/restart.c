/* How to think about it: an event changes one child; then advance() looks at the whole and does what is due. There are
 * only two movements over all children, and they run in opposite directions:
 *
 *   sweep     from the last child down to `low`: stop one, wait until it is reaped, stop the one before it
 *   ordered   from `cursor` up to the last: start one, wait until it is ready, start the one after it
 *
 * A group restart is a sweep, a wait for the gate (the trigger's backoff), then an ordered start. A shutdown is a sweep
 * with low = 0 and nothing after it. A failure during either simply begins again with its own `low`. With one_for_one
 * there is no sweep but the last, and every child in BACKOFF has a timer of its own. */
#include "supervisor/restart.h"

#include <assert.h>

#include "common/err.h"

#define LEVEL_MAX 62u /* doublings after which any wait above zero has reached its maximum */

struct step {
    struct restart_policy *p;
    int64_t now;
    struct restart_actions *out;
};

enum outcome { END_NORMAL, END_ABNORMAL, END_NEVER_STARTED };

static bool is_live(const struct restart_child *c) {
    return c->state == CHILD_STARTING || c->state == CHILD_UP || c->state == CHILD_STOPPING;
}

static int64_t later(int64_t now, int64_t wait_ms) {
    return wait_ms > INT64_MAX - now ? INT64_MAX : now + wait_ms;
}

static bool is_stable(const struct step *s, const struct restart_child *c) {
    return c->state == CHILD_UP && s->now - c->ready_at_ms >= s->p->config.stable_ms;
}

static struct restart_action *emit(struct step *s, enum restart_action_type type, uint32_t i) {
    assert(s->out->n < RESTART_ACTIONS_MAX);
    struct restart_action *a = &s->out->list[s->out->n++];
    *a = (struct restart_action){.type = type, .child = i, .generation = s->p->child[i].generation};
    return a;
}

static void start_child(struct step *s, uint32_t i) {
    struct restart_child *c = &s->p->child[i];
    c->state = CHILD_STARTING;
    c->generation++;
    c->deadline_ms = later(s->now, s->p->config.start_ms);
    emit(s, RESTART_ACT_START, i)->delay_ms = c->delay_ms;
    c->delay_ms = 0;
}

static void kill_child(struct step *s, uint32_t i) {
    struct restart_child *c = &s->p->child[i];
    c->state = CHILD_STOPPING;
    c->killed = true;
    c->deadline_ms = 0; /* nothing is stronger than KILL: only the reap is left to wait for */
    emit(s, RESTART_ACT_KILL, i);
}

static void stop_child(struct step *s, uint32_t i) {
    const struct restart_config *config = &s->p->config;
    int64_t wait_ms = config->child_stop_ms[i] ? config->child_stop_ms[i] : config->stop_ms;
    if (wait_ms == 0) {
        kill_child(s, i);
        return;
    }
    s->p->child[i].state = CHILD_STOPPING;
    s->p->child[i].deadline_ms = later(s->now, wait_ms);
    emit(s, RESTART_ACT_STOP, i);
}

static void begin_sweep(struct restart_policy *p, uint32_t low) {
    p->sweeping = true;
    p->low = low;
    for (uint32_t i = low; i < p->config.children; i++) {
        struct restart_child *c = &p->child[i];
        if (!is_live(c))
            continue;
        c->victim = true;
        if (c->state == CHILD_STARTING)
            c->deadline_ms = 0; /* it is stopped when its turn comes, not before */
    }
}

static void stop_all(struct restart_policy *p) {
    if (p->stopping)
        return;
    p->stopping = true;
    p->ordered = false;
    for (uint32_t i = 0; i < p->config.children; i++) {
        struct restart_child *c = &p->child[i];
        if (c->state != CHILD_BACKOFF)
            continue;
        c->state = CHILD_DOWN;
        c->deadline_ms = c->delay_ms = 0;
    }
    begin_sweep(p, 0);
}

/* splitmix64: one addition and a mix; any seed will do, zero included. */
static uint64_t next_random(uint64_t *seed) {
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The jitter shortens only, so that b_max is a bound and doubling waits never decrease before they reach it. */
static void back_off(struct step *s, struct restart_child *c) {
    int64_t max_ms = s->p->config.backoff_max_ms;
    int64_t wait_ms = s->p->config.backoff_ms;
    for (uint32_t n = 0; n < c->level && wait_ms < max_ms; n++)
        wait_ms = wait_ms > max_ms / 2 ? max_ms : wait_ms * 2;
    if (wait_ms < max_ms && c->level < LEVEL_MAX)
        c->level++;
    wait_ms -= (int64_t)(next_random(&s->p->jitter_seed) % ((uint64_t)wait_ms / 4 + 1));
    c->state = CHILD_BACKOFF;
    c->delay_ms = wait_ms;
    c->deadline_ms = later(s->now, wait_ms);
}

/* The ring holds the last I restarts, so the next one is too many exactly when the oldest is within the period. */
static bool window_take(struct restart_policy *p, int64_t now) {
    uint32_t intensity = p->config.intensity;
    if (intensity == 0)
        return false;
    if (p->window_n == intensity && now - p->window[p->window_at] <= p->config.period_ms)
        return false;
    p->window[p->window_at] = now;
    p->window_at = (p->window_at + 1) % intensity;
    if (p->window_n < intensity)
        p->window_n++;
    return true;
}

static void give_up(struct step *s, uint32_t i) {
    s->p->gave_up = true;
    emit(s, RESTART_ACT_GAVE_UP, i);
    stop_all(s->p);
}

static void fail(struct step *s, uint32_t i, bool stable) {
    struct restart_policy *p = s->p;
    struct restart_child *c = &p->child[i];
    if (!stable)
        c->unstable++;
    /* A slow crash loop never fills the window: it is known by its starts, none of which lasts. */
    if (c->unstable > p->config.intensity || !window_take(p, s->now)) {
        give_up(s, i);
        return;
    }
    c->restarts++;
    back_off(s, c);
    if (p->config.strategy == ONE_FOR_ONE)
        return;
    begin_sweep(p, p->config.strategy == REST_FOR_ONE ? i : 0);
    p->ordered = true;
    p->cursor = p->low;
    p->gate_ms = c->deadline_ms;
}

/* The child has ended by itself and its type says that this was all. */
static void finish(struct restart_policy *p, uint32_t i) {
    p->child[i].state = CHILD_DONE;
    if (!p->config.significant[i])
        return;
    for (uint32_t k = 0; k < p->config.children && p->config.significant_all; k++)
        if (p->config.significant[k] && p->child[k].state != CHILD_DONE)
            return;
    stop_all(p);
}

static void ended(struct step *s, uint32_t i, enum outcome outcome) {
    struct restart_policy *p = s->p;
    struct restart_child *c = &p->child[i];
    enum restart_type type = p->config.type[i];
    bool stable = is_stable(s, c), victim = c->victim, normal = outcome == END_NORMAL && !c->expired;
    c->state = CHILD_DOWN;
    c->deadline_ms = c->ready_at_ms = 0;
    c->killed = c->victim = c->expired = false;
    if (p->stopping)
        return;
    if (victim)
        c->state = type == TEMPORARY ? CHILD_DONE : CHILD_DOWN;
    else if (type == TEMPORARY || (type == TRANSIENT && normal))
        finish(p, i);
    else if (outcome == END_NEVER_STARTED)
        back_off(s, c); /* nothing ran, so nothing is to be swept: an ordered start waits here */
    else
        fail(s, i, stable);
}

static void on_ready(struct step *s, struct restart_child *c) {
    if (c->state != CHILD_STARTING)
        return;
    c->state = CHILD_UP;
    c->ready_at_ms = s->now;
    c->deadline_ms = 0;
}

/* A report of an older incarnation, or a second report of the end of this one, changes nothing. */
static void on_child(struct step *s, const struct restart_event *event) {
    assert(event->child < s->p->config.children);
    struct restart_child *c = &s->p->child[event->child];
    if (event->generation != c->generation || !is_live(c))
        return;
    if (event->type == RESTART_EV_READY)
        on_ready(s, c);
    else if (event->type == RESTART_EV_EXIT)
        ended(s, event->child, event->normal ? END_NORMAL : END_ABNORMAL);
    else if (c->state != CHILD_UP) /* what is up was started */
        ended(s, event->child, event->type == RESTART_EV_AGAIN ? END_NEVER_STARTED : END_ABNORMAL);
}

static void on_boot(struct restart_policy *p) {
    if (p->booted) /* and after a STOP without BOOT there has been SHUTDOWN */
        return;
    p->booted = p->ordered = true;
    p->cursor = 0;
    p->gate_ms = 0;
}

static void on_timer(struct step *s) {
    for (uint32_t i = 0; i < s->p->config.children; i++) {
        struct restart_child *c = &s->p->child[i];
        if (c->deadline_ms == 0 || c->deadline_ms > s->now)
            continue;
        if (c->state == CHILD_STARTING)
            c->expired = true;
        if (is_live(c))
            kill_child(s, i);
    }
}

/* One child at a time, and the next only when this one is reaped. */
static void sweep(struct step *s) {
    struct restart_policy *p = s->p;
    for (uint32_t i = p->config.children; i > p->low; i--) {
        struct restart_child *c = &p->child[i - 1];
        if (!is_live(c))
            continue;
        if (c->state != CHILD_STOPPING)
            stop_child(s, i - 1);
        return;
    }
    p->sweeping = false;
}

/* Whether the ordered start goes past this child without (or after) starting it. */
static bool is_passed(const struct restart_policy *p, const struct restart_child *c) {
    return c->state == CHILD_UP || c->state == CHILD_DONE ||
           (c->state == CHILD_BACKOFF && p->config.strategy == ONE_FOR_ONE);
}

static int64_t ordered_due_ms(const struct restart_policy *p) {
    const struct restart_child *c = &p->child[p->cursor];
    if (is_live(c))
        return INT64_MAX;
    return c->state == CHILD_BACKOFF && c->deadline_ms > p->gate_ms ? c->deadline_ms : p->gate_ms;
}

static void start_in_order(struct step *s) {
    struct restart_policy *p = s->p;
    while (p->cursor < p->config.children && is_passed(p, &p->child[p->cursor]))
        p->cursor++;
    if (p->cursor == p->config.children)
        p->ordered = false;
    else if (ordered_due_ms(p) <= s->now)
        start_child(s, p->cursor);
}

static void start_each_due(struct step *s) {
    for (uint32_t i = 0; i < s->p->config.children; i++)
        if (s->p->child[i].state == CHILD_BACKOFF && s->p->child[i].deadline_ms <= s->now)
            start_child(s, i);
}

static void advance(struct step *s) {
    struct restart_policy *p = s->p;
    if (p->sweeping)
        sweep(s);
    if (p->sweeping)
        return;
    if (p->stopping) {
        p->shut_down = true;
        emit(s, RESTART_ACT_SHUTDOWN, 0)->failed = p->gave_up;
        return;
    }
    if (p->ordered)
        start_in_order(s);
    if (p->config.strategy == ONE_FOR_ONE)
        start_each_due(s); /* after the others: a wait of zero must not hold up the boot */
}

void restart_step(struct restart_policy *policy, struct restart_event event, int64_t now_ms,
                  struct restart_actions *out) {
    struct step s = {policy, now_ms, out};
    out->n = 0;
    if (policy->shut_down)
        return;
    for (uint32_t i = 0; i < policy->config.children; i++)
        if (is_stable(&s, &policy->child[i]))
            policy->child[i].level = policy->child[i].unstable = 0;
    switch (event.type) {
    case RESTART_EV_BOOT:
        on_boot(policy);
        break;
    case RESTART_EV_READY:
    case RESTART_EV_EXIT:
    case RESTART_EV_FAILED:
    case RESTART_EV_AGAIN:
        on_child(&s, &event);
        break;
    case RESTART_EV_TIMER:
        on_timer(&s);
        break;
    case RESTART_EV_STOP:
        stop_all(policy);
        break;
    }
    advance(&s);
}

int64_t restart_next_ms(const struct restart_policy *policy) {
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < policy->config.children; i++) {
        const struct restart_child *c = &policy->child[i];
        bool counts =
            is_live(c) ? c->deadline_ms != 0 : c->state == CHILD_BACKOFF && policy->config.strategy == ONE_FOR_ONE;
        if (counts && c->deadline_ms < next)
            next = c->deadline_ms;
    }
    if (policy->ordered && !policy->sweeping && ordered_due_ms(policy) < next)
        next = ordered_due_ms(policy);
    return next;
}

static int check_children(const struct restart_config *config) {
    if (config->children > RESTART_CHILDREN_MAX)
        return err_raise(-EINVAL, "children: %u is above %u", config->children, RESTART_CHILDREN_MAX);
    for (uint32_t i = 0; i < config->children; i++) {
        if ((unsigned)config->type[i] > TEMPORARY)
            return err_raise(-EINVAL, "type: child %u has the unknown type %d", i, (int)config->type[i]);
        if (config->significant[i] && config->type[i] == PERMANENT)
            return err_raise(-EINVAL, "significant: child %u is permanent and never ends by itself", i);
        if (config->child_stop_ms[i] < 0)
            return err_raise(-EINVAL, "child_stop_ms: of child %u is negative", i);
    }
    return 0;
}

static int check_times(const struct restart_config *config) {
    const struct {
        const char *name;
        int64_t value, least;
    } times[] = {
        {"period_ms", config->period_ms, 1}, {"backoff_ms", config->backoff_ms, 0},
        {"stable_ms", config->stable_ms, 0}, {"start_ms", config->start_ms, 1},
        {"stop_ms", config->stop_ms, 0},     {"backoff_max_ms", config->backoff_max_ms, config->backoff_ms},
    };
    for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++)
        if (times[i].value < times[i].least)
            return err_raise(-EINVAL, "%s: %lld is below %lld", times[i].name, (long long)times[i].value,
                             (long long)times[i].least);
    return 0;
}

int restart_init(struct restart_policy *policy, const struct restart_config *config, uint64_t jitter_seed) {
    if ((unsigned)config->strategy > ONE_FOR_ALL)
        return err_raise(-EINVAL, "strategy: %d is unknown", (int)config->strategy);
    if (config->intensity > RESTART_WINDOW_MAX)
        return err_raise(-EINVAL, "intensity: %u is above %u", config->intensity, RESTART_WINDOW_MAX);
    int r = check_times(config);
    if (r < 0)
        return err_up(r);
    r = check_children(config);
    if (r < 0)
        return err_up(r);
    *policy = (struct restart_policy){.config = *config, .jitter_seed = jitter_seed};
    return 0;
}

const char *restart_strategy_name(enum restart_strategy strategy) {
    switch (strategy) {
    case ONE_FOR_ONE:
        return "one_for_one";
    case REST_FOR_ONE:
        return "rest_for_one";
    case ONE_FOR_ALL:
        return "one_for_all";
    }
    return "unknown";
}

const char *restart_type_name(enum restart_type type) {
    switch (type) {
    case PERMANENT:
        return "permanent";
    case TRANSIENT:
        return "transient";
    case TEMPORARY:
        return "temporary";
    }
    return "unknown";
}

const char *restart_child_state_name(enum restart_child_state state) {
    switch (state) {
    case CHILD_DOWN:
        return "down";
    case CHILD_STARTING:
        return "starting";
    case CHILD_UP:
        return "up";
    case CHILD_STOPPING:
        return "stopping";
    case CHILD_BACKOFF:
        return "backoff";
    case CHILD_DONE:
        return "done";
    }
    return "unknown";
}
