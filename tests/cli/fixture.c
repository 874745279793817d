/* A frame is four bytes of length and JSON; the gateway here reads no more of it than its script asks for. */
#include "tests/cli/fixture.h"

#include "common/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PART "a-folder-with-a-name-that-is-long-enough-to-matter"

int place_make(struct place *p, int deep) {
    const char *base = getenv("TMPDIR");
    p->listener = -1;
    (void)snprintf(p->dir, 256, "%s/soma-cli-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(p->dir))
        return -errno;
    for (size_t n; deep-- > 0;) {
        n = strlen(p->dir);
        (void)snprintf(p->dir + n, sizeof p->dir - n, "/%s", PART);
        if (mkdir(p->dir, 0700) < 0)
            return -errno;
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

void place_remove(struct place *p) {
    char *deep = strstr(p->dir, "/" PART);
    p->listener = fd_close(p->listener);
    if (deep)
        *deep = '\0';
    (void)nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Bound by a relative name, so that the length of the path does not matter here. */
int place_listen(struct place *p) {
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "soma.sock"};
    auto_close int here = open(".", O_PATH | O_CLOEXEC);
    p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listener < 0 || chdir(p->dir) < 0)
        return -errno;
    (void)unlink("soma.sock");
    int r = bind(p->listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(p->listener, 8) < 0 ? -errno : 0;
    return fchdir(here) < 0 ? -errno : r;
}

static int copy(const char *from, const char *to) {
    auto_close int in = open(from, O_RDONLY | O_CLOEXEC);
    auto_close int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    struct stat st;
    if (in < 0 || out < 0 || fstat(in, &st) < 0)
        return -errno;
    for (off_t at = 0; at < st.st_size;)
        if (sendfile(out, in, &at, (size_t)(st.st_size - at)) <= 0)
            return -EIO;
    return 0;
}

int place_install(struct place *p, const char *path, const char *script) {
    char name[4352];
    (void)snprintf(name, sizeof name, "%s/cli", p->dir);
    (void)mkdir(name, 0700);
    (void)snprintf(name, sizeof name, "%s/cli/soma", p->dir);
    int r = access(name, X_OK) == 0 ? 0 : copy(SOMA_BINARY, name);
    (void)snprintf(name, sizeof name, "%s/%s", p->dir, path);
    *strrchr(name, '/') = '\0';
    (void)mkdir(name, 0700);
    (void)snprintf(name, sizeof name, "%s/%s", p->dir, path);
    auto_file FILE *f = r == 0 ? fopen(name, "we") : NULL;
    if (!f || fputs(script, f) < 0 || fchmod(fileno(f), 0700) < 0)
        return r ? r : -EIO;
    return 0;
}

/* --- running --------------------------------------------------------------------------------------------------- */

static void become(const struct place *p, const char *program, const char *const args[], int out, int err) {
    char runtime[4352], state[4352];
    const char *argv[16] = {"soma"};
    for (size_t i = 0; args[i] && i < 14; i++)
        argv[i + 1] = args[i];
    (void)snprintf(runtime, sizeof runtime, "RUNTIME_DIRECTORY=%s", p->dir);
    (void)snprintf(state, sizeof state, "STATE_DIRECTORY=%s/state", p->dir);
    char *env[] = {runtime, state, (char[]){"PATH=/usr/bin:/bin"}, (char[]){"TZ=UTC"}, NULL};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(99);
    execve(program ? program : SOMA_BINARY, (char *const *)(uintptr_t)argv, env);
    _exit(99);
}

int program_start(const struct place *p, const char *program, const char *const args[], struct running *r) {
    int out[2], err[2];
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
        return -errno;
    r->pid = fork();
    if (r->pid == 0)
        become(p, program, args, out[1], err[1]);
    (void)close(out[1]);
    (void)close(err[1]);
    r->out = out[0];
    r->err = err[0];
    return r->pid < 0 ? -errno : 0;
}

/* Both pipes at once, so that neither can fill up and stop the program. */
int program_end(struct running *r, struct outcome *o) {
    struct pollfd p[] = {{.fd = r->out, .events = POLLIN}, {.fd = r->err, .events = POLLIN}};
    char *to[] = {o->out, o->err};
    size_t at[] = {0, 0};
    int status = 0;
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        if (poll(p, 2, 60000) <= 0)
            (void)kill(r->pid, SIGKILL);
        for (int i = 0; i < 2; i++) {
            ssize_t n = p[i].fd >= 0 && p[i].revents ? read(p[i].fd, to[i] + at[i], OUT_MAX - 1 - at[i]) : 1;
            if (p[i].fd < 0 || !p[i].revents)
                continue;
            at[i] += n > 0 ? (size_t)n : 0;
            if (n <= 0)
                p[i].fd = fd_close(p[i].fd);
        }
    }
    o->out[at[0]] = o->err[at[1]] = '\0';
    if (waitpid(r->pid, &status, 0) != r->pid)
        return -errno;
    o->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

int program_run(const struct place *p, const char *program, const char *const args[], struct outcome *o) {
    struct running r;
    int e = program_start(p, program, args, &r);
    return e < 0 ? e : program_end(&r, o);
}

/* --- the gateway ----------------------------------------------------------------------------------------------- */

static int read_frame(int fd, char *text, size_t size) {
    uint32_t n;
    if (recv(fd, &n, sizeof n, MSG_WAITALL) != sizeof n || ntohl(n) >= size)
        return -1;
    n = ntohl(n);
    text[n] = '\0';
    return recv(fd, text, n, MSG_WAITALL) == (ssize_t)n ? 0 : -1;
}

static int answer(int fd, const char *request, const char *member) {
    static char text[OUT_MAX];
    const char *id = strstr(request, "\"id\":");
    int n = snprintf(text + 4, sizeof text - 4, "{\"jsonrpc\":\"2.0\",\"id\":%d,%s}", id ? atoi(id + 5) : 0, member);
    uint32_t length = htonl((uint32_t)n);
    memcpy(text, &length, sizeof length);
    return send(fd, text, (size_t)n + 4, MSG_NOSIGNAL) == n + 4 ? 0 : -1;
}

/* A killed launcher must be seen dead by whoever loses this gateway next, as in a real tree, where it dies first. */
static int strike(pid_t victim, int signo) {
    auto_close int pidfd = (int)syscall(SYS_pidfd_open, victim, 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0 || kill(victim, signo) < 0)
        return -1;
    return signo != SIGKILL || poll(&p, 1, 10000) == 1 ? 0 : -1;
}

static int serve(int listener, const struct line *script, size_t n, pid_t victim) {
    static char request[OUT_MAX];
    char method[64];
    auto_close int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(method, sizeof method, "\"method\":\"%s\"", script[i].method);
        if (read_frame(fd, request, sizeof request) < 0 || !strstr(request, method) ||
            (script[i].has && !strstr(request, script[i].has)))
            return (int)i + 1;
        if (script[i].signal && strike(victim, script[i].signal) < 0)
            return (int)i + 1;
        if (script[i].answer && answer(fd, request, script[i].answer) < 0)
            return (int)i + 1;
    }
    return 0;
}

pid_t gateway_start(const struct place *p, const struct line *script, size_t n, pid_t victim) {
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(60);
        _exit(serve(p->listener, script, n, victim));
    }
    return pid;
}

int gateway_end(pid_t pid) {
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
