/* main() of every test program here. A case runs in a process of its own: what it breaks is broken for nobody else, and
 * its descriptors and children can be counted. The runner, too, is a subreaper: a case that dies of its failure leaves
 * its tree to the runner, which kills it and says so.
 *
 *     runner ── case ── somad ── ...
 *                   '── soma (client)
 */
#include "tests/tree/tree.h"

#include <fnmatch.h>
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define CASE_SECONDS 120u /* then SIGALRM ends it; times SOMA_TEST_SLACK */
#define USER_ID 64997u    /* a uid that owns nothing; neither nobody nor the tools' own */
#define SKIPPED 77

const struct tree_case *tree_case_now;
const char *tree_build = SOMA_BUILD;

int64_t slack_ms(int64_t ms) {
    const char *text = getenv("SOMA_TEST_SLACK");
    double slack = text ? atof(text) : 1;
    return (int64_t)((double)ms * (slack >= 1 ? slack : 1));
}

void poll_pause(void) {
    (void)nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

/* Kills what is left below this process, until nothing is. How many there were at first. */
static size_t kill_rest(void) {
    static struct proc_list list;
    size_t first = 0;
    for (bool again = false;; again = true) {
        list.n = 0;
        proc_below_all(getpid(), false, &list);
        first = again ? first : list.n;
        for (size_t i = 0; i < list.n; i++) {
            if (!again)
                fprintf(stderr, "    left behind: %d %s\n", list.at[i].id.pid, list.at[i].title);
            (void)kill(list.at[i].id.pid, SIGKILL);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!list.n)
            return first;
        poll_pause();
    }
}

/* Lets the build stand at a place that the user may enter, too: where it is built may be closed to others, as root's
 * home is. The mount is this process's own and goes with it. */
static void open_build(const char *place) {
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(SOMA_BUILD, place, NULL, MS_BIND, NULL) < 0) {
        perror("mount the build for an ordinary user");
        _exit(1);
    }
    tree_build = place;
}

static void become_user(void) {
    if (setgroups(0, NULL) < 0 || setresgid(USER_ID, USER_ID, USER_ID) < 0 ||
        setresuid(USER_ID, USER_ID, USER_ID) < 0) {
        perror("become an ordinary user");
        _exit(1);
    }
    (void)prctl(PR_SET_DUMPABLE, 1); /* a change of uid clears it, and /proc/self is ours again only with it */
}

static void run_body(const struct tree_case *c, const char *place) __attribute__((noreturn));
static void run_body(const struct tree_case *c, const char *place) {
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)alarm((unsigned)(slack_ms(CASE_SECONDS * 1000) / 1000));
    if (*place) {
        open_build(place);
        become_user();
    }
    if (access(tree_program("somad"), X_OK) < 0) {
        fprintf(stderr, "    uid %u may not execute %s\n", geteuid(), tree_program("somad"));
        _exit(1);
    }
    tree_case_now = c;
    c->body();
    (void)fflush(NULL);
    _exit(0);
}

/* 0, 1 = failed, 77 = skipped */
static int run_case(const struct tree_case *c) {
    if (c->root_only && geteuid() != 0) {
        printf("SKIP %s (needs root)\n", c->name);
        return SKIPPED;
    }
    char place[] = "/tmp/soma-build-XXXXXX";
    if (!c->as_user || geteuid() != 0)
        *place = 0;
    else if (!mkdtemp(place) || chmod(place, 0755) < 0)
        return perror(place), 1;
    int64_t begun = now_ms();
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        run_body(c, place);
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    bool good = got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (got == pid && WIFSIGNALED(status))
        fprintf(stderr, "    %s: ended by signal %d\n", c->name, WTERMSIG(status));
    if (kill_rest())
        good = false;
    if (*place && rmdir(place) < 0)
        perror(place);
    printf("%s %s (%lld ms)\n", good ? "ok  " : "FAIL", c->name, (long long)(now_ms() - begun));
    (void)fflush(stdout);
    return good ? 0 : 1;
}

static bool wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (fnmatch(argv[i], name, 0) == 0)
            return true;
    return argc < 2;
}

static int unknown(int argc, char **argv, const struct tree_case *cases, size_t n) {
    for (int i = 1; i < argc; i++) {
        size_t at = 0;
        while (at < n && fnmatch(argv[i], cases[at].name, 0) != 0)
            at++;
        if (at == n)
            return fprintf(stderr, "no case is named %s; --list shows them\n", argv[i]), 2;
    }
    return 0;
}

int tree_main(int argc, char **argv, const struct tree_case *cases, size_t n) {
    size_t failed = 0, passed = 0;
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < n; i++)
            puts(cases[i].name);
        return 0;
    }
    if (unknown(argc, argv, cases, n))
        return 2;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (size_t i = 0; i < n; i++) {
        if (!wanted(cases[i].name, argc, argv))
            continue;
        int r = run_case(&cases[i]);
        failed += r == 1;
        passed += r == 0;
    }
    if (passed + failed > 1)
        printf("%zu passed, %zu failed\n", passed, failed);
    return failed ? 1 : passed ? 0 : SKIPPED;
}
