/* One `struct exec` driven by a role's loop: its pipes, SIGCHLD and its timer become calls of exec.h, and the end comes
 * as one callback from the loop, never from inside the functions below. */
#ifndef SOMA_TOOLCALL_EXEC_LOOP_H
#define SOMA_TOOLCALL_EXEC_LOOP_H

#include "common/loop.h"
#include "toolcall/exec.h"

/* Private but embedded by value. */
struct exec_loop {
    struct loop *loop;
    struct exec exec;
    struct loop_source sources[EXEC_FDS_MAX];
    struct exec_watch {
        struct exec_loop *owner;
        int fd;
    } watched[EXEC_FDS_MAX];
    struct loop_timer timer;
    void (*done)(void *arg);
    void *arg;
    bool started;
};

/* Takes SIGCHLD for the life of the process. `done` is called once when a started call is over. */
int exec_loop_init(struct exec_loop *e, struct loop *loop, void (*done)(void *arg), void *arg);

/* As exec_start(), exec_cancel(), exec_result(). */
int exec_loop_start(struct exec_loop *e, const struct exec_spec *spec);
void exec_loop_cancel(struct exec_loop *e);
int exec_loop_result(struct exec_loop *e, struct exec_result *out);

/* Blocks while a call under way is killed and reaped. Accepts one that was never initialised, if zeroed. */
void exec_loop_deinit(struct exec_loop *e);

#endif
