/* One run below a session. It ends in one of three ways: it says how it ended; it dies in silence after an event that
 * the log has; it dies in silence and the log knows nothing of an end. Only the log tells the last two apart, so a
 * silent end is followed by a query, and the owner hears exactly one last word about each run. */
#include "actor/session_runs.h"

#include <string.h>

#include "actor/session_fsm.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"

/* The owner may be gone: then the log holds the result, and nobody needs to be told. */
static void tell(struct session *s, enum msg_type type, const void *body) {
    int r = chan_send(s->ctx->link, type, body);
    if (r < 0 && r != -EPIPE)
        log_warn("event=untold message=%s reason=\"%s\"", msg_name(type), err_text());
}

static void reject(struct session *s, const char *run, const char *error, const char *why) {
    tell(s, MSG_RUN_REJECTED, &(struct msg_run_rejected){.run = run, .error = error, .why = why});
}

/* ---- the list ---- */

static struct session_run *find(const struct session *s, const char *id) {
    for (struct session_run *run = s->runs; run; run = run->next)
        if (strcmp(run->id, id) == 0)
            return run;
    return NULL;
}

static struct session_run *run_of(const struct session *s, const struct chan *from) {
    struct child *child = child_of(s->ctx, from);
    return child ? child->user : NULL;
}

static struct session_run *add(struct session *s, const char *id, bool detached) {
    struct session_run *run = calloc(1, sizeof *run);
    if (!run)
        die(1, "memory");
    run->session = s;
    run->detached = detached;
    (void)snprintf(run->id, sizeof run->id, "%s", id);
    run->next = s->runs;
    s->runs = run;
    s->n_runs++;
    return run;
}

static void run_free(struct session_run *run) {
    free(run->plan);
    free(run->terminal);
    free(run);
}

static void drop(struct session_run *run) {
    struct session *s = run->session;
    struct session_run **at = &s->runs;
    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    s->n_runs--;
    run_free(run);
    if (!s->n_runs)
        (void)role_step(s->ctx, SESSION_EV_EMPTY, NULL);
    else if (!session_runs_undetached(s))
        (void)role_step(s->ctx, SESSION_EV_BACKGROUND, NULL);
}

void session_run_kill(struct session *s, const char *id) {
    const struct session_run *run = find(s, id);
    if (run && run->child)
        child_kill(run->child, 0);
}

unsigned session_runs_undetached(const struct session *s) {
    unsigned n = 0;
    for (const struct session_run *run = s->runs; run; run = run->next)
        n += !run->detached;
    return n;
}

void session_runs_cancel(struct session *s, bool detached_too, const char *reason) {
    for (struct session_run *run = s->runs; run; run = run->next)
        if (run->child && (detached_too || !run->detached))
            child_cancel(run->child, reason);
}

/* ---- a run that ended without a word ---- */

static struct json_span span_of(const json_t *j, size_t max, char **text) {
    size_t n = 0;
    if (!j || json_text(j, max, text, &n) < 0)
        return (struct json_span){0};
    return (struct json_span){*text, n};
}

bool session_tell_terminal(struct session *s, const char *run, const json_t *record) {
    const char *status = history_terminal(json_str(record, "type"), "run.");
    if (!status)
        return false;
    const json_t *data = json_object_get(record, "data");
    auto_free char *outputs = NULL, *error = NULL;
    struct msg_run_done done = {.run = run, .status = status};
    done.outputs = span_of(json_object_get(data, "outputs"), FRAME_MAX, &outputs);
    done.error = span_of(json_object_get(data, "error"), FRAME_MAX, &error);
    tell(s, MSG_RUN_DONE, &done);
    return true;
}

static void on_record(void *arg, const json_t *record) {
    struct session_run *run = arg;
    struct session *s = run->session;
    const char *type = json_str(record, "type");
    if (type && strcmp(type, "run.accepted") == 0 && !run->accepted) {
        run->accepted = true;
        tell(s, MSG_RUN_ACCEPTED, &(struct msg_run_accepted){.run = run->id, .seq = json_i64(record, "seq", 1)});
    }
    if (!run->reported)
        run->reported = session_tell_terminal(s, run->id, record);
}

static void tell_lost(struct session_run *run) {
    static const char lost[] =
        "{\"name\":\"run_lost\",\"message\":\"the run's process was lost, and the log holds no end of it\"}";
    if (run->accepted)
        tell(run->session, MSG_RUN_DONE,
             &(struct msg_run_done){.run = run->id, .status = "failed", .error = SPAN(lost)});
    else
        reject(run->session, run->id, "runtime",
               "the run's process was lost before it accepted the plan: nothing was started, try again");
}

static void on_history(void *arg, int r) {
    struct session_run *run = arg;
    if (!run->reported)
        tell_lost(run);
    drop(run);
}

static void look_up(struct session_run *run) {
    run->history.each = on_record;
    run->history.done = on_history;
    run->history.arg = run;
    if (history_start(&run->history, run->session->ctx, "run", run->id) < 0)
        on_history(run, -EIO);
}

static void on_down(struct child *child, const struct msg_down *down) {
    struct session_run *run = child->user;
    struct session *s = run->session;
    run->child = NULL;
    if (!run->reported && !run->accepted && strcmp(down->reason, "refused") == 0) {
        reject(s, run->id, "runtime", down->why ? down->why : "no process could be started for it");
        run->reported = true;
    } else if (!run->reported && !run->accepted && strcmp(down->reason, "in_use") == 0) {
        reject(s, run->id, "run_in_use", "a run of this id lives; choose a new id");
        run->reported = true;
    }
    if (run->reported)
        drop(run);
    else
        look_up(run);
}

/* ---- starting ---- */

static const char *why_not(const struct session *s, const char *id) {
    if (s->ctx->fsm.state != SESSION_IDLE && s->ctx->fsm.state != SESSION_RUNNING)
        return "the session is ending; connect again";
    if (s->n_runs >= SESSION_RUNS_MAX)
        return "the session has as many runs as it may have; wait for one of them to end";
    return NULL;
}

int session_run_start(struct session *s, const struct msg_session_run *m) {
    if (!id_valid(m->run, 'r'))
        return err_raise(-EPROTO, "not the id of a run");
    if (find(s, m->run)) {
        reject(s, m->run, "run_in_use", "a run of this id lives; choose a new id");
        return 0;
    }
    const char *why = why_not(s, m->run);
    if (why) {
        reject(s, m->run, "runtime", why);
        return 0;
    }
    struct session_run *run = add(s, m->run, m->detached);
    (void)snprintf(run->corr, sizeof run->corr, "%s", m->corr ? m->corr : "");
    run->plan = malloc(m->plan.n + 1);
    if (!run->plan)
        die(1, "memory");
    memcpy(run->plan, m->plan.p, m->plan.n);
    run->plan_n = m->plan.n;
    (void)role_step(s->ctx, SESSION_EV_RUN, NULL);
    run->child = child_spawn(s->ctx, ROLE_RUN, run->id, NULL, s->grants, on_down, run);
    if (!run->child) {
        reject(s, run->id, "runtime", err_text());
        drop(run);
    }
    return 0;
}

/* Only the first incarnation is given the plan: a successor speaks from the log. */
int session_run_on_hello(struct session *s, struct chan *from, const struct msg *m) {
    int r = child_on_hello(s->ctx, from, m);
    struct session_run *run = run_of(s, from);
    if (r < 0 || !run || !run->plan || m->hello.generation > 1)
        return r < 0 ? err_up(r) : 0;
    struct msg_run_start start = {
        .plan = {run->plan, run->plan_n}, .detached = run->detached, .corr = run->corr[0] ? run->corr : NULL};
    r = chan_send_fds(from, MSG_RUN_START, &start, &s->grants, 1);
    free(take_ptr(&run->plan));
    if (r < 0) { /* a link that is broken already: `down` follows */
        log_warn("event=run_start_unsent reason=\"%s\"", err_text());
        child_kill(run->child, 0);
    }
    return 0;
}

/* ---- what a run says ---- */

static struct session_run *speaker(const struct session *s, const struct chan *from, const char *id) {
    struct session_run *run = run_of(s, from);
    if (!run || strcmp(run->id, id) != 0) {
        (void)err_raise(-EPROTO, "a run speaks of another");
        return NULL;
    }
    return run;
}

int session_run_on_accepted(struct session *s, const struct chan *from, const struct msg_run_accepted *m) {
    struct session_run *run = speaker(s, from, m->run);
    if (!run)
        return -EPROTO;
    if (!run->accepted)
        tell(s, MSG_RUN_ACCEPTED, m);
    run->accepted = true;
    return 0;
}

int session_run_on_rejected(struct session *s, const struct chan *from, const struct msg_run_rejected *m) {
    struct session_run *run = speaker(s, from, m->run);
    if (!run)
        return -EPROTO;
    if (!run->reported)
        tell(s, MSG_RUN_REJECTED, m);
    run->reported = true;
    return 0;
}

int session_run_on_done(struct session *s, const struct chan *from, const struct msg_run_done *m) {
    struct session_run *run = speaker(s, from, m->run);
    if (!run)
        return -EPROTO;
    if (!run->reported)
        tell(s, MSG_RUN_DONE, m);
    run->reported = true;
    return 0;
}

void session_run_attach(struct session *s, const char *id, bool detached) {
    struct session_run *run = add(s, id, detached);
    run->accepted = true;
    run->child = child_attach(s->ctx, ROLE_RUN, run->id, on_down, run);
    if (!run->child)
        look_up(run);
}
