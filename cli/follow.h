/* Work in the foreground: start it, follow its events to the last one, cancel it on ^C, take it back when the gateway
 * was lost in the middle. The same for a run and for a task. */
#ifndef SOMA_CLI_FOLLOW_H
#define SOMA_CLI_FOLLOW_H

#include "cli/progress.h"
#include "cli/session.h"
#include "common/ids.h"

struct follow_kind {
    const char *name;   /* "run": index in the log, member of records and answers */
    const char *start;  /* method that starts one */
    const char *own;    /* method that takes it back */
    const char *cancel; /* method that ends it; NULL: it ends when the connection does */
    const char *accepted;
};
extern const struct follow_kind follow_run, follow_task;

struct follow {
    const struct follow_kind *kind;
    struct cli *cli;
    struct session *session;
    struct progress *progress;
    char id[64];        /* set when it was accepted */
    char corr[ID_SIZE]; /* finds it when the answer to the start was lost */
    int64_t after;      /* last event seen */
    int64_t cancel_id;  /* request under way; 0 = none */
    int interrupts;     /* how often the person asked us to end */
    int signo;          /* the last one */
};

/* Starts the work; takes `params`. An exit code; failures are said. f->id is set. */
int follow_start(struct follow *f, json_t *params);

/* Follows until its last event; *out is that record, a new reference. An exit code for the cases without one:
 * interrupted twice, or the tree lost for good; these are said. */
int follow_to_end(struct follow *f, json_t **out);

/* "completed" of "run.completed", or NULL when the record does not end a piece of work of this kind. */
const char *follow_ends(const struct follow_kind *kind, const json_t *record);

#endif
