/* The few members of a stored record that the gateway itself needs. Pages are otherwise passed on as text: nothing here
 * changes them, builds a tree of them or re-encodes them. */
#ifndef SOMA_GATEWAY_RECORD_H
#define SOMA_GATEWAY_RECORD_H

#include "common/ids.h"
#include "common/msg.h"

struct record {
    int64_t seq;
    char type[41]; /* absent members are "" */
    char run[ID_SIZE], task[ID_SIZE];
    char actor[NAME_SIZE];
    char owner[NAME_SIZE]; /* data.owner, of run.accepted */
    bool detached;         /* data.detached, of run.accepted */
};

/* Calls `each` for every record of a page's array; non-zero ends the walk and is returned. */
int record_each(struct json_span events, int (*each)(void *arg, const struct record *record), void *arg);

/* The last word of a type that ends a run ("completed") or a task; NULL for every other type. */
const char *record_run_end(const char *type);
const char *record_task_end(const char *type);

#endif
