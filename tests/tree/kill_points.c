/* How the points are reached, without a race: whoever would go beyond is frozen first, and the event log, which
 * everybody has to ask, is the valve. Where a role shows no title that tells one point from the next, it and the log
 * take turns: never both run, so the role cannot pass what needs the log's word. */
#include "tests/tree/kill.h"

#include <string.h>

#define TURNS_MAX 400

static void hold(struct world *w, struct proc p) {
    proc_freeze(p);
    w->held[w->n_held++] = p;
}

static void let_go_of(struct world *w, struct proc p) {
    for (size_t i = 0; i < w->n_held; i++)
        if (proc_same(w->held[i], p))
            w->held[i] = w->held[--w->n_held];
    proc_thaw(p);
}

void point_let_go(struct world *w) {
    while (w->n_held)
        proc_thaw(w->held[--w->n_held]);
}

int point_open_gate(struct world *w) {
    return gate_open(&w->t, "marks/gate");
}

static size_t logged(struct world *w, const char *type) {
    auto_json json_t *events = tree_events_after(&w->t, w->before);
    return events_count(events, type);
}

static struct proc event_log(struct world *w) {
    return tree_await(&w->t, "eventlog", NULL);
}

/* ---- a run ---- */

static void open_unended_run(struct world *w, struct proc run) {
    hold(w, run);
    auto_gate int gate = point_open_gate(w);
    WAIT(logged(w, "tool.succeeded"));
    WAIT(!tree_count(&w->t, "toolcall"));
}

static void open_ended(struct world *w, const char *type) {
    hold(w, w->c.proc);
    auto_gate int gate = point_open_gate(w);
    WAIT(logged(w, type));
}

void point_open_run(struct world *w, enum point point) {
    struct proc log = event_log(w);
    proc_freeze(log);
    client_start(&w->t, &w->c, WORDS("run", "plan.json"));
    struct proc run = tree_hold_accepted(&w->t, w->id);
    w->held[w->n_held++] = run;
    if (point == POINT_ACCEPTED)
        return;
    hold(w, log);
    let_go_of(w, run);
    (void)tree_await_state(&w->t, "toolcall", NULL, "waiting");
    if (point == POINT_UNWRITTEN)
        return;
    let_go_of(w, log);
    WAIT(tree_lines(&w->t, "marks/m") == 1);
    if (point == POINT_UNJOURNALLED) {
        hold(w, log);
        auto_gate int gate = point_open_gate(w);
        (void)tree_await_state(&w->t, "toolcall", NULL, "journalling");
    } else if (point == POINT_UNENDED) {
        open_unended_run(w, run);
    } else if (point == POINT_ENDED) {
        open_ended(w, "run.completed");
    }
}

/* ---- an ask ---- */

/* The log and the actor take turns until the task is accepted; then the actor stays frozen. */
static struct proc hold_accepted_task(struct world *w) {
    struct proc log = event_log(w), actor = tree_await_state(&w->t, "actor", "helper", "idle");
    proc_freeze(log);
    client_start(&w->t, &w->c, WORDS("ask", "helper", "please"));
    for (int turn = 0;; turn++) {
        CHECK(turn < TURNS_MAX, "the task is never accepted");
        poll_pause();
        proc_freeze(actor);
        proc_thaw(log);
        auto_json json_t *events = tree_events_after(&w->t, w->before);
        const json_t *accepted = events_find(events, "task.accepted");
        if (accepted) {
            CHECK(!events_find(events, "llm.started"));
            (void)snprintf(w->id, sizeof w->id, "%s", json_str(accepted, "task"));
            w->held[w->n_held++] = actor;
            return actor;
        }
        proc_freeze(log);
        proc_thaw(actor);
    }
}

/* From the first model call, held at work, to the tool at its gate. */
static void open_tool(struct world *w, struct proc model) {
    let_go_of(w, model);
    WAIT(tree_lines(&w->t, "marks/m") == 1);
}

/* From there to the second model call, held at work. */
static struct proc open_second_model(struct world *w) {
    auto_gate int gate = point_open_gate(w);
    WAIT(logged(w, "run.completed"));
    struct proc model = tree_await_state(&w->t, "llmcall", NULL, "calling");
    hold(w, model);
    return model;
}

static void open_late(struct world *w, enum point point, struct proc actor) {
    struct proc model = open_second_model(w);
    hold(w, point == POINT_UNENDED ? actor : w->c.proc);
    let_go_of(w, model);
    WAIT(logged(w, point == POINT_UNENDED ? "llm.succeeded" : "task.completed") == (point == POINT_UNENDED ? 2 : 1));
    WAIT(!tree_count(&w->t, "llmcall"));
}

void point_open_ask(struct world *w, enum point point) {
    struct proc actor = hold_accepted_task(w), log = event_log(w);
    if (point == POINT_ACCEPTED)
        return;
    hold(w, log);
    let_go_of(w, actor);
    (void)tree_await_state(&w->t, "llmcall", NULL, "waiting");
    if (point == POINT_UNWRITTEN)
        return;
    let_go_of(w, log);
    struct proc model = tree_await_state(&w->t, "llmcall", NULL, "calling");
    hold(w, model);
    if (point == POINT_WORKING)
        return;
    if (point == POINT_UNJOURNALLED) {
        hold(w, log);
        let_go_of(w, model);
        (void)tree_await_state(&w->t, "llmcall", NULL, "reporting");
        return;
    }
    open_tool(w, model);
    if (point != POINT_TOOL)
        open_late(w, point, actor);
}
