/* The handler stores one number. */
#include "cli/interrupt.h"

#include "common/err.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t arrived;
static sigset_t waiting; /* the mask inside interrupt_poll() */
static int ready;

static void on_signal(int signo) {
    arrived = signo;
}

void interrupt_init(void) {
    struct sigaction act = {.sa_handler = on_signal};
    sigset_t ours;
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGINT);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ours, &waiting);
    (void)sigdelset(&waiting, SIGINT);
    (void)sigdelset(&waiting, SIGTERM);
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    ready = 1;
}

int interrupt_take(void) {
    int signo = arrived;
    arrived = 0;
    return signo;
}

int interrupt_poll(int fd, short events, int64_t timeout_ms) {
    struct pollfd p = {.fd = fd, .events = events};
    struct timespec limit = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000};
    int r = ppoll(&p, 1, timeout_ms < 0 ? NULL : &limit, ready ? &waiting : NULL);
    if (r < 0 && (errno != EINTR || arrived))
        return errno == EINTR ? -EINTR : err_raise(-errno, "poll: %s", strerror(errno));
    return r > 0;
}

void interrupt_reset(void) {
    sigset_t none;
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}
