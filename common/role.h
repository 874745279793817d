/* A role: what a process is. It is tables (accepted messages, states, profile) and actions; one loop runs them all.
 *
 *   static children of root   exec'ed; fd 3 is the control link to root: wires, then begin; they answer ready
 *   workers                   forked by their supervisor; descriptors lie in fixed low slots (below)
 *
 * To add a role: a line in roles.h, a folder with these tables, a child spec (supervisor/tree.c) or a worker of a kind,
 * and its messages in msg.def. */
#ifndef SOMA_COMMON_ROLE_H
#define SOMA_COMMON_ROLE_H

#include "common/chan.h"
#include "common/fsm.h"
#include "common/loop.h"
#include "common/msg.h"
#include "common/profile.h"
#include "common/spec.h"

/* Descriptors of a forked worker. Everything from SLOT__END on is closed by its first system call. */
enum slot {
    SLOT_LINK = 3,
    SLOT_ACK,
    SLOT_LOG,
    SLOT_REGISTRY,
    SLOT_TOOLCALLS,
    SLOT_LLMCALLS,
    SLOT_RUNS,
    SLOT_GRANTS, /* sealed memfd, calls only */
    SLOT_SECRET, /* key or script file, LLM calls only */
    SLOT_ROOTS,  /* granted folders, calls only: read, then write */
    SLOT__END = SLOT_ROOTS + 2 * SPEC_ROOTS_MAX
};
#define CONTROL_FD 3 /* of a static child */

struct role_ctx;

/* One accepted message. A handler gets a checked message from an allowed peer in a permitted state; negative ends the
 * channel it came from. */
struct accept {
    enum msg_type type;
    uint32_t from;   /* set of peers' roles */
    uint32_t states; /* set of states (bits) in which it is permitted; 0 = all */
    int (*handle)(void *self, struct chan *from, struct msg *m);
};

struct role {
    enum role_id id;
    size_t self_size; /* zeroed memory for `self` */
    const struct accept *accepts;
    size_t n_accepts;
    const struct fsm_def *fsm; /* NULL: one state only */
    unsigned initial;
    struct profile profile;
    /* Wires are there, specification is mapped; before ready or hello. Negative = cannot run. */
    int (*start)(struct role_ctx *ctx, void *self);
    void (*closed)(void *self, struct chan *c, int reason); /* a channel ended; may be NULL */
    void (*interrupt)(void *self); /* SIGQUIT: stopped to be started again (rest_for_one); NULL = as term */
    void (*term)(void *self);      /* SIGTERM: the tree stops; NULL = end with 0 */
    void (*cancel)(void *self);    /* SIGUSR2: somebody entitled asked for the end (kill with grace); NULL = as term */
    void (*adopted)(void *self);   /* SIGUSR1: a new owner has attached; may be NULL */
};

/* What a supervisor passes to the worker it forked. */
struct worker_start {
    enum role_id role;
    char id[NAME_SIZE];
    uint32_t generation;
    struct peer owner; /* who is at the other end of the link; role NONE-like when nobody is: owner_known false */
    bool owner_known;
    char profile[NAME_SIZE];             /* tool profile or provider */
    char run[ID_SIZE], actor[NAME_SIZE]; /* whom it works for; `actor` is a session's id under a session */
    bool recover;                        /* a successor: an earlier incarnation ran under this id */
    const struct spec *spec;
    uint32_t wires; /* set of roles whose slot holds an endpoint */
    bool has_grants, has_secret;
    uint32_t n_read_roots, n_write_roots;
};

struct child;

struct role_ctx {
    const struct role *role;
    struct loop *loop;
    struct fsm fsm;
    void *self;
    const struct spec *spec;
    uint32_t generation;
    const struct worker_start *start; /* workers only */
    struct chan *control;             /* static children: to root */
    struct chan *link;                /* workers: to the owner; NULL once it is gone */
    struct chan *wire[ROLE__COUNT];   /* endpoints and the log's link, by the role at the other end */
    int64_t ref;                      /* last request number given out */
    int extra_fd;                     /* static children: what this one alone holds (begin); else -1 */
    struct child *children;           /* common/child.h */
};

/* main() of a static child. */
int role_main(const struct role *role, int argc, char **argv);
/* Body of a forked worker; returns its exit status. */
int role_worker(const struct role *role, const struct worker_start *start);

/* Static: tell root that this child serves. */
int role_ready(struct role_ctx *ctx);
/* Ends the loop with this exit status. */
void role_exit(struct role_ctx *ctx, int code);
/* One state-machine step of the role's own machine. */
int role_step(struct role_ctx *ctx, unsigned event, const void *arg);

/* Makes a channel whose frames are dispatched to the role's `accepts`. Takes `fd`. NULL with err_text(). */
struct chan *role_chan(struct role_ctx *ctx, int fd, enum chan_kind kind, const struct peer *peer, size_t in_max);

/* The identity that an introduce message gives, after checking that `by` may introduce such a role. -EPERM, -EPROTO. */
int role_introduced(const struct chan *by, const struct msg_introduce *m, struct peer *out);

/* A fresh request number. */
int64_t role_ref(struct role_ctx *ctx);

/* Sends one event to the log under this process's identity. Sets event->ref when `reply` is wanted and returns it
 * (else 0), or a negative errno. */
int64_t role_event(struct role_ctx *ctx, struct msg_append *event, bool reply);

#endif
