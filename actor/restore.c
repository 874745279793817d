/* A task that was accepted and has no end in the log was interrupted: by a crash of this actor, or of the whole tree.
 * The work below it is ended first, so that nothing of the past acts beside the present, and then the task is told to
 * have failed. Continuing such tasks needs their conversation and is not done here. */
#include "actor/actor_impl.h"

#include <string.h>

#include "common/err.h"
#include "common/log.h"

/* ---- reading ---- */

static void note(json_t *task, const char *key, const char *value) {
    if (value && json_object_set_new(task, key, json_string(value)) < 0)
        die(1, "memory");
}

static void forget_if(json_t *task, const char *key, const char *value) {
    const char *held = json_str(task, key);
    if (held && value && strcmp(held, value) == 0)
        (void)json_object_del(task, key);
}

static void note_work(json_t *task, const char *type, const json_t *record) {
    const char *call = json_str(record, "call");
    if (strcmp(type, "llm.started") == 0)
        note(task, "call", call);
    else if (strcmp(type, "llm.succeeded") == 0 || strcmp(type, "llm.failed") == 0)
        forget_if(task, "call", call);
    else if (strcmp(type, "proposal.executed") == 0)
        note(task, "run", json_str(json_object_get(record, "data"), "run"));
    else if (history_terminal(type, "run."))
        forget_if(task, "run", json_str(record, "run"));
}

static void on_record(void *arg, const json_t *record) {
    struct actor *a = arg;
    const char *type = json_str(record, "type"), *id = json_str(record, "task");
    actor_progress(a);
    if (!type || !id)
        return;
    if (strcmp(type, "task.accepted") == 0) {
        const char *corr = json_str(record, "corr");
        if (json_object_set_new(a->unfinished, id, json_pack("{s:s}", "corr", corr ? corr : id)) < 0)
            die(1, "memory");
        return;
    }
    json_t *task = json_object_get(a->unfinished, id);
    if (task && history_terminal(type, "task."))
        (void)json_object_del(a->unfinished, id);
    else if (task)
        note_work(task, type, record);
}

/* ---- ending the work ---- */

static void kill_work(struct actor *a, enum role_id kind, const char *id) {
    if (!id)
        return;
    struct msg_kill kill = {.id = id,
                            .grace_ms = child_grace_ms(a->ctx->spec, kind == ROLE_RUNS ? ROLE_RUN : ROLE_LLMCALL)};
    if (chan_send(a->ctx->wire[kind], MSG_KILL, &kill) < 0)
        die(1, "kill");
    a->kills++;
}

static void append_interrupted(struct actor *a, const char *id, const char *corr) {
    struct task t = {0};
    (void)snprintf(t.id, sizeof t.id, "%s", id);
    (void)snprintf(t.corr, sizeof t.corr, "%s", corr);
    json_t *data = json_pack("{s:{s:s, s:s}}", "error", "name", "interrupted", "message",
                             "the actor was interrupted while it worked on this task");
    (void)actor_journal(a, "task.failed", (struct journal_about){&t, NULL}, data, JOURNAL_RELAXED);
}

/* The last event is the barrier for those before it; without any there is nothing to wait for but its number. */
static void finish(struct actor *a) {
    bool none = json_object_size(a->unfinished) == 0;
    const char *id;
    json_t *task;
    json_object_foreach(a->unfinished, id, task) append_interrupted(a, id, json_str(task, "corr"));
    json_decref(a->unfinished);
    a->unfinished = NULL;
    const char *type = a->ctx->start->recover || !none ? "actor.restored" : "actor.started";
    a->restored_barrier = !none;
    a->restored_ref =
        actor_journal(a, type, (struct journal_about){0}, json_object(), none ? JOURNAL_ANSWERED : JOURNAL_BARRIER);
}

static void on_history(void *arg, int r) {
    struct actor *a = arg;
    const char *id;
    json_t *task;
    if (r < 0)
        die(1, "past of the actor");
    actor_progress(a);
    json_object_foreach(a->unfinished, id, task) {
        kill_work(a, ROLE_RUNS, json_str(task, "run"));
        kill_work(a, ROLE_LLMCALLS, json_str(task, "call"));
    }
    if (!a->kills)
        finish(a);
}

void actor_restore_killed(struct actor *a) {
    if (!a->unfinished || !a->kills) /* an answer to a kill of later days: `down` says the same */
        return;
    actor_progress(a);
    if (--a->kills == 0)
        finish(a);
}

/* Without anything left open there was no barrier, and the event's number is the only answer. */
bool actor_restore_answered(struct actor *a, int64_t ref, bool durable) {
    if (!a->restored_ref || ref != a->restored_ref)
        return false;
    if (durable || !a->restored_barrier) {
        a->restored_ref = 0;
        (void)role_step(a->ctx, ACTOR_EV_RESTORED, NULL);
    }
    return true;
}

int actor_restore(void *self, const void *arg) {
    struct actor *a = self;
    a->unfinished = json_object();
    a->history = (struct history){.each = on_record, .done = on_history, .arg = a};
    if (!a->unfinished || history_start(&a->history, a->ctx, "actor", a->name) < 0)
        die(1, "past of the actor");
    return 0;
}
