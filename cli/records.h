/* Reading the event log: through the gateway when a supervisor runs, else by `soma-eventlog --read`, which takes the
 * same lock and prints records as JSON lines. The callers see no difference. */
#ifndef SOMA_CLI_RECORDS_H
#define SOMA_CLI_RECORDS_H

#include "cli/session.h"

struct query {
    const char *by;  /* all, run, actor, task, corr */
    const char *key; /* NULL with all */
    int64_t after;   /* only records after this number */
    int64_t tail;    /* only the last so many; 0 = all */
};

/* Takes one record, borrowed; non-zero, an exit code, ends the reading and is passed on. */
typedef int (*record_fn)(void *arg, json_t *record);

/* Calls `each` for all records there are now, in order. An exit code; failures are said on stderr. With `live`, a
 * session that is open is left there for more (its rpc.fd is -1 when the log was read without a supervisor). */
int records_each(const struct cli *cli, const struct query *q, record_fn each, void *arg, struct session *live);

/* Waits for records after `q->after`, for ever. */
int records_follow(const struct cli *cli, struct session *live, const struct query *q, record_fn each, void *arg);

/* Everything of one id, in order: of a run or of a task with the runs it led to, or of a correlation id. *out is a new
 * array. EXIT_NOT_FOUND, said, when there is nothing. */
int records_of(const struct cli *cli, const char *id, json_t **out);

/* Reaches the log: opens `s`, or, when nobody listens, calls `each` for every line of `soma-eventlog --read STATE_DIR
 * ARG...` and sets *done. A tree that is just ending or starting is waited for. An exit code; failures are said. */
int records_reach(const struct cli *cli, struct session *s, const char *const args[], record_fn each, void *arg,
                  bool *done);

/* The reader alone. Positive is an exit code; -EBUSY when somebody else holds the log, before `each` was called. */
int records_offline(const struct cli *cli, const char *const args[], record_fn each, void *arg);

#endif
