/* A call whose request is gone stays until its answer comes and is then absorbed: answers without a number are matched
 * by their order, so none may be forgotten. */
#include "gateway/request.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "gateway/work.h"

#include <stdarg.h>
#include <string.h>

#define ANSWER_MS 10000   /* where a method says nothing else */
#define RUN_PREFIX_MIN 4u /* characters behind "r-" that the log wants */

struct call {
    struct call *next;
    struct request *request; /* NULL: the asker is gone */
    enum role_id peer;
    enum msg_type type; /* that was sent */
    int64_t ref;
    char id[NAME_SIZE]; /* of kill */
    call_answer answer;
    size_t arg;
};

/* ---- requests ---- */

static void request_free(struct request *req) {
    struct gateway *gw = req->gw;
    for (struct request **at = &gw->requests; *at; at = &(*at)->next)
        if (*at == req) {
            *at = req->next;
            break;
        }
    for (struct call *call = gw->calls; call; call = call->next)
        if (call->request == req)
            call->request = NULL;
    if (req->client)
        req->client->n_requests--;
    if (req->work)
        work_unanswered(req->work);
    loop_timer_clear(gw->ctx->loop, &req->deadline);
    if (req->state && req->release)
        req->release(req->state);
    free(req->state);
    json_decref(req->params);
    free(req);
}

static void on_deadline(void *arg) {
    struct request *req = arg;
    const char *peer = req->work ? "the worker that was asked" : "the tree";
    for (struct call *call = req->gw->calls; call; call = call->next)
        if (call->request == req)
            peer = role_name(call->peer);
    request_fail(req, RPC_RUNTIME, "%s: no answer in time from %s", req->method->name, peer);
}

void request_within(struct request *req, int64_t ms) {
    if (loop_timer_set(req->gw->ctx->loop, &req->deadline, now_ms() + ms, on_deadline, req) < 0)
        log_warn("event=no_deadline method=%s why=\"%s\"", req->method->name, err_text());
}

struct request *request_new(struct client *client, const struct method *method, const struct rpc_request *rpc) {
    struct request *req = calloc(1, sizeof *req);
    json_t *params = rpc->params ? json_incref(rpc->params) : json_object();
    if (!req || !params) {
        free(req);
        json_decref(params);
        return NULL;
    }
    *req = (struct request){.next = client->gw->requests,
                            .gw = client->gw,
                            .client = client,
                            .method = method,
                            .params = params,
                            .not_found = RPC_RUNTIME};
    memcpy(req->id, rpc->id, sizeof req->id);
    client->gw->requests = req;
    client->n_requests++;
    request_within(req, ANSWER_MS);
    return req;
}

void *request_state(struct request *req, size_t size, void (*release)(void *state)) {
    req->state = calloc(1, size);
    req->release = release;
    if (!req->state)
        request_fail(req, RPC_CAPACITY, "out of memory");
    else
        return req->state;
    return NULL;
}

/* Takes the request off the lists before the client hears of it: sending may end the client. */
static void finish(struct request *req, const struct buf *frame) {
    struct client *client = req->client;
    request_free(req);
    client_send(client, frame);
}

void request_answer(struct request *req, const struct buf *result) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    if (buf_failed(result) || rpc_put_result(&b, req->id, (struct json_span){result->p, result->n}) < 0) {
        request_fail(req, RPC_CAPACITY, "%s: the answer is larger than one frame of %u bytes", req->method->name,
                     FRAME_MAX);
        return;
    }
    finish(req, &b);
}

void request_fail(struct request *req, enum rpc_error error, const char *fmt, ...) {
    char why[RPC_WHY_SIZE];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    struct rpc_fault fault;
    (void)rpc_fault_set(&fault, error, "%s", why);
    auto_buf struct buf b = BUF_NULL(16384);
    if (rpc_put_error(&b, req->id, &fault) < 0) { /* memory only: the client learns it by the end of its connection */
        struct client *client = req->client;
        request_free(req);
        if (client)
            client_close(client);
        return;
    }
    finish(req, &b);
}

void requests_abandon(struct client *client) {
    struct request *next;
    for (struct request *req = client->gw->requests; req; req = next) {
        next = req->next;
        if (req->client != client)
            continue;
        req->client = NULL;
        if (!req->method->goes_on)
            request_free(req);
    }
}

/* ---- calls ---- */

static void call_free(struct gateway *gw, struct call *call) {
    struct call **at = &gw->calls;
    while (*at && *at != call)
        at = &(*at)->next;
    if (*at)
        *at = call->next;
    if (gw->calls_tail == &call->next)
        gw->calls_tail = at;
    gw->n_calls--;
    free(call);
}

static struct call *call_new(struct request *req, enum role_id peer, enum msg_type type, call_answer answer) {
    struct gateway *gw = req->gw;
    struct call *call = gw->n_calls < CALLS_MAX ? calloc(1, sizeof *call) : NULL;
    if (!call)
        return NULL;
    *call = (struct call){.request = req, .peer = peer, .type = type, .answer = answer};
    *gw->calls_tail = call;
    gw->calls_tail = &call->next;
    gw->n_calls++;
    return call;
}

static bool send_call(struct request *req, struct call *call, const void *body) {
    struct gateway *gw = req->gw;
    if (!call) {
        request_fail(req, RPC_CAPACITY, "%u questions are on their way already", gw->n_calls);
        return false;
    }
    struct chan *to = call->peer == ROLE_ROOT ? gw->ctx->control : gw->ctx->wire[call->peer];
    int r = chan_send(to, call->type, body);
    if (r == 0)
        return true;
    enum role_id peer = call->peer;
    call_free(gw, call);
    request_fail(req, RPC_RUNTIME, "%s cannot be asked: %s", role_name(peer), r == -EPIPE ? "it is gone" : err_text());
    return false;
}

bool request_ask(struct request *req, enum role_id peer, enum msg_type type, const void *body, int64_t ref,
                 call_answer answer, size_t arg) {
    struct call *call = call_new(req, peer, type, answer);
    if (call) {
        call->ref = ref;
        call->arg = arg;
    }
    return send_call(req, call, body);
}

bool request_kill(struct request *req, enum role_id kind, const char *id, int64_t grace_ms, call_answer answer) {
    struct msg_kill kill = {.id = id, .grace_ms = grace_ms};
    struct call *call = call_new(req, kind, MSG_KILL, answer);
    if (call)
        (void)snprintf(call->id, sizeof call->id, "%s", id);
    return send_call(req, call, &kill);
}

bool request_query(struct request *req, struct msg_query *query, call_answer answer) {
    static const struct {
        const char *by;
        enum rpc_error error;
    } meanings[] = {{"run", RPC_NO_SUCH_RUN}, {"task", RPC_NO_SUCH_TASK}, {"actor", RPC_NO_SUCH_ACTOR}};
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strcmp(query->by, meanings[i].by) == 0)
            req->not_found = meanings[i].error;
    query->ref = role_ref(req->gw->ctx);
    return request_ask(req, ROLE_EVENTLOG, MSG_QUERY, query, query->ref, answer, 0);
}

bool request_run_key(struct request *req, const char *key) {
    if (strncmp(key, "r-", 2) == 0 && strlen(key) >= 2 + RUN_PREFIX_MIN)
        return true;
    request_fail(req, RPC_NO_SUCH_RUN, "\"%s\" is no run: an id begins with r-, a prefix has %u more characters", key,
                 RUN_PREFIX_MIN);
    return false;
}

static void refused(struct request *req, const struct msg_refused *m) {
    enum rpc_error error = strcmp(m->error, "not_found") == 0   ? req->not_found
                           : strcmp(m->error, "ambiguous") == 0 ? RPC_AMBIGUOUS
                           : strcmp(m->error, "log_full") == 0  ? RPC_LOG_FULL
                                                                : RPC_RUNTIME;
    request_fail(req, error, "%s", m->why);
}

static int64_t ref_of(const struct msg *m) {
    switch (m->type) {
    case MSG_PAGE:
        return m->page.ref;
    case MSG_HEAD_IS:
        return m->head_is.ref;
    case MSG_DOCUMENT:
        return m->document.ref;
    case MSG_NAME_IS:
        return m->name_is.ref;
    case MSG_REFUSED:
        return m->refused.ref;
    default:
        return 0;
    }
}

static bool answers(const struct call *call, enum role_id from, const struct msg *m) {
    if (call->peer != from)
        return false;
    if (m->type == MSG_LISTING)
        return call->type == MSG_LIST;
    if (m->type == MSG_KILLED)
        return call->type == MSG_KILL && strcmp(call->id, m->killed.id) == 0;
    return call->ref != 0 && call->ref == ref_of(m);
}

int request_on_answer(void *self, struct chan *from, struct msg *m) {
    struct gateway *gw = self;
    enum role_id role = chan_peer(from)->role;
    struct call *call = gw->calls;
    while (call && !answers(call, role, m))
        call = call->next;
    if (!call) /* killed, for the kill of a child */
        return 0;
    struct request *req = call->request;
    call_answer answer = call->answer;
    size_t arg = call->arg;
    call_free(gw, call);
    if (req && m->type == MSG_REFUSED)
        refused(req, &m->refused);
    else if (req)
        answer(req, role, m, arg);
    return 0;
}

void requests_unlogged(struct client *client, const char *run) {
    for (struct request *req = client->gw->requests; req;) {
        struct request *waits = req;
        req = req->next;
        const char *key = json_str(waits->params, "key");
        if (waits->client != client || !key || strcmp(key, run) != 0)
            continue;
        request_fail(waits, RPC_LOG_FULL, "run %s has ended, but the disk is full and its end is not in the log", run);
        req = client->gw->requests; /* failing a request may have changed the list */
    }
}

void requests_clear(struct gateway *gw) {
    while (gw->requests)
        request_free(gw->requests);
    while (gw->calls)
        call_free(gw, gw->calls);
}
