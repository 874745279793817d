/* The inner process: from fork to execve, or to the end of a built-in. It makes itself small before anything of the
 * tool runs: own session, no foreign descriptor, default signals, limits. Whatever fails here is told through the
 * status pipe and the process ends; a tool never starts in a half-made place. */
#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "toolcall/builtin.h"
#include "toolcall/exec_impl.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATUS_FD 3
#define FIRST_ROOT_FD 4
#define HIGH_FD 64 /* above every slot used below */
#define FDS_MAX (FIRST_ROOT_FD + 2 * TOOL_ROOTS_MAX)
#define NOFILE_LIMIT 1024u
#define MEMLOCK_LIMIT (64u * 1024u)

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Brings `fds` to the slots 0..n-1 and closes everything else. All are lifted first: a slot may hold another one.
 * Whatever happens, fds[i] is a good descriptor at every moment: the report of a failure goes through one of them. */
static int place_fds(int *fds, int n) {
    for (int i = 0; i < n; i++) {
        int lifted = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
        if (lifted < 0)
            return -errno;
        fds[i] = lifted;
    }
    for (int i = 0; i < n; i++) {
        if (dup3(fds[i], i, i < STATUS_FD ? 0 : O_CLOEXEC) < 0)
            return -errno;
        fds[i] = i;
    }
    return close_range((unsigned)n, ~0u, 0) == 0 ? 0 : -errno;
}

static void default_signals(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig <= SIGRTMAX; sig++)
        (void)sigaction(sig, &standard,
                        NULL); /* refused for KILL, STOP and the C library's own two: they are default */
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
}

/* Never raises a limit: what PID 1 lives under binds the tool too. */
static int set_limit(int resource, uint64_t soft, uint64_t hard) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
        return -errno;
    if (hard < limit.rlim_max)
        limit.rlim_max = hard;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) == 0 ? 0 : -errno;
}

/* RLIMIT_DATA is the backstop behind the sampling of resident memory: twice the limit, so that the sample, which gives
 * the failure its name, sees the excess first; the limit itself where nothing can be sampled. A sanitizer's shadow
 * counts as data, so an instrumented built-in goes without. */
static uint64_t data_limit(const struct exec_child *child) {
    uint64_t memory = child->spec->limits.memory_bytes;
    if (memory == 0 || memory > UINT64_MAX / 2 || (SANITIZED && child->spec->builtin))
        return 0;
    return child->memory_sampled ? 2 * memory : memory;
}

static int set_limits(const struct exec_child *child) {
    const struct tool_limits *limits = &child->spec->limits;
    uint64_t data = data_limit(child), cpu = (limits->cpu_ms + 999) / 1000;
    const struct {
        int resource;
        bool set;
        uint64_t soft, hard;
    } rows[] = {
        {RLIMIT_CORE, true, 0, 0},
        {RLIMIT_CPU, cpu > 0, cpu, cpu + 1}, /* SIGXCPU, then SIGKILL */
        {RLIMIT_DATA, data > 0, data, data},
        {RLIMIT_FSIZE, limits->file_bytes > 0, limits->file_bytes, limits->file_bytes},
        {RLIMIT_MEMLOCK, true, MEMLOCK_LIMIT, MEMLOCK_LIMIT},
        {RLIMIT_NOFILE, true, NOFILE_LIMIT, NOFILE_LIMIT},
        {RLIMIT_NPROC, limits->processes > 0 && geteuid() != 0, limits->processes, limits->processes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int r = rows[i].set ? set_limit(rows[i].resource, rows[i].soft, rows[i].hard) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The roots as this process has them: same paths, descriptors in their new slots. */
static struct tool_roots collect_roots(const struct exec_spec *spec, int *fds, int *n) {
    struct tool_roots roots = {0};
    if (!spec->builtin || !spec->roots)
        return roots;
    roots = *spec->roots;
    for (size_t i = 0; i < roots.n_read; i++) {
        fds[*n] = roots.read[i].fd;
        roots.read[i].fd = (*n)++;
    }
    for (size_t i = 0; i < roots.n_write; i++) {
        fds[*n] = roots.write[i].fd;
        roots.write[i].fd = (*n)++;
    }
    return roots;
}

static int settle(const struct exec_child *child, int *fds, int n) {
    int r = place_fds(fds, n);
    if (r < 0)
        return r;
    if (setsid() < 0)
        return -errno;
    (void)umask(077);
    if (chdir(child->spec->workdir ? child->spec->workdir : "/") != 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    r = set_limits(child);
    if (r == 0)
        default_signals();
    return r;
}

_Noreturn static void give_up(int status, int step, int error) {
    struct exec_setup_report report = {step, error};
    ssize_t n = write(status, &report, sizeof report);
    _exit(n == (ssize_t)sizeof report ? 125 : 126); /* without a report PID 1 sees the exit status alone */
}

/* {"value":…} or {"failure":…,"message":…}, whole, on stdout. PID 1 reads it as it would read any tool's output. */
static int builtin_answer(const struct exec_child *child, const struct tool_roots *roots) {
    auto_json json_t *value = NULL;
    auto_json json_t *answer = NULL;
    struct tool_failure failure;
    uint64_t limit = child->spec->limits.output_bytes;
    size_t max = limit > 0 && limit < TOOL_VALUE_MAX ? (size_t)limit : TOOL_VALUE_MAX;
    if (builtin_run(child->spec->builtin, child->spec->args, roots, max, &value, &failure) == 0)
        answer = json_pack("{s:O}", EXEC_KEY_VALUE, value);
    else
        answer = json_pack("{s:s, s:s}", EXEC_KEY_FAILURE, tool_failure_text(failure.name), EXEC_KEY_MESSAGE,
                           failure.message);
    auto_free char *text = NULL;
    size_t n;
    if (!answer || json_text(answer, TOOL_VALUE_MAX + EXEC_ENVELOPE, &text, &n) < 0)
        return -ENOMEM;
    for (size_t at = 0; at < n;) {
        ssize_t r = write(STDOUT_FILENO, text + at, n - at);
        if (r < 0 && errno != EINTR)
            return -errno;
        at += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

_Noreturn void exec_child_run(const struct exec_child *child) {
    int fds[FDS_MAX] = {child->in, child->out, child->err, child->status}, n = FIRST_ROOT_FD;
    struct tool_roots roots = collect_roots(child->spec, fds, &n);
    int r = settle(child, fds, n);
    if (r < 0)
        give_up(fds[STATUS_FD], EXEC_STEP_SETUP, -r);
    if (child->spec->builtin) {
        (void)fd_close(STATUS_FD);
        _exit(builtin_answer(child, &roots) < 0 ? 126 : 0);
    }
    (void)execve(child->spec->argv[0], child->spec->argv, child->spec->envp);
    give_up(STATUS_FD, EXEC_STEP_EXEC, errno);
}
