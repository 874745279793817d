/* exec.c closes its pipes whenever it sees fit, and a descriptor must leave epoll before it is closed: the tool may
 * hold a copy of it for a moment after the fork, and as long as a copy lives, so does its registration. So all are
 * taken out before each call into exec.c, and those it still wants are put in again afterwards. */
#include "toolcall/exec_loop.h"

#include "common/err.h"
#include "common/log.h"

#include <sys/epoll.h>

static void unwatch(struct exec_loop *e) {
    for (size_t i = 0; i < EXEC_FDS_MAX; i++)
        loop_remove(e->loop, &e->sources[i]);
    loop_timer_clear(e->loop, &e->timer);
}

static void watch(struct exec_loop *e);

static void on_ready(void *arg, uint32_t events) {
    struct exec_watch *w = arg;
    struct exec_loop *e = w->owner;
    unwatch(e);
    (void)exec_on_io(&e->exec, w->fd, (short)events); /* the values of EPOLLIN and POLLIN are one: epoll_ctl(2) */
    watch(e);
}

static void on_timer(void *arg) {
    struct exec_loop *e = arg;
    unwatch(e);
    exec_on_time(&e->exec, now_ms());
    watch(e);
}

static void on_child(void *arg, const struct signalfd_siginfo *info) {
    (void)info;
    struct exec_loop *e = arg;
    if (!e->started)
        return;
    unwatch(e);
    exec_on_child(&e->exec);
    watch(e);
}

/* Failing here would leave a tool unwatched: the process ends instead, and everything in its namespace with it. */
static void watch(struct exec_loop *e) {
    if (exec_done(&e->exec)) {
        e->started = false;
        e->done(e->arg);
        return;
    }
    struct pollfd fds[EXEC_FDS_MAX];
    size_t n = exec_pollfds(&e->exec, fds, EXEC_FDS_MAX);
    for (size_t i = 0; i < n; i++) {
        e->watched[i] = (struct exec_watch){e, fds[i].fd};
        uint32_t events = fds[i].events == POLLOUT ? EPOLLOUT : EPOLLIN;
        if (loop_add(e->loop, &e->sources[i], fds[i].fd, events, on_ready, &e->watched[i]) < 0)
            die(1, "watch a pipe of the tool");
    }
    int64_t next = exec_next_ms(&e->exec);
    if (next >= 0 && loop_timer_set(e->loop, &e->timer, next, on_timer, e) < 0)
        die(1, "timer of the tool");
}

int exec_loop_init(struct exec_loop *e, struct loop *loop, void (*done)(void *arg), void *arg) {
    *e = (struct exec_loop){.loop = loop, .exec = EXEC_NULL, .timer = LOOP_TIMER_NULL, .done = done, .arg = arg};
    for (size_t i = 0; i < EXEC_FDS_MAX; i++)
        e->sources[i] = LOOP_SOURCE_NULL;
    return loop_signal(loop, SIGCHLD, on_child, e);
}

int exec_loop_start(struct exec_loop *e, const struct exec_spec *spec) {
    int r = exec_start(&e->exec, spec);
    if (r < 0)
        return err_up(r);
    e->started = true;
    watch(e);
    return 0;
}

void exec_loop_cancel(struct exec_loop *e) {
    if (!e->started)
        return;
    unwatch(e);
    exec_cancel(&e->exec); /* ends in reaping: the end itself comes with SIGCHLD */
    watch(e);
}

int exec_loop_result(struct exec_loop *e, struct exec_result *out) {
    return exec_result(&e->exec, out);
}

void exec_loop_deinit(struct exec_loop *e) {
    if (!e->loop)
        return;
    unwatch(e);
    e->started = false;
    exec_deinit(&e->exec);
}
