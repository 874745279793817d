/* A run of a client: one session per run.start. The session is ours (common/child.h); the run is the session's. */
#include "gateway/work.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "gateway/methods.h"

#include <string.h>

#define ACCEPT_MS 30000 /* fork, plan check, a commit on a slow disk */

static const struct {
    const char *name;
    enum rpc_error error;
} rejections[] = {{"invalid_plan", RPC_INVALID_PLAN}, {"unknown_tool", RPC_UNKNOWN_TOOL}, {"log_full", RPC_LOG_FULL}};

static void kill_run(struct work *work) {
    struct msg_kill kill = {.id = work->id, .grace_ms = child_grace_ms(work->gw->ctx->spec, ROLE_RUN)};
    (void)chan_send(work->gw->ctx->wire[ROLE_RUNS], MSG_KILL, &kill); /* lost only with runs, and then it ends too */
}

/* While its session lives the session ends the run; without one, the run's supervisor does. */
void work_cancel_run(struct work *work, const char *reason) {
    if (work->session) {
        child_cancel(work->session, reason);
        return;
    }
    kill_run(work);
    work_free(work);
}

/* A session that ended well has ended its run. One that broke leaves a run without owner: it goes with the connection.
 */
static void session_down(struct child *child, const struct msg_down *down) {
    struct work *work = child->user;
    if (!work)
        return;
    work->session = NULL;
    child->user = NULL;
    struct request *req = work_take_request(work);
    bool well = strcmp(down->reason, "exited") == 0 && down->code == 0;
    if (!well)
        log_warn("event=session_down id=%s reason=%s run=%s", child->id, down->reason, work->id);
    if (req) {
        bool refused = strcmp(down->reason, "refused") == 0;
        char run[ID_SIZE];
        memcpy(run, work->id, sizeof run);
        work_free(work);
        request_fail(req, refused ? RPC_CAPACITY : RPC_RUNTIME,
                     "the session of run %s ended (%s) before it was accepted%s%s", run, down->reason,
                     down->why ? ": " : "", down->why ? down->why : "");
        return;
    }
    if (!well && work->client)
        return;
    if (!well && !work->detached)
        kill_run(work);
    work_free(work);
}

/* A successor of the session: an accepted run goes on under it, any other was lost with its predecessor. */
static void session_up(struct child *child) {
    struct work *work = child->user;
    if (work && work->accepted)
        return;
    child_cancel(child, "cancelled");
    if (!work)
        return;
    free(take_ptr(&work->plan));
    struct request *req = work_take_request(work);
    if (req)
        request_fail(req, RPC_RUNTIME, "the session of run %s died before it was accepted", work->id);
}

void work_start_run(struct request *req, char *plan, size_t plan_n, bool detached, const char *corr) {
    char run[ID_SIZE], session[ID_SIZE];
    id_make('r', run);
    id_make('s', session);
    auto_free char *owned = plan;
    struct work *work = work_new(req->gw, req->client, run);
    if (!work) {
        request_fail(req, RPC_CAPACITY, "%s", err_text());
        return;
    }
    work->detached = detached;
    work->plan = take_ptr(&owned);
    work->plan_n = plan_n;
    work->corr = corr ? strdup(corr) : NULL;
    if (!corr || work->corr)
        work->session = child_spawn(req->gw->ctx, ROLE_SESSION, session, NULL, -1, session_down, work);
    if (!work->session) {
        work_free(work);
        request_fail(req, RPC_RUNTIME, "no session: %s", err_text());
        return;
    }
    work->session->on_up = session_up;
    work_wait(work, req);
    request_within(req, ACCEPT_MS);
}

int work_own_run(struct client *client, const char *run, const char *session) {
    struct work *work = work_new(client->gw, client, run);
    if (!work)
        return -ENOMEM;
    work->accepted = true;
    work->session = child_attach(client->gw->ctx, ROLE_SESSION, session, session_down, work);
    if (work->session) {
        work->session->on_up = session_up;
        return 0;
    }
    work_free(work);
    return -EPIPE;
}

int work_on_hello(void *self, struct chan *from, struct msg *m) {
    struct gateway *gw = self;
    int r = child_on_hello(gw->ctx, from, m);
    if (r < 0)
        return err_up(r);
    struct work *work = child_of(gw->ctx, from)->user;
    if (!work || !work->plan)
        return 0;
    struct msg_session_run start = {
        .run = work->id, .plan = {work->plan, work->plan_n}, .detached = work->detached, .corr = work->corr};
    r = child_send(work->session, MSG_SESSION_RUN, &start);
    free(take_ptr(&work->plan));
    return r == -EPIPE ? 0 : r; /* gone again: its monitor tells */
}

/* The work that this session's message is about, or NULL (a rejected one may be gone). */
static struct work *work_of(struct gateway *gw, const struct chan *from, const char *run) {
    struct child *child = child_of(gw->ctx, from);
    struct work *work = child ? child->user : NULL;
    return work && strcmp(work->id, run) == 0 ? work : NULL;
}

int work_on_run_accepted(void *self, struct chan *from, struct msg *m) {
    struct work *work = work_of(self, from, m->run_accepted.run);
    if (!work)
        return 0;
    work->accepted = true;
    if (work->detached)
        work->client = NULL;
    struct request *req = work_take_request(work);
    if (!req)
        return 0;
    auto_buf struct buf b = BUF_NULL(256);
    (void)buf_printf(&b, "{\"run\":\"%s\",\"seq\":%lld}", work->id, (long long)m->run_accepted.seq);
    request_answer(req, &b);
    return 0;
}

int work_on_run_rejected(void *self, struct chan *from, struct msg *m) {
    struct work *work = work_of(self, from, m->run_rejected.run);
    if (!work)
        return 0;
    enum rpc_error error = RPC_RUNTIME;
    for (size_t i = 0; i < sizeof rejections / sizeof *rejections; i++)
        if (strcmp(rejections[i].name, m->run_rejected.error) == 0)
            error = rejections[i].error;
    struct request *req = work_take_request(work);
    child_cancel(work->session, NULL);
    work_free(work);
    if (req)
        request_fail(req, error, "%s", m->run_rejected.why);
    return 0;
}

/* The client reads the result from the log; a session has no other run, so it may end. */
int work_on_run_done(void *self, struct chan *from, struct msg *m) {
    struct work *work = work_of(self, from, m->run_done.run);
    if (!work)
        return 0;
    cancels_told(self, work->id, m->run_done.status);
    child_cancel(work->session, NULL);
    return 0;
}
