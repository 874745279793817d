/* State machines: an enum of states, an enum of events, a const table, one step function. Only fsm_step() assigns the
 * state; an empty cell is "unexpected": logged with both names and answered -EPROTO. A state may have a timeout, which
 * is armed when the state is entered and cannot fire after it was left. */
#ifndef SOMA_COMMON_FSM_H
#define SOMA_COMMON_FSM_H

#include "common/loop.h"

#include <stdbool.h>
#include <stdint.h>

#define FSM_POSTED_MAX 8u /* events raised by actions of one step */

struct fsm_cell {
    bool set;
    uint8_t to;
    int (*act)(void *self, const void *arg); /* may be NULL; runs after the state has changed; negative = role error */
};
#define FSM_GO(state, action)                                                                                          \
    { .set = true, .to = (state), .act = (action) }

struct fsm_timeout {
    int64_t (*ms)(void *self); /* asked when the state is entered; negative = none */
    unsigned event;
};

struct fsm_def {
    const char *name;
    unsigned n_states, n_events;
    const char *const *state_names, *const *event_names;
    const struct fsm_cell *cells;                /* [state * n_events + event] */
    const struct fsm_timeout *timeouts;          /* [state], or NULL; ms == NULL = none */
    void (*entered)(void *self, unsigned state); /* a new state was entered: titles; may be NULL */
};

struct fsm {
    const struct fsm_def *def;
    struct loop *loop; /* NULL in tests: no timers */
    void *self;
    unsigned state;
    struct loop_timer timer;
    bool stepping;
    unsigned posted[FSM_POSTED_MAX], n_posted;
};

void fsm_init(struct fsm *fsm, const struct fsm_def *def, struct loop *loop, void *self, unsigned state);
void fsm_deinit(struct fsm *fsm);

/* Feeds one event. From inside an action use fsm_post(). Returns the action's result, or -EPROTO. */
int fsm_step(struct fsm *fsm, unsigned event, const void *arg);

/* Raises an event from inside an action: taken, without argument, when the running step is over. */
void fsm_post(struct fsm *fsm, unsigned event);

const char *fsm_state_name(const struct fsm *fsm);

#endif
