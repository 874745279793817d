/* The inside of a run, shared by the files that hold its actions: steps.c (a step and its call), ending.c (how it ends
 * and who is told), recover.c (a successor), journal.c (events), run.c (frames, timers and signals into events). */
#ifndef SOMA_RUN_RUN_IMPL_H
#define SOMA_RUN_RUN_IMPL_H

#include "common/child.h"
#include "common/role.h"
#include "run/fsm.h"
#include "run/plan.h"

#define RUN_OUTPUTS_MAX (512u * 1024) /* bytes of all outputs together, with their steps' ids */
#define RUN_ARGS_MAX (512u * 1024)    /* bytes of one step's arguments, encoded */
#define RUN_VALUE_MAX 262144u         /* bytes of one output, as in call_done */
#define RUN_FAILURE_SIZE 33           /* of a failure's name, as in call_done, with its end */
#define RUN_MESSAGE_SIZE 1025

enum run_status { STATUS_COMPLETED, STATUS_FAILED, STATUS_TIMEOUT, STATUS_CANCELLED, STATUS__COUNT };
#define RUN_EXIT_OPEN 3 /* exit status of a run whose trail has no end yet */

struct status_info {
    const char *name, *event_type;
    enum run_event event;
};
extern const struct status_info run_statuses[STATUS__COUNT];

struct failure {
    char name[RUN_FAILURE_SIZE], message[RUN_MESSAGE_SIZE];
};

struct run {
    struct role_ctx *ctx;
    struct grants grants;
    struct plan plan;
    bool detached;
    char corr[NAME_SIZE], task[ID_SIZE];

    /* what the log has answered */
    int64_t accept_ref, accept_seq; /* of run.accepted; seq 0 = not yet */
    bool unaccepted;                /* the log could not keep run.accepted */
    bool accept_durable;
    int64_t tool_ref; /* of the current attempt's tool.started */
    bool tool_durable;
    int64_t end_ref; /* of the terminal event */

    /* the cursor */
    size_t at;      /* index of the step; also: steps done */
    bool step_open; /* step.started is out, its end is not */
    char *args;     /* of the step, as text */
    size_t args_n;
    unsigned attempts;       /* begun */
    json_t *outputs;         /* {step: value}, for references */
    struct buf outputs_text; /* the same, as the calls wrote them: real numbers keep their digits */
    size_t output_nodes;

    /* the attempt; its child is current until it has answered or is down, and lives on a little after an answer */
    struct child *call;
    char call_id[ID_SIZE];
    int64_t call_ms;
    bool bound, overdue;
    struct failure failure;    /* of the last attempt */
    unsigned live;             /* children that are not down */
    struct loop_timer hung_up; /* patience with a call whose link has ended */
    const char *kill_reason;   /* why we end the call, for tool.killed; NULL = we do not */

    /* the end */
    struct loop_timer deadline, orphan;
    int64_t run_ms, deadline_ms; /* the run's time, and when it is over */
    char reason[65];             /* of a cancel */
    bool cancel_held, stop_held;
    enum run_status status;
    struct failure error; /* unless completed */
    char error_step[NAME_SIZE];
    char reject_error[RUN_FAILURE_SIZE], reject_why[401];

    /* a successor's reading */
    int64_t query_ref, after;
    bool was_accepted;
};

/* Copies as much as fits, on a whole character. NULL is "". */
void text_copy(char *out, size_t size, const char *text);

/* ---- journal.c ---- */

/* Appends an event; `data` holds its object. With `reply` the ref is returned. Negative: the log is out of reach, and
 * this process is already ending. */
int64_t run_log(struct run *run, struct msg_append *event, const struct buf *data, bool reply);
/* Appends step.failed for the open step. */
int run_log_step_failed(struct run *run, const struct failure *failure);
int run_log_step_succeeded(struct run *run);
int run_log_tool_killed(struct run *run, const char *reason);
/* `{"name":…,"step":…,"message":…}`; step may be "". */
void run_put_error(struct buf *b, const struct failure *failure, const char *step);

/* ---- ending.c ---- */

/* Decides how the run ends. `step` may be NULL. */
void run_decide(struct run *run, enum run_status status, const char *step, const char *name, const char *message);
void run_set_reject(struct run *run, const char *error, const char *why);
/* The link to a session or an actor, or NULL. */
struct chan *run_owner(const struct run *run);

/* ---- steps.c ---- */

const struct step *run_step(const struct run *run); /* at the cursor */
void run_on_down(struct child *child, const struct msg_down *down);

/* ---- recover.c ---- */

int run_on_page(struct run *run, const struct msg_page *page);

#endif
