/* soma-registry --check, as a person and a program use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "registry/files.h"

#define TOOL(name, effect)                                                                                             \
    "{\"name\":\"" name "\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},\"effect\":\"" effect "\","   \
    "\"command\":[\"/bin/true\"],\"input\":\"argv\"}"

static char dir[64];

struct outcome {
    int status;
    char out[2048], err[2048];
};

static void read_back(FILE *from, char text[2048]) {
    rewind(from);
    text[fread(text, 1, 2047, from)] = '\0';
}

/* Up to three arguments behind --check. */
static void run(struct outcome *o, const char *file, const char *a, const char *b) {
    auto_file FILE *out = tmpfile(), *err = tmpfile();
    assert_true(out && err);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(fileno(out), STDOUT_FILENO) >= 0 && dup2(fileno(err), STDERR_FILENO) >= 0)
            (void)execl(REGISTRY_PROGRAM, "soma-registry", "--check", file, a, b, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &o->status, 0), pid);
    assert_true(WIFEXITED(o->status));
    o->status = WEXITSTATUS(o->status);
    read_back(out, o->out);
    read_back(err, o->err);
}

static void put(const char *file, const char *text) {
    auto_close int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static const struct {
    const char *file, *text; /* text NULL: no such file */
    bool actor;
    int status;
    const char *where, *said; /* the place, and a part of the sentence; of a good one: the name */
} cases[] = {
    {"good.json", TOOL("mine", "pure"), false, 0, NULL, "mine"},
    {"actor.json", "{\"name\":\"me\",\"provider\":\"local\"}", true, 0, NULL, "me"},
    {"actor.json", "{\"name\":\"me\",\"provider\":\"local\"}", false, 2, "/provider", "unknown key"},
    {"good.json", TOOL("mine", "pure"), true, 2, "/input_schema", "unknown key"},
    {"effect.json", TOOL("mine", "none"), false, 2, "/effect", "expected one of pure, reader, state"},
    {"name.json", TOOL("echo", "pure"), false, 2, "/name", "built-in's name and reserved"},
    {"broken.json", "{\n\"name\":}", false, 2, "", "line 2, column "},
    {"twice.json", "{\"name\":\"a\",\"name\":\"b\"}", false, 2, "", "duplicate"},
    {"utf8.json", "{\"name\":\"\xff\"}", false, 2, "", "line 1"},
    {"list.json", "[]", false, 2, "", "expected object, got array"},
    {"good.txt", TOOL("mine", "pure"), false, 2, "", "only files NAME.json are read"},
    {".hidden.json", TOOL("mine", "pure"), false, 2, "", "no hidden ones"},
    {"\x1b[31m.json", TOOL("mine", "pure"), false, 2, "", "not plain ASCII"},
    {"missing.json", NULL, false, 3, "", "no such file"},
    {"missing/folder.json", NULL, false, 3, "", "cannot be opened"},
};

static void expect_text(const struct outcome *o, size_t i) {
    char wanted[128];
    if (cases[i].status == 0) {
        (void)snprintf(wanted, sizeof wanted, "ok %s\n", cases[i].said);
        assert_string_equal(o->out, wanted);
        assert_string_equal(o->err, "");
        return;
    }
    assert_string_equal(o->out, "");
    (void)snprintf(wanted, sizeof wanted, "definition: %s", cases[i].where);
    if (!strstr(o->err, cases[i].said) || !strstr(o->err, wanted) || !strstr(o->err, "; fix: "))
        fail_msg("case %zu: %s", i, o->err);
    assert_ptr_equal(strchr(o->err, '\n'), o->err + strlen(o->err) - 1); /* one line */
    assert_null(strchr(o->err, '\x1b'));
}

static void expect_json(const struct outcome *o, size_t i) {
    auto_json json_t *said = NULL;
    const char *text = cases[i].status == 0 ? o->out : o->err;
    assert_string_equal(cases[i].status == 0 ? o->err : o->out, "");
    assert_int_equal(json_parse(text, strlen(text), JSON_TEXT_MAX, &said), 0);
    assert_int_equal(json_flag(said, "ok", false), cases[i].status == 0);
    assert_string_equal(json_str(said, "kind"), cases[i].actor ? "actor" : "tool");
    assert_non_null(json_str(said, "file"));
    if (cases[i].status == 0) {
        assert_string_equal(json_str(said, "name"), cases[i].said);
        return;
    }
    assert_string_equal(json_str(said, "where"), cases[i].where);
    if (!strstr(json_str(said, "why"), cases[i].said))
        fail_msg("case %zu: %s", i, text);
    assert_int_equal(json_i64(said, "exit", 0), cases[i].status);
}

static void test_cases(void **state) {
    (void)state;
    struct outcome o;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", dir, cases[i].file);
        if (cases[i].text)
            put(path, cases[i].text);
        run(&o, path, cases[i].actor ? "--actor" : NULL, NULL);
        if (o.status != cases[i].status)
            fail_msg("case %zu: exit %d: %s", i, o.status, o.err);
        expect_text(&o, i);
        run(&o, path, "--json", cases[i].actor ? "--actor" : NULL);
        assert_int_equal(o.status, cases[i].status);
        expect_json(&o, i);
        if (cases[i].text)
            assert_int_equal(unlink(path), 0);
    }
}

static void expect_refused(const char *path, const char *why) {
    struct outcome o;
    run(&o, path, NULL, NULL);
    assert_int_equal(o.status, 2);
    if (!strstr(o.err, why))
        fail_msg("%s is not in %s", why, o.err);
    assert_int_equal(unlink(path), 0);
}

/* The loader's other refusals: what is no file of the user's own. */
static void test_odd_files(void **state) {
    (void)state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/x.json", dir);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    expect_refused(path, "a symbolic link");
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_refused(path, "not a regular file");
    put(path, TOOL("mine", "pure"));
    assert_int_equal(chmod(path, 0666), 0);
    expect_refused(path, "everybody may write it");
    put(path, "");
    assert_int_equal(truncate(path, FILE_BYTES_MAX + 1), 0);
    expect_refused(path, "larger than");
}

static void test_usage(void **state) {
    (void)state;
    struct outcome o;
    run(&o, NULL, NULL, NULL);
    assert_int_equal(o.status, 2);
    assert_non_null(strstr(o.err, "usage: "));
    run(&o, "a.json", "--unknown", NULL);
    assert_int_equal(o.status, 2);
    run(&o, "a.json", "b.json", NULL);
    assert_int_equal(o.status, 2);
}

/* A file is named as people name it: also relative to where they are. */
static void test_relative(void **state) {
    (void)state;
    struct outcome o;
    auto_close int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(dir), 0);
    put("here.json", TOOL("here", "pure"));
    run(&o, "here.json", NULL, NULL);
    assert_int_equal(o.status, 0);
    assert_string_equal(o.out, "ok here\n");
    assert_int_equal(unlink("here.json"), 0);
    assert_int_equal(fchdir(back), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_relative),
    };
    json_init();
    (void)snprintf(dir, sizeof dir, "/tmp/test-check-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(dir) < 0 ? 1 : failed;
}
