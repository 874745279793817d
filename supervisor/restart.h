/* The restart policy: a pure function (state, event, now) -> (state, actions). It starts nothing, reads no clock and
 * allocates nothing; the caller performs the actions and reports what came of them as further events. Semantics follow
 * Erlang/OTP's supervisor (start left to right, each ready before the next; stop in reverse), with soma's window:
 * milliseconds, exponential backoff with jitter, reset only after a stable time.
 *
 *   DOWN -> STARTING -> UP -> STOPPING -> DOWN       BACKOFF = DOWN with a timer
 *
 * Group rules, one child's unexpected end being the trigger:
 *   one_for_one   restart that child
 *   rest_for_one  stop the children after it, last first; then start from it on, each ready before the next
 *   one_for_all   stop all others, last first; then start all from the first
 * A child that fails while a group restart is under way counts again and the same rule is applied from it; one that
 * ends while it waits for its turn to be stopped is a victim like the others and does not count. Victims are stopped at
 * once; what then remains of the trigger's backoff, which runs from its end, is waited for before the first start.
 * one_for_one children do not depend on each other: at boot the next one starts when the one before it is ready, has
 * failed its start or has ended for good; with the other strategies a failing child holds back all after it.
 */
#ifndef SOMA_SUPERVISOR_RESTART_H
#define SOMA_SUPERVISOR_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#define RESTART_CHILDREN_MAX 16u /* of one policy; a dynamic kind keeps one policy of one child per worker */
#define RESTART_WINDOW_MAX 32u   /* largest intensity */
#define RESTART_ACTIONS_MAX 48u

enum restart_strategy { ONE_FOR_ONE, REST_FOR_ONE, ONE_FOR_ALL };
enum restart_type { PERMANENT, TRANSIENT, TEMPORARY };

struct restart_config {
    enum restart_strategy strategy;
    uint32_t intensity;     /* I: restarts allowed within period_ms; 0 gives up at the first; <= RESTART_WINDOW_MAX */
    int64_t period_ms;      /* P; at least 1 */
    int64_t backoff_ms;     /* b0: wait before the first restart after a stable time; 0 restarts at once */
    int64_t backoff_max_ms; /* b_max; the wait doubles up to it; not below backoff_ms */
    int64_t stable_ms;      /* S: READY for this long resets backoff and the count of unstable starts */
    int64_t start_ms;       /* T_start: not READY by then is a failed start; at least 1 */
    int64_t stop_ms;        /* T_stop: not reaped this long after STOP is KILLed; 0 KILLs without STOP */
    uint32_t children;
    enum restart_type type[RESTART_CHILDREN_MAX];
    bool significant[RESTART_CHILDREN_MAX];      /* its end by itself (not as a victim) shuts the supervisor down */
    bool significant_all;                        /* ... only once no other significant child is left */
    int64_t child_stop_ms[RESTART_CHILDREN_MAX]; /* T_stop of one child, e.g. a supervisor; 0 = stop_ms */
};

enum restart_child_state { CHILD_DOWN, CHILD_STARTING, CHILD_UP, CHILD_STOPPING, CHILD_BACKOFF, CHILD_DONE };
/* CHILD_DONE: ended and not to be started again (temporary; transient after a normal end). */

enum restart_event_type {
    RESTART_EV_BOOT,   /* start everything, left to right */
    RESTART_EV_READY,  /* child: its incarnation `generation` says it is ready */
    RESTART_EV_EXIT,   /* child: its incarnation was reaped; `normal` = exit status 0 */
    RESTART_EV_FAILED, /* child: START could not be performed, nothing is left to reap; counts as an abnormal end */
    RESTART_EV_AGAIN,  /* the same for want of resources (EAGAIN, ENOMEM, EMFILE): retried after backoff, not counted */
    RESTART_EV_TIMER,  /* some deadline may have passed; harmless at any time */
    RESTART_EV_STOP    /* stop everything, last first; then SHUTDOWN */
};

struct restart_event {
    enum restart_event_type type;
    uint32_t child;
    uint32_t generation; /* of READY, EXIT, FAILED and AGAIN: that of the START; an older one is ignored */
    bool normal;
};

enum restart_action_type {
    RESTART_ACT_START,   /* child, generation: start it; report READY; EXIT, FAILED or AGAIN */
    RESTART_ACT_STOP,    /* child: ask it to stop (by signal, SIGCONT behind it); report EXIT */
    RESTART_ACT_KILL,    /* child: SIGKILL; report EXIT */
    RESTART_ACT_GAVE_UP, /* child: its intensity is exceeded; everything is being stopped and SHUTDOWN follows */
    RESTART_ACT_SHUTDOWN /* all children are down; `failed` says whether by giving up */
};

struct restart_action {
    enum restart_action_type type;
    uint32_t child;
    uint32_t generation;
    bool failed;
    int64_t delay_ms; /* of a GAVE_UP: unused; of a START: the backoff that preceded it, for the log */
};

struct restart_actions {
    uint32_t n;
    struct restart_action list[RESTART_ACTIONS_MAX];
};

struct restart_child {
    enum restart_child_state state;
    uint32_t generation; /* of the last START; the first is 1 */
    uint32_t restarts;   /* counted ones over its life, for people; a victim's start is not one */
    uint32_t level;      /* backoff doublings so far */
    uint32_t unstable;   /* consecutive starts that did not stay ready for stable_ms */
    int64_t ready_at_ms; /* monotonic; of an UP child */
    int64_t deadline_ms; /* STARTING: start deadline; STOPPING: kill deadline; BACKOFF: start time; 0 = none */
    int64_t delay_ms;    /* the backoff that its next START will carry */
    bool killed;         /* KILL has been asked for */
    bool victim;         /* being stopped on behalf of another child's restart or of everything */
    bool expired;        /* was not ready in time: whatever its exit status, a failed start */
};

struct restart_policy {
    struct restart_config config;
    struct restart_child child[RESTART_CHILDREN_MAX];
    int64_t window[RESTART_WINDOW_MAX]; /* monotonic times of the last restarts, a ring */
    uint32_t window_n, window_at;
    uint64_t jitter_seed; /* of a small generator; the backoff is shortened by up to a quarter */
    bool stopping, gave_up, shut_down;
    /* treat all but config and child[] as private */
    bool booted;
    bool sweeping; /* children from `low` on are being stopped, last first */
    bool ordered;  /* an ordered start is under way, now at child `cursor` */
    uint32_t low;
    uint32_t cursor;
    int64_t gate_ms; /* the ordered start begins no earlier: the trigger's backoff */
};

/* Checks `config` (counts within the limits, no negative time, permanent with significant is a contradiction) and
 * makes a policy with all children DOWN. A time of INT64_MAX is never. Returns 0, or -EINVAL naming the field. */
int restart_init(struct restart_policy *policy, const struct restart_config *config, uint64_t jitter_seed);

/* One step. `now_ms` is the monotonic clock, not negative, never decreasing. `out` is overwritten, in the order to be
 * performed. Every START is answered by exactly one of EXIT, FAILED and AGAIN. Only TIMER makes a deadline of a live
 * child expire, so a caller that has reaped several children reports all of them before any is killed. A child that
 * ends for good is announced by its state (CHILD_DONE) alone. After SHUTDOWN nothing happens any more. */
void restart_step(struct restart_policy *policy, struct restart_event event, int64_t now_ms,
                  struct restart_actions *out);

/* The earliest deadline at which a TIMER event is due, or INT64_MAX. */
int64_t restart_next_ms(const struct restart_policy *policy);

const char *restart_strategy_name(enum restart_strategy strategy);
const char *restart_type_name(enum restart_type type);
const char *restart_child_state_name(enum restart_child_state state);

#endif
