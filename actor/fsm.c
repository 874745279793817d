/* The actor's table. Read it by rows; an empty cell is a defect of ours, not an input. */
#include "actor/fsm.h"

#define CELL(state, event) [ACTOR_##state * ACTOR_EVENT__COUNT + ACTOR_EV_##event]

static const struct fsm_cell cells[ACTOR_STATE__COUNT * ACTOR_EVENT__COUNT] = {
    CELL(LOADING, LOADED) = FSM_GO(ACTOR_RESTORING, actor_restore),

    CELL(RESTORING, RESTORED) = FSM_GO(ACTOR_IDLE, actor_ready),

    CELL(IDLE, TASK) = FSM_GO(ACTOR_WAITING_LLM, actor_begin),

    CELL(WAITING_LLM, REPLY) = FSM_GO(ACTOR_THINKING, actor_judge),
    CELL(WAITING_LLM, FAIL) = FSM_GO(ACTOR_REPLYING, actor_conclude),
    CELL(WAITING_LLM, STOP) = FSM_GO(ACTOR_CANCELLING, actor_stop),

    CELL(THINKING, SPEAK) = FSM_GO(ACTOR_REPLYING, actor_conclude),
    CELL(THINKING, STEPS) = FSM_GO(ACTOR_RUNNING, actor_run),
    CELL(THINKING, AGAIN) = FSM_GO(ACTOR_WAITING_LLM, actor_ask),
    CELL(THINKING, FAIL) = FSM_GO(ACTOR_REPLYING, actor_conclude),

    CELL(RUNNING, OBSERVED) = FSM_GO(ACTOR_WAITING_LLM, actor_ask),
    CELL(RUNNING, FAIL) = FSM_GO(ACTOR_REPLYING, actor_conclude),
    CELL(RUNNING, STOP) = FSM_GO(ACTOR_CANCELLING, actor_stop),

    /* What the dying still say no longer matters, and the first reason to stop is the one that is told. */
    CELL(CANCELLING, REPLY) = FSM_GO(ACTOR_CANCELLING, NULL),
    CELL(CANCELLING, OBSERVED) = FSM_GO(ACTOR_CANCELLING, NULL),
    CELL(CANCELLING, FAIL) = FSM_GO(ACTOR_CANCELLING, NULL),
    CELL(CANCELLING, STOP) = FSM_GO(ACTOR_CANCELLING, NULL),
    CELL(CANCELLING, EMPTY) = FSM_GO(ACTOR_REPLYING, actor_conclude),

    CELL(REPLYING, STOP) = FSM_GO(ACTOR_REPLYING, NULL), /* too late: the task ends as it ended */
    CELL(REPLYING, EMPTY) = FSM_GO(ACTOR_REPLYING, actor_settle),
    CELL(REPLYING, DURABLE) = FSM_GO(ACTOR_REPLYING, actor_settle),
    CELL(REPLYING, PATIENCE) = FSM_GO(ACTOR_REPLYING, actor_kill_rest),
    CELL(REPLYING, CONCLUDED) = FSM_GO(ACTOR_IDLE, actor_reply),
};

static const struct fsm_timeout timeouts[ACTOR_STATE__COUNT] = {
    [ACTOR_REPLYING] = {actor_patience_ms, ACTOR_EV_PATIENCE},
};

static const char *const state_names[] = {
#define X(id, name) [ACTOR_##id] = name,
    ACTOR_STATES(X)
#undef X
};

static const char *const event_names[] = {
#define X(id, name) [ACTOR_EV_##id] = name,
    ACTOR_EVENTS(X)
#undef X
};

const struct fsm_def actor_fsm = {
    .name = "actor",
    .n_states = ACTOR_STATE__COUNT,
    .n_events = ACTOR_EVENT__COUNT,
    .state_names = state_names,
    .event_names = event_names,
    .cells = cells,
    .timeouts = timeouts,
    .entered = actor_entered,
};
