/* The built-ins as functions: what they answer, and above all which paths they refuse. Two readable folders and one
 * writable one are made for every run, with the links and odd files that a hostile path would use. */
#include "toolcall/builtin.h"
#include "toolcall/bytes.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define OK TOOL_FAILURE__COUNT

static struct {
    char top[32], one[64], two[64], out[64]; /* absolute paths of the folders */
    struct tool_roots roots;
} place;

struct bcase {
    const char *tool, *args;
    enum tool_failure_name failure;
    const char *value; /* NULL: not looked at */
};

/* The runner puts the absolute path of a folder where @one, @two or @out stands in a text. */
static char *expand(const char *text) {
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    assert_non_null(f);
    while (*text) {
        const char *folder = strncmp(text, "@one", 4) == 0   ? place.one
                             : strncmp(text, "@two", 4) == 0 ? place.two
                             : strncmp(text, "@out", 4) == 0 ? place.out
                                                             : NULL;
        if (folder) {
            assert_true(fputs(folder, f) >= 0);
            text += 4;
        } else {
            assert_true(fputc(*text++, f) != EOF);
        }
    }
    assert_int_equal(fclose(f), 0);
    return out;
}

static json_t *parse(const char *text) {
    auto_free char *expanded = expand(text);
    json_t *value = NULL;
    if (json_parse(expanded, strlen(expanded), JSON_TEXT_MAX, &value) != 0)
        fail_msg("%s: %s", expanded, err_text());
    return value;
}

static void run_case(const struct bcase *c, size_t max_bytes) {
    auto_json json_t *args = parse(c->args);
    auto_json json_t *value = NULL;
    auto_free char *text = NULL;
    size_t n;
    struct tool_failure failure = {.name = OK};
    int r = builtin_run(c->tool, args, &place.roots, max_bytes, &value, &failure);
    if (r != (c->failure != OK) || failure.name != c->failure)
        fail_msg("%s %s: returned %d, %s: %s", c->tool, c->args, r, tool_failure_text(failure.name), failure.message);
    assert_true(r == 0 ? value != NULL : value == NULL);
    if (!c->value)
        return;
    auto_json json_t *wanted = parse(c->value);
    if (!json_equal(value, wanted))
        fail_msg("%s %s: %s", c->tool, c->args, json_text(value, JSON_TEXT_MAX, &text, &n) == 0 ? text : "?");
}

#define RUN(cases)                                                                                                     \
    for (size_t i = 0; i < sizeof(cases) / sizeof((cases)[0]); i++)                                                    \
    run_case(&(cases)[i], TOOL_VALUE_MAX)

static void test_plain(void **state) {
    (void)state;
    static const struct bcase cases[] = {
        {"echo", "{}", OK, "{}"},
        {"echo", "{\"a\":{\"b\":[1,null]}}", OK, "{\"a\":{\"b\":[1,null]}}"},
        {"echo", "[]", TOOL_INVALID_ARGS},
        {"sleep", "{\"ms\":0}", OK, "{\"slept_ms\":0}"},
        {"sleep", "{}", TOOL_INVALID_ARGS},
        {"sleep", "{\"ms\":-1}", TOOL_INVALID_ARGS},
        {"sleep", "{\"ms\":\"1\"}", TOOL_INVALID_ARGS},
        {"fail", "{}", TOOL_TOOL_ERROR},
        {"fail", "{\"mode\":\"error\",\"message\":\"x\"}", TOOL_TOOL_ERROR},
        {"fail", "{\"mode\":\"other\"}", TOOL_INVALID_ARGS},
        {"http_get", "{}", TOOL_NOT_FOUND},
        {"", "{}", TOOL_NOT_FOUND},
    };
    RUN(cases);
    static const char *const names[] = {"echo",      "sleep",      "fail",      "file_read",
                                        "file_list", "file_write", "text_grep", "text_head"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(builtin_known(names[i]));
    assert_false(builtin_known("http_get") || builtin_known("ask_actor") || builtin_known(NULL));
}

static void test_text(void **state) {
    (void)state;
    static const struct bcase cases[] = {
        {"text_grep", "{\"text\":\"a\\nb\\nab\\n\",\"pattern\":\"^a\"}", OK,
         "{\"text\":\"a\\nab\\n\",\"match_count\":2,\"truncated\":false}"},
        {"text_grep", "{\"text\":\"a\\na\\na\",\"pattern\":\"a\",\"max_matches\":2}", OK,
         "{\"text\":\"a\\na\\n\",\"match_count\":3,\"truncated\":true}"},
        {"text_grep", "{\"text\":\"a\",\"pattern\":\"a\",\"max_matches\":0}", OK,
         "{\"text\":\"\",\"match_count\":1,\"truncated\":true}"},
        {"text_grep", "{\"text\":\"\",\"pattern\":\"\"}", OK, "{\"text\":\"\",\"match_count\":0,\"truncated\":false}"},
        {"text_grep", "{\"text\":\"\\n\\n\",\"pattern\":\"^$\"}", OK,
         "{\"text\":\"\\n\\n\",\"match_count\":2,\"truncated\":false}"},
        {"text_grep", "{\"text\":\"xäy\\nxy\",\"pattern\":\"^x.y$\"}", OK, /* one character, two bytes */
         "{\"text\":\"xäy\\n\",\"match_count\":1,\"truncated\":false}"},
        {"text_grep", "{\"text\":\"foo12\\nbar\",\"pattern\":\"(foo|baz)[0-9]{2}\"}", OK,
         "{\"text\":\"foo12\\n\",\"match_count\":1,\"truncated\":false}"},
        {"text_grep", "{\"text\":\"a\",\"pattern\":\"(\"}", TOOL_INVALID_ARGS},
        {"text_grep", "{\"text\":\"a\",\"pattern\":\"[z-a]\"}", TOOL_INVALID_ARGS},
        {"text_grep", "{\"text\":\"a\"}", TOOL_INVALID_ARGS},
        {"text_grep", "{\"text\":1,\"pattern\":\"a\"}", TOOL_INVALID_ARGS},
        {"text_grep", "{\"text\":\"a\",\"pattern\":\"a\",\"max_matches\":-1}", TOOL_INVALID_ARGS},
        {"text_head", "{\"text\":\"1\\n2\\n3\\n\",\"lines\":2}", OK, "{\"text\":\"1\\n2\\n\",\"truncated\":true}"},
        {"text_head", "{\"text\":\"1\\n2\",\"lines\":2}", OK, "{\"text\":\"1\\n2\",\"truncated\":false}"},
        {"text_head", "{\"text\":\"1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9\\n10\\n11\"}", OK,
         "{\"text\":\"1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9\\n10\\n\",\"truncated\":true}"},
        {"text_head", "{\"text\":\"\",\"lines\":0}", OK, "{\"text\":\"\",\"truncated\":false}"},
        {"text_head", "{\"lines\":1}", TOOL_INVALID_ARGS},
    };
    RUN(cases);
    /* Cut to a small result: grep after whole lines, head after whole characters. */
    run_case(&(struct bcase){"text_grep", "{\"text\":\"aaaa\\na\\n\",\"pattern\":\"a\"}", OK,
                             "{\"text\":\"aaaa\\n\",\"match_count\":2,\"truncated\":true}"},
             96 + 8);
    run_case(&(struct bcase){"text_head", "{\"text\":\"äää\"}", OK, "{\"text\":\"ää\",\"truncated\":true}"}, 96 + 5);
    run_case(&(struct bcase){"echo", "{\"a\":\"0123456789\"}", TOOL_OUTPUT_LIMIT}, 10);
}

static void test_long_pattern(void **state) {
    (void)state;
    char pattern[5000];
    memset(pattern, 'a', sizeof pattern - 1);
    pattern[sizeof pattern - 1] = '\0';
    auto_json json_t *args = json_pack("{s:s, s:s}", "text", "a", "pattern", pattern);
    json_t *value = NULL;
    struct tool_failure failure;
    assert_int_equal(builtin_run("text_grep", args, NULL, TOOL_VALUE_MAX, &value, &failure), 1);
    assert_int_equal(failure.name, TOOL_INVALID_ARGS);
}

static void test_nul_argument(void **state) {
    (void)state;
    auto_json json_t *args = json_pack("{s:s%}", "path", "a.txt\0../x", (size_t)10);
    json_t *value = NULL;
    struct tool_failure failure;
    assert_int_equal(builtin_run("file_read", args, &place.roots, TOOL_VALUE_MAX, &value, &failure), 1);
    assert_int_equal(failure.name, TOOL_INVALID_ARGS);
}

static void test_read(void **state) {
    (void)state;
    static const struct bcase cases[] = {
        {"file_read", "{\"path\":\"a.txt\"}", OK, "{\"text\":\"hello\\n\",\"size\":6,\"truncated\":false}"},
        {"file_read", "{\"path\":\"@one/a.txt\"}", OK, "{\"text\":\"hello\\n\",\"size\":6,\"truncated\":false}"},
        {"file_read", "{\"path\":\"@two/a.txt\"}", OK, "{\"text\":\"second\",\"size\":6,\"truncated\":false}"},
        {"file_read", "{\"path\":\"@one//sub/../a.txt\"}", OK, NULL},
        {"file_read", "{\"path\":\"only2\"}", OK, "{\"text\":\"2\",\"size\":1,\"truncated\":false}"},
        {"file_read", "{\"path\":\"inner\"}", OK, "{\"text\":\"hello\\n\",\"size\":6,\"truncated\":false}"},
        {"file_read", "{\"path\":\"sub/../a.txt\"}", OK, NULL},
        {"file_read", "{\"path\":\"a.txt\",\"offset\":2,\"max_bytes\":3}", OK,
         "{\"text\":\"llo\",\"size\":6,\"truncated\":true}"},
        {"file_read", "{\"path\":\"a.txt\",\"offset\":2,\"max_bytes\":4}", OK,
         "{\"text\":\"llo\\n\",\"size\":6,\"truncated\":false}"},
        {"file_read", "{\"path\":\"a.txt\",\"offset\":100}", OK, "{\"text\":\"\",\"size\":6,\"truncated\":false}"},
        {"file_read", "{\"path\":\"a.txt\",\"max_bytes\":0}", OK, "{\"text\":\"\",\"size\":6,\"truncated\":true}"},
        {"file_read", "{\"path\":\"bytes\"}", OK, "{\"base64\":\"/wB4\",\"size\":3,\"truncated\":false}"},
        {"file_read", "{\"path\":\"umlauts\",\"max_bytes\":3}", OK, "{\"text\":\"ä\",\"size\":6,\"truncated\":true}"},
        {"file_read", "{\"path\":\"umlauts\",\"max_bytes\":1}", OK,
         "{\"base64\":\"ww==\",\"size\":6,\"truncated\":true}"},
        {"file_read", "{\"path\":\"empty\"}", OK, "{\"text\":\"\",\"size\":0,\"truncated\":false}"},
        {"file_read", "{\"path\":\"none\"}", TOOL_NOT_FOUND},
        {"file_read", "{\"path\":\"a.txt/x\"}", TOOL_NOT_FOUND},
        {"file_read", "{\"path\":\"@one/only2\"}", TOOL_NOT_FOUND},
        {"file_read", "{\"path\":\"../outside\"}", TOOL_DENIED},
        {"file_read", "{\"path\":\"sub/../../outside\"}", TOOL_DENIED},
        {"file_read", "{\"path\":\"@one/../outside\"}", TOOL_DENIED},
        {"file_read", "{\"path\":\"@onex\"}", TOOL_DENIED},  /* a prefix of letters is not a folder */
        {"file_read", "{\"path\":\"@out/w\"}", TOOL_DENIED}, /* writable is not readable */
        {"file_read", "{\"path\":\"/etc/passwd\"}", TOOL_DENIED},
        {"file_read", "{\"path\":\"absolute\"}", TOOL_DENIED}, /* a link to /etc/passwd */
        {"file_read", "{\"path\":\"upward\"}", TOOL_DENIED},   /* a link to ../outside */
        {"file_read", "{\"path\":\"updir/outside\"}", TOOL_DENIED},
        {"file_read", "{\"path\":\"loop\"}", TOOL_DENIED},
        {"file_read", "{\"path\":\"fifo\"}", TOOL_INVALID_ARGS},
        {"file_read", "{\"path\":\"sub\"}", TOOL_INVALID_ARGS},
        {"file_read", "{\"path\":\"@one\"}", TOOL_INVALID_ARGS},
        {"file_read", "{\"path\":\"\"}", TOOL_INVALID_ARGS},
        {"file_read", "{\"path\":7}", TOOL_INVALID_ARGS},
        {"file_read", "{\"path\":\"a.txt\",\"offset\":-1}", TOOL_INVALID_ARGS},
        {"file_read", "{}", TOOL_INVALID_ARGS},
    };
    RUN(cases);
}

/* No roots is nothing granted, never everything. */
static void test_no_roots(void **state) {
    (void)state;
    static const char *const paths[] = {"a.txt", "/etc/passwd", ".", "/"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        auto_json json_t *args = json_pack("{s:s, s:s, s:s}", "path", paths[i], "text", "x", "mode", "create");
        static const char *const tools[] = {"file_read", "file_list", "file_write"};
        for (size_t k = 0; k < sizeof tools / sizeof tools[0]; k++) {
            json_t *value = NULL;
            struct tool_failure failure;
            assert_int_equal(builtin_run(tools[k], args, NULL, TOOL_VALUE_MAX, &value, &failure), 1);
            assert_true(failure.name == TOOL_DENIED || failure.name == TOOL_INVALID_ARGS);
        }
    }
}

/* However a large file is written in JSON, the result stays a value that travels. */
static void test_read_large(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int byte;
        bool text;
    } rows[] = {
        {"large-x", 'x', true}, {"large-newline", '\n', true}, {"large-control", 1, true}, {"large-ff", 0xFF, false}};
    static char data[2 * TOOL_VALUE_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(data, rows[i].byte, sizeof data);
        auto_close int fd = openat(place.roots.read[0].fd, rows[i].name, O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(write(fd, data, sizeof data) == (ssize_t)sizeof data);
        auto_json json_t *args = json_pack("{s:s}", "path", rows[i].name);
        auto_json json_t *value = NULL;
        auto_free char *text = NULL;
        size_t n;
        struct tool_failure failure;
        assert_int_equal(builtin_run("file_read", args, &place.roots, TOOL_VALUE_MAX, &value, &failure), 0);
        assert_int_equal(json_text(value, TOOL_VALUE_MAX, &text, &n), 0);
        assert_true(n > TOOL_VALUE_MAX - 200);
        assert_true(json_flag(value, "truncated", false));
        assert_int_equal(json_i64(value, "size", 0), sizeof data);
        assert_int_equal(json_object_get(value, "text") != NULL, rows[i].text);
        assert_int_equal(unlinkat(place.roots.read[0].fd, rows[i].name, 0), 0);
    }
}

static void test_list(void **state) {
    (void)state;
    static const struct bcase cases[] = {
        {"file_list", "{\"path\":\"sub\"}", OK,
         "{\"entries\":[{\"path\":\"sub/b.md\",\"type\":\"file\",\"size\":1},{\"path\":\"sub/deep\",\"type\":\"dir\","
         "\"size\":0}],\"truncated\":false}"},
        {"file_list", "{\"path\":\"./sub/\",\"recursive\":true,\"glob\":\"*.md\"}", OK,
         "{\"entries\":[{\"path\":\"sub/b.md\",\"type\":\"file\",\"size\":1},{\"path\":\"sub/deep/c.md\",\"type\":"
         "\"file\",\"size\":2}],\"truncated\":false}"},
        {"file_list", "{\"path\":\".\",\"recursive\":true,\"glob\":\"sub/*/*.md\"}", OK,
         "{\"entries\":[{\"path\":\"sub/deep/c.md\",\"type\":\"file\",\"size\":2}],\"truncated\":false}"},
        {"file_list", "{\"path\":\"@one/sub/deep\"}", OK,
         "{\"entries\":[{\"path\":\"@one/sub/deep/c.md\",\"type\":\"file\",\"size\":2}],\"truncated\":false}"},
        {"file_list", "{\"path\":\".\",\"glob\":\"?pward\"}", OK,
         "{\"entries\":[{\"path\":\"upward\",\"type\":\"link\",\"size\":0}],\"truncated\":false}"},
        {"file_list", "{\"path\":\".\",\"glob\":\"fifo\"}", OK,
         "{\"entries\":[{\"path\":\"fifo\",\"type\":\"other\",\"size\":0}],\"truncated\":false}"},
        /* updir and inloop lead to folders: named, never entered. */
        {"file_list", "{\"path\":\".\",\"recursive\":true,\"glob\":\"outside\"}", OK,
         "{\"entries\":[],\"truncated\":false}"},
        {"file_list", "{\"path\":\"@two\",\"glob\":\"*\"}", OK,
         "{\"entries\":[{\"path\":\"@two/a.txt\",\"type\":\"file\",\"size\":6},{\"path\":\"@two/only2\",\"type\":"
         "\"file\",\"size\":1}],\"truncated\":false}"},
        {"file_list", "{\"path\":\"none\"}", TOOL_NOT_FOUND},
        {"file_list", "{\"path\":\"a.txt\"}", TOOL_NOT_FOUND},
        {"file_list", "{\"path\":\"..\"}", TOOL_DENIED},
        {"file_list", "{\"path\":\"updir\"}", TOOL_DENIED},
        {"file_list", "{\"path\":\"/\"}", TOOL_DENIED},
        {"file_list", "{\"path\":\".\",\"recursive\":1}", TOOL_INVALID_ARGS},
        {"file_list", "{\"path\":\".\",\"glob\":1}", TOOL_INVALID_ARGS},
    };
    RUN(cases);
    run_case(&(struct bcase){"file_list", "{\"path\":\"@two\"}", OK, "{\"entries\":[],\"truncated\":true}"}, 80);
}

/* A tree deeper than the walk goes: listed as far as it goes, and said so. */
static void test_list_deep(void **state) {
    (void)state;
    auto_close int fd = dup(place.roots.read[0].fd);
    assert_int_equal(mkdirat(fd, "well", 0700), 0);
    for (int i = 0; i < 40; i++) {
        int next = openat(fd, i == 0 ? "well" : "d", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        fd_close(fd);
        fd = next;
        assert_int_equal(mkdirat(fd, "d", 0700), 0);
    }
    auto_json json_t *args = parse("{\"path\":\"well\",\"recursive\":true}");
    auto_json json_t *value = NULL;
    struct tool_failure failure;
    assert_int_equal(builtin_run("file_list", args, &place.roots, TOOL_VALUE_MAX, &value, &failure), 0);
    assert_int_equal(json_array_size(json_object_get(value, "entries")), 32);
    assert_true(json_flag(value, "truncated", false));
}

static void want_content(const char *name, const char *wanted, unsigned mode) {
    char got[64];
    struct stat st;
    auto_close int fd = openat(place.roots.write[0].fd, name, O_RDONLY);
    ssize_t n = read(fd, got, sizeof got - 1);
    assert_true(n >= 0);
    got[n] = '\0';
    assert_string_equal(got, wanted);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, mode);
}

static void test_write(void **state) {
    (void)state;
    static const struct {
        struct bcase c;
        const char *name, *content; /* afterwards */
        unsigned mode;
    } steps[] = {
        {{"file_write", "{\"path\":\"n\",\"text\":\"one\",\"mode\":\"create\"}", OK, "{\"bytes\":3}"},
         "n",
         "one",
         0600},
        {{"file_write", "{\"path\":\"n\",\"text\":\"two\",\"mode\":\"create\"}", TOOL_TOOL_ERROR}, "n", "one", 0600},
        {{"file_write", "{\"path\":\"@out/n\",\"text\":\"2\",\"mode\":\"append\"}", OK, "{\"bytes\":1}"},
         "n",
         "one2",
         0600},
        {{"file_write", "{\"path\":\"n\",\"text\":\"\",\"mode\":\"replace\"}", OK, "{\"bytes\":0}"}, "n", "", 0600},
        {{"file_write", "{\"path\":\"w\",\"text\":\"new\",\"mode\":\"replace\"}", OK},
         "w",
         "new",
         0640}, /* its mode stays */
        {{"file_write", "{\"path\":\"r\",\"text\":\"r\",\"mode\":\"replace\"}", OK}, "r", "r", 0600},
        {{"file_write", "{\"path\":\"p\",\"text\":\"p\",\"mode\":\"append\"}", OK}, "p", "p", 0600},
        {{"file_write", "{\"path\":\"b\",\"base64\":\"aGk=\",\"mode\":\"create\"}", OK, "{\"bytes\":2}"},
         "b",
         "hi",
         0600},
        {{"file_write", "{\"path\":\"d/n\",\"text\":\"d\",\"mode\":\"create\"}", OK}, "d/n", "d", 0600},
        {{"file_write", "{\"path\":\"d/../m\",\"text\":\"m\",\"mode\":\"create\"}", OK}, "m", "m", 0600},
    };
    mode_t before = umask(077);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        run_case(&steps[i].c, TOOL_VALUE_MAX);
        want_content(steps[i].name, steps[i].content, steps[i].mode);
    }
    (void)umask(before);
    /* Nothing is left of the temporary names. */
    run_case(&(struct bcase){"file_list", "{\"path\":\"@one\",\"glob\":\".soma-*\"}", OK,
                             "{\"entries\":[],\"truncated\":false}"},
             TOOL_VALUE_MAX);
}

static void test_write_refused(void **state) {
    (void)state;
    static const struct bcase cases[] = {
        {"file_write", "{\"path\":\"x\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"text\":\"\",\"base64\":\"\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"base64\":\"aGk\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"base64\":\"a===\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"base64\":\"aGl=\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"base64\":\"aA==aGk=\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"text\":\"\",\"mode\":\"truncate\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"x\",\"text\":\"\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"d/\",\"text\":\"\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"..\",\"text\":\"\",\"mode\":\"create\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"none/x\",\"text\":\"\",\"mode\":\"create\"}", TOOL_NOT_FOUND},
        {"file_write", "{\"path\":\"../x\",\"text\":\"\",\"mode\":\"create\"}", TOOL_DENIED},
        {"file_write", "{\"path\":\"/x\",\"text\":\"\",\"mode\":\"create\"}", TOOL_DENIED},
        {"file_write", "{\"path\":\"@one/x\",\"text\":\"\",\"mode\":\"create\"}", TOOL_DENIED}, /* readable only */
        {"file_write", "{\"path\":\"away/x\",\"text\":\"\",\"mode\":\"create\"}", TOOL_DENIED}, /* a link to .. */
        {"file_write", "{\"path\":\"link\",\"text\":\"\",\"mode\":\"append\"}", TOOL_DENIED},
        {"file_write", "{\"path\":\"link\",\"text\":\"\",\"mode\":\"create\"}", TOOL_TOOL_ERROR},
        {"file_write", "{\"path\":\"link\",\"text\":\"\",\"mode\":\"replace\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"pipe\",\"text\":\"\",\"mode\":\"append\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"pipe\",\"text\":\"\",\"mode\":\"replace\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"d\",\"text\":\"\",\"mode\":\"append\"}", TOOL_INVALID_ARGS},
        {"file_write", "{\"path\":\"d\",\"text\":\"\",\"mode\":\"replace\"}", TOOL_INVALID_ARGS},
    };
    RUN(cases);
    char got[16] = "";
    auto_free char *outside = expand("@one/../outside");
    auto_close int fd = open(outside, O_RDONLY);
    assert_int_equal(read(fd, got, sizeof got), 6);
    assert_string_equal(got, "secret"); /* still */
}

static void test_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n, prefix;
    } rows[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"a\0b", 3, 1},
        {"\xC3\xA4", 2, 2},
        {"\xC3", 1, 0},
        {"\xC0\x80", 2, 0},         /* overlong */
        {"\xE0\x80\x80", 3, 0},     /* overlong */
        {"\xED\xA0\x80", 3, 0},     /* a surrogate */
        {"\xF0\x9F\x98\x80", 4, 4}, /* an emoji */
        {"\xF4\x90\x80\x80", 4, 0}, /* beyond U+10FFFF */
        {"\xF5\x80\x80\x80", 4, 0},
        {"x\xE2\x82", 3, 1},
        {"x\xE2\x82\xAC", 4, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(bytes_utf8_prefix(rows[i].text, rows[i].n), rows[i].prefix);
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}}; /* RFC 4648, section 10 */
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char text[16];
        uint8_t data[16];
        size_t n = strlen(pairs[i][0]), got = 99;
        bytes_base64_encode(pairs[i][0], n, text);
        assert_string_equal(text, pairs[i][1]);
        assert_int_equal(strlen(text), BYTES_BASE64_LENGTH(n));
        assert_int_equal(bytes_base64_decode(text, strlen(text), data, &got), 0);
        assert_int_equal(got, n);
        assert_memory_equal(data, pairs[i][0], n);
    }
}

/* What bytes_json_length() says is what the encoder writes, for every byte that can stand in a text. */
static void test_json_length(void **state) {
    (void)state;
    for (int c = 1; c < 128; c++) {
        char one[1] = {(char)c};
        auto_json json_t *value = json_stringn(one, 1);
        auto_free char *text = NULL;
        size_t n;
        assert_int_equal(json_text(value, 64, &text, &n), 0);
        assert_int_equal(bytes_json_length(one, 1) + 2, n);
        assert_int_equal(bytes_json_prefix(one, 1, n - 2), 1);
        assert_int_equal(bytes_json_prefix(one, 1, n - 3), 0);
    }
}

static void test_failure_names(void **state) {
    (void)state;
    for (int i = 0; i < TOOL_FAILURE__COUNT; i++)
        assert_int_equal(tool_failure_parse(tool_failure_text((enum tool_failure_name)i)), i);
    assert_int_equal(tool_failure_parse("nothing"), TOOL_FAILURE__COUNT);
    assert_int_equal(tool_failure_parse(NULL), TOOL_FAILURE__COUNT);
    struct tool_failure failure;
    char path[400]; /* cut in the middle of a character */
    for (size_t i = 0; i < sizeof path - 1; i++)
        path[i] = i % 2 ? '\xA4' : '\xC3';
    path[sizeof path - 1] = '\0';
    assert_int_equal(tool_fail(&failure, TOOL_DENIED, "%s", path), 1);
    assert_int_equal(bytes_utf8_prefix(failure.message, sizeof failure.message), strlen(failure.message));
    assert_int_equal(strlen(failure.message), 254);
}

static int put(int dir, const char *name, const char *data, size_t n, unsigned mode) {
    auto_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, mode);
    return fd >= 0 && write(fd, data, n) == (ssize_t)n && fchmod(fd, mode) == 0 ? 0 : -1;
}

static int fill_readable(int one, int two) {
    return mkdirat(one, "sub", 0700) || mkdirat(one, "sub/deep", 0700) || put(one, "a.txt", "hello\n", 6, 0600) ||
           put(one, "sub/b.md", "b", 1, 0600) || put(one, "sub/deep/c.md", "cc", 2, 0600) ||
           put(one, "bytes", "\xFF\0x", 3, 0600) || put(one, "umlauts", "äää", 6, 0600) ||
           put(one, "empty", "", 0, 0600) || symlinkat("a.txt", one, "inner") ||
           symlinkat("/etc/passwd", one, "absolute") || symlinkat("../outside", one, "upward") ||
           symlinkat("..", one, "updir") || symlinkat("loop", one, "loop") || symlinkat(".", one, "inloop") ||
           mkfifoat(one, "fifo", 0600) || put(two, "a.txt", "second", 6, 0600) || put(two, "only2", "2", 1, 0600);
}

static int fill_writable(int out) {
    return put(out, "w", "old", 3, 0640) || mkdirat(out, "d", 0700) || symlinkat("w", out, "link") ||
           symlinkat("..", out, "away") || mkfifoat(out, "pipe", 0600);
}

static int open_folder(char path[64], const char *name, struct tool_root *root) {
    (void)snprintf(path, 64, "%s/%s", place.top, name);
    if (mkdir(path, 0700) != 0)
        return -1;
    *root = (struct tool_root){open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path};
    return root->fd < 0 ? -1 : 0;
}

static int make_place(void **state) {
    (void)state;
    (void)snprintf(place.top, sizeof place.top, "/tmp/soma-builtin-XXXXXX");
    if (!mkdtemp(place.top) || open_folder(place.one, "one", &place.roots.read[0]) != 0 ||
        open_folder(place.two, "two", &place.roots.read[1]) != 0 ||
        open_folder(place.out, "out", &place.roots.write[0]) != 0)
        return -1;
    place.roots.n_read = 2;
    place.roots.n_write = 1;
    auto_close int top = open(place.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return put(top, "outside", "secret", 6, 0600) || put(top, "onex", "x", 1, 0600) ||
           fill_readable(place.roots.read[0].fd, place.roots.read[1].fd) || fill_writable(place.roots.write[0].fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int remove_place(void **state) {
    (void)state;
    fd_close(place.roots.read[0].fd);
    fd_close(place.roots.read[1].fd);
    fd_close(place.roots.write[0].fd);
    return nftw(place.top, remove_one, 64, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),        cmocka_unit_test(test_text),          cmocka_unit_test(test_long_pattern),
        cmocka_unit_test(test_nul_argument), cmocka_unit_test(test_read),          cmocka_unit_test(test_no_roots),
        cmocka_unit_test(test_read_large),   cmocka_unit_test(test_list),          cmocka_unit_test(test_list_deep),
        cmocka_unit_test(test_write),        cmocka_unit_test(test_write_refused), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_json_length),  cmocka_unit_test(test_failure_names),
    };
    json_init();
    return cmocka_run_group_tests_name("toolcall/builtin", tests, make_place, remove_place);
}
