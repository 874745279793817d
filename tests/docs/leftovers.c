/* Runs a program as its subreaper: whatever the program started and left behind becomes our child, however it got away.
 * What ends by itself within five seconds is forgiven: the tree that `soma run` brought ends a moment after it.
 * Exit status: the program's own; 99 when something outlived it, which is then named and killed.   usage: leftovers
 * PROGRAM ARGUMENTS... */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTLIVED 99
#define CHILDREN_MAX 4096
#define GRACE_S 5

/* The pids of our living children, as text; the kernel's own list. */
static size_t children(char *text) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, CHILDREN_MAX - 1);
    if (fd >= 0)
        (void)close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

static void name(pid_t pid) {
    char path[64], line[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        (void)close(fd);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (!line[i])
            line[i] = ' ';
    (void)fprintf(stderr, "leftovers: %d %s outlived the program\n", (int)pid, line);
}

static void on_alarm(int signo) {}

/* True when nothing is left. */
static int all_ended(void) {
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART: it ends the wait */
    (void)sigaction(SIGALRM, &action, NULL);
    (void)alarm(GRACE_S);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    int none = errno == ECHILD;
    (void)alarm(0);
    return none;
}

/* Kills and names what does not end by itself, until nothing is left. */
static int end_all(void) {
    char text[CHILDREN_MAX];
    int found = 0;
    if (all_ended())
        return 0;
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!children(text))
            return found;
        for (char *at = text; *at;) {
            pid_t pid = (pid_t)strtol(at, &at, 10);
            at += strspn(at, " ");
            if (waitpid(pid, NULL, WNOHANG) != 0)
                continue; /* has ended meanwhile */
            found = OUTLIVED;
            name(pid);
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        (void)fprintf(stderr, "usage: %s PROGRAM ARGUMENTS...\n", argv[0]);
        return 2;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int left = end_all();
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return pid < 0 ? 125 : code ? code : left;
}
