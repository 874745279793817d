/* Questions to actors. One channel per actor, made of a socketpair whose other end the supervisor of actors hands to
 * the actor; it closes when the actor dies, and tasks that were accepted go on in its next incarnation. */
#include "gateway/work.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"

#include <string.h>

#define ACCEPT_MS 30000
#define CANCEL_TRIES 5u /* one cancel_timeout apart */

struct actor_link {
    struct actor_link *next;
    char name[NAME_SIZE];
    struct chan *chan;
};

static void link_free(struct gateway *gw, struct actor_link *link) {
    struct actor_link **at = &gw->actors;
    while (*at && *at != link)
        at = &(*at)->next;
    if (*at)
        *at = link->next;
    chan_close(link->chan);
    free(link);
}

static struct actor_link *link_find(struct gateway *gw, const char *name) {
    struct actor_link *link = gw->actors;
    while (link && strcmp(link->name, name) != 0)
        link = link->next;
    return link;
}

static int link_connect(struct gateway *gw, struct actor_link *link) {
    int pair[2];
    int r = chan_pair(CHAN_STREAM, pair);
    if (r < 0)
        return err_up(r);
    auto_close int theirs = pair[1];
    struct peer peer = {.role = ROLE_ACTOR};
    memcpy(peer.actor, link->name, sizeof peer.actor);
    link->chan = role_chan(gw->ctx, pair[0], CHAN_STREAM, &peer, 0);
    if (!link->chan)
        return -ENOMEM;
    r = chan_send_fds(gw->ctx->wire[ROLE_ACTORS], MSG_CONNECT, &(struct msg_connect){.name = link->name}, &theirs, 1);
    return r == -EPIPE ? err_raise(r, "actors is gone") : r;
}

static struct actor_link *link_new(struct gateway *gw, const char *name) {
    struct actor_link *link = calloc(1, sizeof *link);
    if (!link) {
        (void)err_raise(-ENOMEM, "out of memory");
        return NULL;
    }
    link->next = gw->actors;
    gw->actors = link;
    (void)snprintf(link->name, sizeof link->name, "%s", name);
    if (link_connect(gw, link) == 0)
        return link;
    link_free(gw, link);
    return NULL;
}

/* Sends to an actor; a channel that was kept and turns out to be a dead incarnation's is replaced once. */
static int link_send(struct gateway *gw, const char *name, enum msg_type type, const void *body) {
    struct actor_link *kept = link_find(gw, name);
    int r = kept ? chan_send(kept->chan, type, body) : -EPIPE;
    if (r != -EPIPE)
        return r;
    if (kept)
        link_free(gw, kept);
    struct actor_link *link = link_new(gw, name);
    r = link ? chan_send(link->chan, type, body) : -ENOTCONN;
    return r == -EPIPE ? err_raise(r, "actor %s has just gone down", name) : r;
}

void actor_links_clear(struct gateway *gw) {
    while (gw->actors)
        link_free(gw, gw->actors);
}

/* Nothing more is to be heard of tasks that wait for this actor. Accepted ones its next incarnation takes up again from
 * the log; where they are being cancelled, it is told again. */
void work_actor_closed(struct gateway *gw, const struct chan *c) {
    struct actor_link *link = gw->actors;
    while (link && link->chan != c)
        link = link->next;
    if (!link)
        return;
    char name[NAME_SIZE];
    memcpy(name, link->name, sizeof name);
    link->chan = NULL; /* it frees itself */
    link_free(gw, link);
    for (struct work *work = gw->works; work;) {
        struct work *lost = work;
        work = work->next;
        if (!lost->task || strcmp(lost->actor, name) != 0 || lost->accepted || !lost->client)
            continue;
        struct request *req = work_take_request(lost);
        work_free(lost);
        if (!req)
            continue;
        request_fail(req, RPC_ACTOR_DOWN, "actor %s went down before it accepted the task", name);
        work = gw->works; /* failing a request may have changed the list */
    }
}

static void on_patience(void *arg) {
    struct work *work = arg;
    if (work->tries < CANCEL_TRIES) {
        work_cancel_task(work);
        return;
    }
    log_warn("event=task_not_cancelled task=%s actor=%s tries=%u", work->id, work->actor, work->tries);
    work_free(work);
}

/* Until task_done comes; the actor may be between two incarnations. */
void work_cancel_task(struct work *work) {
    struct gateway *gw = work->gw;
    work->tries++;
    if (link_send(gw, work->actor, MSG_TASK_CANCEL, &(struct msg_task_cancel){.task = work->id}) < 0)
        log_debug("event=task_cancel_unsent task=%s why=\"%s\"", work->id, err_text());
    int64_t due = now_ms() + gw->ctx->spec->cancel_timeout;
    if (loop_timer_set(gw->ctx->loop, &work->patience, due, on_patience, work) < 0)
        work_free(work);
}

void work_start_task(struct request *req, const char *actor, const char *text, const char *corr) {
    char task[ID_SIZE];
    id_make('t', task);
    struct gateway *gw = req->gw;
    struct work *work = work_new(gw, req->client, task);
    if (!work) {
        request_fail(req, RPC_CAPACITY, "%s", err_text());
        return;
    }
    work->task = true;
    (void)snprintf(work->actor, sizeof work->actor, "%s", actor);
    struct msg_ask ask = {.task = task, .corr = corr, .text = text};
    if (link_send(gw, actor, MSG_ASK, &ask) < 0) {
        work_free(work);
        request_fail(req, RPC_ACTOR_DOWN, "%s", err_text());
        return;
    }
    work_wait(work, req);
    request_within(req, ACCEPT_MS);
}

int work_own_task(struct client *client, const char *task, const char *actor) {
    struct work *work = work_new(client->gw, client, task);
    if (!work)
        return -ENOMEM;
    work->task = work->accepted = true;
    (void)snprintf(work->actor, sizeof work->actor, "%s", actor);
    /* an ask with a task's own id and no text: the actor knows its owner again and gives up no waiting for one */
    struct msg_ask ask = {.task = task, .text = ""};
    if (link_send(client->gw, actor, MSG_ASK, &ask) < 0)
        log_debug("event=task_not_owned task=%s why=\"%s\"", task, err_text());
    return 0;
}

static struct work *work_of(struct gateway *gw, const struct chan *from, const char *task) {
    struct work *work = work_find(gw, task);
    return work && work->task && strcmp(work->actor, chan_peer(from)->actor) == 0 ? work : NULL;
}

int work_on_task_accepted(void *self, struct chan *from, struct msg *m) {
    struct work *work = work_of(self, from, m->task_accepted.task);
    if (!work)
        return 0;
    work->accepted = true;
    struct request *req = work_take_request(work);
    if (!req)
        return 0;
    auto_buf struct buf b = BUF_NULL(256);
    (void)buf_printf(&b, "{\"task\":\"%s\",\"seq\":%lld}", work->id, (long long)m->task_accepted.seq);
    request_answer(req, &b);
    return 0;
}

static void fail_unaccepted(struct request *req, const struct msg_task_done *m) {
    const char *name = m->error ? m->error : m->status;
    enum rpc_error error = strcmp(name, "log_full") == 0       ? RPC_LOG_FULL
                           : strcmp(name, "mailbox_full") == 0 ? RPC_CAPACITY
                                                               : RPC_RUNTIME;
    request_fail(req, error, "the actor refused the task (%s)%s%s", name, m->why ? ": " : "", m->why ? m->why : "");
}

int work_on_task_done(void *self, struct chan *from, struct msg *m) {
    struct work *work = work_of(self, from, m->task_done.task);
    if (!work)
        return 0;
    struct request *req = work_take_request(work);
    work_free(work);
    if (req)
        fail_unaccepted(req, &m->task_done);
    return 0;
}
