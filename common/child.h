/* The owner's side of a worker: one link, one monitor. Ask the supervisor of its kind to start it, talk over the link,
 * learn of its end as data, exactly once and after everything it had sent: on `down` the link is read to its end first.
 * A monitor that closes without `down` means that the supervisor was lost. */
#ifndef SOMA_COMMON_CHILD_H
#define SOMA_COMMON_CHILD_H

#include "common/role.h"

struct child {
    struct child *next;
    struct role_ctx *ctx;
    enum role_id role;
    char id[NAME_SIZE];
    uint32_t generation;
    pid_t pid; /* host pid, once hello came */
    struct chan *link, *monitor;
    struct loop_timer kill_timer;
    void *user;
    /* The end, or NULL. `down` is valid during the call; the child is released after it (do not free it there). A lost
     * supervisor is reason "supervisor_lost". */
    void (*on_down)(struct child *child, const struct msg_down *down);
    /* A new incarnation with a fresh link; may be NULL. */
    void (*on_up)(struct child *child);
};

/* How long an owner waits for this worker to cancel itself before it kills: a run needs its call's time and its own, a
 * session or actor its run's and its own. Multiples of the specification's cancel_timeout. */
int64_t child_grace_ms(const struct spec *spec, enum role_id worker);

/* Which supervisor starts this worker. */
enum role_id child_kind(enum role_id worker);

/* Starts a worker: makes both socketpairs and sends `spawn` to its kind. `profile` may be NULL; grants_fd is -1 or
 * stays the caller's. The child is on ctx->children until its end. NULL with err_text(). */
struct child *child_spawn(struct role_ctx *ctx, enum role_id role, const char *id, const char *profile, int grants_fd,
                          void (*on_down)(struct child *, const struct msg_down *), void *user);

/* Takes back a worker that an earlier incarnation of this owner started: a monitor without a link. */
struct child *child_attach(struct role_ctx *ctx, enum role_id role, const char *id,
                           void (*on_down)(struct child *, const struct msg_down *), void *user);

int child_send(struct child *child, enum msg_type type, const void *body);

/* Sends cancel; when `down` has not come within child_grace_ms(), kill. Harmless when repeated. */
void child_cancel(struct child *child, const char *reason);
/* Asks the supervisor to end it now (grace_ms: it is asked to cancel itself first). `down` tells when it is done. */
void child_kill(struct child *child, int64_t grace_ms);

/* The child whose link or monitor this is, or NULL. */
struct child *child_of(struct role_ctx *ctx, const struct chan *c);

/* Forgets it without waiting: both descriptors are closed. */
void child_release(struct child *child);

/* For role.c: a link ended; that is not a death. */
void child_link_closed(struct role_ctx *ctx, struct chan *c);

/* For `accepts` tables of owners: HELLO notes pid and generation. */
int child_on_hello(struct role_ctx *ctx, struct chan *from, const struct msg *m);

#endif
