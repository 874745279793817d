/* The state machine and its bytes. Everything that ends a call (a limit, a cancel, the end of the main process) leads
 * to `reaping`, where kill(-1) is repeated until wait says ECHILD: a process being forked while kill(-1) walks the list
 * may be missed, so its return proves nothing. Only then are the pipes drained, since only then nobody writes any more.
 */
#include "toolcall/exec.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "toolcall/exec_impl.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_MS 20    /* between two looks at memory, at least; */
#define SAMPLE_SHARE 10 /* and at least this many times what the last one took */
#define KILL_AGAIN_MS 5 /* between two kill(-1) while somebody is still there */
#define CHUNK (16u * 1024u)
#define DRAIN_MAX (1024u * 1024u) /* the most a pipe of an ordinary user holds: /proc/sys/fs/pipe-max-size */

int64_t exec_now_ms(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- states ----------------------------------------------------------------------------------------------------- */

enum exec_event { EV_START, EV_STOP, EV_MAIN_ENDED, EV_ALL_GONE, EV__COUNT };

static void kill_all(struct exec *x) {
    (void)kill(-1, SIGKILL); /* ESRCH is nobody there, and whether somebody is only wait knows */
    x->kill_ms = exec_now_ms() + KILL_AGAIN_MS;
}

static void finish(struct exec *x) {
    x->in = fd_close(x->in);
    x->out = fd_close(x->out);
    x->err = fd_close(x->err);
    x->ended_ms = exec_now_ms();
}

static void nothing(struct exec *x) {
    (void)x;
}

static const struct row {
    enum exec_state next;
    void (*action)(struct exec *x);
} table[EXEC_STATE__COUNT][EV__COUNT] = {
    [EXEC_IDLE] = {[EV_START] = {EXEC_RUNNING, nothing}},
    [EXEC_RUNNING] = {[EV_STOP] = {EXEC_REAPING, kill_all},
                      [EV_MAIN_ENDED] = {EXEC_REAPING, kill_all},
                      [EV_ALL_GONE] = {EXEC_DONE, finish}}, /* somebody else reaped: the exit status is lost */
    [EXEC_REAPING] = {[EV_STOP] = {EXEC_REAPING, nothing},  /* the first cause stands */
                      [EV_MAIN_ENDED] = {EXEC_REAPING, nothing},
                      [EV_ALL_GONE] = {EXEC_DONE, finish}},
};

static void exec_step(struct exec *x, enum exec_event event) {
    const struct row *row = &table[x->state][event];
    assert(row->action); /* events are our own; an empty cell is a defect here, not input */
    x->state = row->next;
    row->action(x);
}

/* Ends the call for a reason of ours, unless another one was first. */
#define exec_stop(x, name, ...)                                                                                        \
    do {                                                                                                               \
        if (!(x)->has_cause)                                                                                           \
            (x)->has_cause = tool_fail(&(x)->cause, (name), __VA_ARGS__) != 0;                                         \
        exec_step((x), EV_STOP);                                                                                       \
    } while (0)

/* --- bytes ------------------------------------------------------------------------------------------------------ */

static void feed_input(struct exec *x) {
    size_t left = x->spec.input_n - x->input_at;
    ssize_t n = left > 0 ? write(x->in, x->spec.input + x->input_at, left) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        x->input_at += (size_t)n;
    /* A tool may stop reading when it has seen enough (EPIPE): that is its business. */
    if (n < 0 || x->input_at == x->spec.input_n)
        x->in = fd_close(x->in);
}

/* Both readers return the bytes read, 0 at the end of the file or on an error, -EAGAIN when there is nothing now. */
static ssize_t take_output(struct exec *x) {
    size_t room = x->output_max + 1 - x->output_n; /* one more than allowed: that byte is the proof of "more" */
    ssize_t n = room > 0 ? read(x->out, x->output + x->output_n, room) : 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
    x->output_n += (size_t)n;
    if (x->output_n > x->output_max && x->state != EXEC_DONE)
        exec_stop(x, TOOL_OUTPUT_LIMIT, "the tool wrote more than %zu bytes",
                  x->spec.builtin ? x->output_max - EXEC_ENVELOPE : x->output_max);
    return n;
}

static ssize_t take_stderr(struct exec *x) {
    char chunk[CHUNK];
    ssize_t n = read(x->err, chunk, sizeof chunk);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
    for (size_t i = (size_t)n > sizeof x->tail ? (size_t)n - sizeof x->tail : 0; i < (size_t)n; i++)
        x->tail[(x->tail_n + i) % sizeof x->tail] = chunk[i];
    x->tail_n += (uint64_t)n;
    return n;
}

/* What is left in a pipe nobody writes to any more. The bound is for an end that has left the namespace in a message.
 */
static void drain(struct exec *x, int fd, ssize_t (*take)(struct exec *x)) {
    ssize_t n = 1;
    for (size_t total = 0; fd >= 0 && n > 0 && total < DRAIN_MAX; total += (size_t)n)
        if ((n = take(x)) <= 0)
            break;
}

size_t exec_pollfds(const struct exec *x, struct pollfd *out, size_t max) {
    const struct pollfd all[EXEC_FDS_MAX] = {{x->in, POLLOUT, 0}, {x->out, POLLIN, 0}, {x->err, POLLIN, 0}};
    size_t n = 0;
    for (size_t i = 0; x->state == EXEC_RUNNING && i < EXEC_FDS_MAX; i++)
        if (all[i].fd >= 0 && n < max)
            out[n++] = all[i];
    return n;
}

int exec_on_io(struct exec *x, int fd, short revents) {
    (void)revents; /* a hang-up and an error are met by the call itself, which knows what they mean */
    if (fd < 0 || x->state != EXEC_RUNNING)
        return -EBADF;
    if (fd == x->in)
        feed_input(x);
    else if (fd == x->out)
        x->out = take_output(x) == 0 ? fd_close(x->out) : x->out;
    else if (fd == x->err)
        x->err = take_stderr(x) == 0 ? fd_close(x->err) : x->err;
    else
        return -EBADF;
    return 0;
}

/* --- children and time ------------------------------------------------------------------------------------------ */

static void add_time(struct timeval *sum, struct timeval more) {
    sum->tv_sec += more.tv_sec;
    sum->tv_usec += more.tv_usec;
    if (sum->tv_usec >= 1000000) {
        sum->tv_usec -= 1000000;
        sum->tv_sec++;
    }
}

/* Each process is counted once: with whoever waited for it, and in the end that is us. */
static void account(struct exec *x, pid_t pid, int status, const struct rusage *usage) {
    add_time(&x->usage.ru_utime, usage->ru_utime);
    add_time(&x->usage.ru_stime, usage->ru_stime);
    if (usage->ru_maxrss > x->usage.ru_maxrss)
        x->usage.ru_maxrss = usage->ru_maxrss;
    if (pid != x->main || x->main_ended)
        return;
    x->main_ended = true;
    x->wait_status = status;
    exec_step(x, EV_MAIN_ENDED);
}

void exec_on_child(struct exec *x) {
    if (x->state != EXEC_RUNNING && x->state != EXEC_REAPING)
        return;
    for (;;) {
        int status;
        struct rusage usage;
        pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &usage);
        if (pid > 0) {
            account(x, pid, status, &usage);
        } else if (pid == 0) {
            if (x->state == EXEC_REAPING)
                kill_all(x);
            return;
        } else if (errno != EINTR) { /* ECHILD: nobody is left */
            drain(x, x->out, take_output);
            drain(x, x->err, take_stderr);
            exec_step(x, EV_ALL_GONE);
            return;
        }
    }
}

static void sample_memory(struct exec *x, int64_t now) {
    uint64_t bytes, max = x->spec.limits.memory_bytes;
    if (exec_memory(x->proc, &bytes) < 0) {
        /* Never once measured: the result says memory_sampled: false. Measured before: the tool took the means away
         * from us (it has our uid and may lower our limits), which must not be a way around the limit. */
        if (x->sampled)
            exec_stop(x, TOOL_MEMORY_LIMIT, "the tool's memory can no longer be measured");
        x->proc = fd_close(x->proc);
        return;
    }
    x->sampled = true;
    int64_t after = exec_now_ms(), pause = SAMPLE_SHARE * (after - now);
    x->sample_ms = after + (pause > SAMPLE_MS ? pause : SAMPLE_MS);
    if (bytes > max)
        exec_stop(x, TOOL_MEMORY_LIMIT, "the tool went over %" PRIu64 " bytes of memory", max);
}

int64_t exec_next_ms(const struct exec *x) {
    if (x->state == EXEC_REAPING)
        return x->kill_ms;
    if (x->state != EXEC_RUNNING)
        return -1;
    return x->proc >= 0 && x->sample_ms < x->deadline_ms ? x->sample_ms : x->deadline_ms;
}

void exec_on_time(struct exec *x, int64_t now) {
    exec_on_child(x);
    if (x->state == EXEC_RUNNING && now >= x->deadline_ms)
        exec_stop(x, TOOL_TIMEOUT, "the tool took longer than %" PRId64 " ms", x->spec.timeout_ms);
    if (x->state == EXEC_RUNNING && x->proc >= 0 && now >= x->sample_ms)
        sample_memory(x, now);
}

void exec_cancel(struct exec *x) {
    if (x->state != EXEC_RUNNING)
        return;
    x->cancelled = !x->has_cause;
    exec_stop(x, TOOL_SIGNALLED, "the call was cancelled");
}

bool exec_done(const struct exec *x) {
    return x->state == EXEC_DONE;
}

/* --- start and end ---------------------------------------------------------------------------------------------- */

/* One pipe of the tool: `ours` does not block us, `theirs` is an ordinary pipe end. */
static int make_pipe(int *ours, int *theirs, bool we_write) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_raise(-errno, "pipe: %s", strerror(errno));
    *ours = ends[we_write];
    *theirs = ends[!we_write];
    if (fcntl(*ours, F_SETFL, O_NONBLOCK) != 0)
        return err_raise(-errno, "pipe, O_NONBLOCK: %s", strerror(errno));
    return 0;
}

/* Forks with all signals blocked: no handler of ours runs in the child, which resets them. */
static int fork_tool(struct exec *x, const struct exec_child *child) {
    sigset_t all, before;
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &before); /* cannot fail with these arguments */
    pid_t pid = fork();
    int error = errno;
    if (pid == 0)
        exec_child_run(child);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return err_raise(-error, "fork: %s", strerror(error));
    x->main = pid;
    return 0;
}

static int start_tool(struct exec *x) {
    auto_close int in = -1, out = -1, err = -1, status = -1;
    int r = make_pipe(&x->in, &in, true);
    if (r == 0)
        r = make_pipe(&x->out, &out, false);
    if (r == 0)
        r = make_pipe(&x->err, &err, false);
    if (r == 0)
        r = make_pipe(&x->status, &status, false);
    if (r < 0)
        return err_up(r);
    struct exec_child child = {&x->spec, in, out, err, status, x->proc >= 0};
    return fork_tool(x, &child);
}

static int check_spec(const struct exec_spec *spec) {
    if (getpid() != 1)
        return err_raise(-EPERM, "a tool is run by PID 1 of a namespace of its own, and this is not one");
    if (spec->timeout_ms <= 0)
        return err_raise(-EINVAL, "a tool is not run without a timeout");
    if (!spec->builtin && (!spec->argv || !spec->argv[0] || !spec->envp))
        return err_raise(-EINVAL, "nothing to run");
    return 0;
}

static void set_times(struct exec *x) {
    x->started_ms = exec_now_ms();
    x->deadline_ms = x->started_ms + x->spec.timeout_ms;
    x->sample_ms = x->started_ms + SAMPLE_MS;
}

static size_t output_max(const struct exec_spec *spec) {
    uint64_t limit = spec->limits.output_bytes;
    if (spec->builtin) /* it bounds itself; what comes here is its result in an envelope */
        return (limit > 0 && limit < TOOL_VALUE_MAX ? (size_t)limit : TOOL_VALUE_MAX) + EXEC_ENVELOPE;
    return limit > 0 && limit < TOOL_VALUE_MAX ? (size_t)limit : TOOL_VALUE_MAX;
}

int exec_start(struct exec *x, const struct exec_spec *spec) {
    *x = EXEC_NULL;
    int r = check_spec(spec);
    if (r < 0)
        return err_up(r);
    x->spec = *spec;
    x->output_max = output_max(spec);
    x->output = malloc(x->output_max + 1);
    if (!x->output)
        return err_raise(-ENOMEM, "no memory for the output of a tool");
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail with these arguments */
    if (spec->limits.memory_bytes > 0) {
        x->proc = exec_memory_open(); /* negative: the backstop is set lower instead, and the result says so */
        x->sampled = x->proc >= 0;    /* opening has measured once, before there was a tool that could prevent it */
    }
    set_times(x);
    r = start_tool(x);
    if (r < 0) {
        exec_deinit(x);
        return err_up(r);
    }
    exec_step(x, EV_START);
    if (spec->input_n == 0)
        x->in = fd_close(x->in);
    return 0;
}

int exec_result(struct exec *x, struct exec_result *out) {
    if (x->state != EXEC_DONE)
        return err_raise(-EBUSY, "the tool has not ended");
    exec_outcome(x, out);
    return 0;
}

void exec_deinit(struct exec *x) {
    if (!x)
        return;
    exec_cancel(x);
    exec_finish_blocking(x);
    x->in = fd_close(x->in);
    x->out = fd_close(x->out);
    x->err = fd_close(x->err);
    x->status = fd_close(x->status);
    x->proc = fd_close(x->proc);
    free(x->output);
    *x = EXEC_NULL;
}
