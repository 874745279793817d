/* `soma-eventlog --read`: what it prints, what it says when it cannot, and with which exit code. */
#include "eventlog/eventlog.h"
#include "store_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define RUN_A "r-01ABCD00000000000000000001"
#define RUN_B "r-01ABCE00000000000000000001"
#define WORDS_MAX 12

static struct dir dir;

static void add_event(struct store *s, const char *type, const char *run, const char *corr) {
    struct store_event e = {.type = type, .run = run, .corr = corr, .data = "{}", .data_n = 2};
    uint64_t seq;
    assert_int_equal(store_append(s, &e, &seq), 0);
}

static int setup(void **state) {
    (void)state;
    struct store *s = NULL;
    if (dir_make(&dir) < 0 || store_open(dir.fd, true, &s) < 0)
        return -1;
    add_event(s, "run.accepted", RUN_A, "x-1");
    add_event(s, "run.accepted", RUN_B, NULL);
    add_event(s, "run.started", RUN_A, "x-1");
    add_event(s, "run.completed", RUN_A, NULL);
    int r = store_commit(s);
    store_close(s);
    return r;
}

static int teardown(void **state) {
    (void)state;
    dir_remove(&dir);
    return 0;
}

struct said {
    int code;
    char out[4096], err[1024];
    unsigned lines;
};

static void keep(int fd, char *out, size_t size) {
    ssize_t n = pread(fd, out, size - 1, 0);
    assert_true(n >= 0);
    out[n] = '\0';
    (void)close(fd);
}

/* Runs it with these words, "DIR" being the folder; ended by NULL. */
static struct said reader(const char *const *words) {
    char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t) "--read"};
    int argc = 1, status = 0;
    for (; words[argc - 1]; argc++)
        argv[argc] = strcmp(words[argc - 1], "DIR") == 0 ? dir.path : (char *)(uintptr_t)words[argc - 1];
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    assert_true(out >= 0 && err >= 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
            _exit(99);
        exit(offline_main(argc, argv));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    struct said said = {.code = WEXITSTATUS(status)};
    keep(out, said.out, sizeof said.out);
    keep(err, said.err, sizeof said.err);
    for (const char *p = said.out; *p; p++)
        said.lines += *p == '\n';
    return said;
}
#define READ(...) reader((const char *const[]){__VA_ARGS__, NULL})

static void reads(void **state) {
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        unsigned lines;
        const char *first; /* begins with */
    } cases[] = {
        {{"DIR"}, 4, "{\"v\":1,\"seq\":1,"},
        {{"DIR", "--by", "all"}, 4, "{\"v\":1,\"seq\":1,"},
        {{"DIR", "--after", "2"}, 2, "{\"v\":1,\"seq\":3,"},
        {{"--after", "2", "DIR"}, 2, "{\"v\":1,\"seq\":3,"},
        {{"DIR", "--after", "4"}, 0, ""},
        {{"DIR", "--limit", "3"}, 3, "{\"v\":1,\"seq\":1,"},
        {{"DIR", "--tail", "1"}, 1, "{\"v\":1,\"seq\":4,"},
        {{"DIR", "--tail", "0"}, 4, "{\"v\":1,\"seq\":1,"},
        {{"DIR", "--by", "run", "--key", RUN_A}, 3, "{\"v\":1,\"seq\":1,"},
        {{"DIR", "--by", "run", "--key", "r-01ABCE"}, 1, "{\"v\":1,\"seq\":2,"},
        {{"DIR", "--by", "run", "--key", RUN_A, "--tail", "2"}, 2, "{\"v\":1,\"seq\":3,"},
        {{"DIR", "--by", "corr", "--key", "x-1"}, 2, "{\"v\":1,\"seq\":1,"},
        {{"DIR", "--by", "actor", "--key", "nobody"}, 0, ""},
        {{"DIR", "--head"}, 1, "{\"seq\":4,\"hash\":\""},
        {{"DIR", "--verify"}, 1, "{\"seq\":4,\"hash\":\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct said said = reader(cases[i].words);
        if (said.code != 0 || said.lines != cases[i].lines || said.err[0] ||
            strncmp(said.out, cases[i].first, strlen(cases[i].first)) != 0)
            fail_msg("case %zu: exit %d, %u lines: %s%s", i, said.code, said.lines, said.out, said.err);
    }
}

static void assert_fails(struct said said, int code, const char *why) {
    if (said.code != code || !strstr(said.err, why) || !strstr(said.err, "\n  fix: ") || said.out[0])
        fail_msg("exit %d instead of %d, '%s' without '%s'", said.code, code, said.err, why);
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        int code;
        const char *why;
    } cases[] = {
        {{"--head"}, 2, "one folder"},
        {{"DIR", "DIR"}, 2, "one folder"},
        {{"DIR", "--what"}, 2, "unknown option"},
        {{"DIR", "--tail"}, 2, "unknown option"},
        {{"DIR", "--tail", "x"}, 2, "not a number: x"},
        {{"DIR", "--tail", "-1"}, 2, "not a number: -1"},
        {{"DIR", "--tail", "99999999999999999999"}, 2, "not a number"},
        {{"DIR", "--by", "pid", "--key", "1"}, 2, "there is no index pid"},
        {{"DIR", "--by", "run"}, 2, "belong together"},
        {{"DIR", "--key", "x"}, 2, "belong together"},
        {{"DIR", "--by", "run", "--key", "r-01ZZ"}, 3, "no run begins with r-01ZZ"},
        {{"DIR", "--by", "run", "--key", "r-01AB"}, 3, RUN_A " and " RUN_B " begin with r-01AB"},
        {{"DIR", "--by", "run", "--key", "x"}, 3, "begins with r-"},
        {{"/nowhere/at/all"}, 3, "no log in /nowhere/at/all"},
        {{"/dev/null"}, 3, "no log in /dev/null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(reader(cases[i].words), cases[i].code, cases[i].why);
    assert_int_equal(unlinkat(dir.fd, STORE_FILE, 0), 0);
    assert_fails(READ("DIR"), 3, "no log in");
    assert_int_equal(faccessat(dir.fd, STORE_FILE, F_OK, 0), -1); /* and none was made */
}

static void in_use(void **state) {
    (void)state;
    auto_close int other = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    assert_fails(READ("DIR"), 7, "a supervisor is using this log");
    other = fd_close(other);
    assert_int_equal(READ("DIR").code, 0);
}

static void link_is_not_followed(void **state) {
    (void)state;
    char path[sizeof dir.path + 8];
    (void)snprintf(path, sizeof path, "%s-link", dir.path);
    assert_int_equal(symlink(dir.path, path), 0);
    struct said said = READ(path);
    assert_int_equal(unlink(path), 0);
    assert_fails(said, 3, "no log in");
}

static void damaged(void **state) {
    (void)state;
    auto_close int fd = openat(dir.fd, STORE_FILE, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    static char bytes[1 << 16];
    ssize_t n = pread(fd, bytes, sizeof bytes, 0);
    assert_true(n > 0);
    /* Every copy of one record's words: which page is live is LMDB's business. */
    static const char word[] = "run.started";
    unsigned hits = 0;
    for (char *p = bytes; (p = memmem(p, (size_t)(bytes + n - p), word, sizeof word - 1)); p++, hits++)
        assert_int_equal(pwrite(fd, "run.stopped", sizeof word - 1, p - bytes), sizeof word - 1);
    assert_true(hits > 0);
    assert_fails(READ("DIR", "--verify"), 7, "record 3");
    assert_int_equal(ftruncate(fd, 8192), 0);
    assert_fails(READ("DIR"), 7, "shortened");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(reads), T(refuses), T(in_use), T(link_is_not_followed), T(damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
