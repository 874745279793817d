/* Shared by the files of the supervisor library; not for kinds. */
#ifndef SOMA_SUPERVISOR_INTERNAL_H
#define SOMA_SUPERVISOR_INTERNAL_H

#include "supervisor/worker.h"

/* A peer's endpoint: its channel and, for a run at toolcalls, its sealed grants. */
struct endpoint {
    struct chan *chan;
    int grants;
};

/* A kill that has not been answered: who asked, and for whom. */
struct killer {
    struct killer *next;
    struct chan *who; /* NULL = the asker is gone */
    char id[NAME_SIZE];
    uint32_t count; /* victims when it was asked */
};

struct sup {
    struct role_ctx *ctx;
    const struct kind *kind;
    struct workers workers;
    struct killer *killers;
    uint32_t n_killers;
    bool stopping;
    int stop_signal; /* SIGTERM: the tree stops; SIGQUIT: stopped to be started again */
    struct loop_timer stop_timer;
    uint32_t wires;              /* set of roles that this supervisor may ask */
    struct loop_timer lost_wire; /* one of them has ended */
};

/* serve.c: what requesters may ask (the accepts table). */
extern const struct accept sup_accepts[];
extern const size_t sup_accepts_n;
void sup_endpoint_closed(struct sup *sup, struct chan *c);

/* supervisor.c */
/* First start of a worker just added; `link` (borrowed) is its end, -1 = none. Refuses on the monitor. */
int sup_begin(struct sup *sup, struct worker *worker, int link);
void sup_signal(struct worker *worker, int signo);
/* SIGUSR2 (cancel yourself) now, SIGKILL after `grace_ms` (0 = at once). */
void sup_end(struct sup *sup, struct worker *worker, int64_t grace_ms);
void sup_policy(struct sup *sup, struct worker *worker, struct restart_event event);

void copy_name(char out[NAME_SIZE], const char *text);

/* tell.c: what owners and the log are told. */
void sup_tell_down(struct worker *worker, const struct ended *end, const char *reason);
int sup_refuse(int monitor, const char *id, const char *reason, const char *why);
void sup_tell_up(struct worker *worker, int link);
void sup_log_worker(struct sup *sup, const struct worker *worker, const char *type, const struct ended *end);
int sup_introduce(struct sup *sup, const struct worker *worker, enum role_id to, int fd, int grants);

/* kill.c */
void sup_kill_answered(struct sup *sup, const struct worker *worker);
int sup_on_kill(void *self, struct chan *from, struct msg *m);

#endif
