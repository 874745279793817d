/* The child has the terminal's session behind it, nothing on its descriptors but /dev/null, a log and the pipe, and the
 * signals as a program expects them. */
#include "cli/launch.h"

#include "cli/exe.h"
#include "cli/interrupt.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#define READY_FD 3
#define READY_MS 30000    /* the whole tree must be up by then */
#define LOG_MAX (1 << 20) /* bytes after which the log begins anew */

static int log_open(const struct cli *cli) {
    char path[SPEC_PATH + sizeof LAUNCH_LOG];
    (void)snprintf(path, sizeof path, "%s/%s", cli->places.runtime_dir, LAUNCH_LOG);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    /* Of diagnostics only the recent ones matter. A log that cannot be kept small is not kept. */
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > LOG_MAX && ftruncate(fd, 0) < 0)
        fd = fd_close(fd);
    return fd;
}

/* In the child; does not return. */
static void become(const char *path, char *const argv[], int ready_fd, int log_fd) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)setsid();
    interrupt_reset();
    /* The pipe first: its number may be one of those that are about to be overwritten. */
    int ready = fcntl(ready_fd, F_DUPFD_CLOEXEC, 10), log = fcntl(log_fd >= 0 ? log_fd : null, F_DUPFD_CLOEXEC, 10);
    if (null < 0 || ready < 0 || log < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0 ||
        dup2(ready, READY_FD) < 0 || close_range(READY_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        _exit(EXIT_RUNTIME);
    execv(path, argv);
    char text[PATH_MAX + 128];
    int n =
        snprintf(text, sizeof text, "%d\nsomad cannot be run\nexec %s: %s\nbuild or install soma again, as a whole\n",
                 EXIT_RUNTIME, path, strerror(errno));
    _exit(write(READY_FD, text, (size_t)n) == n ? EXIT_RUNTIME : EXIT_FAILED);
}

static unsigned count_lines(const char *text) {
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Reads "ready", four lines or up to the end. 0, or a negative errno. */
static int words_read(int fd, char *text, size_t size) {
    int64_t until = now_ms() + READY_MS;
    for (size_t n = 0;;) {
        int64_t left = until - now_ms();
        int r = left < 0 ? 0 : interrupt_poll(fd, POLLIN, left);
        if (r <= 0)
            return r < 0 ? err_up(r) : err_raise(-ETIMEDOUT, "it was not ready within %d s", READY_MS / 1000);
        ssize_t got = read(fd, text + n, size - 1 - n);
        if (got < 0)
            return err_raise(-errno, "read from somad: %s", strerror(errno));
        n += (size_t)got;
        text[n] = '\0';
        if (got == 0 || n == size - 1 || strcmp(text, "ready\n") == 0 || count_lines(text) >= 4)
            return 0;
    }
}

static int launch_failed(struct launch *out, int code, const char *why) {
    (void)snprintf(out->text, sizeof out->text, "%s", why);
    out->exit = code == -EPERM ? EXIT_USAGE : EXIT_RUNTIME;
    out->what = "no supervisor is running and none could be started";
    out->why = out->text;
    out->fix = "`soma doctor` checks the machine; somad.log in the runtime folder is what somad wrote";
    return code;
}

/* Somad's own words: which lock it did not get is the only thing in them that is not for people. */
static int said(struct launch *out, char *text) {
    char *line[4] = {text};
    for (int i = 1; i < 4 && line[i - 1]; i++) {
        line[i] = strchr(line[i - 1], '\n');
        if (line[i])
            *line[i]++ = '\0';
    }
    if (!line[3])
        return launch_failed(out, -EIO, "somad ended without a word");
    line[3][strcspn(line[3], "\n")] = '\0';
    int code = atoi(line[0]);
    out->exit = code >= EXIT_FAILED && code <= EXIT_RUNTIME ? code : EXIT_RUNTIME;
    out->what = line[1];
    out->why = line[2];
    out->fix = line[3];
    return strstr(out->why, "locked by another process") ? LAUNCH_BUSY : err_raise(-EIO, "%s", out->why);
}

static int outcome(int fd, struct launch *out) {
    int r = words_read(fd, out->text, sizeof out->text);
    if (r == -EINTR)
        return r;
    if (r < 0)
        return launch_failed(out, r, err_text());
    return strcmp(out->text, "ready\n") == 0 ? 0 : said(out, out->text);
}

int launch_tree(const struct cli *cli, struct launch *out) {
    char path[PATH_MAX];
    int r = exe_find("somad", path);
    if (r == 0)
        r = places_make_runtime(&cli->places);
    if (r < 0)
        return launch_failed(out, r, err_text());
    const char *config = cli->value[OPT_CONFIG];
    char *argv[] = {(char[]){"somad"},
                    (char[]){"--short-lived"},
                    (char[]){"--ready-fd"},
                    (char[]){"3"},
                    config ? (char[]){"--config"} : NULL,
                    (char *)(uintptr_t)config,
                    NULL};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return launch_failed(out, -errno, strerror(errno));
    auto_close int ours = ends[0], theirs = ends[1], log = log_open(cli);
    pid_t pid = fork();
    if (pid < 0)
        return launch_failed(out, -errno, strerror(errno));
    if (pid == 0)
        become(path, argv, theirs, log);
    theirs = fd_close(theirs);
    return outcome(ours, out);
}

int launch_exec(const struct cli *cli, char *const argv[]) {
    char path[PATH_MAX], why[ERR_TEXT_MAX];
    if (exe_find(argv[0], path) == 0) {
        interrupt_reset();
        execv(path, argv);
        (void)err_raise(-errno, "exec %s: %s", path, strerror(errno));
    }
    (void)snprintf(why, sizeof why, "%s", err_text());
    return fail(cli, &(struct failure){"E_INSTALLATION", EXIT_RUNTIME, "a part of soma is missing", why,
                                       "build or install soma again, as a whole"});
}
