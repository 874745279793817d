/* Waiting has no timeout: the call lives as long as its owner keeps the link, and ends with it. Reporting has none
 * either: the log answers, or its channel ends, or whoever cancels us kills us after cancel_timeout. */
#include "llmcall/fsm.h"

static const char *const state_names[] = {
#define X(id, name) [LLMCALL_##id] = name,
    LLMCALL_STATES(X)
#undef X
};

static const char *const event_names[] = {
#define X(id, name) [LLMCALL_EV_##id] = name,
    LLMCALL_EVENTS(X)
#undef X
};

#define GO(state, action) FSM_GO(LLMCALL_##state, action)

static const struct fsm_cell cells[LLMCALL_STATE__COUNT][LLMCALL_EVENT__COUNT] = {
    [LLMCALL_WAITING] =
        {
            [LLMCALL_EV_REQUEST] = GO(CALLING, llmcall_begin),
            [LLMCALL_EV_CANCEL] = GO(REPORTING, llmcall_cancelled),
            [LLMCALL_EV_OWNER_GONE] = GO(DONE, llmcall_leave), /* nothing was asked, nothing can be asked any more */
            [LLMCALL_EV_LOG_GONE] = GO(DONE, llmcall_leave_untold),
        },
    [LLMCALL_CALLING] =
        {
            [LLMCALL_EV_OUTCOME] = GO(REPORTING, llmcall_report),
            [LLMCALL_EV_DEADLINE] = GO(REPORTING, llmcall_expired),
            [LLMCALL_EV_CANCEL] = GO(REPORTING, llmcall_cancelled),
            [LLMCALL_EV_OWNER_GONE] = GO(CALLING, NULL), /* gone, not unwanted: the result is journalled for the next */
            [LLMCALL_EV_LOG_GONE] = GO(DONE, llmcall_leave_untold),
        },
    [LLMCALL_REPORTING] =
        {
            [LLMCALL_EV_CANCEL] = GO(REPORTING, NULL), /* too late to change the outcome, which answers it */
            [LLMCALL_EV_ACCEPTED] = GO(FLUSHING, llmcall_answer),
            [LLMCALL_EV_REFUSED] = GO(FLUSHING, llmcall_answer_refused),
            [LLMCALL_EV_OWNER_GONE] = GO(REPORTING, NULL),
            [LLMCALL_EV_LOG_GONE] = GO(DONE, llmcall_leave_untold),
        },
    [LLMCALL_FLUSHING] =
        {
            [LLMCALL_EV_DEADLINE] = GO(DONE, llmcall_leave), /* an owner that does not read finds it in the log */
            [LLMCALL_EV_CANCEL] = GO(FLUSHING, NULL),
            [LLMCALL_EV_FLUSHED] = GO(DONE, llmcall_leave),
            [LLMCALL_EV_OWNER_GONE] = GO(DONE, llmcall_leave),
            [LLMCALL_EV_LOG_GONE] = GO(FLUSHING, NULL),
        },
    /* The loop ends with the turn; what else that turn brings is late. */
    [LLMCALL_DONE] =
        {
            [LLMCALL_EV_CANCEL] = GO(DONE, NULL),
            [LLMCALL_EV_OWNER_GONE] = GO(DONE, NULL),
            [LLMCALL_EV_LOG_GONE] = GO(DONE, NULL),
        },
};

static const struct fsm_timeout timeouts[LLMCALL_STATE__COUNT] = {
    [LLMCALL_CALLING] = {llmcall_deadline_ms, LLMCALL_EV_DEADLINE},
    [LLMCALL_FLUSHING] = {llmcall_flush_ms, LLMCALL_EV_DEADLINE},
};

const struct fsm_def llmcall_fsm = {
    .name = "llmcall",
    .n_states = LLMCALL_STATE__COUNT,
    .n_events = LLMCALL_EVENT__COUNT,
    .state_names = state_names,
    .event_names = event_names,
    .cells = &cells[0][0],
    .timeouts = timeouts,
    .entered = llmcall_entered,
};
