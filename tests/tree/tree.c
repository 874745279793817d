/* The folder, start, stop and the look at what is left. The launcher is our child: its end is waited for, and with it,
 * by the order in which the kernel reaps a PID namespace, the end of everything below. */
#include "tests/tree/tree.h"
#include "tests/tree/tools.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct tree *the_tree; /* for tree_failed() */

/* ---- telling what is wrong ---- */

static void show_file(const char *path) {
    char text[4096];
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof text, size > (off_t)sizeof text ? size - (off_t)sizeof text : 0);
    fprintf(stderr, "    --- the end of %s\n%.*s", path, (int)(n > 0 ? n : 0), text);
}

void tree_failed(const char *file, int line, const char *what, const char *fmt, ...) {
    static struct proc_list list;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "    %s:%d: %s:", file, line, what);
    (void)vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    list.n = 0;
    proc_below_all(getpid(), true, &list);
    for (size_t i = 0; i < list.n; i++)
        fprintf(stderr, "    %7d %7d %c %s\n", list.at[i].id.pid, list.at[i].parent, list.at[i].state,
                list.at[i].title);
    if (the_tree)
        show_file(tree_path(the_tree, "stderr"));
    (void)fflush(NULL);
    _exit(1);
}

/* ---- the folder ---- */

const char *tree_program(const char *name) {
    static char path[PATH_SIZE];
    const char *room = strcmp(name, "soma") == 0    ? "cli"
                       : strcmp(name, "somad") == 0 ? "supervisor"
                                                    : strchr(name, '-') + 1;
    (void)snprintf(path, sizeof path, "%s/%s/%s", tree_build, room, name);
    return path;
}

char *tree_path(struct tree *t, const char *name) {
    static char paths[8][PATH_SIZE];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, PATH_SIZE, "%s/%s", t->dir, name);
    return path;
}

bool tree_has(struct tree *t, const char *name) {
    return access(tree_path(t, name), F_OK) == 0;
}

size_t tree_lines(struct tree *t, const char *name) {
    auto_file FILE *f = fopen(tree_path(t, name), "re");
    size_t n = 0;
    for (int c; f && (c = getc(f)) != EOF;)
        n += c == '\n';
    return n;
}

void tree_write(struct tree *t, const char *name, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    auto_file FILE *f = fopen(tree_path(t, name), "we");
    CHECK(f, "%s", name);
    CHECK(vfprintf(f, fmt, ap) >= 0 && fflush(f) == 0, "%s", name);
    va_end(ap);
}

/* Tools run under a uid of their own: they must be able to come here and to write into marks. */
void tree_init(struct tree *t) {
    static const char *const folders[] = {"tools", "bin", "actors", "read", "write", "marks"};
    const char *base = getenv("TMPDIR");
    *t = (struct tree){.rpc = RPC_NULL, .baseline = proc_fds()};
    the_tree = t;
    (void)snprintf(t->dir, sizeof t->dir, "%s/soma-tree-XXXXXX", base ? base : "/tmp");
    CHECK(mkdtemp(t->dir), "%s", t->dir);
    CHECK(chmod(t->dir, 0755) == 0);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        CHECK(mkdir(tree_path(t, folders[i]), 0755) == 0, "%s", folders[i]);
    CHECK(chmod(tree_path(t, "marks"), 0777) == 0);
    (void)snprintf(t->state, sizeof t->state, "%s/state", t->dir);
    (void)snprintf(t->runtime, sizeof t->runtime, "%s/run", t->dir);
    (void)snprintf(t->conf, sizeof t->conf, "%s/soma.conf", t->dir);
    tree_write(t, "soma.conf",
               "[soma]\nstate = state\nruntime = run\n"
               "[supervisor]\nbackoff = 1ms\nbackoff_max = 20ms\nrestart_intensity = 32\nrestart_period = 1s\n"
               "[limits]\norphan_timeout = 10s\ncancel_timeout = 1s\n"
               "[tools]\ndir = tools\n[actors]\ndir = actors\n[policy]\nread = read\nwrite = write\n"
               "[provider \"script\"]\nkind = script\nscript = script.json\n");
    tools_write(t);
    tools_actor(t, "{\"replies\": [{\"content\": \"hello\"}]}");
}

/* ---- up and down ---- */

static void become_somad(struct tree *t, const char *const extra[], int ready) __attribute__((noreturn));
static void become_somad(struct tree *t, const char *const extra[], int ready) {
    const char *argv[16] = {"somad", "--config", t->conf, "--ready-fd", "3"};
    for (size_t i = 0; extra && extra[i] && i < 10; i++)
        argv[5 + i] = extra[i];
    int log = open(tree_path(t, "stderr"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)alarm(0);
    (void)signal(SIGPIPE, SIG_DFL);
    int high = fcntl(ready, F_DUPFD_CLOEXEC, 10);
    if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || dup2(high, 3) < 0)
        _exit(99);
    execv(tree_program("somad"), (char *const *)(uintptr_t)argv);
    _exit(99);
}

int tree_launch(struct tree *t, const char *const extra[]) {
    int ends[2];
    CHECK(!t->pid, "the tree is up");
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    (void)fflush(NULL);
    t->pid = fork();
    CHECK(t->pid >= 0);
    if (t->pid == 0)
        become_somad(t, extra, ends[1]);
    (void)close(ends[1]);
    t->launcher = proc_of(t->pid);
    return ends[0];
}

void tree_up(struct tree *t) {
    auto_close int ready = tree_launch(t, NULL);
    struct pollfd p = {ready, POLLIN, 0};
    char text[512];
    CHECK(poll(&p, 1, (int)slack_ms(TREE_WAIT_MS)) == 1, "somad says nothing");
    ssize_t n = read(ready, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    CHECK(strcmp(text, "ready\n") == 0, "somad says: %s", text);
}

static bool launcher_ended(struct tree *t) {
    pid_t got = waitpid(t->pid, &t->status, WNOHANG);
    CHECK(got >= 0, "wait for the launcher: %s", strerror(errno));
    return got == t->pid;
}

int tree_wait(struct tree *t) {
    CHECK(t->pid, "the tree is down");
    WAIT(launcher_ended(t), "the launcher");
    t->pid = 0;
    tree_rpc_close(t);
    return WIFEXITED(t->status) ? WEXITSTATUS(t->status) : 128 + WTERMSIG(t->status);
}

int tree_down(struct tree *t) {
    CHECK(kill(t->pid, SIGTERM) == 0);
    return tree_wait(t);
}

/* ---- the end ---- */

static size_t below(void) {
    static struct proc_list list;
    list.n = 0;
    proc_below_all(getpid(), false, &list);
    return list.n;
}

void tree_check_empty(struct tree *t) {
    WAIT(below() == 0, "%zu processes are left", below());
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

void tree_check_log(struct tree *t) {
    static struct client c;
    client_exec(t, &c, WORDS(tree_program("soma-eventlog"), "--read", t->state, "--verify"));
    CHECK(client_end(t, &c) == 0, "the log does not verify: %s", c.stderr_);
    auto_json json_t *events = tree_events(t, "all", NULL);
    size_t i;
    const json_t *record;
    json_array_foreach(events, i, record) CHECK(json_i64(record, "seq", 0) == (int64_t)i + 1, "record %zu has seq %lld",
                                                i + 1, (long long)json_i64(record, "seq", 0));
}

/* What a sanitizer says of any process of the tree is written there; only some of it ends the process. */
static void check_diagnostics(struct tree *t) {
    static char line[4096];
    auto_file FILE *f = fopen(tree_path(t, "stderr"), "re");
    while (f && fgets(line, sizeof line, f))
        CHECK(!strstr(line, "Sanitizer") && !strstr(line, "runtime error:") && !strstr(line, "Assertion"), "%s", line);
}

/* Orphans become our children; those that ended are no zombies of the tree's making, but ours to reap. */
static void reap(void) {
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

void tree_check_end(struct tree *t) {
    if (t->pid)
        CHECK(tree_down(t) == 0, "somad ended with %d", t->status);
    tree_rpc_close(t);
    tree_check_empty(t);
    reap();
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a child is left");
    CHECK(!tree_has(t, "run/soma.sock"), "the socket is left");
    check_diagnostics(t);
    if (tree_has(t, "state/events.mdb"))
        tree_check_log(t);
    CHECK(proc_fds() == t->baseline, "%d descriptors, %d at first", proc_fds(), t->baseline);
    if (getenv("SOMA_TEST_KEEP"))
        printf("kept: %s\n", t->dir);
    else
        (void)nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    the_tree = NULL;
}
