/* The worker as its supervisor starts it, between an owner and an event log that are the test. Everything the worker
 * says is kept, to be searched for what must not be there. */
#ifndef SOMA_TESTS_LLMCALL_WORKER_H
#define SOMA_TESTS_LLMCALL_WORKER_H

#include "common/json.h"
#include "common/spec.h"

#include <sys/types.h>

#define CALL_ID "c-01HZY3V4N5P6Q7R8S9T0ABCDEF"
#define TASK_ID "t-01HZY3V4N5P6Q7R8S9T0ABCDEF"

struct worker {
    pid_t pid;
    int owner, log; /* our ends; -1 = closed */
    char *heard;    /* every frame from it, one after the other */
    size_t heard_n;
};

/* Forks the worker under `spec`, whose first provider it is told to use; `secret` is -1 or the descriptor it is given
 * (and stays the caller's). Fails the test when hello does not come. */
void worker_start(struct worker *w, const struct spec *spec, int secret);

/* The next frame from `fd`: a new reference; NULL at the end. */
json_t *worker_hear(struct worker *w, int fd);

/* Asks; `timeout_ms` as in llm_request. */
void worker_ask(struct worker *w, const char *messages, int64_t timeout_ms);

/* Takes the append, checks its stamps and answers accepted: a new reference to it. */
json_t *worker_journal(struct worker *w);

void worker_shut(int *fd);

/* Waits for the end and returns the exit status, or 256 + the signal; releases everything. */
int worker_end(struct worker *w);

#endif
