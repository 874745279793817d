/* Works: runs and tasks that belong to a connection. When the connection ends, they are cancelled; a detached run
 * belongs to nobody. A run's work holds its session (a child of ours); a task's work speaks over one channel per actor,
 * opened through the supervisor of actors and opened anew after it closed. */
#ifndef SOMA_GATEWAY_WORK_H
#define SOMA_GATEWAY_WORK_H

#include "common/child.h"
#include "gateway/gateway.h"
#include "gateway/request.h"

struct work {
    struct work *next;
    struct gateway *gw;
    struct client *client;   /* NULL: detached, or its connection has ended */
    struct request *waiting; /* run.start or ask, until accepted or refused */
    bool task, detached, accepted;
    char id[ID_SIZE];      /* of the run or task */
    char actor[NAME_SIZE]; /* tasks */
    struct child *session; /* runs; NULL once it has ended */
    char *plan, *corr;     /* runs, until the session says hello */
    size_t plan_n;
    struct loop_timer patience; /* a cancelled task that is not answered is cancelled again */
    unsigned tries;
};

/* Starts a session for req's run. Takes `plan`. On failure the request has failed and is gone. */
void work_start_run(struct request *req, char *plan, size_t plan_n, bool detached, const char *corr);
/* Sends the question to the (live) actor; answered as above. */
void work_start_task(struct request *req, const char *actor, const char *text, const char *corr);

/* Makes a run or task of an earlier incarnation `client`'s own. 0, or negative with err_text(). */
int work_own_run(struct client *client, const char *run, const char *session);
int work_own_task(struct client *client, const char *task, const char *actor);

struct work *work_find(struct gateway *gw, const char *id);

/* Its request is answered or gone. */
void work_unanswered(struct work *work);
void works_abandon(struct client *client);
void works_clear(struct gateway *gw);

/* Rows of the accepts table. */
int work_on_hello(void *self, struct chan *from, struct msg *m);
int work_on_run_accepted(void *self, struct chan *from, struct msg *m);
int work_on_run_rejected(void *self, struct chan *from, struct msg *m);
int work_on_run_done(void *self, struct chan *from, struct msg *m);
int work_on_task_accepted(void *self, struct chan *from, struct msg *m);
int work_on_task_done(void *self, struct chan *from, struct msg *m);
/* The channel to an actor ended. */
void work_actor_closed(struct gateway *gw, const struct chan *c);

/* For work_run.c and work_task.c. */
struct work *work_new(struct gateway *gw, struct client *client, const char *id);
void work_free(struct work *work);
/* Takes the request away from the work, to answer or to fail it. */
struct request *work_take_request(struct work *work);
void work_wait(struct work *work, struct request *req);
void work_cancel_run(struct work *work, const char *reason);
void work_cancel_task(struct work *work);
void actor_links_clear(struct gateway *gw);

#endif
