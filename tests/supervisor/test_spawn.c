/* Forking: what a child holds when its body begins, what its parent still holds, and what a failed exec leaves behind.
 * Bodies tell what they see over a pipe or by their exit status; nothing is asserted inside a child. */
#include "tests/common/probe.h"

#include "common/err.h"
#include "common/profile.h"
#include "common/title.h"
#include "supervisor/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MARK 200 /* where a test keeps its descriptors: above the slots, as a supervisor does */

/* Slots are held by /dev/null in a supervisor (role.c): nothing of its own ever lies there. It also takes all the
 * descriptors it may have, where a login gives 1024. */
static int reserve(void **state) {
    (void)nofile_raise();
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    for (int i = 3; i < SLOT__END; i++)
        if (i != fd && dup3(fd, i, O_CLOEXEC) < 0)
            return -1;
    return 0;
}

static int high(int fd) {
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, MARK);
    assert_true(moved >= MARK);
    (void)close(fd);
    return moved;
}

static void high_pipe(int out[2]) {
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    out[0] = high(out[0]);
    out[1] = high(out[1]);
}

static struct spawn spawn_of(int (*body)(void *), void *arg) {
    struct spawn s = {.body = body, .arg = arg};
    for (int i = 0; i < SLOT__END; i++)
        s.slot[i] = -1;
    return s;
}

static int reap(pid_t pid) {
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void no_children(void) {
    assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

/* ---- workers ---- */

struct seen {
    char open[64];  /* by descriptor: 0 no, 1 yes, 2 /dev/null */
    unsigned above; /* open ones from SLOT__END on */
    int cloexec, masked, handled;
};

static bool is_null(int fd) {
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat("/dev/null", &b) == 0 && a.st_rdev == b.st_rdev && S_ISCHR(a.st_mode);
}

static int look(void *arg) {
    struct seen seen = {0};
    sigset_t mask;
    struct sigaction action;
    for (int fd = 0; fd < 2000; fd++) {
        bool open = fcntl(fd, F_GETFD) >= 0;
        seen.above += open && fd >= SLOT__END;
        if (fd < 64)
            seen.open[fd] = (char)(open + (open && is_null(fd)));
    }
    seen.cloexec = fcntl(SLOT_LINK, F_GETFD);
    (void)sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int i = 1; i < 32; i++)
        seen.masked +=
            sigismember(&mask, i) == 1 && i != SIGTERM && i != SIGQUIT && i != SIGHUP && i != SIGUSR1 && i != SIGUSR2;
    (void)sigaction(SIGALRM, NULL, &action);
    seen.handled = action.sa_handler != SIG_DFL;
    return write(SLOT_LINK, &seen, sizeof seen) == sizeof seen ? 17 : 1;
}

static void on_alarm(int signo) {}

/* A thousand descriptors open in the parent: the child has its slots and none of them, the parent keeps them all. */
static void test_slots(void **state) {
    (void)state;
    struct seen seen;
    struct spawned child;
    int link[2], many[1000];
    struct sigaction action = {.sa_handler = on_alarm}, old;
    high_pipe(link);
    for (int i = 0; i < 1000; i++) {
        many[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, MARK);
        assert_true(many[i] >= MARK);
    }
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    unsigned before = open_fds();
    struct spawn s = spawn_of(look, NULL);
    s.slot[SLOT_LINK] = s.slot[SLOT_LOG] = link[1];
    assert_int_equal(spawn_worker(&s, &child), 0);
    assert_int_equal(open_fds(), before);
    assert_int_equal(read(link[0], &seen, sizeof seen), sizeof seen);
    assert_int_equal(reap(child.pid), 17);
    assert_true(child.host_pid > 0);
    assert_int_equal(seen.above, 0);
    assert_true(seen.open[SLOT_LINK] == 1 && seen.open[SLOT_LOG] == 1 && seen.open[SLOT_ACK] == 0);
    assert_true(seen.open[SLOT_REGISTRY] == 2 && seen.open[SLOT_SECRET] == 2); /* not granted: nothing is behind them */
    assert_true(seen.cloexec == 0 && seen.masked == 0 && seen.handled == 0);
    for (int i = 3; i < SLOT__END; i++)
        assert_true(is_null(i)); /* the parent's slots hold nothing of the child's */
    for (int i = 0; i < 1000; i++) {
        assert_true(fcntl(many[i], F_GETFD) >= 0);
        (void)close(many[i]);
    }
    (void)close(link[0]);
    (void)close(link[1]);
    (void)sigaction(SIGALRM, &old, NULL);
    no_children();
}

/* The table was shared for a moment; afterwards neither's changes are the other's. */
static int close_all(void *arg) {
    char byte;
    if (close_range(0, 2, 0) < 0 || close_range(SLOT_LOG, ~0U, 0) < 0)
        return 1;
    return read(SLOT_LINK, &byte, 1) == 1 ? 0 : 2;
}

static void test_tables_are_apart(void **state) {
    (void)state;
    struct spawned child;
    int link[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link), 0);
    link[0] = high(link[0]);
    link[1] = high(link[1]);
    struct spawn s = spawn_of(close_all, NULL);
    s.slot[SLOT_LINK] = link[1];
    assert_int_equal(spawn_worker(&s, &child), 0);
    (void)close(link[1]); /* ours; the child's is its own */
    assert_int_equal(write(link[0], "x", 1), 1);
    assert_int_equal(reap(child.pid), 0);
    assert_true(fcntl(STDERR_FILENO, F_GETFD) >= 0);
    (void)close(link[0]);
}

static int die_at_once(void *arg) {
    return 5;
}

static void test_many_one_after_another(void **state) {
    (void)state;
    unsigned before = open_fds();
    for (int i = 0; i < 50; i++) {
        struct spawned child;
        struct spawn s = spawn_of(die_at_once, NULL);
        assert_int_equal(spawn_worker(&s, &child), 0);
        assert_int_equal(reap(child.pid), 5);
    }
    assert_int_equal(open_fds(), before);
    no_children();
}

/* Signals stay blocked until the worker's loop takes them: a TERM right after the fork is not lost and does not kill.
 */
static int await_term(void *arg) {
    sigset_t term;
    siginfo_t info;
    (void)sigemptyset(&term);
    (void)sigaddset(&term, SIGTERM);
    return sigwaitinfo(&term, &info) == SIGTERM ? 9 : 1;
}

static void test_early_term_is_kept(void **state) {
    (void)state;
    for (int ns = 0; ns < 2; ns++) {
        struct spawned child;
        struct spawn s = spawn_of(await_term, NULL);
        s.new_pid = ns && geteuid() == 0;
        assert_int_equal(spawn_worker(&s, &child), 0);
        assert_int_equal(kill(child.pid, SIGTERM), 0);
        assert_int_equal(reap(child.pid), 9);
    }
}

static int tell_pids(void *arg) {
    int pids[2] = {getpid(), host_pid()};
    return write(SLOT_LINK, pids, sizeof pids) == sizeof pids ? 0 : 1;
}

static void test_host_pid(void **state) {
    (void)state;
    for (int ns = 0; ns < 2; ns++) {
        struct spawned child;
        int link[2], pids[2];
        struct spawn s = spawn_of(tell_pids, NULL);
        s.new_pid = ns;
        s.new_user = ns && geteuid() != 0;
        high_pipe(link);
        s.slot[SLOT_LINK] = link[1];
        int r = spawn_worker(&s, &child);
        (void)close(link[1]);
        if (ns && r < 0) { /* no namespaces for this user here: said so, and nothing is left */
            (void)close(link[0]);
            (void)waitpid(-1, NULL, 0);
            print_message("no namespaces: %s\n", err_text());
            break;
        }
        assert_int_equal(r, 0);
        assert_int_equal(read(link[0], pids, sizeof pids), sizeof pids);
        assert_int_equal(reap(child.pid), 0);
        assert_int_equal(pids[0], ns ? 1 : child.pid); /* the first of its own namespace */
        assert_int_equal(pids[1], child.host_pid);     /* and one number outside */
        (void)close(link[0]);
    }
    no_children();
}

/* The child cannot fork: by name, with everything as before. */
static void test_no_process_left(void **state) {
    (void)state;
    struct rlimit old, none = {0, 0};
    if (geteuid() == 0) /* the limit does not bind root: ask for a descriptor that does not exist instead */
        none.rlim_cur = RLIM_INFINITY;
    unsigned before = open_fds();
    struct spawned child = {.pid = 7};
    struct spawn s = spawn_of(die_at_once, NULL);
    s.slot[SLOT_LINK] = geteuid() == 0 ? 100000 : -1;
    assert_int_equal(getrlimit(RLIMIT_NPROC, &old), 0);
    none.rlim_max = old.rlim_max;
    if (geteuid() != 0)
        assert_int_equal(setrlimit(RLIMIT_NPROC, &none), 0);
    int r = spawn_worker(&s, &child);
    assert_int_equal(setrlimit(RLIMIT_NPROC, &old), 0);
    assert_int_equal(r, geteuid() == 0 ? -EBADF : -EAGAIN);
    assert_int_equal(child.pid, 7); /* untouched */
    assert_int_equal(open_fds(), before);
    for (int i = 3; i < SLOT__END; i++)
        assert_true(is_null(i));
    no_children();
}

/* ---- executables ---- */

static char *self_path(void) {
    static char path[1024];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = 0;
    return path;
}

/* This program as the executed one (its name tells): says what it got over descriptor 3. */
static int executed(int argc, char **argv) {
    struct seen seen = {0};
    extern char **environ;
    for (int fd = 0; fd < 2000; fd++)
        seen.above += fd > CONTROL_FD && fcntl(fd, F_GETFD) >= 0;
    seen.handled = environ && *environ;
    seen.cloexec = argc == 2 && strlen(argv[1]) == TITLE_PAD;
    return write(CONTROL_FD, &seen, sizeof seen) == sizeof seen ? 23 : 1;
}

static void test_exec(void **state) {
    (void)state;
    struct seen seen;
    struct spawned child;
    int control[2];
    high_pipe(control);
    unsigned before = open_fds();
    assert_int_equal(spawn_exec(self_path(), "executed", control[1], false, false, &child), 0);
    assert_int_equal(open_fds(), before);
    assert_int_equal(read(control[0], &seen, sizeof seen), sizeof seen);
    assert_int_equal(reap(child.pid), 23);
    assert_int_equal(child.host_pid, child.pid);
    assert_true(seen.above == 0 && seen.handled == 0); /* nothing but 0 to 3, an empty environment */
    assert_int_equal(seen.cloexec, 1);                 /* room for its title */
    (void)close(control[0]);
    (void)close(control[1]);
    no_children();
}

static void test_exec_that_fails(void **state) {
    (void)state;
    char text[] = "/tmp/soma-test-spawn-XXXXXX";
    int fd = mkstemp(text);
    assert_true(fd >= 0 && write(fd, "no program\n", 11) == 11 && fchmod(fd, 0600) == 0);
    (void)close(fd);
    const struct {
        const char *path;
        mode_t mode;
        int code;
    } cases[] = {
        {"/nonexistent/soma-registry", 0600, -ENOENT},
        {text, 0600, -EACCES},
        {text, 0700, -ENOEXEC},
        {"/tmp", 0600, -EACCES},
        {"", 0600, -ENOENT},
    };
    unsigned before = open_fds();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct spawned child = {.pid = 7};
        assert_int_equal(chmod(text, cases[i].mode), 0);
        int r = spawn_exec(cases[i].path, "x", STDERR_FILENO, false, false, &child);
        if (r != cases[i].code || !strstr(err_text(), cases[i].path))
            fail_msg("case %zu: %d \"%s\"", i, r, err_text());
        assert_int_equal(child.pid, 7);
        assert_int_equal(open_fds(), before);
        no_children();
    }
    assert_int_equal(unlink(text), 0);
}

static void test_host_pid_of_a_stranger(void **state) {
    (void)state;
    assert_int_equal(spawn_host_pid(-1), 0);
    assert_int_equal(spawn_host_pid(STDERR_FILENO), 0); /* no pidfd */
}

int main(int argc, char **argv) {
    if (strcmp(argv[0], "executed") == 0)
        return executed(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_tables_are_apart),
        cmocka_unit_test(test_many_one_after_another),
        cmocka_unit_test(test_early_term_is_kept),
        cmocka_unit_test(test_host_pid),
        cmocka_unit_test(test_no_process_left),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_exec_that_fails),
        cmocka_unit_test(test_host_pid_of_a_stranger),
    };
    return cmocka_run_group_tests(tests, reserve, NULL);
}
