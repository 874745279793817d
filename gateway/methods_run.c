/* run.start and run.own. */
#include "gateway/methods.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "gateway/record.h"
#include "gateway/request.h"
#include "gateway/work.h"

#include <string.h>

#define PLAN_MAX 262144u /* as session_run carries it */

/* ---- run.start ---- */

void method_run_start(struct request *req) {
    bool detached = json_flag(req->params, "detached", false);
    if (detached && req->gw->ctx->spec->short_lived) {
        request_fail(req, RPC_SHORT_LIVED, "this supervisor was started by a client and ends with its clients");
        return;
    }
    auto_free char *plan = NULL;
    size_t n;
    int r = json_text(json_object_get(req->params, "plan"), PLAN_MAX, &plan, &n);
    if (r < 0) {
        request_fail(req, r == -EMSGSIZE ? RPC_INVALID_PLAN : RPC_RUNTIME, "the plan: %s", err_text());
        return;
    }
    work_start_run(req, take_ptr(&plan), n, detached, json_str(req->params, "corr"));
}

/* ---- run.own ---- */

struct owned {
    char session[NAME_SIZE];
    bool accepted, detached, over;
};

static int look_at(void *arg, const struct record *rec) {
    struct owned *owned = arg;
    if (strcmp(rec->type, "run.accepted") == 0) {
        owned->accepted = true;
        owned->detached = rec->detached;
        memcpy(owned->session, rec->owner, sizeof owned->session);
    }
    owned->over = owned->over || record_run_end(rec->type);
    return 0;
}

/* 0: there is something to take back. */
static int may_own(struct request *req, const struct owned *owned, const struct work *work) {
    const char *run = json_str(req->params, "run");
    if (work && !work->detached && work->client && work->client != req->client)
        return err_raise(-EBUSY, "run %s belongs to another connection", run);
    if (!id_valid(owned->session, 's'))
        return err_raise(-EPERM, "run %s belongs to %s, not to a client", run, owned->session);
    return 0;
}

static void on_last(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct owned *owned = req->state;
    const char *run = json_str(req->params, "run");
    (void)record_each(m->page.events, look_at, owned);
    struct work *work = work_find(req->gw, run);
    int r = owned->over ? 0 : may_own(req, owned, work);
    if (r == 0 && !owned->over && !owned->detached && !work) /* a detached run needs no owner */
        r = work_own_run(req->client, run, owned->session);
    if (r < 0) {
        request_fail(req, RPC_RUNTIME, "%s", err_text());
        return;
    }
    auto_buf struct buf b = BUF_NULL(256);
    (void)buf_printf(&b, "{\"run\":\"%s\"}", run);
    request_answer(req, &b);
}

static void on_first(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct owned *owned = req->state;
    const char *run = json_str(req->params, "run");
    (void)record_each(m->page.events, look_at, owned);
    if (!owned->accepted) {
        request_fail(req, RPC_NO_SUCH_RUN, "the log has no accepted run %s", run);
        return;
    }
    struct msg_query last = {.by = "run", .key = run, .tail = 32};
    (void)request_query(req, &last, on_last);
}

void method_run_own(struct request *req) {
    const char *run = json_str(req->params, "run");
    if (!id_valid(run, 'r')) {
        request_fail(req, RPC_NO_SUCH_RUN, "\"%s\" is not the whole id of a run", run);
        return;
    }
    if (!request_state(req, sizeof(struct owned), NULL))
        return;
    struct msg_query first = {.by = "run", .key = run, .limit = 16};
    (void)request_query(req, &first, on_first);
}
