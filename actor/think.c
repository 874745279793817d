/* The loop of one task: request → proposal → run → observations → request … The runtime disposes: nothing the model
 * says has an effect before it was read as data, checked against allow-list and schemas, and counted. At most one LLM
 * call or one run is waited for; children that have said their last word and are not reaped yet are counted only. */
#include "actor/actor_impl.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"

#define LLM_TIMEOUT_MAX_MS 3600000

static struct journal_about about(struct actor *a) {
    return (struct journal_about){mailbox_current(&a->mailbox), NULL};
}

void actor_think_reset(struct actor *a) {
    free(take_ptr(&a->request));
    free(take_ptr(&a->plan));
    json_decref(take_ptr(&a->reply));
    proposal_deinit(&a->proposal);
    a->llm_ref = a->executed_ref = 0;
    a->llm = a->run = NULL;
}

/* Inside an action: the task has failed, nothing of it is alive. */
static int fail(struct actor *a, const char *error, const char *why) {
    task_ends(mailbox_current(&a->mailbox), TASK_FAILED, error, why);
    actor_raise(a, ACTOR_EV_FAIL);
    return 0;
}

static int over_budget(struct actor *a, const char *budget, int64_t limit) {
    char why[100];
    json_t *data = json_pack("{s:s, s:I}", "budget", budget, "limit", (json_int_t)limit);
    (void)actor_journal(a, "budget.exceeded", about(a), data, JOURNAL_RELAXED);
    (void)snprintf(why, sizeof why, "the task needs more than its budget of %lld %s", (long long)limit, budget);
    return fail(a, "budget", why);
}

static void ours(int r) {
    if (r < 0)
        die(1, "conversation"); /* out of memory, or a defect: nothing that the model can cause */
}

/* ---- children ---- */

static void child_gone(struct actor *a) {
    a->n_children--;
    unsigned state = a->ctx->fsm.state;
    if (!a->n_children && (state == ACTOR_CANCELLING || state == ACTOR_REPLYING))
        (void)role_step(a->ctx, ACTOR_EV_EMPTY, NULL);
}

int actor_stop(void *self, const void *arg) {
    struct actor *a = self;
    const struct task *t = mailbox_current(&a->mailbox);
    for (struct child *child = a->ctx->children; child; child = child->next)
        child_cancel(child, t->status == TASK_TIMEOUT ? "deadline" : t->error);
    if (!a->n_children)
        actor_raise(a, ACTOR_EV_EMPTY);
    return 0;
}

int actor_kill_rest(void *self, const void *arg) {
    struct actor *a = self;
    for (struct child *child = a->ctx->children; child; child = child->next)
        child_kill(child, 0);
    return 0;
}

/* ---- asking the model ---- */

static void send_request(struct actor *a) {
    if (a->ctx->fsm.state != ACTOR_WAITING_LLM || !a->llm_hello || !a->llm_durable || !a->request)
        return;
    const struct task *t = mailbox_current(&a->mailbox);
    auto_free char *tools = NULL;
    size_t n = 0;
    if (json_array_size(a->tools_list))
        ours(json_text(a->tools_list, TOOLS_TEXT_MAX, &tools, &n));
    struct msg_llm_request request = {
        .model = a->model,
        .messages = {a->request, a->request_n},
        .tools = {tools, n},
        .timeout_ms = a->llm_timeout_ms < LLM_TIMEOUT_MAX_MS ? a->llm_timeout_ms : LLM_TIMEOUT_MAX_MS,
        .task = t->id,
        .corr = t->corr,
    };
    if (child_send(a->llm, MSG_LLM_REQUEST, &request) < 0)
        child_kill(a->llm, 0); /* a link that is broken already; `down` tells the rest */
    free(take_ptr(&a->request));
}

static void on_llm_down(struct child *child, const struct msg_down *down) {
    struct actor *a = child->user;
    if (child == a->llm) {
        char why[300];
        a->llm = NULL;
        (void)snprintf(why, sizeof why, "the LLM call ended without an answer: %s %s", down->reason,
                       down->why ? down->why : "");
        (void)fail(a, "llm_lost", why);
    }
    child_gone(a);
}

/* The event names everything the call will be given, and is on disk before the request is let out. */
static int start_call(struct actor *a, struct task *t) {
    char call[ID_SIZE];
    id_make('c', call);
    json_t *data = json_pack("{s:s, s:s, s:O, s:O}", "provider", a->provider, "model", a->model, "messages",
                             t->conversation.messages, "tools", a->tools_list);
    a->llm_hello = a->llm_durable = false;
    a->llm_ref = actor_journal(a, "llm.started", (struct journal_about){t, call}, data, JOURNAL_BARRIER);
    a->llm = child_spawn(a->ctx, ROLE_LLMCALL, call, a->provider, -1, on_llm_down, a);
    if (!a->llm)
        return fail(a, "llm_refused", err_text());
    a->n_children++;
    t->llm_calls++;
    return 0;
}

int actor_ask(void *self, const void *arg) {
    struct actor *a = self;
    struct task *t = mailbox_current(&a->mailbox);
    actor_think_reset(a);
    if (t->llm_calls >= a->llm_calls_max)
        return over_budget(a, "llm_calls", a->llm_calls_max);
    int r = conversation_text(&t->conversation, &a->request, &a->request_n);
    if (r == -EMSGSIZE)
        return fail(a, "conversation_limit", err_text());
    ours(r);
    return start_call(a, t);
}

static void on_deadline(void *arg) {
    struct task *t = arg;
    task_ends(t, TASK_TIMEOUT, "timeout", "the task took longer than its budget of time");
    actor_end_task(t->actor, t);
}

int actor_begin(void *self, const void *arg) {
    struct actor *a = self;
    struct task *t = mailbox_next(&a->mailbox);
    const char *system = json_str(a->definition, "system");
    t->stage = TASK_CURRENT;
    ours(conversation_init(&t->conversation, system ? system : "", t->text));
    if (loop_timer_set(a->ctx->loop, &t->deadline, now_ms() + a->timeout_ms, on_deadline, t) < 0)
        die(1, "timer");
    return actor_ask(self, arg);
}

/* ---- what the model said ---- */

/* The call goes on to its end by itself; it is no longer the one that is waited for. */
int actor_on_llm_reply(struct actor *a, const struct chan *from, const struct msg_llm_reply *m) {
    if (!a->llm || a->llm->link != from)
        return 0;
    if (json_parse(m->message.p, m->message.n, JSON_TEXT_MAX, &a->reply) < 0)
        return err_raise(-EPROTO, "an assistant message that is no JSON");
    a->llm = NULL;
    return role_step(a->ctx, ACTOR_EV_REPLY, NULL);
}

int actor_on_llm_failed(struct actor *a, const struct chan *from, const struct msg_llm_failed *m) {
    if (!a->llm || a->llm->link != from)
        return 0;
    char error[33];
    (void)snprintf(error, sizeof error, "llm_%.28s", m->error);
    a->llm = NULL;
    return fail(a, error, m->message);
}

static void journal_created(struct actor *a, const struct proposal *p) {
    json_t *calls = json_array();
    for (unsigned i = 0; i < p->n_calls; i++)
        if (json_array_append_new(calls, json_pack("{s:s, s:s}", "id", p->calls[i].id, "tool", p->calls[i].tool)) < 0)
            die(1, "memory");
    json_t *data = json_pack("{s:s, s:o}", "kind", proposal_kind_name(p->kind), "calls", calls);
    (void)actor_journal(a, "proposal.created", about(a), data, JOURNAL_RELAXED);
}

static void journal_rejected(struct actor *a, const char *why) {
    (void)actor_journal(a, "proposal.rejected", about(a), json_pack("{s:s}", "why", why), JOURNAL_RELAXED);
}

/* What may not run is answered at once, so that the model can do better in its next turn. */
static void answer_refused(struct actor *a, struct task *t, const struct proposal_call *call) {
    if (call->verdict == CALL_DENIED) {
        json_t *data = json_pack("{s:s, s:s}", "tool", call->tool, "why", call->why);
        (void)actor_journal(a, "policy.denied", about(a), data, JOURNAL_RELAXED);
    }
    const char *name = call->verdict == CALL_DENIED ? "denied" : "invalid_args";
    ours(conversation_answer_error(&t->conversation, call->id, name, call->why));
}

static int judge_steps(struct actor *a, struct task *t) {
    const struct proposal *p = &a->proposal;
    if (t->steps + p->n_approved > a->steps_max) {
        journal_rejected(a, "above the budget of steps");
        return over_budget(a, "steps", a->steps_max);
    }
    ours(conversation_assistant(&t->conversation, p->message));
    for (unsigned i = 0; i < p->n_calls; i++)
        if (p->calls[i].verdict != CALL_APPROVED)
            answer_refused(a, t, &p->calls[i]);
    if (!p->n_approved) {
        journal_rejected(a, "no call of it may run");
        fsm_post(&a->ctx->fsm, ACTOR_EV_AGAIN);
        return 0;
    }
    (void)actor_journal(a, "proposal.approved", about(a), json_object(), JOURNAL_RELAXED);
    fsm_post(&a->ctx->fsm, ACTOR_EV_STEPS);
    return 0;
}

int actor_judge(void *self, const void *arg) {
    struct actor *a = self;
    struct task *t = mailbox_current(&a->mailbox);
    struct proposal *p = &a->proposal;
    ours(proposal_read(a->reply, a->tools, t->calls + 1, p));
    json_decref(take_ptr(&a->reply));
    t->calls += p->n_calls;
    journal_created(a, p);
    switch (p->kind) {
    case PROPOSAL_RUN_STEPS:
        return judge_steps(a, t);
    case PROPOSAL_REPLY:
        task_ends(t, TASK_COMPLETED, NULL, NULL);
        t->reply = take_ptr(&p->reply);
        fsm_post(&a->ctx->fsm, ACTOR_EV_SPEAK);
        return 0;
    case PROPOSAL_REJECT:
        break;
    }
    journal_rejected(a, p->why);
    return fail(a, "bad_proposal", p->why);
}

/* ---- the run ---- */

/* Every approved call is answered, by its output or by what happened to the run. */
static void observe(struct actor *a, const json_t *outputs, const json_t *error) {
    struct task *t = mailbox_current(&a->mailbox);
    auto_json json_t *wrapped = json_pack("{s:O}", "error", error);
    for (unsigned i = 0; i < a->proposal.n_calls; i++) {
        const struct proposal_call *call = &a->proposal.calls[i];
        const json_t *output = json_object_get(outputs, call->id);
        if (call->verdict == CALL_APPROVED)
            ours(conversation_answer(&t->conversation, call->id, output ? output : wrapped));
    }
}

static int run_over(struct actor *a, const json_t *outputs, const char *name, const char *message) {
    auto_json json_t *error = json_pack("{s:s, s:s}", "name", name, "message", message);
    a->run = NULL;
    if (!error)
        die(1, "memory");
    if (a->ctx->fsm.state == ACTOR_RUNNING)
        observe(a, outputs, error);
    return role_step(a->ctx, ACTOR_EV_OBSERVED, NULL);
}

static void send_plan(struct actor *a) {
    if (a->ctx->fsm.state != ACTOR_RUNNING || !a->run_hello || !a->run_announced || !a->plan || a->run->generation > 1)
        return;
    const struct task *t = mailbox_current(&a->mailbox);
    struct msg_run_start start = {.plan = {a->plan, a->plan_n}, .corr = t->corr, .task = t->id};
    if (chan_send_fds(a->run->link, MSG_RUN_START, &start, &a->grants, 1) < 0)
        child_kill(a->run, 0);
    free(take_ptr(&a->plan));
}

static void on_run_down(struct child *child, const struct msg_down *down) {
    struct actor *a = child->user;
    if (child == a->run)
        (void)run_over(a, NULL, "run_lost",
                       down->why ? down->why : "the run was lost; what it had begun may have happened");
    child_gone(a);
}

/* The announcement has its number before the plan is handed over, so that it stands before run.accepted in the log. */
int actor_run(void *self, const void *arg) {
    struct actor *a = self;
    struct task *t = mailbox_current(&a->mailbox);
    char run[ID_SIZE];
    ours(json_text(a->proposal.plan, PROPOSAL_PLAN_MAX, &a->plan, &a->plan_n));
    id_make('r', run);
    a->run_hello = a->run_announced = false;
    a->executed_ref = actor_journal(a, "proposal.executed", about(a), json_pack("{s:s}", "run", run), JOURNAL_ANSWERED);
    a->run = child_spawn(a->ctx, ROLE_RUN, run, NULL, a->grants, on_run_down, a);
    if (!a->run)
        return fail(a, "run_refused", err_text());
    a->n_children++;
    t->steps += a->proposal.n_approved;
    return 0;
}

int actor_on_run_rejected(struct actor *a, const struct chan *from, const struct msg_run_rejected *m) {
    if (!a->run || a->run->link != from)
        return 0;
    return run_over(a, NULL, m->error, m->why);
}

/* Parts of a checked frame: what cannot be read is missing. */
static json_t *read_span(struct json_span span) {
    json_t *j = NULL;
    return span.p && json_parse(span.p, span.n, JSON_TEXT_MAX, &j) == 0 ? j : NULL;
}

int actor_on_run_done(struct actor *a, const struct chan *from, const struct msg_run_done *m) {
    if (!a->run || a->run->link != from)
        return 0;
    auto_json json_t *outputs = read_span(m->outputs), *error = read_span(m->error);
    if (strcmp(m->status, "completed") == 0)
        return run_over(a, outputs, "no_output", "the step left no output");
    const char *name = json_str(error, "name"), *message = json_str(error, "message");
    return run_over(a, NULL, name ? name : m->status, message ? message : "the run did not complete");
}

/* ---- both children, and the log ---- */

int actor_on_hello(struct actor *a, struct chan *from, const struct msg *m) {
    int r = child_on_hello(a->ctx, from, m);
    if (r < 0)
        return err_up(r);
    if (a->llm && a->llm->link == from) {
        a->llm_hello = true;
        send_request(a);
    } else if (a->run && a->run->link == from) {
        a->run_hello = true; /* a successor is given nothing: it speaks from the log */
        send_plan(a);
    }
    return 0;
}

bool actor_think_accepted(struct actor *a, int64_t ref) {
    if (!a->executed_ref || ref != a->executed_ref)
        return false;
    a->executed_ref = 0;
    a->run_announced = true;
    send_plan(a);
    return true;
}

bool actor_think_durable(struct actor *a, int64_t ref) {
    if (!a->llm_ref || ref != a->llm_ref)
        return false;
    a->llm_ref = 0;
    a->llm_durable = true;
    send_request(a);
    return true;
}

bool actor_think_refused(struct actor *a, const struct msg_refused *m) {
    struct task *t = mailbox_current(&a->mailbox);
    if (!t || !m->ref || (m->ref != a->llm_ref && m->ref != a->executed_ref))
        return false;
    task_ends(t, TASK_FAILED, m->error, m->why);
    actor_end_task(a, t);
    return true;
}
