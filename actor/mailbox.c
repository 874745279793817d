#include "actor/mailbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

static unsigned count(const struct mailbox *m) {
    unsigned n = 0;
    for (const struct task *t = m->head; t; t = t->next)
        n += t->stage != TASK_CURRENT;
    return n;
}

static void task_free(struct task *t) {
    conversation_deinit(&t->conversation);
    free(t->text);
    free(t->reply);
    free(t);
}

int mailbox_add(struct mailbox *m, const char *id, const char *corr, const char *text, struct task **out) {
    if (count(m) >= MAILBOX_MAX)
        return 1;
    struct task *t = calloc(1, sizeof *t);
    if (t)
        t->text = strdup(text);
    if (!t || !t->text) {
        free(t);
        return err_raise(-ENOMEM, "task");
    }
    (void)snprintf(t->id, sizeof t->id, "%s", id);
    (void)snprintf(t->corr, sizeof t->corr, "%s", corr);
    struct task **at = &m->head;
    while (*at)
        at = &(*at)->next;
    *at = t;
    *out = t;
    return 0;
}

struct task *mailbox_find(const struct mailbox *m, const char *id) {
    for (struct task *t = m->head; t; t = t->next)
        if (strcmp(t->id, id) == 0)
            return t;
    return NULL;
}

struct task *mailbox_find_ref(const struct mailbox *m, int64_t ref) {
    for (struct task *t = m->head; t; t = t->next)
        if (ref && (t->accept_ref == ref || t->end_ref == ref))
            return t;
    return NULL;
}

static struct task *first(const struct mailbox *m, enum task_stage stage) {
    for (struct task *t = m->head; t; t = t->next)
        if (t->stage == stage)
            return t;
    return NULL;
}

struct task *mailbox_next(const struct mailbox *m) {
    return first(m, TASK_WAITING);
}

struct task *mailbox_current(const struct mailbox *m) {
    return first(m, TASK_CURRENT);
}

void mailbox_remove(struct mailbox *m, struct task *task) {
    struct task **at = &m->head;
    while (*at && *at != task)
        at = &(*at)->next;
    if (*at)
        *at = task->next;
    task_free(task);
}

void mailbox_deinit(struct mailbox *m) {
    while (m->head)
        mailbox_remove(m, m->head);
}

const char *task_status_name(enum task_status status) {
    static const char *const names[] = {[TASK_OPEN] = "open",
                                        [TASK_COMPLETED] = "completed",
                                        [TASK_FAILED] = "failed",
                                        [TASK_TIMEOUT] = "timeout",
                                        [TASK_CANCELLED] = "cancelled"};
    return names[status];
}
