/* A random world drives the policy, and a second, deliberately plain model watches. The world knows which processes are
 * alive, what they were told and when; it keeps every counted restart in one long list instead of a ring. It decides by
 * itself whether an end counts and whether that is one too many, and it judges each action when it is given:
 *
 *   START     only what is dead, never after its last end, never while stopping; everything before it is ready or done;
 *             in a group everything after it is dead; never before the backoff of its last counted end is over
 *   STOP      only what is alive and was not told; everything after it in the sweep is dead; a cause is known
 *   KILL      only what was told to stop T_stop ago, or was started T_start ago and is not ready
 *   GAVE_UP   exactly when one restart is too many
 *   SHUTDOWN  when, and as soon as, everything is dead after STOP, giving up or a significant end; nothing follows
 *
 * At the end the world turns friendly, and everything must come up, or has been shut down. A failure names the round:
 * every round is a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "supervisor/restart.h"

#define ROUNDS 30000u
#define STEPS 120u
#define COUNTED_MAX 1024u

struct process {
    bool alive, ready, told, killed, done;
    bool late; /* killed because it was not ready in time */
    uint32_t generation, unstable, starts;
    int64_t started_ms, ready_ms, told_ms;
    int64_t not_before_ms; /* of the next START */
    bool cause;            /* a restart that was counted since the last START wants this one stopped */
};

struct world {
    uint64_t seed;
    unsigned round, step_no;
    int64_t now;
    struct restart_policy policy;
    struct restart_config config;
    struct process process[RESTART_CHILDREN_MAX];
    int64_t counted[COUNTED_MAX];
    uint32_t counted_n;
    uint32_t low; /* ends of children from here on do not count; `children` = no group is being stopped */
    bool stopping, want_give_up, gave_up, shut_down;
};

static uint64_t roll(struct world *w, uint64_t below) {
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return (w->seed >> 11) % below;
}

static void require(const struct world *w, bool holds, const char *what, uint32_t child) {
    if (!holds)
        fail_msg("round %u step %u, child %u: %s", w->round, w->step_no, child, what);
}

static int64_t stop_time(const struct world *w, uint32_t i) {
    return w->config.child_stop_ms[i] ? w->config.child_stop_ms[i] : w->config.stop_ms;
}

static void on_start(struct world *w, const struct restart_action *a) {
    uint32_t i = a->child;
    struct process *p = &w->process[i];
    require(w, !p->alive, "started while it is alive", i);
    require(w, !p->done, "started after its last end", i);
    require(w, !w->stopping, "started while stopping", i);
    require(w, a->generation == p->generation + 1, "generation does not count up", i);
    require(w, w->now >= p->not_before_ms, "started before its backoff was over", i);
    require(w, a->delay_ms >= 0 && a->delay_ms <= w->config.backoff_max_ms, "delay above b_max", i);
    for (uint32_t k = 0; k < w->config.children; k++) {
        const struct process *other = &w->process[k];
        bool in_order = w->config.strategy != ONE_FOR_ONE;
        if (k < i && in_order)
            require(w, other->done || (other->alive && other->ready && !other->told), "started too early", i);
        if (k < i && !in_order)
            require(w, other->done || other->starts > 0, "first start out of order", i);
        if (k > i && in_order)
            require(w, !other->alive, "started below a live one", i);
    }
    *p = (struct process){.alive = true,
                          .generation = a->generation,
                          .unstable = p->unstable,
                          .starts = p->starts + 1,
                          .started_ms = w->now};
    w->low = w->config.children;
}

static void on_stop(struct world *w, uint32_t i, bool kill) {
    struct process *p = &w->process[i];
    require(w, p->alive && !p->told && !p->killed, "told to stop what is dead or was told before", i);
    require(w, w->stopping || p->cause, "stopped without a cause", i);
    for (uint32_t k = i + 1; k < w->config.children; k++)
        require(w, !w->process[k].alive, "stopped before a later one was reaped", i);
    require(w, kill == (stop_time(w, i) == 0), "KILL and STOP confused", i);
    p->told = true;
    p->killed = kill;
    p->told_ms = w->now;
}

static void on_kill(struct world *w, uint32_t i) {
    struct process *p = &w->process[i];
    require(w, p->alive && !p->killed, "killed what is dead or was killed before", i);
    if (!p->told && (p->ready || stop_time(w, i) == 0) && (w->stopping || p->cause)) {
        on_stop(w, i, true);
        return;
    }
    if (p->told) {
        require(w, w->now >= p->told_ms + stop_time(w, i), "killed before T_stop", i);
    } else {
        require(w, !p->ready && w->now >= p->started_ms + w->config.start_ms, "killed before T_start", i);
        p->late = true;
    }
    p->killed = true;
}

static void on_shutdown(struct world *w, bool failed) {
    require(w, w->stopping, "shut down unasked", 0);
    require(w, failed == w->gave_up, "wrong reason of SHUTDOWN", 0);
    for (uint32_t i = 0; i < w->config.children; i++)
        require(w, !w->process[i].alive, "shut down beside a live child", i);
    w->shut_down = true;
}

static void judge(struct world *w, const struct restart_actions *actions) {
    for (uint32_t i = 0; i < actions->n; i++) {
        const struct restart_action *a = &actions->list[i];
        require(w, !w->shut_down, "action after SHUTDOWN", a->child);
        switch (a->type) {
        case RESTART_ACT_START:
            on_start(w, a);
            break;
        case RESTART_ACT_STOP:
            on_stop(w, a->child, false);
            break;
        case RESTART_ACT_KILL:
            on_kill(w, a->child);
            break;
        case RESTART_ACT_GAVE_UP:
            require(w, w->want_give_up && !w->gave_up, "gave up too early", a->child);
            w->gave_up = true;
            break;
        case RESTART_ACT_SHUTDOWN:
            on_shutdown(w, a->failed);
            break;
        }
    }
}

/* What must hold after each step, whatever it did. */
static void check_world(struct world *w) {
    uint32_t live = 0, restarts = 0;
    for (uint32_t i = 0; i < w->config.children; i++) {
        const struct process *p = &w->process[i];
        enum restart_child_state state = w->policy.child[i].state;
        live += p->alive;
        restarts += w->policy.child[i].restarts;
        require(w, (state == CHILD_DONE) == p->done, "wrong about what has ended for good", i);
        require(w, (state == CHILD_STARTING || state == CHILD_UP || state == CHILD_STOPPING) == p->alive,
                "wrong about what is alive", i);
        require(w, (state == CHILD_STOPPING) == (p->alive && (p->told || p->killed)), "wrong about what stops", i);
        if (p->alive && p->told && !p->killed)
            require(w, restart_next_ms(&w->policy) <= p->told_ms + stop_time(w, i), "T_stop is forgotten", i);
        require(w, w->policy.child[i].unstable == p->unstable, "wrong count of unstable starts", i);
    }
    require(w, restarts == w->counted_n, "wrong count of restarts", 0);
    require(w, w->want_give_up == w->gave_up, "did not give up", 0);
    require(w, w->shut_down == (w->stopping && live == 0), "SHUTDOWN is missing", 0);
    require(w, restart_next_ms(&w->policy) > w->now, "a deadline was left behind", 0);
}

static void settle_stable(struct world *w) {
    for (uint32_t i = 0; i < w->config.children; i++) {
        struct process *p = &w->process[i];
        if (p->alive && p->ready && !p->told && w->now - p->ready_ms >= w->config.stable_ms)
            p->unstable = 0;
    }
}

static void feed(struct world *w, struct restart_event event) {
    struct restart_actions actions;
    restart_step(&w->policy, event, w->now, &actions);
    judge(w, &actions);
    check_world(w);
}

static uint32_t counted_in_period(const struct world *w) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->counted_n; i++)
        n += w->counted[i] >= w->now - w->config.period_ms;
    return n;
}

/* The rule, in its plainest words. */
static void model_failure(struct world *w, uint32_t i, bool stable) {
    struct process *p = &w->process[i];
    p->unstable = stable ? 0 : p->unstable + 1;
    if (counted_in_period(w) >= w->config.intensity || p->unstable > w->config.intensity) {
        w->want_give_up = w->stopping = true;
        return;
    }
    assert_in_range(w->counted_n, 0, COUNTED_MAX - 1);
    w->counted[w->counted_n++] = w->now;
    p->not_before_ms = w->now + w->config.backoff_ms - w->config.backoff_ms / 4;
    if (w->config.strategy == ONE_FOR_ONE)
        return;
    w->low = w->config.strategy == REST_FOR_ONE ? i : 0;
    for (uint32_t k = w->low; k < w->config.children; k++)
        w->process[k].cause = w->process[k].alive;
    for (uint32_t k = w->low; k < w->config.children; k++) /* the whole group waits for the trigger */
        if (w->process[k].not_before_ms < p->not_before_ms)
            w->process[k].not_before_ms = p->not_before_ms;
}

static void model_significant_end(struct world *w, uint32_t i) {
    w->process[i].done = true;
    if (!w->config.significant[i])
        return;
    for (uint32_t k = 0; k < w->config.children; k++)
        if (w->config.significant_all && w->config.significant[k] && !w->process[k].done)
            return;
    w->stopping = true;
}

static void model_end(struct world *w, uint32_t i, bool normal, bool again) {
    struct process *p = &w->process[i];
    enum restart_type type = w->config.type[i];
    bool stable = p->ready && !p->told && w->now - p->ready_ms >= w->config.stable_ms;
    bool late = p->late;
    p->alive = p->ready = p->told = p->killed = p->late = p->cause = false;
    if (w->stopping)
        return;
    if (i >= w->low)
        p->done = type == TEMPORARY;
    else if (type == TEMPORARY || (type == TRANSIENT && normal && !late))
        model_significant_end(w, i);
    else if (!again)
        model_failure(w, i, stable);
}

static void end_child(struct world *w, uint32_t i, enum restart_event_type type, bool normal) {
    uint32_t generation = w->process[i].generation;
    model_end(w, i, normal, type == RESTART_EV_AGAIN);
    feed(w, (struct restart_event){.type = type, .child = i, .generation = generation, .normal = normal});
}

static void make_ready(struct world *w, uint32_t i) {
    struct process *p = &w->process[i];
    if (!p->ready && !p->told && !p->killed) {
        p->ready = true;
        p->ready_ms = w->now;
    }
    feed(w, (struct restart_event){.type = RESTART_EV_READY, .child = i, .generation = p->generation});
}

/* A report about an incarnation that is not the living one. */
static void report_stale(struct world *w, uint32_t i) {
    static const enum restart_event_type types[] = {RESTART_EV_READY, RESTART_EV_EXIT, RESTART_EV_FAILED,
                                                    RESTART_EV_AGAIN};
    const struct process *p = &w->process[i];
    struct restart_event event = {.type = types[roll(w, 4)], .child = i, .generation = p->generation - p->alive};
    feed(w, event);
}

static void pass_time(struct world *w) {
    int64_t next = restart_next_ms(&w->policy);
    uint64_t kind = roll(w, 8);
    if (kind < 5 && next != INT64_MAX)
        w->now = next + (kind == 0 ? (int64_t)roll(w, 300) : 0);
    else
        w->now += (int64_t)roll(w, kind == 7 ? 20000 : 50);
    settle_stable(w);
    int64_t deadline = restart_next_ms(&w->policy);
    struct restart_policy early = w->policy;
    struct restart_actions actions;
    restart_step(&early, (struct restart_event){.type = RESTART_EV_TIMER}, w->now < deadline ? w->now : deadline - 1,
                 &actions);
    require(w, actions.n == 0, "acts before its deadline", 0);
    feed(w, (struct restart_event){.type = RESTART_EV_TIMER});
}

static void random_step(struct world *w) {
    uint32_t i = (uint32_t)roll(w, w->config.children);
    const struct process *p = &w->process[i];
    uint64_t kind = roll(w, 100);
    settle_stable(w);
    if (kind < 25)
        pass_time(w);
    else if (kind < 26)
        feed(w, (struct restart_event){.type = RESTART_EV_BOOT});
    else if (kind < 36)
        report_stale(w, i);
    else if (kind < 37 && roll(w, 3) == 0) {
        w->stopping = true;
        feed(w, (struct restart_event){.type = RESTART_EV_STOP});
    } else if (p->alive && (p->told || p->killed) && kind < 75)
        end_child(w, i, RESTART_EV_EXIT, kind % 2 == 0);
    else if (p->alive && !p->ready && kind < 41)
        end_child(w, i, kind % 2 ? RESTART_EV_FAILED : RESTART_EV_AGAIN, false);
    else if (p->alive && kind < 85)
        make_ready(w, i);
    else if (p->alive && kind < 88)
        end_child(w, i, RESTART_EV_EXIT, kind % 2 == 0);
}

/* From now on what is told to stop ends and what is started gets ready. */
static void friendly_end(struct world *w) {
    for (unsigned n = 0; n < 200 && !w->shut_down; n++) {
        for (uint32_t i = 0; i < w->config.children; i++) {
            settle_stable(w);
            if (w->process[i].alive && (w->process[i].told || w->process[i].killed))
                end_child(w, i, RESTART_EV_EXIT, true);
            else if (w->process[i].alive && !w->process[i].ready)
                make_ready(w, i);
        }
        if (restart_next_ms(&w->policy) != INT64_MAX)
            w->now = restart_next_ms(&w->policy);
        settle_stable(w);
        feed(w, (struct restart_event){.type = RESTART_EV_TIMER});
    }
    require(w, w->shut_down == w->stopping, "a shutdown did not come to its end", 0);
    for (uint32_t i = 0; i < w->config.children; i++)
        require(w, w->shut_down || w->process[i].done || w->policy.child[i].state == CHILD_UP, "never came up", i);
    require(w, w->shut_down || restart_next_ms(&w->policy) == INT64_MAX, "a deadline is left", 0);
}

static void random_config(struct world *w) {
    struct restart_config *c = &w->config;
    *c = (struct restart_config){
        .strategy = (enum restart_strategy)roll(w, 3),
        .intensity = (uint32_t)roll(w, 7),
        .period_ms = 1 + (int64_t)roll(w, 5000),
        .backoff_ms = (int64_t)roll(w, 4) * 50,
        .stable_ms = (int64_t)roll(w, 2) * (int64_t)roll(w, 3000),
        .start_ms = 1 + (int64_t)roll(w, 1000),
        .stop_ms = (int64_t)roll(w, 4) * 300,
        .children = 1 + (uint32_t)roll(w, 6),
        .significant_all = roll(w, 2) == 0,
    };
    c->backoff_max_ms = c->backoff_ms + (int64_t)roll(w, 2000);
    if (roll(w, 4) == 0)
        c->intensity = RESTART_WINDOW_MAX; /* lives long enough to meet everything */
    for (uint32_t i = 0; i < c->children; i++) {
        uint64_t type = roll(w, 10);
        c->type[i] = type < 7 ? PERMANENT : type < 9 ? TRANSIENT : TEMPORARY;
        c->significant[i] = c->type[i] != PERMANENT && roll(w, 2) == 0;
        c->child_stop_ms[i] = roll(w, 5) == 0 ? 700 : 0;
    }
}

struct tally {
    uint32_t counted, gave_up, stopped, alive;
};

static void play(unsigned round, struct tally *tally) {
    struct world w = {.round = round, .seed = 0x9e3779b97f4a7c15u * (round + 1u)};
    random_config(&w);
    w.low = w.config.children;
    assert_int_equal(restart_init(&w.policy, &w.config, round), 0);
    feed(&w, (struct restart_event){.type = RESTART_EV_BOOT});
    for (w.step_no = 0; w.step_no < STEPS; w.step_no++)
        random_step(&w);
    friendly_end(&w);
    tally->counted += w.counted_n;
    tally->gave_up += w.gave_up;
    tally->stopped += w.stopping && !w.gave_up;
    tally->alive += !w.stopping;
}

static void test_random_worlds(void **state) {
    (void)state;
    struct tally tally = {0};
    for (unsigned round = 0; round < ROUNDS; round++)
        play(round, &tally);
    /* The rounds are worth something only if every kind of life is among them. */
    assert_in_range(tally.counted, ROUNDS, UINT32_MAX);
    assert_in_range(tally.gave_up, ROUNDS / 10, ROUNDS);
    assert_in_range(tally.stopped, ROUNDS / 10, ROUNDS);
    assert_in_range(tally.alive, ROUNDS / 10, ROUNDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_worlds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
