/* The kill matrix: a run and an ask, each brought to a point and held there, one process of the tree killed, and the
 * rest watched. */
#ifndef SOMA_TESTS_TREE_KILL_H
#define SOMA_TESTS_TREE_KILL_H

#include "tests/tree/tools.h"

#define POINTS(X)                                                                                                      \
    X(ACCEPTED, "accepted")         /* run.accepted, task.accepted is on disk, and nothing more has happened */        \
    X(UNWRITTEN, "unwritten")       /* tool.started, llm.started is not yet on disk */                                 \
    X(WORKING, "working")           /* the tool, the model is at work */                                               \
    X(TOOL, "tool")                 /* of an ask: its run's tool is at work */                                         \
    X(UNJOURNALLED, "unjournalled") /* the result is on its way, not in the log */                                     \
    X(UNENDED, "unended")           /* all is done, the terminal event is not written */                               \
    X(ENDED, "ended")               /* it is, and nobody has been told */

enum point {
#define X(id, name) POINT_##id,
    POINTS(X)
#undef X
        POINT__COUNT
};

struct world {
    struct tree t;
    struct client c;
    const char *kind; /* "run" or "task" */
    char id[32];
    struct proc held[2]; /* frozen now */
    size_t n_held;
    int64_t before; /* the log's last number before it all */
};

/* Brings it there. What has to be frozen for that is in w->held. */
void point_open_run(struct world *w, enum point point);
void point_open_ask(struct world *w, enum point point);
void point_let_go(struct world *w);
/* Opens the gate of the tool. */
int point_open_gate(struct world *w);

#endif
