/* One tool inside its scope. The caller is PID 1 of a PID namespace of its own and holds one `struct exec`: a small
 * state machine that forks the tool, moves bytes, watches limits, and in the end leaves nothing behind.
 *
 *     idle --start--> running --main process ended, limit, cancel--> reaping --no child is left--> done
 *
 *     PID 1 ──stdin──▶ tool ──stdout──▶ PID 1   kept up to a limit, more is output_limit
 *                           ──stderr──▶         the last 4 KiB are kept, the rest is dropped
 *                           ──status──▶         what went wrong before the tool ran; closed by a good execve
 *
 * A result exists only in the state done: every process of the namespace but PID 1 is dead and reaped by then, whatever
 * it did with setsid, double forks or signals. The caller's loop calls exec_on_io(), exec_on_child() on SIGCHLD and
 * exec_on_time(); nothing here blocks but exec_run_blocking() and exec_deinit() of a call under way. */
#ifndef SOMA_TOOLCALL_EXEC_H
#define SOMA_TOOLCALL_EXEC_H

#include "toolcall/tool.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#define EXEC_FDS_MAX 3u

/* What to run: a built-in by name, or argv. Everything is borrowed until exec_done(). */
struct exec_spec {
    const char *builtin;
    const json_t *args;             /* of the built-in */
    const struct tool_roots *roots; /* of the built-in; an external tool gets none of these descriptors */
    char *const *argv, *const *envp;
    const char *input; /* stdin, may be NULL */
    size_t input_n;
    bool json_output;
    const char *workdir; /* NULL: "/" */
    struct tool_limits limits;
    int64_t timeout_ms; /* > 0: nothing runs without one */
};

struct exec_result {
    bool failed, cancelled; /* a cancelled call has failed, with a failure that says so */
    json_t *value;          /* of one that has not; owned */
    struct tool_failure failure;
    int exit_status;                       /* of the main process; -1: none, it was killed or never ran */
    int signal;                            /* that ended it; 0: none */
    char stderr_tail[TOOL_STDERR_MAX + 1]; /* UTF-8; bytes that are not are '?' */
    bool stderr_truncated;
    int64_t user_us, system_us, max_rss_bytes; /* all processes; the last is the largest of one */
    int64_t wall_ms;
    bool memory_sampled; /* false: there is no usable /proc, only RLIMIT_DATA bounds memory */
};

enum exec_state { EXEC_IDLE, EXEC_RUNNING, EXEC_REAPING, EXEC_DONE, EXEC_STATE__COUNT };

/* Private but embedded by value. */
struct exec {
    enum exec_state state;
    struct exec_spec spec;
    pid_t main;
    int in, out, err, status, proc;
    size_t input_at;
    char *output;
    size_t output_n, output_max;
    char tail[TOOL_STDERR_MAX]; /* a ring: the last bytes end at tail_n % sizeof tail */
    uint64_t tail_n;
    bool cancelled, has_cause, main_ended;
    struct tool_failure cause; /* the limit that ended it */
    int wait_status;
    struct rusage usage;
    int64_t started_ms, ended_ms, deadline_ms, sample_ms, kill_ms; /* CLOCK_MONOTONIC */
    bool sampled;                                                  /* memory was measured at least once */
};
#define EXEC_NULL ((struct exec){.in = -1, .out = -1, .err = -1, .status = -1, .proc = -1})

/* Starts the tool. Needs: PID 1 of its namespace (-EPERM otherwise: it will kill everything it sees), no other
 * children, SIGCHLD not ignored. SIGPIPE becomes ignored. Returns 0 or a negative errno, and then nothing was started.
 */
int exec_start(struct exec *x, const struct exec_spec *spec);

/* What to poll for now; returns how many of `max` (EXEC_FDS_MAX is enough) were filled. Ask again after each event. */
size_t exec_pollfds(const struct exec *x, struct pollfd *out, size_t max);

/* A descriptor of exec_pollfds() is ready. Returns 0, or -EBADF for one that is not ours (any more). */
int exec_on_io(struct exec *x, int fd, short revents);

/* Reaps. To be called on every SIGCHLD; harmless at any time. */
void exec_on_child(struct exec *x);

/* When exec_on_time() wants to be called next, CLOCK_MONOTONIC milliseconds; -1: not at all. */
int64_t exec_next_ms(const struct exec *x);
void exec_on_time(struct exec *x, int64_t now_ms);

/* Ends the call; its result will say cancelled, unless its main process had been reaped or a limit was first: what has
 * happened is not called back. */
void exec_cancel(struct exec *x);

bool exec_done(const struct exec *x);

/* The outcome, once. Only in the state done (-EBUSY before); what it holds is the caller's: exec_result_deinit(). */
int exec_result(struct exec *x, struct exec_result *out);
void exec_result_deinit(struct exec_result *result);

/* The facts of an ended call as a JSON object, for events and answers: exit_status or signal, stderr, stderr_truncated,
 * user_us, system_us, max_rss_bytes, wall_ms and, when it failed, failure and message. NULL: out of memory. */
json_t *exec_report(const struct exec_result *result);

/* Closes everything; a call under way is killed and reaped first. */
void exec_deinit(struct exec *x);

/* Start, poll, result. Blocks; catches SIGCHLD by a signalfd meanwhile. */
int exec_run_blocking(const struct exec_spec *spec, struct exec_result *out);

/* Gives up all rights for good: groups and ids (when `uid` is not the present one, with a user namespace of its own for
 * the sake of RLIMIT_NPROC), every capability in every set, no_new_privs, dumpable. For PID 1 of a scope after its
 * mounts are attached, before it reads the call; everything it forks inherits this. Returns 0 only when a look back
 * shows it is so; else a negative errno, and the process must end. */
int exec_become_tool(uid_t uid, gid_t gid);

#endif
