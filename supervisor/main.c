/* somad. The launcher makes the boundary and dies last: it reads the configuration, takes the state folder's lock,
 * binds the door, makes the PID namespace whose first process is root, and then only waits, forwarding what its
 * terminal or service manager tells it. `somad --root` is what it executes inside.
 *
 *   TERM stop in order, exit 0     INT the same, exit 130; a second one kills     QUIT kill     HUP reload
 *
 * When the launcher dies, the kernel kills root, and with it everything in its namespace. */
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "common/profile.h"
#include "common/spec.h"
#include "supervisor/config.h"
#include "supervisor/launch.h"
#include "supervisor/root.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

struct options {
    const char *config;
    int ready_fd;
    bool short_lived, check;
};

static const char usage[] =
    "usage: somad [--config FILE] [--short-lived] [--ready-fd N] [--check]\n"
    "  --config FILE   read this configuration\n"
    "  --check         check the configuration and the folders, start nothing\n"
    "  --short-lived   end after the last foreground client (started so by `soma run` and `soma ask`)\n"
    "  --ready-fd N    write one line there: \"ready\", or why not\n";

/* What, why, what to do: on standard error, and to whoever waits for readiness. */
static int fail(const struct options *o, int code, const char *what, const char *fix) {
    char text[ERR_TEXT_MAX + 256];
    int n = snprintf(text, sizeof text, "soma: %s\n  why: %s\n  fix: %s\n", what, err_text(), fix);
    (void)!write(STDERR_FILENO, text, (size_t)n);
    if (o->ready_fd >= 0) {
        n = snprintf(text, sizeof text, "%d\n%s\n%s\n%s\n", code, what, err_text(), fix);
        (void)!write(o->ready_fd, text, (size_t)n);
    }
    return code;
}

static int parse(int argc, char **argv, struct options *o) {
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},   {"short-lived", no_argument, NULL, 's'},
        {"ready-fd", required_argument, NULL, 'r'}, {"check", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},           {0}};
    int c;
    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) >= 0) {
        if (c == 'c')
            o->config = optarg;
        else if (c == 's')
            o->short_lived = true;
        else if (c == 'r')
            o->ready_fd = atoi(optarg);
        else if (c == 'k')
            o->check = true;
        else {
            (void)!write(c == 'h' ? 1 : 2, usage, sizeof usage - 1);
            return c == 'h' ? 1 : -EINVAL;
        }
    }
    return optind == argc ? 0 : -EINVAL;
}

/* ---- waiting ---- */

struct watch {
    pid_t root;
    int signals, status; /* signalfd; root's line */
    int interrupts;
    bool told, quit;
    const struct options *options;
};

static void on_signal(struct watch *w) {
    struct signalfd_siginfo info;
    if (read(w->signals, &info, sizeof info) != sizeof info)
        return;
    switch (info.ssi_signo) {
    case SIGTERM:
        (void)kill(w->root, SIGTERM);
        (void)kill(w->root, SIGCONT); /* nobody may be there to ask twice */
        break;
    case SIGINT:
        (void)kill(w->root, w->interrupts++ ? SIGKILL : SIGTERM);
        break;
    case SIGQUIT:
        w->quit = true;
        (void)kill(w->root, SIGKILL);
        break;
    case SIGHUP:
        (void)kill(w->root, SIGHUP);
        break;
    default:
        break; /* SIGCHLD: the loop looks */
    }
}

/* Root's one line: passed to whoever waits for it. */
static void on_status(struct watch *w) {
    char text[512];
    ssize_t n = read(w->status, text, sizeof text - 1);
    w->status = fd_close(w->status);
    if (n <= 0) { /* its own words, if it had any, are on standard error */
        (void)err_raise(-EIO, "root ended before it was ready");
        (void)fail(w->options, 7, "the tree did not start", "read the lines above; `soma doctor` checks the machine");
        return;
    }
    text[n] = 0;
    if (strcmp(text, "ready\n") != 0) {
        text[strcspn(text, "\n")] = 0;
        (void)err_raise(-EIO, "%s", text);
        (void)fail(w->options, 7, "the tree did not start", "read the lines above; `soma doctor` checks the machine");
    } else if (w->options->ready_fd >= 0) {
        (void)!write(w->options->ready_fd, text, (size_t)n);
        (void)close(w->options->ready_fd);
    }
    w->told = true;
}

static int exit_code(const struct watch *w, int status) {
    if (w->interrupts)
        return 130;
    if (w->quit)
        return 131;
    if (WIFEXITED(status) && WEXITSTATUS(status) >= 125) /* it could not become root */
        return 7;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int wait_for_root(struct watch *w) {
    for (;;) {
        int status;
        if (waitpid(w->root, &status, WNOHANG) == w->root) {
            if (w->status >= 0)
                on_status(w);
            return exit_code(w, status);
        }
        struct pollfd fds[2] = {{w->signals, POLLIN, 0}, {w->status, POLLIN, 0}};
        if (poll(fds, w->status >= 0 ? 2 : 1, -1) < 0 && errno != EINTR)
            return 7;
        if (fds[0].revents)
            on_signal(w);
        if (w->status >= 0 && fds[1].revents)
            on_status(w);
    }
}

static int block_signals(void) {
    static const int list[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        (void)sigaddset(&set, list[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_raise(-errno, "sigprocmask");
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? err_raise(-errno, "signalfd") : fd;
}

/* ---- start ---- */

/* Whether this user namespace knows `uid` (user_namespaces(7)): root of a rootless container is root of one uid only,
 * and works as that ordinary user does. */
static bool uid_mapped(uid_t uid) {
    auto_file FILE *f = fopen("/proc/self/uid_map", "re");
    unsigned long inside, outside, count;
    while (f && fscanf(f, "%lu %lu %lu", &inside, &outside, &count) == 3)
        if (uid >= inside && uid - inside < count)
            return true;
    return false;
}

static int load(const struct options *o, struct spec *spec) {
    char path[SPEC_PATH];
    spec_defaults(spec);
    int r = config_find(o->config, path);
    if (r == 0)
        r = config_load(path, spec);
    if (r >= 0)
        r = config_places(spec);
    spec->privileged = geteuid() == 0 && uid_mapped(spec->tool_uid);
    spec->short_lived = o->short_lived;
    return r < 0 ? r : 0;
}

static int launch(const struct options *o, struct spec *spec) {
    struct watch w = {.status = -1, .options = o};
    auto_close int signals = block_signals();
    if (signals < 0)
        return fail(o, 7, "cannot receive signals", "this should not happen; please report it");
    w.signals = signals;
    struct launch l = LAUNCH_NULL;
    int r = launch_places(spec, &l);
    if (r < 0)
        return fail(o, r == -EBUSY ? 7 : 2, l.what, l.fix);
    if (o->check) {
        launch_end(spec, &l); /* nobody will serve at this door */
        return 0;
    }
    (void)nofile_raise();
    r = launch_root(spec, &l);
    if (r < 0)
        return fail(o, 7, l.what, l.fix);
    w.root = l.root;
    w.status = l.status;
    int code = wait_for_root(&w);
    launch_end(spec, &l);
    return code;
}

/* Whoever starts us may have left signals ignored, which exec and fork pass on: without SIGCHLD nothing would ever be
 * reaped. SIGPIPE alone is ignored, here and by that in every role: the reader of standard error may end before us. */
static void default_signals(void) {
    for (int signo = 1; signo < NSIG; signo++)
        (void)signal(signo, signo == SIGPIPE ? SIG_IGN : SIG_DFL);
}

int main(int argc, char **argv) {
    stdio_keep();
    default_signals();
    if (argc > 1 && strcmp(argv[1], "--root") == 0)
        return root_main(argc, argv);
    struct options o = {.ready_fd = -1};
    int r = parse(argc, argv, &o);
    if (r)
        return r > 0 ? 0 : ((void)!write(2, usage, sizeof usage - 1), 2);
    static struct spec spec;
    if (load(&o, &spec) < 0)
        return fail(&o, 2, "the configuration was refused", "correct it and start again; nothing was started");
    log_init("launcher", NULL, 1, spec.debug);
    return launch(&o, &spec);
}
