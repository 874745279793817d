/* Client programs: the real soma, with the environment of nobody in particular. What they write goes to memory files,
 * so that a process left behind cannot keep a pipe open and hold the test up. */
#include "tests/tree/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define WORDS_MAX 32u

static void become(struct tree *t, struct client *c, const char *const words[]) __attribute__((noreturn));
static void become(struct tree *t, struct client *c, const char *const words[]) {
    char home[PATH_SIZE + 8], config[PATH_SIZE + 16], asan[1024] = "ASAN_OPTIONS=";
    const char *options = getenv("ASAN_OPTIONS");
    (void)snprintf(home, sizeof home, "HOME=%s", t->dir);
    (void)snprintf(config, sizeof config, "SOMA_CONFIG=%s", t->conf);
    char *env[] = {home, config, (char[]){"PATH=/usr/bin:/bin"}, (char[]){"TZ=UTC"}, (char[]){"LC_ALL=C"}, asan, NULL};
    (void)snprintf(asan, sizeof asan, "ASAN_OPTIONS=%s", options ? options : "");
    int null = open("/dev/null", O_RDONLY);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)alarm(0);
    if (chdir(t->dir) < 0 || dup2(null, 0) < 0 || dup2(c->out, 1) < 0 || dup2(c->err, 2) < 0)
        _exit(99);
    execve(words[0], (char *const *)(uintptr_t)words, env);
    _exit(99);
}

void client_exec(struct tree *t, struct client *c, const char *const words[]) {
    c->out = memfd_create("stdout", MFD_CLOEXEC);
    c->err = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(c->out >= 0 && c->err >= 0);
    c->code = -1;
    (void)fflush(NULL);
    c->pid = fork();
    CHECK(c->pid >= 0);
    if (c->pid == 0)
        become(t, c, words);
    c->proc = proc_of(c->pid);
}

void client_start(struct tree *t, struct client *c, const char *const words[]) {
    const char *all[WORDS_MAX] = {tree_program("soma")};
    for (size_t i = 0; words[i] && i + 2 < WORDS_MAX; i++)
        all[i + 1] = words[i];
    client_exec(t, c, all);
}

static void collect(int *fd, char *text, size_t size) {
    ssize_t n = pread(*fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = 0;
    *fd = fd_close(*fd);
}

bool client_ended(struct client *c) {
    int status;
    if (c->code >= 0)
        return true;
    pid_t got = waitpid(c->pid, &status, WNOHANG);
    CHECK(got >= 0, "wait for client %d: %s", c->pid, strerror(errno));
    if (got == 0)
        return false;
    c->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    collect(&c->out, c->stdout_, sizeof c->stdout_);
    collect(&c->err, c->stderr_, sizeof c->stderr_);
    return true;
}

int client_end(struct tree *t, struct client *c) {
    WAIT(client_ended(c), "client %d", c->pid);
    return c->code;
}

int soma(struct tree *t, struct client *c, const char *const words[]) {
    client_start(t, c, words);
    return client_end(t, c);
}
