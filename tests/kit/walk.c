/* One cell is one machine: made in the state, fed the event, compared, forgotten. Without a loop no timer is armed. */
#include "tests/kit/walk.h"

#include "common/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct {
    const char *action; /* the last one called */
    const void *self, *arg;
    unsigned acted, entered; /* how often */
    unsigned state;          /* announced last */
} seen;

int walk_acted(const char *label, const void *self, const void *arg) {
    seen.action = label;
    seen.self = self;
    seen.arg = arg;
    seen.acted++;
    return 0;
}

void walk_entered(const void *self, unsigned state) {
    seen.self = self;
    seen.state = state;
    seen.entered++;
}

const struct walk_row *walk_find(const struct walk *walk, unsigned state, unsigned event) {
    for (size_t i = 0; i < walk->n_rows; i++)
        if (walk->rows[i].from == state && walk->rows[i].event == event)
            return &walk->rows[i];
    return NULL;
}

bool walk_leaves(const struct walk *walk, unsigned state) {
    for (size_t i = 0; i < walk->n_rows; i++)
        if (walk->rows[i].from == state && walk->rows[i].to != state)
            return true;
    return false;
}

/* Whether what was seen is what the row says; NULL = nothing at all. */
static bool as_wanted(const struct walk_row *row, const void *self, const void *arg) {
    bool acts = row && row->action, moves = row && row->to != row->from;
    if (seen.acted != acts || seen.entered != moves)
        return false;
    if (acts && (strcmp(seen.action, row->action) != 0 || seen.arg != arg))
        return false;
    if (moves && seen.state != row->to)
        return false;
    return seen.self == (acts || moves ? self : NULL);
}

static void check_cell(const struct walk *walk, unsigned state, unsigned event) {
    const struct fsm_def *def = walk->def;
    const struct walk_row *row = walk_find(walk, state, event);
    unsigned to = row ? row->to : state;
    int self = 0, arg = 0;
    struct fsm fsm;
    fsm_init(&fsm, def, NULL, &self, state);
    memset(&seen, 0, sizeof seen);
    int r = fsm_step(&fsm, event, &arg);
    if (r != (row ? 0 : -EPROTO) || fsm.state != to || !as_wanted(row, &self, &arg))
        fail_msg("%s: %s on %s: %d, to %s, %u actions (%s), %u states announced; wanted %s %s, action %s", def->name,
                 def->state_names[state], def->event_names[event], r, fsm_state_name(&fsm), seen.acted,
                 seen.action ? seen.action : "-", seen.entered, row ? "to" : "a refusal in", def->state_names[to],
                 row && row->action ? row->action : "-");
    fsm_deinit(&fsm);
}

void walk_cells(const struct walk *walk) {
    walk_rows(walk);
    for (unsigned state = 0; state < walk->n_states; state++)
        for (unsigned event = 0; event < walk->n_events; event++)
            check_cell(walk, state, event);
}

void walk_rows(const struct walk *walk) {
    assert_int_equal(walk->def->n_states, walk->n_states);
    assert_int_equal(walk->def->n_events, walk->n_events);
    assert_true(walk->n_rows > 0);
    for (size_t i = 0; i < walk->n_rows; i++) {
        const struct walk_row *row = &walk->rows[i];
        assert_true(row->from < walk->n_states && row->to < walk->n_states && row->event < walk->n_events);
        if (walk_find(walk, row->from, row->event) != row)
            fail_msg("%s: two rows for %s on %s", walk->def->name, walk->def->state_names[row->from],
                     walk->def->event_names[row->event]);
    }
}

static const struct walk_timeout *find_timeout(const struct walk_timeout *wanted, size_t n, unsigned state) {
    for (size_t i = 0; i < n; i++)
        if (wanted[i].state == state)
            return &wanted[i];
    return NULL;
}

void walk_timeouts(const struct walk *walk, const struct walk_timeout *wanted, size_t n) {
    const struct fsm_timeout *all = walk->def->timeouts;
    size_t found = 0;
    assert_non_null(all);
    for (unsigned state = 0; state < walk->n_states; state++) {
        const struct walk_timeout *row = find_timeout(wanted, n, state);
        if ((all[state].ms != NULL) != (row != NULL))
            fail_msg("%s: %s has %s timeout", walk->def->name, walk->def->state_names[state], row ? "no" : "a");
        if (!row)
            continue;
        assert_int_equal(all[state].ms(NULL), row->ms);
        assert_int_equal(all[state].event, row->event);
        assert_non_null(walk_find(walk, state, row->event));
        found++;
    }
    assert_int_equal(found, n); /* no row twice */
}

void walk_acts_only_from(const struct walk *walk, const char *prefix, unsigned state) {
    size_t found = 0;
    for (size_t i = 0; i < walk->n_rows; i++) {
        const char *action = walk->rows[i].action;
        if (!action || strncmp(action, prefix, strlen(prefix)) != 0)
            continue;
        assert_int_equal(walk->rows[i].from, state);
        found++;
    }
    assert_true(found > 0);
}
