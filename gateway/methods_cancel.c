/* run.cancel, answered when everything under the run is dead and its terminal event durable:
 *
 *   first records -> whole id      last records -> over already? then the answer
 *   session is ours     cancel on its link, and at once ─┬── kill {run} with grace, until killed: nothing of it lives;
 *   any other owner     ─────────────────────────────────┘   then its end: our session has told it, or the log does
 *
 * The grace of the kill is the time a run has to end by itself, told by its session or by the kill's own signal,
 * whichever is first. `killed` of a run that is over says that its process and its calls are reaped, so it is also the
 * proof. A session's word for the end saves a question, which would make the log commit once more. The method goes on
 * when its client leaves. */
#include "gateway/methods.h"

#include "common/child.h"
#include "common/err.h"
#include "gateway/record.h"
#include "gateway/request.h"
#include "gateway/work.h"

#include <string.h>

#define SLACK_MS 20000 /* commits and reaping beside the two graces */
#define SETTLE_MS 5000 /* for the end that a killed run's successor writes */

struct cancel {
    char run[ID_SIZE];
    int64_t after;   /* last record seen */
    int64_t until;   /* of the wait for the end */
    char status[16]; /* "" until the end is in the log */
};

static int look_at(void *arg, const struct record *rec) {
    struct cancel *cancel = arg;
    if (!*cancel->run)
        memcpy(cancel->run, rec->run, sizeof cancel->run);
    const char *end = record_run_end(rec->type);
    if (end)
        (void)snprintf(cancel->status, sizeof cancel->status, "%s", end);
    if (rec->seq > cancel->after)
        cancel->after = rec->seq;
    return 0;
}

static void answer(struct request *req) {
    struct cancel *cancel = req->state;
    auto_buf struct buf b = BUF_NULL(256);
    (void)buf_printf(&b, "{\"run\":\"%s\",\"status\":\"%s\"}", cancel->run, cancel->status);
    request_answer(req, &b);
}

static void on_wait(struct request *req, enum role_id from, struct msg *m, size_t arg);

static void wait_more(struct request *req) {
    struct cancel *cancel = req->state;
    int64_t left = cancel->until - now_ms();
    struct msg_query query = {
        .by = "run", .key = cancel->run, .after = cancel->after, .limit = 100, .wait_ms = left > 0 ? left : 0};
    (void)request_query(req, &query, on_wait);
}

static void on_wait(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct cancel *cancel = req->state;
    (void)record_each(m->page.events, look_at, cancel);
    if (*cancel->status)
        answer(req);
    else if (now_ms() >= cancel->until && !m->page.more)
        request_fail(req, RPC_RUNTIME, "run %s is dead, but the log has no end of it", cancel->run);
    else
        wait_more(req);
}

static void on_run_killed(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct cancel *cancel = req->state;
    if (*cancel->status) {
        answer(req);
        return;
    }
    cancel->until = now_ms() + SETTLE_MS;
    wait_more(req);
}

static void end_run(struct request *req) {
    const struct cancel *cancel = req->state;
    (void)request_kill(req, ROLE_RUNS, cancel->run, child_grace_ms(req->gw->ctx->spec, ROLE_RUN), on_run_killed);
}

/* Whether its session is a child of ours, which then has been told. */
static bool cancel_ours(struct request *req) {
    struct cancel *cancel = req->state;
    struct work *work = work_find(req->gw, cancel->run);
    if (!work || !work->session)
        return false;
    child_cancel(work->session, "cancelled");
    end_run(req);
    return true;
}

void cancels_told(struct gateway *gw, const char *run, const char *status) {
    for (struct request *req = gw->requests; req; req = req->next) {
        struct cancel *cancel = req->method->handle == method_run_cancel ? req->state : NULL;
        if (cancel && strcmp(cancel->run, run) == 0)
            (void)snprintf(cancel->status, sizeof cancel->status, "%s", status);
    }
}

static void on_last(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct cancel *cancel = req->state;
    (void)record_each(m->page.events, look_at, cancel);
    if (*cancel->status)
        answer(req);
    else if (!cancel_ours(req))
        end_run(req);
}

static void on_first(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct cancel *cancel = req->state;
    if (m->page.key && id_valid(m->page.key, 'r'))
        (void)snprintf(cancel->run, sizeof cancel->run, "%s", m->page.key);
    (void)record_each(m->page.events, look_at, cancel);
    if (!id_valid(cancel->run, 'r') || cancel->after == 0) {
        request_fail(req, RPC_NO_SUCH_RUN, "the log has no run %s", json_str(req->params, "run"));
        return;
    }
    struct msg_query last = {.by = "run", .key = cancel->run, .tail = 32};
    (void)request_query(req, &last, on_last);
}

void method_run_cancel(struct request *req) {
    const char *run = json_str(req->params, "run");
    struct cancel *cancel = request_run_key(req, run) ? request_state(req, sizeof *cancel, NULL) : NULL;
    if (!cancel)
        return;
    request_within(req, 5 * req->gw->ctx->spec->cancel_timeout + SETTLE_MS + SLACK_MS);
    if (id_valid(run, 'r')) { /* a whole id that we know needs no look-up, which would cost a commit first */
        memcpy(cancel->run, run, sizeof cancel->run);
        if (cancel_ours(req))
            return;
    }
    struct msg_query first = {.by = "run", .key = run, .limit = 16};
    (void)request_query(req, &first, on_first);
}
