/* ask and task.own. */
#include "gateway/methods.h"

#include "common/err.h"
#include "gateway/record.h"
#include "gateway/request.h"
#include "gateway/work.h"

#include <string.h>

/* ---- ask ---- */

static void on_whereis(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    const char *actor = json_str(req->params, "actor");
    if (m->name_is.id)
        work_start_task(req, actor, json_str(req->params, "text"), json_str(req->params, "corr"));
    else if (m->name_is.declared)
        request_fail(req, RPC_ACTOR_DOWN, "actor %s is declared, but nobody holds its name now", actor);
    else
        request_fail(req, RPC_NO_SUCH_ACTOR, "no definition declares an actor %s", actor);
}

void method_ask(struct request *req) {
    struct msg_whereis whereis = {.ref = role_ref(req->gw->ctx), .name = json_str(req->params, "actor")};
    if (!name_valid(whereis.name)) {
        request_fail(req, RPC_NO_SUCH_ACTOR, "\"%s\" cannot be an actor's name", whereis.name);
        return;
    }
    (void)request_ask(req, ROLE_REGISTRY, MSG_WHEREIS, &whereis, whereis.ref, on_whereis, 0);
}

/* ---- task.own ---- */

struct owned {
    char actor[NAME_SIZE];
    bool accepted, over;
};

static int look_at(void *arg, const struct record *rec) {
    struct owned *owned = arg;
    if (strcmp(rec->type, "task.accepted") == 0) {
        owned->accepted = true;
        memcpy(owned->actor, rec->actor, sizeof owned->actor);
    }
    owned->over = owned->over || record_task_end(rec->type);
    return 0;
}

static void on_last(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct owned *owned = req->state;
    const char *task = json_str(req->params, "task");
    (void)record_each(m->page.events, look_at, owned);
    struct work *work = work_find(req->gw, task);
    if (!owned->over && work && work->client && work->client != req->client) {
        request_fail(req, RPC_RUNTIME, "task %s belongs to another connection", task);
        return;
    }
    if (!owned->over && !work && work_own_task(req->client, task, owned->actor) < 0) {
        request_fail(req, RPC_CAPACITY, "%s", err_text());
        return;
    }
    auto_buf struct buf b = BUF_NULL(256);
    (void)buf_printf(&b, "{\"task\":\"%s\"}", task);
    request_answer(req, &b);
}

static void on_first(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct owned *owned = req->state;
    const char *task = json_str(req->params, "task");
    (void)record_each(m->page.events, look_at, owned);
    if (!owned->accepted || !name_valid(owned->actor)) {
        request_fail(req, RPC_NO_SUCH_TASK, "the log has no accepted task %s", task);
        return;
    }
    struct msg_query last = {.by = "task", .key = task, .tail = 32};
    (void)request_query(req, &last, on_last);
}

void method_task_own(struct request *req) {
    const char *task = json_str(req->params, "task");
    if (!id_valid(task, 't')) {
        request_fail(req, RPC_NO_SUCH_TASK, "\"%s\" is not the id of a task", task);
        return;
    }
    if (!request_state(req, sizeof(struct owned), NULL))
        return;
    struct msg_query first = {.by = "task", .key = task, .limit = 16};
    (void)request_query(req, &first, on_first);
}
