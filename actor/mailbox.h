/* The tasks an actor holds: those being journalled, those waiting, the one being worked on, those whose end is being
 * journalled. In the order in which they came. A task in here is owned by it. */
#ifndef SOMA_ACTOR_MAILBOX_H
#define SOMA_ACTOR_MAILBOX_H

#include "actor/conversation.h"
#include "common/chan.h"

#define MAILBOX_MAX 64u /* tasks beside the current one */

enum task_stage {
    TASK_JOURNALLING, /* task.accepted is on its way to the disk */
    TASK_WAITING,
    TASK_CURRENT,
    TASK_CONCLUDING, /* ended before its turn came; its terminal event is on its way */
};

enum task_status { TASK_OPEN, TASK_COMPLETED, TASK_FAILED, TASK_TIMEOUT, TASK_CANCELLED };

struct task {
    struct task *next;
    void *actor;
    char id[ID_SIZE];
    char corr[NAME_SIZE];
    char *text;
    enum task_stage stage;
    struct chan *owner; /* who is told; NULL once that channel is gone */
    struct loop_timer orphan;
    int64_t accept_ref, end_ref; /* appends under way */
    int64_t accepted_seq;        /* of task.accepted, once it is durable; 0 = not yet */
    /* how it ends; the first word stands */
    enum task_status status;
    char *reply;
    char error[33];
    char why[400];
    /* while it is current */
    struct conversation conversation;
    struct loop_timer deadline;
    int64_t llm_calls, steps;
    unsigned calls; /* tool calls seen, for their numbers */
};

struct mailbox {
    struct task *head;
};

/* 0 with a new task at the end; 1 when full; -ENOMEM. */
int mailbox_add(struct mailbox *m, const char *id, const char *corr, const char *text, struct task **out);
struct task *mailbox_find(const struct mailbox *m, const char *id);
struct task *mailbox_find_ref(const struct mailbox *m, int64_t ref);
/* The first that waits, or NULL. */
struct task *mailbox_next(const struct mailbox *m);
struct task *mailbox_current(const struct mailbox *m);
/* Takes it out and frees it; its timers must be clear. */
void mailbox_remove(struct mailbox *m, struct task *task);
void mailbox_deinit(struct mailbox *m);

const char *task_status_name(enum task_status status);

#endif
