/* The plain way to run a tool: poll until it is done. A role drives the same machine from its own loop; this one serves
 * tests, and exec_deinit() of a call that was still under way. */
#include "common/cleanup.h"
#include "common/err.h"
#include "toolcall/exec_impl.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static void poll_once(struct exec *x, int children) {
    struct pollfd fds[EXEC_FDS_MAX + 1];
    size_t n = exec_pollfds(x, fds, EXEC_FDS_MAX);
    fds[n] = (struct pollfd){children, POLLIN, 0};
    int64_t left = exec_next_ms(x) - exec_now_ms();
    if (poll(fds, n + 1, left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left) < 0)
        return; /* EINTR, or a shortage that the next round meets again; time goes on in the caller */
    struct signalfd_siginfo info;
    while (read(children, &info, sizeof info) > 0)
        ; /* emptied before reaping: a child that dies after that is told again */
    for (size_t i = 0; i < n; i++)
        if (fds[i].revents)
            (void)exec_on_io(x, fds[i].fd, fds[i].revents); /* -EBADF: an earlier one ended the call */
}

static int drive(struct exec *x, const sigset_t *child) {
    auto_close int children = signalfd(-1, child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0)
        return err_raise(-errno, "signalfd: %s", strerror(errno));
    for (exec_on_child(x); !exec_done(x); exec_on_time(x, exec_now_ms()))
        poll_once(x, children);
    return 0;
}

/* SIGCHLD is blocked from before the fork until the last child is reaped, so that none goes unnoticed. */
static int with_sigchld_blocked(struct exec *x, const struct exec_spec *spec) {
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &child, &before); /* cannot fail with these arguments */
    int r = spec ? exec_start(x, spec) : 0;
    if (r == 0)
        r = drive(x, &child);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return r;
}

int exec_run_blocking(const struct exec_spec *spec, struct exec_result *out) {
    struct exec x = EXEC_NULL;
    int r = with_sigchld_blocked(&x, spec);
    if (r == 0)
        r = exec_result(&x, out);
    exec_deinit(&x);
    return r < 0 ? err_up(r) : 0;
}

void exec_finish_blocking(struct exec *x) {
    if (x->state != EXEC_REAPING || with_sigchld_blocked(x, NULL) == 0)
        return;
    /* No descriptor for the signalfd: plain waiting does it too, only with a kill per death instead of one in time. */
    while (wait(NULL) > 0)
        (void)kill(-1, SIGKILL);
}
