/* The role: turns messages, the provider's end and signals into events of fsm.c and carries out what the table says.
 *
 *   actor --llm_request--> [key file or script by descriptor] --POST--> provider
 *         <--llm_reply---- [append llm.succeeded, accepted] <---------
 *
 * The key is read when the request is there and wiped as soon as the provider is done with it. There are no retries at
 * this stage: one request, one outcome (Retry-After and backoff come with the issue on LLM calls).
 *
 * A new owner that attaches (SIGUSR1) gets a monitor and no link, so there is nothing to do for it: it finds the result
 * in the log once this call is down. */
#include "llmcall/llmcall.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/title.h"
#include "llmcall/fsm.h"
#include "llmcall/http.h"
#include "llmcall/key.h"
#include "llmcall/openai.h"
#include "llmcall/outcome.h"
#include "llmcall/script.h"

#include <string.h>

#define URL_MAX (SPEC_PATH + sizeof "/chat/completions")

struct llmcall {
    struct role_ctx *ctx;
    const struct spec_provider *provider; /* NULL: not configured */
    /* the request, copied out of its frame */
    char model[129], task[ID_SIZE], corr[NAME_SIZE];
    char *messages, *tools;
    size_t messages_n, tools_n;
    int64_t timeout_ms, began_ms;
    /* the work */
    struct key key;
    struct http *http;
    char url[URL_MAX];
    struct buf body;
    struct loop_timer delay; /* of a scripted reply */
    struct outcome outcome;
    int64_t ref; /* of the append that is not yet answered */
};

/* ---- script ---- */

static void on_delay(void *arg) {
    struct llmcall *self = arg;
    (void)role_step(self->ctx, LLMCALL_EV_OUTCOME, NULL);
}

static void ask_script(struct llmcall *self) {
    auto_free char *text = NULL;
    size_t n = 0;
    int64_t delay_ms = 0;
    if (!self->ctx->start->has_secret)
        outcome_fail(&self->outcome, "config", 0, "the script %s cannot be opened; see [provider %s]",
                     self->provider->path, self->provider->name);
    else if (script_read(SLOT_SECRET, &text, &n) < 0)
        outcome_fail(&self->outcome, "config", 0, "%s: %s", err_text(), self->provider->path);
    else
        script_answer(text, n, (struct json_span){self->messages, self->messages_n}, &self->outcome, &delay_ms);
    if (!delay_ms)
        fsm_post(&self->ctx->fsm, LLMCALL_EV_OUTCOME);
    else if (loop_timer_set(self->ctx->loop, &self->delay, now_ms() + delay_ms, on_delay, self) < 0)
        die(1, "delay of a script");
}

/* ---- openai ---- */

static void stop_asking(struct llmcall *self) {
    loop_timer_clear(self->ctx->loop, &self->delay);
    http_free(self->http);
    self->http = NULL;
    key_wipe(&self->key);
    buf_deinit(&self->body);
}

static void on_http(void *arg, struct http_result *result) {
    struct llmcall *self = arg;
    if (result->failure)
        outcome_fail(&self->outcome, result->failure, 0, "%s: %s", self->provider->name, result->why);
    else
        openai_reply(result->status, result->body, result->body_n, self->key.text, self->ctx->start->id,
                     &self->outcome);
    outcome_redact(&self->outcome, self->key.text);
    (void)role_step(self->ctx, LLMCALL_EV_OUTCOME, NULL);
}

static int read_key(struct llmcall *self) {
    if (self->ctx->start->has_secret)
        return key_read(SLOT_SECRET, &self->key);
    if (*self->provider->key_file)
        return err_raise(-EACCES, "the key file cannot be opened");
    return 0; /* a local server may want none */
}

static void ask_openai(struct llmcall *self) {
    const struct spec_provider *p = self->provider;
    size_t url_n = strlen(p->url);
    while (url_n && p->url[url_n - 1] == '/')
        url_n--;
    (void)snprintf(self->url, sizeof self->url, "%.*s/chat/completions", (int)url_n, p->url);
    self->body = BUF_NULL(OPENAI_BODY_MAX);
    if (read_key(self) < 0) {
        outcome_fail(&self->outcome, "credentials", 0, "%s (key_file of provider %s)", err_text(), p->name);
        goto failed;
    }
    if (openai_request(self->model, (struct json_span){self->messages, self->messages_n},
                       (struct json_span){self->tools, self->tools_n}, &self->body) < 0) {
        outcome_fail(&self->outcome, "too_large", 0, "%s", err_text());
        goto failed;
    }
    struct http_request request = {.url = self->url,
                                   .auth = self->key.header,
                                   .ca_file = p->ca_file,
                                   .body = self->body.p,
                                   .body_n = self->body.n};
    self->http = http_post(self->ctx->loop, &request, on_http, self);
    if (self->http)
        return;
    outcome_fail(&self->outcome, "config", 0, "%s (provider %s)", err_text(), p->name);
failed:
    fsm_post(&self->ctx->fsm, LLMCALL_EV_OUTCOME);
}

/* ---- actions ---- */

int llmcall_begin(void *arg, const void *unused) {
    struct llmcall *self = arg;
    if (!self->provider) {
        outcome_fail(&self->outcome, "config", 0, "no provider %s is configured", self->ctx->start->profile);
        fsm_post(&self->ctx->fsm, LLMCALL_EV_OUTCOME);
    } else if (self->provider->kind == PROVIDER_SCRIPT)
        ask_script(self);
    else
        ask_openai(self);
    return 0;
}

/* `data` of llm.succeeded or llm.failed. */
static void write_data(const struct outcome *o, int64_t wall_ms, struct buf *b) {
    (void)buf_addz(b, "{");
    if (o->ok) {
        (void)buf_json_key(b, "message");
        (void)buf_add(b, o->message, o->message_n);
        (void)buf_json_key(b, "usage");
        (void)(o->usage ? buf_add(b, o->usage, o->usage_n) : buf_addz(b, "null"));
        (void)buf_json_key(b, "finish");
        (void)buf_json_str(b, o->finish);
    } else {
        (void)buf_json_key(b, "error");
        (void)buf_json_str(b, o->error);
        (void)buf_json_key(b, "message");
        (void)buf_json_str(b, o->text);
        if (o->status)
            (void)buf_printf(b, ",\"status\":%d", o->status);
    }
    (void)buf_printf(b, ",\"wall_ms\":%lld}", (long long)wall_ms);
}

int llmcall_report(void *arg, const void *unused) {
    struct llmcall *self = arg;
    stop_asking(self);
    auto_buf struct buf data = BUF_NULL(2 * OUTCOME_MESSAGE_MAX);
    write_data(&self->outcome, self->began_ms ? now_ms() - self->began_ms : 0, &data);
    struct msg_append event = {.type = self->outcome.ok ? "llm.succeeded" : "llm.failed",
                               .task = *self->task ? self->task : NULL,
                               .corr = *self->corr ? self->corr : NULL,
                               .data = {data.p, data.n}};
    self->ref = buf_failed(&data) ? data.failure : role_event(self->ctx, &event, true);
    if (self->ref < 0) { /* without the log nothing may be told */
        log_error("event=not_journalled why=\"%s\"", err_text());
        fsm_post(&self->ctx->fsm, LLMCALL_EV_LOG_GONE);
    }
    return 0;
}

int llmcall_cancelled(void *arg, const void *reason) {
    struct llmcall *self = arg;
    outcome_fail(&self->outcome, "cancelled", 0, "the call was cancelled: %s",
                 reason ? (const char *)reason : "no reason was given");
    return llmcall_report(self, NULL);
}

int llmcall_expired(void *arg, const void *unused) {
    struct llmcall *self = arg;
    outcome_fail(&self->outcome, "timeout", 0, "the provider did not answer within %lld ms",
                 (long long)self->timeout_ms);
    return llmcall_report(self, NULL);
}

int llmcall_answer(void *arg, const void *unused) {
    struct llmcall *self = arg;
    const struct outcome *o = &self->outcome;
    int r;
    if (o->ok)
        r = chan_send(self->ctx->link, MSG_LLM_REPLY,
                      &(struct msg_llm_reply){
                          .message = {o->message, o->message_n}, .usage = {o->usage, o->usage_n}, .finish = o->finish});
    else
        r = chan_send(self->ctx->link, MSG_LLM_FAILED,
                      &(struct msg_llm_failed){.error = o->error, .message = o->text, .status = o->status});
    if (r < 0 && r != -EPIPE) /* EPIPE: the owner is gone and its next incarnation reads the log */
        die(1, "answer");
    return 0;
}

int llmcall_answer_refused(void *arg, const void *refused) {
    struct llmcall *self = arg;
    const struct msg_refused *m = refused;
    outcome_fail(&self->outcome, "log_refused", 0, "the event log refused the result (%s): %s", m->error, m->why);
    return llmcall_answer(self, NULL);
}

static int leave(struct llmcall *self, int code) {
    stop_asking(self);
    outcome_deinit(&self->outcome);
    free(take_ptr(&self->messages));
    free(take_ptr(&self->tools));
    role_exit(self->ctx, code);
    return 0;
}

int llmcall_leave(void *self, const void *unused) {
    return leave(self, 0);
}

int llmcall_leave_untold(void *self, const void *unused) {
    return leave(self, 1);
}

/* ---- state ---- */

/* The configuration's timeout is a ceiling on what an owner may ask for. */
int64_t llmcall_deadline_ms(void *arg) {
    struct llmcall *self = arg;
    if (self->provider && self->provider->timeout_ms > 0 && self->provider->timeout_ms < self->timeout_ms)
        self->timeout_ms = self->provider->timeout_ms;
    return self->timeout_ms;
}

int64_t llmcall_flush_ms(void *arg) {
    struct llmcall *self = arg;
    return self->ctx->spec->orphan_timeout;
}

void llmcall_entered(void *arg, unsigned state) {
    struct llmcall *self = arg;
    if (self->ctx) /* the machine is entered before start() */
        title_set("llmcall %s %s %s", self->ctx->start->id, self->ctx->start->profile, llmcall_fsm.state_names[state]);
}

/* The answer may be larger than the owner's socket takes at once: only when all of it is out may this process end. */
static void on_turn(void *arg) {
    struct llmcall *self = arg;
    if (self->ctx->fsm.state == LLMCALL_FLUSHING && (!self->ctx->link || !chan_queued(self->ctx->link)))
        (void)role_step(self->ctx, LLMCALL_EV_FLUSHED, NULL);
}

/* ---- messages ---- */

static char *copy_span(struct json_span span, size_t *n) {
    char *copy = span.p ? malloc(span.n + 1) : NULL;
    if (copy) {
        memcpy(copy, span.p, span.n);
        copy[span.n] = '\0';
        *n = span.n;
    }
    return copy;
}

static int on_request(void *arg, struct chan *from, struct msg *m) {
    struct llmcall *self = arg;
    const struct msg_llm_request *q = &m->llm_request;
    (void)snprintf(self->model, sizeof self->model, "%s", q->model);
    (void)snprintf(self->task, sizeof self->task, "%s", q->task ? q->task : "");
    (void)snprintf(self->corr, sizeof self->corr, "%s", q->corr ? q->corr : "");
    self->messages = copy_span(q->messages, &self->messages_n);
    self->tools = copy_span(q->tools, &self->tools_n);
    if (!self->messages || (q->tools.p && !self->tools))
        die(1, "request");
    self->timeout_ms = q->timeout_ms;
    self->began_ms = now_ms();
    return role_step(self->ctx, LLMCALL_EV_REQUEST, NULL);
}

static int on_cancel(void *arg, struct chan *from, struct msg *m) {
    struct llmcall *self = arg;
    return role_step(self->ctx, LLMCALL_EV_CANCEL, m->cancel.reason);
}

static int check_ref(const struct llmcall *self, int64_t ref) {
    return ref == self->ref ? 0 : err_raise(-EPROTO, "the log answers request %lld", (long long)ref);
}

static int on_accepted(void *arg, struct chan *from, struct msg *m) {
    struct llmcall *self = arg;
    int r = check_ref(self, m->accepted.ref);
    return r < 0 ? err_up(r) : role_step(self->ctx, LLMCALL_EV_ACCEPTED, NULL);
}

static int on_refused(void *arg, struct chan *from, struct msg *m) {
    struct llmcall *self = arg;
    int r = check_ref(self, m->refused.ref);
    return r < 0 ? err_up(r) : role_step(self->ctx, LLMCALL_EV_REFUSED, &m->refused);
}

/* Follows every accepted; the owner's next barrier is what counts. */
static int on_durable(void *arg, struct chan *from, struct msg *m) {
    return check_ref(arg, m->durable.ref);
}

static const struct accept accepts[] = {
    {MSG_LLM_REQUEST, M(ACTOR), UINT32_C(1) << LLMCALL_WAITING, on_request},
    {MSG_CANCEL, M(ACTOR), 0, on_cancel},
    {MSG_ACCEPTED, M(EVENTLOG), UINT32_C(1) << LLMCALL_REPORTING, on_accepted},
    {MSG_REFUSED, M(EVENTLOG), UINT32_C(1) << LLMCALL_REPORTING, on_refused},
    {MSG_DURABLE, M(EVENTLOG), 0, on_durable},
};

static void on_closed(void *arg, struct chan *c, int reason) {
    struct llmcall *self = arg;
    bool log = chan_peer(c)->role == ROLE_EVENTLOG;
    (void)role_step(self->ctx, log ? LLMCALL_EV_LOG_GONE : LLMCALL_EV_OWNER_GONE, NULL);
}

static void on_term(void *arg) {
    struct llmcall *self = arg;
    (void)role_step(self->ctx, LLMCALL_EV_CANCEL, "stopped by its supervisor");
}

static int start(struct role_ctx *ctx, void *arg) {
    struct llmcall *self = arg;
    if (!ctx->link || !ctx->wire[ROLE_EVENTLOG])
        return err_raise(-EINVAL, "an LLM call needs an owner and the event log");
    self->ctx = ctx;
    for (uint32_t i = 0; i < ctx->spec->n_providers; i++)
        if (strcmp(ctx->spec->providers[i].name, ctx->start->profile) == 0)
            self->provider = &ctx->spec->providers[i];
    json_init();
    loop_on_turn(ctx->loop, on_turn, self);
    llmcall_entered(self, LLMCALL_WAITING);
    return 0;
}

const struct role llmcall_role = {
    .id = ROLE_LLMCALL,
    .self_size = sizeof(struct llmcall),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .fsm = &llmcall_fsm,
    .initial = LLMCALL_WAITING,
    .profile = {.secret = true},
    .start = start,
    .closed = on_closed,
    .term = on_term,
};
