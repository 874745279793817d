/* Reading the log from a role: one query after another until the last page, record by record. Nothing of it is kept
 * here. Embedded by value; any number may be under way. */
#ifndef SOMA_ACTOR_HISTORY_H
#define SOMA_ACTOR_HISTORY_H

#include "common/json.h"
#include "common/role.h"

struct history {
    struct role_ctx *ctx;
    int64_t ref; /* of the query under way; 0 = none */
    char by[8], key[NAME_SIZE];
    void (*each)(void *arg, const json_t *record); /* borrowed; it must not start or free this history */
    /* The end: 0, or -EIO when the log refused for another reason than that nothing is there. The history may be freed
     * or used again inside. */
    void (*done)(void *arg, int r);
    void *arg;
};

/* Starts at the first event of that index; `by` and `key` as in MSG_QUERY. -EPIPE when the log is gone. */
int history_start(struct history *h, struct role_ctx *ctx, const char *by, const char *key);

/* For the role's handlers of PAGE and REFUSED: whether it was this one's. */
bool history_on_page(struct history *h, const struct msg_page *page);
bool history_on_refused(struct history *h, const struct msg_refused *refused);

/* "completed" for "run.completed" and so on, of prefix "run." or "task."; NULL for a type that ends nothing. The text
 * is part of `type`. */
const char *history_terminal(const char *type, const char *prefix);

#endif
