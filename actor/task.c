/* A task from the ask to its last word. Two appends frame it: task.accepted before it is acknowledged, its terminal
 * event before its result is shown. Whatever stage it is in, it ends once and its owner hears one task_done. */
#include "actor/actor_impl.h"

#include <string.h>

#include "common/err.h"
#include "common/log.h"

/* ---- telling ---- */

static void tell(struct chan *to, enum msg_type type, const void *body) {
    int r = chan_send(to, type, body);
    if (r < 0 && r != -EPIPE) /* an asker that is gone reads the log */
        log_warn("event=untold message=%s reason=\"%s\"", msg_name(type), err_text());
}

static void reject(struct chan *to, const char *id, const char *error, const char *why) {
    tell(to, MSG_TASK_DONE, &(struct msg_task_done){.task = id, .status = "rejected", .error = error, .why = why});
}

static void tell_done(const struct task *t) {
    bool completed = t->status == TASK_COMPLETED;
    struct msg_task_done done = {.task = t->id,
                                 .status = task_status_name(t->status),
                                 .reply = completed ? t->reply : NULL,
                                 .error = completed ? NULL : t->error,
                                 .why = completed ? NULL : t->why};
    tell(t->owner, MSG_TASK_DONE, &done);
}

static void tell_accepted(const struct task *t) {
    tell(t->owner, MSG_TASK_ACCEPTED, &(struct msg_task_accepted){.task = t->id, .seq = t->accepted_seq});
}

/* ---- ending ---- */

void task_ends(struct task *t, enum task_status status, const char *error, const char *why) {
    if (t->status != TASK_OPEN)
        return;
    t->status = status;
    (void)snprintf(t->error, sizeof t->error, "%s", error ? error : "");
    (void)snprintf(t->why, sizeof t->why, "%s", why ? why : "");
    t->why[json_utf8_floor(t->why, strlen(t->why))] = '\0';
}

static void append_end(struct actor *a, struct task *t) {
    char type[24];
    (void)snprintf(type, sizeof type, "task.%s", task_status_name(t->status));
    json_t *data = t->status == TASK_COMPLETED
                       ? json_pack("{s:s}", "reply", t->reply)
                       : json_pack("{s:{s:s, s:s}}", "error", "name", t->error, "message", t->why);
    t->end_ref = actor_journal(a, type, (struct journal_about){t, NULL}, data, JOURNAL_BARRIER);
}

void actor_end_task(struct actor *a, struct task *t) {
    switch (t->stage) {
    case TASK_CURRENT:
        actor_raise(a, ACTOR_EV_STOP);
        break;
    case TASK_JOURNALLING:
    case TASK_WAITING:
        t->stage = TASK_CONCLUDING;
        append_end(a, t);
        break;
    case TASK_CONCLUDING:
        break;
    }
}

static void forget(struct actor *a, struct task *t) {
    loop_timer_clear(a->ctx->loop, &t->orphan);
    loop_timer_clear(a->ctx->loop, &t->deadline);
    mailbox_remove(&a->mailbox, t);
}

int actor_conclude(void *self, const void *arg) {
    struct actor *a = self;
    struct task *t = mailbox_current(&a->mailbox);
    task_ends(t, TASK_FAILED, "runtime", "the task ended without a reason"); /* a defect of ours, but not the asker's */
    loop_timer_clear(a->ctx->loop, &t->deadline);
    append_end(a, t);
    return 0;
}

int actor_settle(void *self, const void *arg) {
    struct actor *a = self;
    if (!mailbox_current(&a->mailbox)->end_ref && !a->n_children)
        fsm_post(&a->ctx->fsm, ACTOR_EV_CONCLUDED);
    return 0;
}

int actor_reply(void *self, const void *arg) {
    struct actor *a = self;
    struct task *t = mailbox_current(&a->mailbox);
    tell_done(t);
    forget(a, t);
    actor_think_reset(a);
    actor_next(a);
    return 0;
}

void actor_next(struct actor *a) {
    if (a->ctx->fsm.state != ACTOR_IDLE)
        return;
    if (a->stopping && !a->mailbox.head && !a->stopped_ref)
        a->stopped_ref = actor_journal(a, "actor.stopped", (struct journal_about){0}, json_object(), JOURNAL_BARRIER);
    else if (!a->stopping && mailbox_next(&a->mailbox))
        actor_raise(a, ACTOR_EV_TASK);
}

/* ---- owners ---- */

static void on_orphan(void *arg) {
    struct task *t = arg;
    task_ends(t, TASK_CANCELLED, "owner_lost", "its asker went away and nobody came back for it");
    actor_end_task(t->actor, t);
}

static void own(struct actor *a, struct task *t, struct chan *owner) {
    t->owner = owner;
    loop_timer_clear(a->ctx->loop, &t->orphan);
}

void actor_client_gone(struct actor *a, const struct chan *c) {
    int64_t due = now_ms() + a->ctx->spec->orphan_timeout;
    for (struct task *t = a->mailbox.head; t; t = t->next) {
        if (t->owner != c)
            continue;
        t->owner = NULL;
        if (loop_timer_set(a->ctx->loop, &t->orphan, due, on_orphan, t) < 0)
            die(1, "timer");
    }
}

/* ---- asking ---- */

static void accept_task(struct actor *a, struct task *t, struct chan *from) {
    struct journal_about about = {t, NULL};
    t->actor = a;
    t->owner = from;
    (void)actor_journal(a, "actor.message.received", about, json_pack("{s:s}", "text", t->text), JOURNAL_RELAXED);
    t->accept_ref = actor_journal(a, "task.accepted", about, json_object(), JOURNAL_BARRIER);
}

int actor_on_ask(struct actor *a, struct chan *from, const struct msg_ask *m) {
    if (!id_valid(m->task, 't'))
        return err_raise(-EPROTO, "not the id of a task");
    struct task *t = mailbox_find(&a->mailbox, m->task);
    if (t) { /* a gateway that came back */
        own(a, t, from);
        if (t->accepted_seq)
            tell_accepted(t);
        return 0;
    }
    if (a->stopping || !*m->text) {
        reject(from, m->task, a->stopping ? "stopping" : "empty_message",
               a->stopping ? "the actor is stopping; try again" : "there is nothing to answer; give a text");
        return 0;
    }
    int r = mailbox_add(&a->mailbox, m->task, m->corr ? m->corr : m->task, m->text, &t);
    if (r < 0)
        die(1, "task");
    if (r > 0)
        reject(from, m->task, "mailbox_full", "as many tasks wait as may; ask again when some are done");
    else
        accept_task(a, t, from);
    return 0;
}

int actor_on_task_cancel(struct actor *a, struct chan *from, const struct msg_task_cancel *m) {
    struct task *t = mailbox_find(&a->mailbox, m->task);
    if (!t) {
        reject(from, m->task, "no_such_task", "no task of this id is open; the log knows how it ended");
        return 0;
    }
    own(a, t, from);
    task_ends(t, TASK_CANCELLED, "cancelled", "its asker cancelled it");
    actor_end_task(a, t);
    return 0;
}

/* ---- answers of the log ---- */

static void accepted(struct actor *a, struct task *t, int64_t seq) {
    t->accept_ref = 0;
    t->accepted_seq = seq;
    tell_accepted(t);
    if (t->stage == TASK_JOURNALLING)
        t->stage = TASK_WAITING;
    actor_next(a);
}

static void ended(struct actor *a, struct task *t) {
    t->end_ref = 0;
    if (t->stage == TASK_CURRENT) {
        (void)role_step(a->ctx, ACTOR_EV_DURABLE, NULL);
        return;
    }
    tell_done(t);
    forget(a, t);
    actor_next(a);
}

bool actor_task_durable(struct actor *a, int64_t ref, int64_t seq) {
    struct task *t = mailbox_find_ref(&a->mailbox, ref);
    if (!t)
        return false;
    if (t->accept_ref == ref)
        accepted(a, t, seq);
    else
        ended(a, t);
    return true;
}

bool actor_task_refused(struct actor *a, const struct msg_refused *m) {
    struct task *t = mailbox_find_ref(&a->mailbox, m->ref);
    if (!t)
        return false;
    if (t->end_ref == m->ref) { /* a result that is not on disk is shown to nobody */
        t->status = TASK_OPEN;
        task_ends(t, TASK_FAILED, m->error, m->why);
        ended(a, t);
    } else if (t->stage == TASK_CONCLUDING) {
        t->accept_ref = 0; /* the answer to its terminal event decides */
    } else {
        reject(t->owner, t->id, m->error, m->why);
        forget(a, t);
        actor_next(a);
    }
    return true;
}
