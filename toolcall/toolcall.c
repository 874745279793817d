/* The role: turns messages, the tool's end and signals into events of fsm.c and carries out what the table says.
 *
 *   run --call--> PID 1 of the scope --fork--> tool
 *                   | [all dead] append tool.succeeded|failed, accepted
 *       <-call_done-+
 *
 * Rights go first: before a byte of the run is read this process has the tool's uid, no capability and cannot be
 * dumped. Should that fail, the call is answered sandbox_unavailable and no tool runs.
 *
 * A new owner that attaches (SIGUSR1) gets a monitor and no link, so there is nothing to do for it: it finds the result
 * in the log once this call is down. */
#include "toolcall/toolcall.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "common/title.h"
#include "toolcall/argv.h"
#include "toolcall/builtin.h"
#include "toolcall/exec_loop.h"
#include "toolcall/fsm.h"
#include "toolcall/grants.h"
#include "toolcall/report.h"

#include <string.h>

struct toolcall {
    struct role_ctx *ctx;
    bool unsafe; /* rights could not be given up: `unsafe_why` */
    struct tool_failure unsafe_why;
    /* the call, copied out of its frame */
    char tool[NAME_SIZE], step[NAME_SIZE], corr[NAME_SIZE], task[ID_SIZE];
    json_t *grants, *args;
    bool granted; /* `tool` is a name that the grants hold: fit for a title */
    /* the work */
    struct argv argv;
    struct tool_roots roots;
    struct exec_loop run;
    char cancel_reason[65];
    struct exec_result result;
    struct report report;
    int64_t ref; /* of the append that is not yet answered */
};

static void copy(char *out, size_t size, const char *text) {
    (void)snprintf(out, size, "%s", text ? text : "");
}

static const char *or_null(const char *text) {
    return *text ? text : NULL;
}

/* ---- from a call to a tool ---- */

/* Returns 0 with *manifest, or 1 with the failure. */
static int check_call(struct toolcall *self, const struct msg_call *call, const json_t **manifest,
                      struct tool_failure *failure) {
    const struct worker_start *start = self->ctx->start;
    if (self->unsafe) {
        *failure = self->unsafe_why;
        return 1;
    }
    if (!start->has_grants)
        return tool_fail(failure, TOOL_DENIED, "this call came without grants");
    if (grants_read(SLOT_GRANTS, &self->grants, failure) != 0 ||
        grants_tool(self->grants, self->tool, start->profile, manifest, failure) != 0)
        return 1;
    self->granted = true;
    return grants_args(*manifest, call->args.p, call->args.n, &self->args, failure);
}

/* The descriptors in the slots, beside the paths that the configuration names them by. */
static void collect_roots(struct toolcall *self) {
    const struct worker_start *start = self->ctx->start;
    const struct spec *spec = self->ctx->spec;
    for (uint32_t i = 0; i < start->n_read_roots; i++)
        self->roots.read[self->roots.n_read++] = (struct tool_root){SLOT_ROOTS + (int)i, spec->read_roots[i]};
    for (uint32_t i = 0; i < start->n_write_roots; i++)
        self->roots.write[self->roots.n_write++] =
            (struct tool_root){SLOT_ROOTS + (int)(start->n_read_roots + i), spec->write_roots[i]};
}

static int describe_builtin(struct toolcall *self, const char *name, struct exec_spec *spec,
                            struct tool_failure *failure) {
    if (!builtin_known(name))
        return tool_fail(failure, TOOL_NOT_FOUND, "there is no built-in %.100s", name);
    collect_roots(self);
    spec->builtin = name;
    spec->args = self->args;
    spec->roots = &self->roots;
    return 0;
}

static int describe_command(struct toolcall *self, const json_t *manifest, const char *key, struct exec_spec *spec,
                            struct tool_failure *failure) {
    if (argv_build(manifest, self->args, key, &self->argv, failure) != 0)
        return 1;
    spec->argv = self->argv.argv;
    spec->envp = self->argv.envp;
    spec->input = self->argv.input;
    spec->input_n = self->argv.input_n;
    spec->json_output = self->argv.json_output;
    return 0;
}

/* Returns 0 when the tool runs, or 1 with the failure. */
static int run_tool(struct toolcall *self, const struct msg_call *call, const json_t *manifest,
                    struct tool_failure *failure) {
    struct exec_spec spec = {.limits = argv_limits(manifest), .timeout_ms = call->timeout_ms};
    const char *builtin = json_str(manifest, "builtin");
    int r = builtin ? describe_builtin(self, builtin, &spec, failure)
                    : describe_command(self, manifest, call->key, &spec, failure);
    if (r != 0)
        return r;
    if (exec_loop_start(&self->run, &spec) < 0)
        return tool_fail(failure, TOOL_SANDBOX_UNAVAILABLE, "the tool could not be started: %s", err_text());
    return 0;
}

/* ---- actions ---- */

int toolcall_begin(void *arg, const void *message) {
    struct toolcall *self = arg;
    const struct msg_call *call = message;
    const json_t *manifest;
    struct tool_failure failure;
    copy(self->tool, sizeof self->tool, call->tool);
    copy(self->step, sizeof self->step, call->step);
    copy(self->corr, sizeof self->corr, call->corr);
    copy(self->task, sizeof self->task, call->task);
    int r = check_call(self, call, &manifest, &failure);
    toolcall_entered(self, self->ctx->fsm.state); /* the title may name the tool now */
    if (r == 0)
        r = run_tool(self, call, manifest, &failure);
    if (r != 0) {
        report_refusal(&self->result, &failure);
        fsm_post(&self->ctx->fsm, TOOLCALL_EV_ENDED);
    }
    return 0;
}

int toolcall_stop(void *arg, const void *reason) {
    struct toolcall *self = arg;
    copy(self->cancel_reason, sizeof self->cancel_reason, reason);
    exec_loop_cancel(&self->run);
    return 0;
}

static void on_ended(void *arg) {
    struct toolcall *self = arg;
    if (exec_loop_result(&self->run, &self->result) < 0)
        die(1, "result of the tool");
    (void)role_step(self->ctx, TOOLCALL_EV_ENDED, NULL);
}

int toolcall_journal(void *arg, const void *unused) {
    struct toolcall *self = arg;
    if (self->result.cancelled)
        report_cancelled(&self->result, self->cancel_reason);
    int64_t r = report_write(&self->result, self->tool, &self->report);
    if (r == 0) {
        struct msg_append event = {.type = report_event(&self->result),
                                   .step = self->step,
                                   .task = or_null(self->task),
                                   .corr = or_null(self->corr),
                                   .data = {self->report.data, self->report.data_n}};
        r = self->ref = role_event(self->ctx, &event, true);
    }
    if (r < 0) { /* without the log nothing may be told */
        log_error("event=not_journalled why=\"%s\"", err_text());
        fsm_post(&self->ctx->fsm, TOOLCALL_EV_LOG_GONE);
    }
    return 0;
}

int toolcall_answer(void *arg, const void *unused) {
    struct toolcall *self = arg;
    struct msg_call_done done = report_answer(&self->result, &self->report);
    int r = self->ctx->link ? chan_send(self->ctx->link, MSG_CALL_DONE, &done) : 0;
    if (r < 0 && r != -EPIPE) /* EPIPE: the owner is gone, and its next incarnation reads the log */
        die(1, "answer");
    return 0;
}

/* The result is lost, since nobody may see what the log does not have. */
int toolcall_answer_refused(void *arg, const void *refused) {
    struct toolcall *self = arg;
    const struct msg_refused *m = refused;
    struct exec_result *r = &self->result;
    r->failed =
        tool_fail(&r->failure, TOOL_TOOL_ERROR, "the event log refused the result (%s): %s", m->error, m->why) != 0;
    return toolcall_answer(self, NULL);
}

static int leave(struct toolcall *self, int code) {
    exec_loop_deinit(&self->run);
    exec_result_deinit(&self->result);
    report_deinit(&self->report);
    argv_deinit(&self->argv);
    json_decref(take_ptr(&self->args));
    json_decref(take_ptr(&self->grants));
    role_exit(self->ctx, code);
    return 0;
}

int toolcall_leave(void *self, const void *unused) {
    return leave(self, 0);
}

int toolcall_leave_untold(void *arg, const void *unused) {
    struct toolcall *self = arg;
    log_error("event=ends_untold");
    return leave(self, 1);
}

/* ---- states ---- */

/* The machine is entered before start(): the first state's time is set there. */
int64_t toolcall_call_ms(void *arg) {
    struct toolcall *self = arg;
    return self->ctx ? self->ctx->spec->step_timeout : -1;
}

int64_t toolcall_journal_ms(void *arg) {
    return TOOLCALL_JOURNAL_MS;
}

int64_t toolcall_flush_ms(void *arg) {
    struct toolcall *self = arg;
    return self->ctx->spec->orphan_timeout;
}

void toolcall_entered(void *arg, unsigned state) {
    struct toolcall *self = arg;
    if (self->ctx)
        title_set("toolcall %s%s%s %s", self->ctx->start->id, self->granted ? " " : "", self->granted ? self->tool : "",
                  toolcall_fsm.state_names[state]);
}

/* The answer may be larger than the owner's socket takes at once: only when all of it is out may this process end. */
static void on_turn(void *arg) {
    struct toolcall *self = arg;
    if (self->ctx->fsm.state == TOOLCALL_FLUSHING && (!self->ctx->link || !chan_queued(self->ctx->link)))
        (void)role_step(self->ctx, TOOLCALL_EV_FLUSHED, NULL);
}

/* ---- messages ---- */

static int on_call(void *arg, struct chan *from, struct msg *m) {
    struct toolcall *self = arg;
    return role_step(self->ctx, TOOLCALL_EV_CALL, &m->call);
}

static int on_cancel(void *arg, struct chan *from, struct msg *m) {
    struct toolcall *self = arg;
    return role_step(self->ctx, TOOLCALL_EV_CANCEL, m->cancel.reason);
}

static int check_ref(const struct toolcall *self, int64_t ref) {
    return ref == self->ref ? 0 : err_raise(-EPROTO, "the log answers request %lld", (long long)ref);
}

static int on_accepted(void *arg, struct chan *from, struct msg *m) {
    struct toolcall *self = arg;
    int r = check_ref(self, m->accepted.ref);
    return r < 0 ? err_up(r) : role_step(self->ctx, TOOLCALL_EV_ACCEPTED, NULL);
}

static int on_refused(void *arg, struct chan *from, struct msg *m) {
    struct toolcall *self = arg;
    int r = check_ref(self, m->refused.ref);
    return r < 0 ? err_up(r) : role_step(self->ctx, TOOLCALL_EV_REFUSED, &m->refused);
}

/* May follow `accepted`; the owner's next barrier is what counts. */
static int on_durable(void *arg, struct chan *from, struct msg *m) {
    return check_ref(arg, m->durable.ref);
}

static const struct accept accepts[] = {
    {MSG_CALL, M(RUN), UINT32_C(1) << TOOLCALL_WAITING, on_call},
    {MSG_CANCEL, M(RUN), 0, on_cancel},
    {MSG_ACCEPTED, M(EVENTLOG), UINT32_C(1) << TOOLCALL_JOURNALLING, on_accepted},
    {MSG_REFUSED, M(EVENTLOG), UINT32_C(1) << TOOLCALL_JOURNALLING, on_refused},
    {MSG_DURABLE, M(EVENTLOG), 0, on_durable},
};

static void on_closed(void *arg, struct chan *c, int reason) {
    struct toolcall *self = arg;
    bool log = chan_peer(c)->role == ROLE_EVENTLOG;
    (void)role_step(self->ctx, log ? TOOLCALL_EV_LOG_GONE : TOOLCALL_EV_OWNER_GONE, NULL);
}

static void on_term(void *arg) {
    struct toolcall *self = arg;
    (void)role_step(self->ctx, TOOLCALL_EV_CANCEL, "stopped by its supervisor");
}

/* ---- start ---- */

static void give_up_rights(struct toolcall *self) {
    const struct spec *spec = self->ctx->spec;
    uid_t uid = spec->privileged ? spec->tool_uid : geteuid();
    gid_t gid = spec->privileged ? spec->tool_gid : getegid();
    if (exec_become_tool(uid, gid) == 0)
        return;
    log_error("event=rights_kept why=\"%s\"", err_text());
    self->unsafe =
        tool_fail(&self->unsafe_why, TOOL_SANDBOX_UNAVAILABLE, "rights could not be given up: %s", err_text()) != 0;
}

static int start(struct role_ctx *ctx, void *arg) {
    struct toolcall *self = arg;
    if (!ctx->link || !ctx->wire[ROLE_EVENTLOG])
        return err_raise(-EINVAL, "a tool call needs an owner and the event log");
    self->ctx = ctx;
    give_up_rights(self);
    json_init();
    int r = exec_loop_init(&self->run, ctx->loop, on_ended, self);
    if (r < 0)
        return err_up(r);
    loop_on_turn(ctx->loop, on_turn, self);
    fsm_init(&ctx->fsm, &toolcall_fsm, ctx->loop, self, TOOLCALL_WAITING); /* its time depends on the specification */
    return 0;
}

const struct role toolcall_role = {
    .id = ROLE_TOOLCALL,
    .self_size = sizeof(struct toolcall),
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .fsm = &toolcall_fsm,
    .initial = TOOLCALL_WAITING,
    /* It changes its uid itself, and the tool's memory limit is the manifest's, not that of a role. */
    .profile = {.keep_capabilities = true, .data_bytes = UINT64_MAX},
    .start = start,
    .closed = on_closed,
    .term = on_term,
};
