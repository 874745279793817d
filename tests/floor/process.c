/* One child process at a time, and what may be left of it. Output goes to memory files, so that a process which a
 * command left behind cannot keep a pipe open and hold us up. bench is the subreaper of everything (become_reaper() in
 * bench.c), hence whatever outlives a command becomes our child, and wait() tells when the last of it has gone.
 * Commands stay in our process group: an interrupt at the terminal reaches them, too.
 *
 *     bench ── command ── its processes
 *          '── processes whose parent has ended: awaited by settle(), killed when they overstay
 */
#include "tests/floor/process.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void child_deinit(struct child *child) {
    child->pidfd = fd_close(child->pidfd);
    child->out = fd_close(child->out);
    child->err = fd_close(child->err);
}

static int spawn(char *const *words, struct child *child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    child->out = memfd_create("stdout", MFD_CLOEXEC);
    child->err = memfd_create("stderr", MFD_CLOEXEC);
    if (child->out < 0 || child->err < 0)
        return err_raise(-errno, "make a memory file");
    sigemptyset(&none);
    int r = posix_spawn_file_actions_init(&actions);
    if (r)
        return err_raise(-r, "prepare a command");
    r = posix_spawnattr_init(&attr);
    if (!r) {
        r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        if (!r)
            r = posix_spawn_file_actions_adddup2(&actions, child->out, 1);
        if (!r)
            r = posix_spawn_file_actions_adddup2(&actions, child->err, 2);
        if (!r)
            r = posix_spawnattr_setsigmask(&attr, &none);
        if (!r)
            r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        if (!r)
            r = posix_spawn(&child->pid, words[0], &actions, &attr, words, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return r ? err_raise(-r, "start %s", words[0]) : 0;
}

/* Started and never waited for: its pid stays ours, so pidfd_open(2) cannot hit another. */
int child_start(char *const *words, struct child *child) {
    int r = spawn(words, child);
    if (r)
        return err_up(r);
    child->pidfd = pidfd_open(child->pid, 0);
    if (child->pidfd >= 0)
        return 0;
    r = err_raise(-errno, "pidfd_open");
    (void)kill(child->pid, SIGKILL);
    (void)waitpid(child->pid, NULL, 0);
    return r;
}

/* Waits for the child, at most `seconds`; then kills it. Reaped in any case. */
int child_end(struct child *child, const char *name, unsigned seconds, int *status) {
    struct pollfd ended = {.fd = child->pidfd, .events = POLLIN};
    int n = poll(&ended, 1, (int)seconds * 1000);
    if (n <= 0)
        (void)kill(child->pid, SIGKILL);
    while (waitpid(child->pid, status, 0) < 0)
        if (errno != EINTR)
            return err_raise(-errno, "wait for %s", name);
    return n > 0 ? 0 : err_raise(-ETIME, "%s took more than %u s", name, seconds);
}

/* Whole text of a memory file; malloc'ed, NUL-terminated. */
int child_output(int fd, char **text, size_t *n) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_raise(-errno, "fstat");
    auto_free char *whole = malloc((size_t)st.st_size + 1);
    if (!whole)
        return err_raise(-ENOMEM, "room for output");
    ssize_t got = pread(fd, whole, (size_t)st.st_size, 0);
    if (got < 0)
        return err_raise(-errno, "read output");
    whole[got] = 0;
    *n = (size_t)got;
    *text = take_ptr(&whole);
    return 0;
}

/* 0 when the child exited with 0; else says what it wrote to stderr last. */
int child_check(const struct child *child, const char *name, int status) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    auto_free char *said = NULL;
    size_t n = 0;
    int r = child_output(child->err, &said, &n);
    if (r)
        return err_up(r);
    while (n && said[n - 1] == '\n')
        said[--n] = 0;
    const char *tail = n > 300 ? said + n - 300 : said;
    return err_raise(-ECHILD, "%s %s %d: %s", name, WIFEXITED(status) ? "exited with" : "was killed by signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), tail);
}

/* Kills every child we have now; their orphans become ours, so this is repeated until there is none. */
static void kill_orphans(void) {
    auto_file FILE *list = fopen("/proc/thread-self/children", "re");
    int pid;
    while (list && fscanf(list, "%d", &pid) == 1)
        (void)kill(pid, SIGKILL);
}

/* Waits until nothing is left of what ran before. SIGCHLD is blocked (main()), so none is missed between the calls. */
int settle(unsigned seconds) {
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    struct timespec patience = {.tv_sec = seconds};
    bool overstayed = false;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0)
            return overstayed ? err_raise(-ECHILD, "processes were left behind, and killed") : 0;
        if (pid > 0)
            continue;
        if (!overstayed && sigtimedwait(&chld, NULL, &patience) < 0 && errno == EAGAIN)
            overstayed = true;
        if (overstayed) {
            kill_orphans();
            (void)waitpid(-1, NULL, 0);
        }
    }
}
