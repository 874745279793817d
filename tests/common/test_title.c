/* Titles, seen from outside: this program runs itself as a child whose command line and comm are then read in /proc. */
#include "tests/common/probe.h"

#include "common/title.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

struct shown {
    char cmdline[1024], comm[32];
    size_t n;
};

static size_t slurp(pid_t pid, const char *name, char *out, size_t size) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    assert_true(n >= 0);
    out[n] = 0;
    return (size_t)n;
}

/* Runs this program with the arguments "child", `title` and `pad`; reads what is shown while it lives. */
static struct shown show(const char *title, const char *pad) {
    int said[2], hold[2];
    struct shown shown;
    assert_true(pipe(said) == 0 && pipe(hold) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(said[1], 1) < 0 || dup2(hold[0], 0) < 0 || close(hold[1]) < 0)
            _exit(1);
        (void)execl("/proc/self/exe", "child", title, pad, (char *)NULL);
        _exit(1);
    }
    char byte = 0;
    (void)close(said[1]);
    (void)close(hold[0]);
    assert_int_equal(read(said[0], &byte, 1), 1); /* the title is set */
    shown.n = slurp(pid, "cmdline", shown.cmdline, sizeof shown.cmdline);
    (void)slurp(pid, "comm", shown.comm, sizeof shown.comm);
    (void)close(hold[1]); /* it ends */
    (void)close(said[0]);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return shown;
}

static int child(int argc, char **argv) {
    char text[512], byte, *environment = getenv("SOMA_TITLE_TEST");
    (void)snprintf(text, sizeof text, "%s", argv[1]);
    title_init(argc, argv);
    title_set("something longer than what follows, to see that nothing of it remains");
    title_set("%s", text);
    if (!environment || strcmp(environment, "untouched") != 0)
        return 2;
    if (write(1, "x", 1) != 1)
        return 1;
    return read(0, &byte, 1) == 0 ? 0 : 1;
}

static void test_title(void **state) {
    (void)state;
    struct shown s = show("run r-01J waiting_tool 2/5", TITLE_PAD_TEXT);
    assert_string_equal(s.cmdline, "soma: run r-01J waiting_tool 2/5");
    for (size_t i = strlen(s.cmdline); i < s.n; i++)
        assert_int_equal(s.cmdline[i], 0); /* nothing of the arguments or an older title is left */
    assert_string_equal(s.comm, "soma:run\n");
}

static void test_title_is_cut_to_the_room(void **state) {
    (void)state;
    struct shown s = show("abcdefgh", "");
    /* "child", the title's text and an empty one with their terminators: 16 bytes */
    assert_string_equal(s.cmdline, "soma: abcdefgh");
    s = show("a", "");
    assert_string_equal(s.cmdline, "soma: a"); /* 9 bytes */
    s = show("", "");
    assert_string_equal(s.cmdline, "soma: ");
}

static void test_longest_title(void **state) {
    (void)state;
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    struct shown s = show(text, TITLE_PAD_TEXT);
    assert_int_equal(strlen(s.cmdline), strlen("soma: ") + TITLE_PAD - 1);
    assert_string_equal(s.comm, "soma:xxxxxxxxxx\n");
}

static void test_pad(void **state) {
    (void)state;
    assert_int_equal(strlen(TITLE_PAD_TEXT), TITLE_PAD);
}

static void test_host_pid(void **state) {
    (void)state;
    char target[32];
    ssize_t n = readlink("/proc/self", target, sizeof target - 1);
    assert_true(n > 0);
    target[n] = 0;
    assert_int_equal(host_pid(), atoi(target));
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[0], "child") == 0)
        return child(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_title),         cmocka_unit_test(test_title_is_cut_to_the_room),
        cmocka_unit_test(test_longest_title), cmocka_unit_test(test_pad),
        cmocka_unit_test(test_host_pid),
    };
    if (setenv("SOMA_TITLE_TEST", "untouched", 1) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
