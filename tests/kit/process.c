/* A child never asserts: cmocka's jump would make it run the rest of the tests. It ends with 99 when it cannot become
 * what it is to be. */
#include "tests/kit/process.h"

#include "common/chan.h"
#include "common/cleanup.h"
#include "common/title.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#define HIGH 200 /* above every slot */
#define SLOTS_MAX 16

int64_t kit_ms(int64_t ms) {
    const char *slack = getenv("SOMA_TEST_SLACK");
    double factor = slack ? strtod(slack, NULL) : 1;
    return (int64_t)((double)ms * (factor > 1 ? factor : 1));
}

/* ---- start ---- */

/* Unflushed output would be written twice; a child whose test is gone has nobody to end it. */
static pid_t fork_child(void) {
    pid_t test = getpid();
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != test))
        _exit(99);
    return pid;
}

/* First out of the way of the slots, then into them. */
static void place(const struct kit_slot *slots, size_t n) {
    int high[SLOTS_MAX];
    if (n > SLOTS_MAX)
        _exit(99);
    for (size_t i = 0; i < n; i++)
        if (slots[i].fd >= 0 && (high[i] = fcntl(slots[i].fd, F_DUPFD, HIGH)) < 0)
            _exit(99);
    if (close_range(SLOT_LINK, HIGH - 1, 0) < 0)
        _exit(99);
    for (size_t i = 0; i < n; i++)
        if (slots[i].fd >= 0 && dup2(high[i], slots[i].slot) < 0)
            _exit(99);
    if (close_range(SLOT__END, ~0u, 0) < 0)
        _exit(99);
}

int kit_be_worker(const struct role *role, const struct worker_start *start, const struct kit_slot *slots, size_t n) {
    place(slots, n);
    return role_worker(role, start);
}

pid_t kit_worker(const struct role *role, const struct worker_start *start, const struct kit_slot *slots, size_t n) {
    pid_t pid = fork_child();
    if (pid == 0)
        _exit(kit_be_worker(role, start, slots, n));
    return pid;
}

/* dup2(2) of a number to itself would leave close-on-exec. */
static void place_control(int fd) {
    if (dup2(fd, CONTROL_FD) < 0 || fcntl(CONTROL_FD, F_SETFD, 0) < 0 || close_range(CONTROL_FD + 1, ~0u, 0) < 0)
        _exit(99);
}

pid_t kit_static(int (*body)(void), int *control) {
    int ends[2];
    assert_int_equal(chan_pair(CHAN_STREAM, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        place_control(ends[1]);
        exit(body()); /* not _exit(): a leak checker reports here */
    }
    (void)fd_close(ends[1]);
    *control = ends[0];
    return pid;
}

int kit_serve(const struct role *role) {
    static char title[] = TITLE_PAD_TEXT;
    char *argv[] = {title, NULL};
    return role_main(role, 1, argv);
}

/* ---- end ---- */

int kit_ended(pid_t pid) {
    int status;
    auto_close int fd = pidfd_open(pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_true(fd >= 0);
    bool ended = poll(&p, 1, (int)kit_ms(KIT_WAIT_MS)) == 1;
    if (!ended)
        (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!ended) {
        (void)fd_close(take_fd(&fd)); /* a failed assertion runs no clean-up */
        fail_msg("process %d does not end", (int)pid);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* ---- nothing is left behind ---- */

int kit_fds(pid_t pid) {
    char path[32] = "/proc/self/fd";
    if (pid > 0)
        (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    auto_dir DIR *dir = opendir(path);
    int n = pid > 0 ? 0 : -1; /* the directory's own */
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    return dir ? n : -1;
}

static int fds_before;

int kit_count(void **state) {
    fds_before = kit_fds(0);
    return 0;
}

int kit_left(void **state) {
    int fds = kit_fds(0);
    bool childless = waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
    if (fds == fds_before && childless)
        return 0;
    print_error("%d descriptors, it began with %d%s\n", fds, fds_before, childless ? "" : "; children are left");
    return 1;
}
