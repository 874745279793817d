/* What runs and tasks have in common: the list, whose they are, and the end of a connection. */
#include "gateway/work.h"

#include "common/err.h"

#include <string.h>

struct work *work_new(struct gateway *gw, struct client *client, const char *id) {
    struct work *work = calloc(1, sizeof *work);
    if (!work) {
        (void)err_raise(-ENOMEM, "out of memory");
        return NULL;
    }
    *work = (struct work){.next = gw->works, .gw = gw, .client = client};
    (void)snprintf(work->id, sizeof work->id, "%s", id);
    gw->works = work;
    return work;
}

void work_free(struct work *work) {
    struct gateway *gw = work->gw;
    for (struct work **at = &gw->works; *at; at = &(*at)->next)
        if (*at == work) {
            *at = work->next;
            break;
        }
    (void)work_take_request(work);
    if (work->session)
        work->session->user = NULL; /* it ends by itself; nobody asks any more */
    loop_timer_clear(gw->ctx->loop, &work->patience);
    free(work->plan);
    free(work->corr);
    free(work);
    gateway_maybe_idle(gw);
}

struct work *work_find(struct gateway *gw, const char *id) {
    struct work *work = gw->works;
    while (work && strcmp(work->id, id) != 0)
        work = work->next;
    return work;
}

void work_wait(struct work *work, struct request *req) {
    work->waiting = req;
    req->work = work;
}

struct request *work_take_request(struct work *work) {
    struct request *req = work->waiting;
    if (req)
        req->work = NULL;
    work->waiting = NULL;
    return req;
}

/* Frees the work where there is nothing to wait for. */
static void cancel(struct work *work, const char *reason) {
    if (work->task)
        work_cancel_task(work);
    else
        work_cancel_run(work, reason);
}

void work_unanswered(struct work *work) {
    (void)work_take_request(work);
    if (!work->accepted && work->client) { /* the asker was told that it failed: it must not go on */
        work->client = NULL;
        work->detached = false;
        cancel(work, "deadline");
    }
}

void works_abandon(struct client *client) {
    struct work *next;
    for (struct work *work = client->gw->works; work; work = next) {
        next = work->next;
        if (work->client != client)
            continue;
        work->client = NULL;
        if (!work->detached)
            cancel(work, "client_gone");
    }
}

void works_clear(struct gateway *gw) {
    while (gw->works)
        work_free(gw->works);
    actor_links_clear(gw);
}
