#include "actor/history.h"

#include <string.h>

#include "common/err.h"
#include "common/log.h"

static int ask(struct history *h, int64_t after) {
    struct msg_query query = {.ref = role_ref(h->ctx), .by = h->by, .key = h->key, .after = after};
    h->ref = query.ref;
    int r = chan_send(h->ctx->wire[ROLE_EVENTLOG], MSG_QUERY, &query);
    return r < 0 ? err_up(r) : 0;
}

int history_start(struct history *h, struct role_ctx *ctx, const char *by, const char *key) {
    h->ctx = ctx;
    (void)snprintf(h->by, sizeof h->by, "%s", by);
    (void)snprintf(h->key, sizeof h->key, "%s", key);
    return ask(h, 0);
}

static void finish(struct history *h, int r) {
    h->ref = 0;
    h->done(h->arg, r);
}

bool history_on_page(struct history *h, const struct msg_page *page) {
    if (!h->ref || page->ref != h->ref)
        return false;
    auto_json json_t *events = NULL;
    if (json_parse(page->events.p, page->events.n, JSON_TEXT_MAX, &events) < 0)
        die(1, "a page of the log"); /* what cannot be read cannot be continued from: a successor tries again */
    size_t i;
    const json_t *record;
    json_array_foreach(events, i, record) h->each(h->arg, record);
    /* A page that does not move on would be asked for again for ever. */
    if (!page->more || json_array_size(events) == 0)
        finish(h, 0);
    else if (ask(h, page->next) < 0)
        finish(h, -EIO);
    return true;
}

bool history_on_refused(struct history *h, const struct msg_refused *refused) {
    if (!h->ref || refused->ref != h->ref)
        return false;
    bool nothing = strcmp(refused->error, "not_found") == 0;
    if (!nothing)
        log_warn("event=query_refused error=%s", refused->error);
    finish(h, nothing ? 0 : -EIO);
    return true;
}

const char *history_terminal(const char *type, const char *prefix) {
    static const char *const ends[] = {"completed", "failed", "timeout", "cancelled", "in_doubt", "rejected"};
    size_t n = strlen(prefix);
    if (!type || strncmp(type, prefix, n) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(type + n, ends[i]) == 0)
            return type + n;
    return NULL;
}
