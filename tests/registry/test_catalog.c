/* The catalogue over a real folder, made and removed for each test. */
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
#include <unistd.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "registry/catalog.h"
#include "registry/files.h"
#include "tests/kit/process.h"

#define BUILTINS 8

struct room {
    char path[64];
    int fd;
    struct catalog *c;
};

static void room_open(struct room *room, enum catalog_kind kind) {
    (void)snprintf(room->path, sizeof room->path, "/tmp/test-catalog-XXXXXX");
    assert_non_null(mkdtemp(room->path));
    room->fd = open(room->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(room->fd >= 0);
    assert_int_equal(catalog_new(kind, &room->c), 0);
}

static void room_close(struct room *room) {
    auto_dir DIR *dir = fdopendir(room->fd);
    assert_non_null(dir);
    rewinddir(dir);
    for (const struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            assert_int_equal(unlinkat(room->fd, e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0), 0);
    assert_int_equal(rmdir(room->path), 0);
    catalog_free(room->c);
}

static void put(const struct room *room, const char *file, const char *text) {
    auto_close int fd = openat(room->fd, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void put_tool(const struct room *room, const char *file, const char *name, const char *description) {
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"name\":\"%s\",\"description\":\"%s\",\"input_schema\":{\"type\":\"object\"},\"effect\":\"pure\","
                   "\"command\":[\"/bin/true\"],\"input\":\"argv\"}",
                   name, description);
    put(room, file, text);
}

static void load(const struct room *room) {
    const char *dirs[] = {room->path};
    if (catalog_load(room->c, dirs, 1) < 0)
        fail_msg("load: %s", err_text());
}

/* "description" of what is in force, or NULL. */
static const char *described(const struct room *room, const char *name) {
    return json_str(catalog_find(room->c, name), "description");
}

static void expect_problem(const struct room *room, size_t i, const char *file, const char *why) {
    const json_t *problem = json_array_get(catalog_problems(room->c), i);
    assert_non_null(problem);
    char path[128];
    (void)snprintf(path, sizeof path, "%s%s%s", *file ? room->path : "", *file ? "/" : "", file);
    assert_string_equal(json_str(problem, "file"), path);
    if (!strstr(json_str(problem, "why"), why))
        fail_msg("\"%s\" is not in \"%s\"", why, json_str(problem, "why"));
}

static void expect_problems(const struct room *room, size_t n) {
    if (json_array_size(catalog_problems(room->c)) != n)
        fail_msg("%zu problems, wanted %zu", json_array_size(catalog_problems(room->c)), n);
}

static void test_builtins_and_files(void **state) {
    (void)state;
    struct room room;
    room_open(&room, CATALOG_TOOLS);
    assert_int_equal(catalog_add_builtins(room.c), 0);
    assert_int_equal(catalog_count(room.c), BUILTINS);
    put_tool(&room, "b.json", "mine", "first");
    put_tool(&room, "a.txt", "other", "not json");
    put_tool(&room, ".hidden.json", "hidden", "not seen");
    put_tool(&room, ".json", "nothing", "not seen");
    load(&room);
    expect_problems(&room, 0);
    assert_int_equal(catalog_count(room.c), BUILTINS + 1);
    assert_string_equal(described(&room, "mine"), "first");
    assert_null(catalog_find(room.c, "other"));
    load(&room); /* the folder can be read again through the same descriptor */
    assert_int_equal(catalog_count(room.c), BUILTINS + 1);
    room_close(&room);
}

static void test_broken_files_are_named(void **state) {
    (void)state;
    struct room room;
    room_open(&room, CATALOG_TOOLS);
    assert_int_equal(catalog_add_builtins(room.c), 0);
    put(&room, "a.json", "{\"name\":\"a\",\n}");
    put(&room, "b.json", "{\"name\":\"b\",\"effect\":\"pure\"}");
    put_tool(&room, "c.json", "echo", "mine now");
    put_tool(&room, "d.json", "twice", "first");
    put_tool(&room, "e.json", "twice", "second");
    assert_int_equal(symlinkat("d.json", room.fd, "f.json"), 0);
    assert_int_equal(mkfifoat(room.fd, "g.json", 0600), 0);
    assert_int_equal(mkdirat(room.fd, "h.json", 0700), 0);
    put_tool(&room, "i.json", "open", "for all");
    assert_int_equal(fchmodat(room.fd, "i.json", 0666, 0), 0);
    put_tool(&room, "\xff.json", "odd", "file name");
    put_tool(&room, "z.json", "last", "still read");
    load(&room);
    expect_problems(&room, 9);
    expect_problem(&room, 0, "a.json", "line 2, column ");
    expect_problem(&room, 1, "b.json", "/description: required, but missing");
    expect_problem(&room, 2, "c.json", "/name: echo is a built-in's name and reserved");
    expect_problem(&room, 3, "e.json", "/name: twice is taken, choose another; it is defined by /tmp/");
    expect_problem(&room, 4, "f.json", "a symbolic link");
    expect_problem(&room, 5, "g.json", "not a regular file");
    expect_problem(&room, 6, "h.json", "not a regular file");
    expect_problem(&room, 7, "i.json", "everybody may write it");
    expect_problem(&room, 8, "?.json", "not plain ASCII");
    assert_int_equal(catalog_count(room.c), BUILTINS + 2);
    assert_string_equal(described(&room, "twice"), "first");
    assert_string_equal(described(&room, "last"), "still read");
    assert_string_not_equal(described(&room, "echo"), "mine now");
    room_close(&room);
}

static void test_size_limit(void **state) {
    (void)state;
    struct room room;
    room_open(&room, CATALOG_TOOLS);
    auto_free char *spaces = malloc(FILE_BYTES_MAX + 2);
    assert_non_null(spaces);
    memset(spaces, ' ', FILE_BYTES_MAX + 1);
    spaces[FILE_BYTES_MAX + 1] = '\0';
    put(&room, "a.json", spaces);
    spaces[FILE_BYTES_MAX] = '\0';
    put(&room, "b.json", spaces);
    load(&room);
    expect_problems(&room, 2);
    expect_problem(&room, 0, "a.json", "larger than 262144 bytes");
    expect_problem(&room, 1, "b.json", "end of file"); /* within the limit, and then no JSON */
    room_close(&room);
}

static void test_reload(void **state) {
    (void)state;
    struct room room;
    room_open(&room, CATALOG_TOOLS);
    put_tool(&room, "a.json", "one", "old");
    put_tool(&room, "b.json", "two", "old");
    put_tool(&room, "c.json", "three", "old");
    load(&room);
    put_tool(&room, "a.json", "one", "new");
    put(&room, "b.json", "{");
    assert_int_equal(unlinkat(room.fd, "c.json", 0), 0);
    load(&room);
    expect_problems(&room, 1);
    expect_problem(&room, 0, "b.json", "line 1");
    assert_string_equal(described(&room, "one"), "new");
    assert_string_equal(described(&room, "two"), "old"); /* what was good stays in force */
    assert_null(catalog_find(room.c, "three"));
    load(&room); /* and stays, however often the broken file is read */
    assert_string_equal(described(&room, "two"), "old");
    put_tool(&room, "b.json", "one", "stolen");
    load(&room);
    expect_problem(&room, 0, "b.json", "/a.json");
    assert_string_equal(described(&room, "one"), "new");
    assert_string_equal(described(&room, "two"), "old");
    put_tool(&room, "b.json", "four", "mended");
    load(&room);
    expect_problems(&room, 0);
    assert_null(catalog_find(room.c, "two"));
    assert_string_equal(described(&room, "four"), "mended");
    put_tool(&room, "a.json", "four", "moved here");
    put(&room, "b.json", "{");
    load(&room);
    expect_problems(&room, 1);
    assert_string_equal(described(&room, "four"), "moved here"); /* the name was taken before b.json could keep it */
    assert_int_equal(catalog_count(room.c), 1);
    room_close(&room);
}

static void expect_folder_problem(const struct room *room, const char *why) {
    const json_t *problem = json_array_get(catalog_problems(room->c), 0);
    expect_problems(room, 1);
    assert_string_equal(json_str(problem, "file"), room->path);
    if (!strstr(json_str(problem, "why"), why))
        fail_msg("\"%s\" is not in \"%s\"", why, json_str(problem, "why"));
}

/* What is there and cannot be believed keeps what was good; what is gone takes it along. */
static void test_folders(void **state) {
    (void)state;
    static const struct {
        mode_t mode;
        uid_t owner;
        const char *why; /* NULL: trusted */
    } cases[] = {
        {0700, 0, NULL},
        {0755, 0, NULL},
        {0770, 0, "others may write"},
        {0720, 0, "others may write"},
        {0702, 0, "chmod go-w"},
        {0755, 65533, "belongs to uid 65533"},
        {0700, 0, NULL},
    };
    struct room room;
    room_open(&room, CATALOG_TOOLS);
    put_tool(&room, "a.json", "one", "d");
    load(&room);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].owner != 0 && geteuid() != 0)
            continue;
        assert_int_equal(fchmod(room.fd, cases[i].mode), 0);
        assert_int_equal(fchown(room.fd, cases[i].owner ? cases[i].owner : geteuid(), (gid_t)-1), 0);
        put_tool(&room, "a.json", "one", cases[i].why ? "refused" : "read");
        load(&room);
        if (cases[i].why)
            expect_folder_problem(&room, cases[i].why);
        else
            expect_problems(&room, 0);
        assert_string_equal(described(&room, "one"), "read");
    }
    assert_int_equal(unlinkat(room.fd, "a.json", 0), 0);
    assert_int_equal(rmdir(room.path), 0);
    load(&room);
    expect_folder_problem(&room, "does not exist");
    assert_null(catalog_find(room.c, "one"));
    assert_int_equal(mkdir(room.path, 0700), 0);
    close(room.fd);
    room.fd = open(room.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    room_close(&room);
}

/* Two folders: the first wins, and each keeps only its own. */
static void test_two_folders(void **state) {
    (void)state;
    struct room a, b;
    room_open(&a, CATALOG_TOOLS);
    room_open(&b, CATALOG_TOOLS);
    put_tool(&a, "x.json", "both", "a");
    put_tool(&b, "x.json", "both", "b");
    put_tool(&b, "y.json", "only_b", "b");
    const char *dirs[] = {a.path, b.path};
    assert_int_equal(catalog_load(a.c, dirs, 2), 0);
    expect_problems(&a, 1);
    assert_string_equal(described(&a, "both"), "a");
    assert_string_equal(described(&a, "only_b"), "b");
    assert_int_equal(fchmod(a.fd, 0777), 0);
    assert_int_equal(unlinkat(b.fd, "y.json", 0), 0);
    assert_int_equal(catalog_load(a.c, dirs, 2), 0);
    expect_problems(&a, 2);
    assert_string_equal(described(&a, "both"), "a"); /* carried over from the folder that is in doubt */
    assert_null(catalog_find(a.c, "only_b"));
    assert_int_equal(unlinkat(a.fd, "x.json", 0), 0);
    assert_int_equal(fchmod(a.fd, 0700), 0);
    assert_int_equal(catalog_load(a.c, dirs, 2), 0);
    expect_problems(&a, 0);
    assert_string_equal(described(&a, "both"), "b");
    assert_int_equal(catalog_load(a.c, NULL, 0), 0); /* no folder is configured */
    assert_int_equal(catalog_count(a.c), 0);
    room_close(&a);
    room_close(&b);
}

static void put_big(const struct room *room, unsigned i, size_t values) {
    char file[32], name[32];
    auto_json json_t *list = json_array();
    (void)snprintf(file, sizeof file, "%04u.json", i);
    (void)snprintf(name, sizeof name, "t%04u", i);
    for (size_t v = 0; v < values; v++)
        json_array_append_new(list, json_integer((json_int_t)v));
    auto_json json_t *doc = json_pack("{s:s, s:s, s:{s:s, s:{s:{s:O}}}, s:s, s:[s], s:s}", "name", name, "description",
                                      "d", "input_schema", "type", "object", "properties", "p", "enum", list, "effect",
                                      "pure", "command", "/bin/true", "input", "argv");
    auto_free char *text = json_dumps(doc, JSON_COMPACT);
    assert_non_null(text);
    put(room, file, text);
}

/* All definitions together stay one text that can be read; the file too many is named, the rest is served. */
static void test_whole_size(void **state) {
    (void)state;
    struct room room;
    auto_free char *full = NULL;
    auto_json json_t *parsed = NULL;
    size_t n = 0;
    room_open(&room, CATALOG_TOOLS);
    for (unsigned i = 0; i < 7; i++)
        put_big(&room, i, 10000);
    put_tool(&room, "last.json", "last", "small");
    load(&room);
    expect_problems(&room, 2);
    expect_problem(&room, 0, "0005.json", "all definitions together");
    assert_int_equal(catalog_count(room.c), 6);
    assert_non_null(catalog_find(room.c, "last"));
    put_big(&room, 4, 20000);
    load(&room);
    expect_problem(&room, 0, "0004.json", "all definitions together");
    assert_non_null(catalog_find(room.c, "t0004")); /* the smaller one that was there before */
    assert_int_equal(catalog_full_text(room.c, NULL, &full, &n), 0);
    assert_int_equal(json_parse(full, n, JSON_TEXT_MAX, &parsed), 0);
    room_close(&room);
}

static void test_limits_of_a_folder(void **state) {
    (void)state;
    struct room room;
    char name[32];
    room_open(&room, CATALOG_TOOLS);
    for (unsigned i = 0; i < FOLDER_FILES_MAX + 1; i++) {
        (void)snprintf(name, sizeof name, "%05u.json", i);
        put(&room, name, "");
    }
    load(&room);
    expect_problems(&room, CATALOG_PROBLEMS_MAX);
    expect_problem(&room, CATALOG_PROBLEMS_MAX - 1, "", "more problems than are kept");
    assert_int_equal(catalog_count(room.c), 0);
    room_close(&room);
}

static void expect_names(const char *text, const char *wanted, size_t members) {
    auto_json json_t *all = NULL;
    char names[256] = "";
    size_t i;
    json_t *one;
    assert_int_equal(json_parse(text, strlen(text), JSON_TEXT_MAX, &all), 0);
    json_array_foreach(all, i, one) {
        strcat(names, json_str(one, "name"));
        strcat(names, " ");
        assert_int_equal(json_object_size(one), members);
    }
    assert_string_equal(names, wanted);
}

static void test_texts(void **state) {
    (void)state;
    struct room room;
    auto_free char *model = NULL, *full = NULL, *some = NULL, *none = NULL;
    size_t n = 0;
    room_open(&room, CATALOG_TOOLS);
    assert_int_equal(catalog_add_builtins(room.c), 0);
    put_tool(&room, "a.json", "zebra", "d");
    put_tool(&room, "b.json", "ant", "d");
    load(&room);
    assert_int_equal(catalog_model_text(room.c, NULL, &model, &n), 0);
    assert_int_equal(n, strlen(model));
    expect_names(model, "ant echo fail file_list file_read file_write sleep text_grep text_head zebra ", 3);
    assert_null(strstr(model, "/bin/true"));
    assert_null(strstr(model, "effect"));
    auto_json json_t *allow = json_pack("[s,s,s,i]", "zebra", "ant", "unknown", 3);
    assert_int_equal(catalog_full_text(room.c, allow, &full, &n), 0);
    expect_names(full, "ant zebra ", 16);
    assert_non_null(strstr(full, "\"command\":[\"/bin/true\"]"));
    assert_int_equal(catalog_model_text(room.c, allow, &some, &n), 0);
    expect_names(some, "ant zebra ", 3);
    auto_json json_t *nothing = json_array();
    assert_int_equal(catalog_full_text(room.c, nothing, &none, &n), 0);
    assert_string_equal(none, "[]"); /* an empty list allows nothing */
    room_close(&room);
}

static void test_actors(void **state) {
    (void)state;
    struct room room;
    auto_free char *full = NULL;
    size_t n = 0;
    room_open(&room, CATALOG_ACTORS);
    assert_int_equal(catalog_add_builtins(room.c), -EINVAL);
    put(&room, "r.json", "{\"name\":\"reviewer\",\"provider\":\"local\",\"tools\":[\"file_read\"]}");
    put_tool(&room, "t.json", "tool", "in the wrong folder");
    load(&room);
    expect_problems(&room, 1);
    expect_problem(&room, 0, "t.json", "/input_schema: unknown key");
    assert_int_equal(catalog_full_text(room.c, NULL, &full, &n), 0);
    expect_names(full, "reviewer ", 8);
    char *untouched = NULL;
    assert_int_equal(catalog_model_text(room.c, NULL, &untouched, &n), -EINVAL);
    assert_null(untouched);
    room_close(&room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtins_and_files),
        cmocka_unit_test(test_broken_files_are_named),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_two_folders),
        cmocka_unit_test(test_whole_size),
        cmocka_unit_test(test_limits_of_a_folder),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_actors),
    };
    json_init();
    (void)kit_count(NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : kit_left(NULL);
}
