/* What a foreground command says on stderr while it waits: one line per change; on a terminal a step's line is
 * rewritten when the step is over. Silent with --json, whose stderr is for one error object. */
#ifndef SOMA_CLI_PROGRESS_H
#define SOMA_CLI_PROGRESS_H

#include "cli/cli.h"

struct progress {
    bool quiet, terminal, colour;
    bool open;          /* a line without its end is on the terminal */
    int64_t started_ns; /* of the first event */
    json_t *since;      /* step or call -> ns of its start */
};

void progress_init(struct progress *p, const struct cli *cli);
void progress_deinit(struct progress *p);
#define auto_progress __attribute__((cleanup(progress_deinit)))

/* Shows one event, if people care for its type. */
void progress_event(struct progress *p, const json_t *record);
/* A line of our own. */
void progress_note(struct progress *p, const char *text);
/* Ends a line that is still open. */
void progress_end(struct progress *p);

#endif
