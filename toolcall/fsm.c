/* Running and cancelling have no timeout here: exec.c has the tool's, and killing takes as long as it takes. */
#include "toolcall/fsm.h"

static const char *const state_names[] = {
#define X(id, name) [TOOLCALL_##id] = name,
    TOOLCALL_STATES(X)
#undef X
};

static const char *const event_names[] = {
#define X(id, name) [TOOLCALL_EV_##id] = name,
    TOOLCALL_EVENTS(X)
#undef X
};

#define GO(state, action) FSM_GO(TOOLCALL_##state, action)

static const struct fsm_cell cells[TOOLCALL_STATE__COUNT][TOOLCALL_EVENT__COUNT] = {
    [TOOLCALL_WAITING] =
        {
            [TOOLCALL_EV_CALL] = GO(RUNNING, toolcall_begin),
            [TOOLCALL_EV_CANCEL] = GO(DONE, toolcall_leave), /* nothing has begun: there is nothing to journal */
            [TOOLCALL_EV_TIMEOUT] = GO(DONE, toolcall_leave_untold),
            [TOOLCALL_EV_OWNER_GONE] = GO(DONE, toolcall_leave), /* nobody can ask any more */
            [TOOLCALL_EV_LOG_GONE] = GO(DONE, toolcall_leave_untold),
        },
    [TOOLCALL_RUNNING] =
        {
            [TOOLCALL_EV_ENDED] = GO(JOURNALLING, toolcall_journal),
            [TOOLCALL_EV_CANCEL] = GO(CANCELLING, toolcall_stop),
            [TOOLCALL_EV_OWNER_GONE] = GO(RUNNING, NULL), /* gone, not unwanted: the next incarnation reads the log */
            [TOOLCALL_EV_LOG_GONE] = GO(DONE, toolcall_leave_untold),
        },
    [TOOLCALL_CANCELLING] =
        {
            [TOOLCALL_EV_ENDED] = GO(JOURNALLING, toolcall_journal),
            [TOOLCALL_EV_CANCEL] = GO(CANCELLING, NULL),
            [TOOLCALL_EV_OWNER_GONE] = GO(CANCELLING, NULL),
            [TOOLCALL_EV_LOG_GONE] = GO(DONE, toolcall_leave_untold),
        },
    [TOOLCALL_JOURNALLING] =
        {
            [TOOLCALL_EV_CANCEL] = GO(JOURNALLING, NULL), /* too late to change the result, which answers it */
            [TOOLCALL_EV_ACCEPTED] = GO(FLUSHING, toolcall_answer),
            [TOOLCALL_EV_REFUSED] = GO(FLUSHING, toolcall_answer_refused),
            [TOOLCALL_EV_TIMEOUT] = GO(DONE, toolcall_leave_untold),
            [TOOLCALL_EV_OWNER_GONE] = GO(JOURNALLING, NULL),
            [TOOLCALL_EV_LOG_GONE] = GO(DONE, toolcall_leave_untold),
        },
    [TOOLCALL_FLUSHING] =
        {
            [TOOLCALL_EV_CANCEL] = GO(FLUSHING, NULL),
            [TOOLCALL_EV_FLUSHED] = GO(DONE, toolcall_leave),
            [TOOLCALL_EV_TIMEOUT] = GO(DONE, toolcall_leave), /* an owner that does not read finds it in the log */
            [TOOLCALL_EV_OWNER_GONE] = GO(DONE, toolcall_leave),
            [TOOLCALL_EV_LOG_GONE] = GO(FLUSHING, NULL), /* it has accepted the event, the answer may go */
        },
    /* The loop ends with the turn; what else that turn brings is late. */
    [TOOLCALL_DONE] =
        {
            [TOOLCALL_EV_CANCEL] = GO(DONE, NULL),
            [TOOLCALL_EV_OWNER_GONE] = GO(DONE, NULL),
            [TOOLCALL_EV_LOG_GONE] = GO(DONE, NULL),
        },
};

static const struct fsm_timeout timeouts[TOOLCALL_STATE__COUNT] = {
    [TOOLCALL_WAITING] = {toolcall_call_ms, TOOLCALL_EV_TIMEOUT},
    [TOOLCALL_JOURNALLING] = {toolcall_journal_ms, TOOLCALL_EV_TIMEOUT},
    [TOOLCALL_FLUSHING] = {toolcall_flush_ms, TOOLCALL_EV_TIMEOUT},
};

const struct fsm_def toolcall_fsm = {
    .name = "toolcall",
    .n_states = TOOLCALL_STATE__COUNT,
    .n_events = TOOLCALL_EVENT__COUNT,
    .state_names = state_names,
    .event_names = event_names,
    .cells = &cells[0][0],
    .timeouts = timeouts,
    .entered = toolcall_entered,
};
