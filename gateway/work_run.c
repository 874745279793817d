/* A run of a client: one session per run.start. The session is ours (common/child.h); the run is the session's. */
#include "gateway/work.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "gateway/methods.h"
#include "gateway/record.h"

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

/* ---- a session that ends before it answered ---- */

static int see_accepted(void *arg, const struct record *rec) {
    if (strcmp(rec->type, "run.accepted") != 0)
        return 0;
    *(int64_t *)arg = rec->seq;
    return 1;
}

static void answer_accepted(struct request *req, const char *run, int64_t seq) {
    auto_buf struct buf b = BUF_NULL(256);
    (void)buf_printf(&b, "{\"run\":\"%s\",\"seq\":%lld}", run, (long long)seq);
    request_answer(req, &b);
}

/* What the log says: a run that is accepted there is accepted, whoever died before telling. */
static void on_doubt(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    char run[ID_SIZE];
    memcpy(run, req->state, sizeof run);
    int64_t seq = 0;
    (void)record_each(m->page.events, see_accepted, &seq);
    struct work *work = work_find(req->gw, run);
    if (!seq) {
        if (work)
            work_cancel_run(work, "cancelled");
        request_fail(req, RPC_RUNTIME, "the session of run %s died before it was accepted", run);
        return;
    }
    if (work) {
        work->accepted = true;
        if (work->detached)
            work->client = NULL;
        if (work->detached && !work->session)
            work_free(work);
    }
    answer_accepted(req, run, seq);
}

static void ask_log(struct work *work) {
    struct request *req = work_take_request(work);
    char *run = req ? request_state(req, ID_SIZE, NULL) : NULL;
    if (!run)
        return;
    memcpy(run, work->id, ID_SIZE);
    struct msg_query query = {.by = "run", .key = run, .limit = 16, .wait_ms = 1}; /* it may be unknown */
    (void)request_query(req, &query, on_doubt);
}

/* A session that ended well has ended its run. One that broke leaves a run without owner: it goes with the connection.
 */
static void session_down(struct child *child, const struct msg_down *down) {
    struct work *work = child->user;
    if (!work)
        return;
    work->session = NULL;
    child->user = NULL;
    bool well = strcmp(down->reason, "exited") == 0 && down->code == 0;
    if (!well)
        log_warn("event=session_down id=%s reason=%s run=%s", child->id, down->reason, work->id);
    if (work->waiting && strcmp(down->reason, "refused") == 0) {
        struct request *req = work_take_request(work);
        work_free(work);
        request_fail(req, RPC_CAPACITY, "no session could be started: %s", down->why ? down->why : "no reason given");
        return;
    }
    if (work->waiting) {
        ask_log(work);
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
    if (work && work->accepted && (work->client || work->detached)) /* the run goes on under it */
        return;
    if (!work || !work->waiting) {
        if (work && !work->detached) /* this session knows nothing of the cancel that its predecessor did not answer */
            kill_run(work);
        child_cancel(child, "cancelled");
        return;
    }
    free(take_ptr(&work->plan));
    ask_log(work);
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
    answer_accepted(req, work->id, m->run_accepted.seq);
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

/* The disk took no terminal event: who waits for one in the log would wait until there is room again. */
static bool unlogged(const struct msg_run_done *done) {
    auto_json json_t *error = NULL;
    if (!done->error.p || json_parse(done->error.p, done->error.n, done->error.n, &error) < 0)
        return false;
    const char *name = json_str(error, "name");
    return name && (strcmp(name, "log_full") == 0 || strcmp(name, "io") == 0);
}

/* The client reads the result from the log; a session has no other run, so it may end. */
int work_on_run_done(void *self, struct chan *from, struct msg *m) {
    struct work *work = work_of(self, from, m->run_done.run);
    if (!work)
        return 0;
    cancels_told(self, work->id, m->run_done.status);
    if (work->client && unlogged(&m->run_done))
        requests_unlogged(work->client, work->id);
    child_cancel(work->session, NULL);
    return 0;
}
