/* The worker as its supervisor starts it, PID 1 of a PID namespace, between a run and an event log that are the test.
 */
#ifndef SOMA_TESTS_TOOLCALL_WORKER_H
#define SOMA_TESTS_TOOLCALL_WORKER_H

#include "common/json.h"
#include "common/spec.h"

#include <sys/types.h>

#define CALL_ID "c-01HZY3V4N5P6Q7R8S9T0ABCDEF"
#define TASK_ID "t-01HZY3V4N5P6Q7R8S9T0ABCDEF"
#define TOOL_UID 64998 /* nobody's on a Debian system */

struct worker {
    pid_t pid;
    pid_t host_pid;
    int owner, log; /* our ends; -1 = closed */
};

struct worker_plan {
    const struct spec *spec;
    const char *profile;
    int grants;                /* -1 = none; stays the caller's */
    int read_root, write_root; /* -1 = none; stand for the specification's first of each */
};

/* The defaults as they are for whoever runs the tests: under root, tools get TOOL_UID. */
void worker_spec(struct spec *spec);

/* A sealed memfd with these manifests, the text between the brackets of "tools". */
int worker_grants(const char *tools);

/* Forks it. Fails the test when hello does not come. */
void worker_start(struct worker *w, const struct worker_plan *plan);

/* Asks for `tool`; `more` is further members, or "". */
void worker_call(struct worker *w, const char *tool, const char *args, const char *more);

/* The next append, its stamps checked: a new reference. */
json_t *worker_event(struct worker *w);
void worker_accept(struct worker *w, const json_t *event);
/* call_done: a new reference. */
json_t *worker_answer(struct worker *w);

/* Waits for the end and returns the exit status, or 256 + the signal; releases everything. */
int worker_end(struct worker *w);

#endif
