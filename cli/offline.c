/* The log without a supervisor: a child prints records, one JSON text per line; its stderr is kept in a memfd so that
 * an error comes out in our own shape. */
#include "cli/records.h"

#include "cli/exe.h"
#include "cli/interrupt.h"
#include "common/cleanup.h"
#include "common/err.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ARGS_MAX 16

struct reader {
    pid_t pid;
    FILE *out;
    int err_fd;
};

/* In the child; does not return. */
static void become(const char *path, char *const argv[], int out_fd, int err_fd) {
    interrupt_reset();
    if (dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0 ||
        close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        _exit(EXIT_RUNTIME);
    execv(path, argv);
    (void)dprintf(STDERR_FILENO, "exec %s: %s", path, strerror(errno));
    _exit(EXIT_RUNTIME);
}

static int reader_open(const struct cli *cli, const char *const args[], struct reader *out) {
    char path[PATH_MAX];
    int r = exe_find("soma-eventlog", path), ends[2];
    if (r < 0)
        return err_up(r);
    const char *argv[ARGS_MAX] = {"soma-eventlog", "--read", cli->places.state_dir};
    for (size_t i = 0; args[i] && i + 4 < ARGS_MAX; i++)
        argv[3 + i] = args[i];
    auto_close int err_fd = memfd_create("stderr", MFD_CLOEXEC);
    if (err_fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return err_raise(-errno, "pipe: %s", strerror(errno));
    auto_close int theirs = ends[1];
    out->out = fdopen(ends[0], "r");
    if (!out->out) {
        (void)close(ends[0]);
        return err_raise(-ENOMEM, "stream");
    }
    out->pid = fork();
    if (out->pid == 0)
        become(path, (char *const *)(uintptr_t)argv, theirs, err_fd);
    if (out->pid < 0) {
        cleanup_file(&out->out);
        return err_raise(-errno, "fork: %s", strerror(errno));
    }
    out->err_fd = take_fd(&err_fd);
    return 0;
}

static int lines(const struct cli *cli, FILE *from, record_fn each, void *arg) {
    auto_free char *line = NULL;
    size_t room = 0;
    ssize_t n;
    while ((n = getline(&line, &room, from)) > 0) {
        auto_json json_t *record = NULL;
        while (n > 0 && line[n - 1] == '\n')
            n--;
        if (json_parse(line, (size_t)n, 2 * JSON_TEXT_MAX, &record) < 0)
            return fail_internal(cli, "the log's reader printed a line that is no record");
        int r = each(arg, record);
        if (r != EXIT_DONE)
            return r;
    }
    return EXIT_DONE;
}

/* Its stderr: "soma-eventlog: why", then "  fix: what to do". */
static int reader_failed(const struct cli *cli, const struct reader *r, int status) {
    static const char prefix[] = "soma-eventlog: ", label[] = "  fix: ";
    char text[1024], what[SPEC_PATH + 64];
    ssize_t n = pread(r->err_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    if (strstr(text, "is using this log"))
        return -EBUSY;
    char *why = strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : text;
    char *fix = strstr(text, label);
    why[strcspn(why, "\n")] = '\0';
    if (fix)
        fix[strcspn(fix, "\n")] = '\0';
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_RUNTIME;
    code = code >= EXIT_FAILED && code <= EXIT_RUNTIME ? code : EXIT_RUNTIME;
    (void)snprintf(what, sizeof what, "the log in %s cannot be read", cli->places.state_dir);
    return fail(cli, &(struct failure){"E_LOG", code, what, *why ? why : "the reader ended without a word",
                                       fix ? fix + sizeof label - 1 : "`soma doctor` checks the state folder"});
}

int records_offline(const struct cli *cli, const char *const args[], record_fn each, void *arg) {
    struct reader reader = {.err_fd = -1};
    if (reader_open(cli, args, &reader) < 0)
        return fail_internal(cli, "the log's reader cannot be started");
    int r = lines(cli, reader.out, each, arg), status = 0;
    cleanup_file(&reader.out); /* before the wait: a reader that still writes then ends by SIGPIPE */
    while (waitpid(reader.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (r == EXIT_DONE && status != 0)
        r = reader_failed(cli, &reader, status);
    reader.err_fd = fd_close(reader.err_fd);
    return r;
}
