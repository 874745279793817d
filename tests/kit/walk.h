/* A walk over every cell of a state machine's table. The test writes down the cells that do something; every other pair
 * of state and event must be refused without a trace. The machine's fsm.c is linked with actions that only record:
 * WALK_ACTION makes one, and the machine's `entered` calls walk_entered(). */
#ifndef SOMA_TESTS_KIT_WALK_H
#define SOMA_TESTS_KIT_WALK_H

#include "common/fsm.h"

#include <stddef.h>

struct walk_row {
    unsigned from, event, to;
    const char *action; /* the recorder's label; NULL = none is called */
};

struct walk_timeout {
    unsigned state;
    int64_t ms; /* what the state's function returns here */
    unsigned event;
};

struct walk {
    const struct fsm_def *def;
    unsigned n_states, n_events; /* by the enums; the definition must say the same */
    const struct walk_row *rows;
    size_t n_rows;
};
#define WALK(machine, table, states, events)                                                                           \
    {                                                                                                                  \
        .def = (machine), .n_states = (states), .n_events = (events), .rows = (table),                                 \
        .n_rows = sizeof(table) / sizeof *(table),                                                                     \
    }

/* Defines the action `function`, which records that it was called as `label`. */
#define WALK_ACTION(function, label)                                                                                   \
    int function(void *self, const void *arg) {                                                                        \
        return walk_acted((label), self, arg);                                                                         \
    }
int walk_acted(const char *label, const void *self, const void *arg);
void walk_entered(const void *self, unsigned state);

/* The row of that cell, NULL = the cell must be empty. */
const struct walk_row *walk_find(const struct walk *walk, unsigned state, unsigned event);
/* Whether some event leads out of that state, by the rows. */
bool walk_leaves(const struct walk *walk, unsigned state);

/* The following fail the test. */

/* Steps every state with every event: result, next state, the one action with its `self` and argument, and that a new
 * state, and no other, was announced once. Includes walk_rows(). */
void walk_cells(const struct walk *walk);
/* Every row stands for a cell of the table, and no two for the same one: else a row would be checked by nobody. */
void walk_rows(const struct walk *walk);
/* Exactly these states have a timeout, and each raises an event that its state takes. */
void walk_timeouts(const struct walk *walk, const struct walk_timeout *wanted, size_t n);
/* Actions whose label begins so are called on the way out of this one state only, and at least once. */
void walk_acts_only_from(const struct walk *walk, const char *prefix, unsigned state);

#endif
