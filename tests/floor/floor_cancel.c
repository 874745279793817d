/* The floor of a cancel: one durable commit (the answer must be in the log before it is shown), then SIGKILL to the
 * init of a PID namespace, then wait() on it. The kernel lets that wait() return only when everything in the namespace
 * is dead and reaped (pid_namespaces(7)), so one wait() is enough. The namespace holds exactly as many processes as
 * --processes says, its init among them, all asleep. A sample is commit + kill + wait; building up is not in it. */
#include "common/cleanup.h"
#include "common/err.h"
#include "tests/floor/bare_log.h"
#include "tests/floor/floor.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A member of the namespace: says that it is there, and sleeps until it is killed. */
_Noreturn static void sleep_until_killed(int ready) {
    if (write(ready, "r", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

_Noreturn static void be_init(int ready, unsigned processes) {
    for (unsigned i = 1; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            _exit(1); /* takes the namespace along; the pipe then closes early and the parent says so */
        if (pid == 0)
            sleep_until_killed(ready);
    }
    sleep_until_killed(ready);
}

/* An ordinary user gets a PID namespace only together with a user namespace. */
static pid_t clone_init(void) {
    struct clone_args args = {
        .flags = CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0),
        .exit_signal = SIGCHLD,
    };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static int await_ready(int fd, unsigned processes) {
    for (unsigned i = 0; i < processes; i++) {
        char byte;
        if (read(fd, &byte, 1) != 1)
            return err_raise(-ECHILD, "%u of %u processes came up", i, processes);
    }
    return 0;
}

/* Kills the namespace and waits until the kernel has reaped all of it. */
static int kill_and_wait(pid_t init) {
    int status;
    if (kill(init, SIGKILL) < 0)
        return err_raise(-errno, "kill the init");
    while (waitpid(init, &status, 0) < 0)
        if (errno != EINTR)
            return err_raise(-errno, "wait for the init");
    return 0;
}

/* The pid of the init, when all are there; or negative errno. */
static pid_t populate(unsigned processes) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_raise(-errno, "pipe");
    auto_close int near = ready[0];
    auto_close int far = ready[1];
    pid_t pid = clone_init();
    if (pid < 0)
        return err_raise(-errno, "make a PID namespace");
    if (pid == 0)
        be_init(far, processes);
    far = fd_close(far);
    int r = await_ready(near, processes);
    if (r) {
        (void)kill_and_wait(pid);
        return err_raise(r, "only a part of %u processes came up", processes);
    }
    return pid;
}

static int cancel_once(struct bare_log *log, unsigned processes, double *sample) {
    char event[FLOOR_EVENT_BYTES];
    floor_event(event, 1, log->seq + 1);
    pid_t init = populate(processes);
    if (init < 0)
        return err_up(init);
    double start = floor_now_us();
    int r = bare_log_event(log, event, sizeof event);
    int killed = kill_and_wait(init); /* also when the commit has failed */
    if (r || killed)
        return r ? r : killed;
    *sample = floor_now_us() - start;
    return 0;
}

static int cancel_round(struct bare_log *log, unsigned processes, unsigned n, double *samples) {
    int r = 0;
    for (unsigned i = 0; !r && i < n; i++)
        r = cancel_once(log, processes, &samples[i]);
    return r;
}

static int cancel_all(const struct floor_options *options, const char *path) {
    auto_free double *samples = calloc(options->iterations, sizeof *samples);
    if (!samples)
        return err_raise(-ENOMEM, "room for samples");
    char row[32];
    (void)snprintf(row, sizeof row, "cancel_%u", options->width);
    struct bare_log log = BARE_LOG_NULL;
    int r = bare_log_open(&log, path);
    if (!r)
        r = cancel_round(&log, options->width, options->iterations / 10 + 1, samples); /* warm up; not printed */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = cancel_round(&log, options->width, options->iterations, samples);
        if (!r)
            r = floor_print(row, "us", samples, options->iterations);
    }
    bare_log_close(&log);
    return r;
}

static int run(const struct floor_options *options) {
    auto_free char *path = NULL;
    int r = floor_dir_make(options->state, &path);
    if (r)
        return err_up(r);
    r = cancel_all(options, path);
    floor_dir_remove(path);
    return r;
}

int main(int argc, char **argv) {
    static const struct floor_program program = {
        .name = "floor-cancel",
        .summary = "The least a cancel can cost: one durable commit, and the death of a PID namespace.",
        .width_name = "processes",
        .width_help = "processes in the namespace, its init among them",
        .width_min = 1,
        .needs_state = 1,
        .defaults = {.rounds = 5, .iterations = 20, .width = 1},
        .run = run,
    };
    return floor_main(&program, argc, argv);
}
