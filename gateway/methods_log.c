/* events and head: the log's own answers. A page's records go through as text. */
#include "gateway/methods.h"

#include "common/err.h"
#include "gateway/request.h"

#include <string.h>

#define SLACK_MS 10000   /* beyond the time that the client itself asked to wait */
#define VERIFY_MS 600000 /* walks every record */

static void on_page(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    (void)buf_addz(&b, "{\"events\":");
    (void)buf_add(&b, m->page.events.p, m->page.events.n);
    (void)buf_printf(&b, ",\"next\":%lld,\"more\":%s", (long long)m->page.next, m->page.more ? "true" : "false");
    const char *key = m->page.key ? m->page.key : json_str(req->params, "key");
    if (key) {
        (void)buf_json_key(&b, "key");
        (void)buf_json_str(&b, key);
    }
    (void)buf_addz(&b, "}");
    request_answer(req, &b);
}

void method_events(struct request *req) {
    struct msg_query query = {.by = json_str(req->params, "by"),
                              .key = json_str(req->params, "key"),
                              .after = json_i64(req->params, "after", 0),
                              .limit = json_i64(req->params, "limit", 0),
                              .tail = json_i64(req->params, "tail", 0),
                              .wait_ms = json_i64(req->params, "wait_ms", 0)};
    bool all = strcmp(query.by, "all") == 0;
    if (all == (query.key != NULL)) {
        request_fail(req, RPC_BAD_PARAMS, "/params/key: %s", all ? "none is wanted by all" : "missing");
        return;
    }
    if (query.tail && query.after) {
        request_fail(req, RPC_BAD_PARAMS, "/params/tail: not together with after");
        return;
    }
    if (strcmp(query.by, "run") == 0 && !request_run_key(req, query.key))
        return;
    request_within(req, query.wait_ms + SLACK_MS);
    (void)request_query(req, &query, on_page);
}

static void on_head(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    auto_buf struct buf b = BUF_NULL(1024);
    (void)buf_printf(&b, "{\"seq\":%lld,\"hash\":", (long long)m->head_is.seq);
    (void)buf_json_str(&b, m->head_is.hash);
    (void)buf_addz(&b, "}");
    request_answer(req, &b);
}

void method_head(struct request *req) {
    struct msg_head head = {.ref = role_ref(req->gw->ctx), .verify = json_flag(req->params, "verify", false)};
    if (head.verify)
        request_within(req, VERIFY_MS);
    (void)request_ask(req, ROLE_EVENTLOG, MSG_HEAD, &head, head.ref, on_head, 0);
}
