/* Read a row as "in this state, on this event: go there and do that". An event that can come late and changes nothing
 * any more has a cell without an action; everything else that is not listed is a defect of ours or a lie of a peer's.
 */
#include "run/fsm.h"

#define GO(state, action) FSM_GO(RUN_##state, action)
#define STAY(state) FSM_GO(RUN_##state, NULL)

/* What ends a run whose steps are under way, in whichever of the three states it is. */
#define CUT_SHORT                                                                                                      \
    [EV_CANCEL] = GO(ENDING, act_end_cancelled), [EV_DEADLINE] = GO(ENDING, act_end_deadline),                         \
    [EV_LOG_REFUSED] = GO(ENDING, act_end_refused), [EV_ACCEPT_REFUSED] = GO(ENDING, act_end_unaccepted),              \
    [EV_STOP] = GO(STOPPING, act_stop_children)

/* Whatever the terminal event says. */
#define ON_DISK                                                                                                        \
    [EV_IS_COMPLETED] = GO(COMPLETED, act_announce), [EV_IS_FAILED] = GO(FAILED, act_announce),                        \
    [EV_IS_TIMEOUT] = GO(TIMEOUT, act_announce), [EV_IS_CANCELLED] = GO(CANCELLED, act_announce)

/* Over: the last message to the owner is on its way. */
#define OVER(state)                                                                                                    \
    [RUN_##state] = {                                                                                                  \
        [EV_FLUSHED] = GO(state, act_leave), [EV_GUARD] = GO(state, act_leave),                                        \
        [EV_CANCEL] = STAY(state),           [EV_STOP] = STAY(state),                                                  \
        [EV_DURABLE] = STAY(state),          [EV_LOG_REFUSED] = STAY(state),                                           \
        [EV_END_REFUSED] = STAY(state),                                                                                \
    }

static const struct fsm_cell cells[RUN_STATE__COUNT][EV__COUNT] =
    {
        [RUN_STARTING] =
            {
                [EV_PLAN_GOOD] = GO(ACCEPTED, act_accept),
                [EV_PLAN_BAD] = GO(REJECTED, act_reject),
                [EV_CANCEL] = GO(REJECTED, act_reject),
                [EV_STOP] = GO(STOPPED, act_leave), /* nothing is known of it yet */
                [EV_RECOVER] = GO(RECOVERING, act_end_calls),
            },
        /* Nothing may be appended before the log has said that this id is ours: what ends the run meanwhile is held. */
        [RUN_ACCEPTED] =
            {
                [EV_NUMBERED] = GO(EXECUTING, act_begin),
                [EV_ACCEPT_REFUSED] = GO(REJECTED, act_reject),
                [EV_CANCEL] = GO(ACCEPTED, act_hold_cancel),
                [EV_STOP] = GO(ACCEPTED, act_hold_stop),
            },
        [RUN_EXECUTING] =
            {
                [EV_NEXT] = GO(EXECUTING, act_start_step),
                [EV_BOUND] = GO(EXECUTING, act_try_go),
                [EV_DURABLE] = GO(EXECUTING, act_try_go),
                [EV_GO] = GO(WAITING_TOOL, act_send_call),
                [EV_CALL_BAD] = GO(EXECUTING, act_take_failure), /* the scope could not be made */
                [EV_CALL_LOST] = GO(EXECUTING, act_lose_call),
                [EV_CHILD_DOWN] = STAY(EXECUTING),
                [EV_RETRY] = GO(WAITING_RETRY, act_await_retry),
                [EV_STEP_FAILED] = GO(ENDING, act_end),
                [EV_FINISHED] = GO(ENDING, act_end),
                CUT_SHORT,
            },
        [RUN_WAITING_TOOL] =
            {
                [EV_CALL_OK] = GO(EXECUTING, act_take_output),
                [EV_CALL_BAD] = GO(EXECUTING, act_take_failure),
                [EV_CALL_LOST] = GO(EXECUTING, act_lose_call),
                [EV_GUARD] = GO(WAITING_TOOL, act_kill_call),
                [EV_CHILD_DOWN] = STAY(WAITING_TOOL),
                [EV_DURABLE] = STAY(WAITING_TOOL),
                CUT_SHORT,
            },
        [RUN_WAITING_RETRY] =
            {
                [EV_RETRY_DUE] = GO(EXECUTING, act_start_attempt),
                [EV_CHILD_DOWN] = STAY(WAITING_RETRY),
                [EV_DURABLE] = STAY(WAITING_RETRY),
                CUT_SHORT,
            },
        [RUN_ENDING] =
            {
                [EV_CALL_OK] = GO(ENDING, act_late_answer),
                [EV_CALL_BAD] = GO(ENDING, act_late_answer),
                [EV_CALL_LOST] = GO(ENDING, act_check_quiet),
                [EV_CHILD_DOWN] = GO(ENDING, act_check_quiet),
                [EV_QUIET] = GO(JOURNALLING, act_append_end),
                [EV_NOT_ACCEPTED] = GO(REJECTED, act_reject),
                [EV_ACCEPT_REFUSED] = STAY(ENDING),
                [EV_GUARD] = GO(ENDING, act_kill_all),
                [EV_BOUND] = STAY(ENDING),
                [EV_DURABLE] = STAY(ENDING),
                [EV_CANCEL] = STAY(ENDING),
                [EV_STOP] = STAY(ENDING),
                [EV_LOG_REFUSED] = STAY(ENDING),
            },
        [RUN_JOURNALLING] =
            {
                ON_DISK,
                [EV_END_REFUSED] = GO(STOPPED, act_announce_unlogged),
                [EV_ACCEPT_REFUSED] = GO(REJECTED, act_reject),
                [EV_DURABLE] = STAY(JOURNALLING),
                [EV_CANCEL] = STAY(JOURNALLING),
                [EV_STOP] = STAY(JOURNALLING),
                [EV_LOG_REFUSED] = STAY(JOURNALLING),
            },
        [RUN_STOPPING] =
            {
                [EV_CALL_LOST] = GO(STOPPING, act_check_quiet),
                [EV_CHILD_DOWN] = GO(STOPPING, act_check_quiet),
                [EV_QUIET] = GO(STOPPED, act_leave_open),
                [EV_GUARD] = GO(STOPPING, act_kill_all),
                [EV_CALL_OK] = GO(STOPPING, act_late_answer),
                [EV_CALL_BAD] = GO(STOPPING, act_late_answer),
                [EV_BOUND] = STAY(STOPPING),
                [EV_NOT_ACCEPTED] = GO(STOPPED, act_leave),
                [EV_ACCEPT_REFUSED] = STAY(STOPPING),
                [EV_DURABLE] = STAY(STOPPING),
                [EV_CANCEL] = STAY(STOPPING),
                [EV_STOP] = STAY(STOPPING),
                [EV_LOG_REFUSED] = STAY(STOPPING),
            },
        [RUN_RECOVERING] =
            {
                [EV_CALLS_ENDED] = GO(READING, act_read_log),
                [EV_CANCEL] = STAY(RECOVERING), /* it ends as soon as it can, and says how */
                [EV_STOP] = GO(STOPPED, act_leave_open),
            },
        [RUN_READING] =
            {
                [EV_READ_ON] = GO(READING, act_read_log),
                [EV_NOT_ACCEPTED] = GO(REJECTED, act_reject),
                [EV_INTERRUPTED] = GO(ENDING, act_end),
                ON_DISK,
                [EV_CANCEL] = STAY(READING),
                [EV_STOP] = GO(STOPPED, act_leave_open),
            },
        OVER(COMPLETED),
        OVER(FAILED),
        OVER(TIMEOUT),
        OVER(CANCELLED),
        OVER(REJECTED),
        [RUN_STOPPED] =
            {
                [EV_FLUSHED] = GO(STOPPED, act_leave_open),
                [EV_GUARD] = GO(STOPPED, act_leave_open),
                [EV_CANCEL] = STAY(STOPPED),
                [EV_STOP] = STAY(STOPPED),
                [EV_DURABLE] = STAY(STOPPED),
                [EV_LOG_REFUSED] = STAY(STOPPED),
                [EV_END_REFUSED] = STAY(STOPPED),
            },
};

static const struct fsm_timeout timeouts[RUN_STATE__COUNT] = {
    [RUN_WAITING_TOOL] = {ms_call, EV_GUARD}, [RUN_WAITING_RETRY] = {ms_retry, EV_RETRY_DUE},
    [RUN_STOPPED] = {ms_flush, EV_GUARD},     [RUN_ENDING] = {ms_ending, EV_GUARD},
    [RUN_STOPPING] = {ms_ending, EV_GUARD},   [RUN_COMPLETED] = {ms_flush, EV_GUARD},
    [RUN_FAILED] = {ms_flush, EV_GUARD},      [RUN_TIMEOUT] = {ms_flush, EV_GUARD},
    [RUN_CANCELLED] = {ms_flush, EV_GUARD},   [RUN_REJECTED] = {ms_flush, EV_GUARD},
};

static const char *const state_names[RUN_STATE__COUNT] = {
#define X(id, name) [RUN_##id] = name,
    RUN_STATES(X)
#undef X
};

static const char *const event_names[EV__COUNT] = {
#define X(id, name) [EV_##id] = name,
    RUN_EVENTS(X)
#undef X
};

const struct fsm_def run_fsm = {
    .name = "run",
    .n_states = RUN_STATE__COUNT,
    .n_events = EV__COUNT,
    .state_names = state_names,
    .event_names = event_names,
    .cells = &cells[0][0],
    .timeouts = timeouts,
    .entered = run_entered,
};
