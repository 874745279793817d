/* soma.conf: every key, every refusal with its line, and the places where inih would be silent. */
#include "tests/common/probe.h"

#include "common/err.h"
#include "supervisor/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/soma-test-config-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/soma.conf", dir);
    return 0;
}

static int remove_folder(void **state) {
    return unlink(path) < 0 || rmdir(dir) < 0 ? -1 : 0;
}

static void put_bytes(const void *bytes, size_t n) {
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
}

static int load(const char *text, struct spec *spec) {
    put_bytes(text, strlen(text));
    spec_defaults(spec);
    return config_load(path, spec);
}

/* ---- keys ---- */

static void test_numbers(void **state) {
    (void)state;
    static struct spec spec;
    assert_int_equal(load("# comment\n; another\n\n"
                          "[supervisor]\nrestart_intensity = 7\nrestart_period=61s\nbackoff: 200ms\nbackoff_max = 31s\n"
                          "stable=0s\nstart_timeout=11s\nstop_timeout=6s\n"
                          "[limits]\ncancel_timeout=1ms\norphan_timeout=2m\nstep_timeout=1h\nrun_timeout=720h\n"
                          "max_workers=10\nmax_clients=4294967295\n"
                          "[soma]\ndebug=yes\n[tools]\nuid=1234\n",
                          &spec),
                     0);
    assert_true(spec.restart_intensity == 7 && spec.restart_period == 61000 && spec.backoff == 200);
    assert_true(spec.backoff_max == 31000 && spec.stable == 0 && spec.start == 11000 && spec.stop == 6000);
    assert_true(spec.cancel_timeout == 1 && spec.orphan_timeout == 120000 && spec.step_timeout == 3600000);
    assert_true(spec.run_timeout == INT64_C(2592000000) && spec.max_workers == 10 && spec.max_clients == UINT32_MAX);
    assert_true(spec.debug && spec.tool_uid == 1234 && spec.tool_gid == 1234);
}

static void test_booleans(void **state) {
    (void)state;
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (int i = 0; i < 4; i++) {
        static struct spec spec;
        char text[64];
        (void)snprintf(text, sizeof text, "[soma]\ndebug = %s\n", yes[i]);
        assert_true(load(text, &spec) == 0 && spec.debug);
        (void)snprintf(text, sizeof text, "[soma]\ndebug = %s\n", no[i]);
        assert_true(load(text, &spec) == 0 && !spec.debug);
    }
}

static void assert_below(const char *got, const char *name) {
    char wanted[SPEC_PATH];
    (void)snprintf(wanted, sizeof wanted, "%s/%s", dir, name);
    assert_string_equal(got, wanted);
}

static void test_paths(void **state) {
    (void)state;
    static struct spec spec;
    assert_int_equal(load("[soma]\nstate = /var/x/\nruntime = run\n[tools]\ndir = /a  b\n[actors]\ndir=c\n"
                          "[policy]\nread = /r1 r2\t/r3\nwrite =\n",
                          &spec),
                     0);
    assert_string_equal(spec.state_dir, "/var/x"); /* no slash at the end */
    assert_below(spec.runtime_dir, "run");         /* relative to the file */
    assert_true(spec.n_tool_dirs == 2 && spec.n_actor_dirs == 1 && spec.n_read_roots == 3 && spec.n_write_roots == 0);
    assert_string_equal(spec.tool_dirs[0], "/a");
    assert_below(spec.tool_dirs[1], "b");
    assert_below(spec.actor_dirs[0], "c");
    assert_below(spec.read_roots[1], "r2");
    assert_string_equal(spec.read_roots[2], "/r3");
    assert_string_equal(spec.config_path, path);
}

static void test_providers(void **state) {
    (void)state;
    static struct spec spec;
    assert_int_equal(load("[provider \"local\"]\nkind=script\nscript=x.json\n"
                          "[provider \"open.ai-1\"]\nkind=openai\nurl=https://api.example/v1\nkey_file=key\n"
                          "ca_file=/ca.pem\nmodel=m-1\ntimeout=5s\n",
                          &spec),
                     0);
    const struct spec_provider *p = spec.providers;
    assert_int_equal(spec.n_providers, 2);
    assert_string_equal(p[0].name, "local");
    assert_true(p[0].kind == PROVIDER_SCRIPT && p[0].timeout_ms == 120000);
    assert_below(p[0].path, "x.json");
    assert_string_equal(p[1].name, "open.ai-1");
    assert_true(p[1].kind == PROVIDER_OPENAI && p[1].timeout_ms == 5000);
    assert_string_equal(p[1].url, "https://api.example/v1");
    assert_below(p[1].key_file, "key");
    assert_string_equal(p[1].ca_file, "/ca.pem");
    assert_string_equal(p[1].model, "m-1");
}

/* ---- refusals ---- */

#define P9                                                                                                             \
    "[provider \"1\"]\nkind=script\n[provider \"2\"]\nkind=script\n[provider \"3\"]\nkind=script\n[provider \"4\"]\n"  \
    "kind=script\n[provider \"5\"]\nkind=script\n[provider \"6\"]\nkind=script\n[provider \"7\"]\nkind=script\n"       \
    "[provider \"8\"]\nkind=script\n[provider \"9\"]\nkind=script\n"

/* Line 0: a refusal of the whole, which names no line. `said` is a part of the text behind it. */
static const struct {
    const char *text;
    int line;
    const char *said;
} refusals[] = {
    {"[nope]\nx=1\n", 2, "unknown section [nope]"},
    {"x=1\n", 1, "unknown section"},
    {"[soma]\nnope=1\n", 2, "no key \"nope\""},
    {"[soma]\nState=/x\n", 2, "no key \"State\""},
    {"[soma]\n=1\n", 2, "no key"},
    {"[soma]\nstate\n", 2, "expected `key = value`"},
    {"[soma]\nstate=\n", 2, "no value"},
    {"[soma\nstate=/x\n", 1, "expected"},
    {"[soma] state=/x\n", 1, "expected"},
    {"[soma]\nstate=/x\n debug=yes\n", 3, "would continue the one before"},
    {"[soma]\nstate=/x\n\tdebug=yes\n", 3, "would continue the one before"},
    {"[soma]\nstate=/x\nstate=/y\n", 3, "duplicate key \"state\", first set in line 2"},
    {"[soma]\nstate = /x\n[limits]\nmax_clients=1\n[soma]\nstate:/y\n", 6, "first set in line 2"},
    {"[provider \"a\"]\nkind=script\nkind=script\n", 3, "duplicate"},
    {"[soma]\ndebug=maybe\n", 2, "[soma] debug: expected yes or no"},
    {"[soma]\ndebug=YES\n", 2, "yes or no"},
    {"[limits]\nstep_timeout=5\n", 2, "expected a duration"},
    {"[limits]\nstep_timeout=5 s\n", 2, "expected a duration"},
    {"[limits]\nstep_timeout=-5s\n", 2, "expected a duration"},
    {"[limits]\nstep_timeout=1.5s\n", 2, "expected a duration"},
    {"[limits]\nstep_timeout=s\n", 2, "expected a duration"},
    {"[limits]\nstep_timeout=721h\n", 2, "at most 30 days"},
    {"[limits]\nstep_timeout=99999999999999999999s\n", 2, "expected a duration"},
    {"[limits]\nstep_timeout=0s\n", 2, "at least 1"},
    {"[limits]\ncancel_timeout=0ms\n", 2, "at least 1"},
    {"[limits]\nmax_workers=0\n", 2, "at least 1"},
    {"[limits]\nmax_workers=-1\n", 2, "whole number"},
    {"[limits]\nmax_workers=1x\n", 2, "whole number"},
    {"[limits]\nmax_workers=4294967296\n", 2, "whole number"},
    {"[supervisor]\nrestart_intensity=33\n", 0, "at most 32"},
    {"[supervisor]\nbackoff=31s\n", 0, "backoff_max is below backoff"},
    {"[tools]\nuid=0\n", 2, "neither as root"},
    {"[tools]\nuid=65534\n", 2, "nobody"},
    {"[tools]\ndir=/a /b /c /d /e\n", 2, "more than 4"},
    {"[policy]\nread=/1 /2 /3 /4 /5 /6 /7 /8 /9\n", 2, "more than 8"},
    {"[provider x]\nkind=script\n", 2, "unknown section"},
    {"[provider \"\"]\nkind=script\n", 2, "expected [provider \"NAME\"]"},
    {"[provider \"a b\"]\nkind=script\n", 2, "expected [provider \"NAME\"]"},
    {"[provider \"a\"b]\nkind=script\n", 2, "expected [provider \"NAME\"]"},
    {"[provider \"a\"]\nkind=magic\n", 2, "expected script or openai"},
    {"[provider \"a\"]\nnope=1\n", 2, "[provider] has no key \"nope\""},
    {"[provider \"a\"]\nkind=openai\nurl=ftp://x\n", 3, "http:// or https://"},
    {"[provider \"a\"]\nkind=openai\n", 0, "needs url="},
    {"[provider \"a\"]\nkind=script\n", 0, "needs script="},
    {"[provider \"a234567890123456789012345678901234567890\"]\nkind=script\n", 1, "section name of"},
    {P9, 18, "at most 8"},
    {"[soma]\ndebug=maybe\n[nope]\nx=1\n", 2, "yes or no"}, /* the first refusal is told, with its own line */
    {"[soma]\nnope=1\ndebug=maybe\n", 2, "no key \"nope\""},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(refusals); i++) {
        static struct spec spec, before;
        char place[80];
        int r = load(refusals[i].text, &spec);
        if (refusals[i].line)
            (void)snprintf(place, sizeof place, "%s:%d: ", path, refusals[i].line);
        else
            (void)snprintf(place, sizeof place, "%s: ", path);
        if (r != -EINVAL || strncmp(err_text(), place, strlen(place)) != 0 || !strstr(err_text(), refusals[i].said))
            fail_msg("case %zu: %d \"%s\", wanted \"%s…%s\"\n%s", i, r, err_text(), place, refusals[i].said,
                     refusals[i].text);
        spec_defaults(&before);
        assert_memory_equal(&spec, &before, sizeof spec); /* untouched on failure */
    }
}

/* ---- lines and bytes ---- */

static void test_line_length(void **state) {
    (void)state;
    for (size_t n = CONFIG_LINE_MAX - 1; n <= CONFIG_LINE_MAX + 1; n++) {
        static struct spec spec;
        char text[512] = "[soma]\nstate=/", wanted[SPEC_PATH];
        size_t used = strlen("[soma]\n");
        memset(text + used + 7, 'x', n - 7);
        text[used + n] = 0;
        (void)snprintf(wanted, sizeof wanted, "%s", text + used + 6);
        strcat(text, "\n[limits]\nmax_clients=3\n");
        int r = load(text, &spec);
        assert_int_equal(r, n > CONFIG_LINE_MAX ? -EINVAL : 0);
        if (r == 0) { /* nothing is cut, nothing runs into the next line */
            assert_string_equal(spec.state_dir, wanted);
            assert_int_equal(spec.max_clients, 3);
        } else {
            assert_non_null(strstr(err_text(), ":2: line of 199 bytes, 198 are allowed"));
        }
    }
}

static void test_long_comments_are_refused_too(void **state) {
    (void)state;
    static struct spec spec;
    char text[512];
    memset(text, '#', 300); /* inih would cut it and read the rest as a line of its own */
    (void)snprintf(text + 300, sizeof text - 300, "\n");
    assert_int_equal(load(text, &spec), -EINVAL);
}

static void test_line_ends(void **state) {
    (void)state;
    static struct spec spec;
    assert_int_equal(load("[soma]\r\ndebug=yes\r\n\r\n[limits]\r\nmax_clients=3", &spec), 0);
    assert_true(spec.debug && spec.max_clients == 3);
    assert_int_equal(load("", &spec), 0);
    assert_int_equal(load("\n\n", &spec), 0);
}

static void test_bytes(void **state) {
    (void)state;
    static const char nul[] = "[soma]\ndebug=yes\n\0state=/x\n", latin[] = "[soma]\nstate=/\xe9\n";
    static struct spec spec;
    spec_defaults(&spec);
    put_bytes(nul, sizeof nul - 1);
    assert_int_equal(config_load(path, &spec), -EINVAL);
    put_bytes(latin, sizeof latin - 1);
    assert_int_equal(config_load(path, &spec), -EINVAL);
    auto_free char *big = malloc(CONFIG_BYTES_MAX + 1);
    memset(big, '\n', CONFIG_BYTES_MAX + 1);
    put_bytes(big, CONFIG_BYTES_MAX);
    assert_int_equal(config_load(path, &spec), 0);
    put_bytes(big, CONFIG_BYTES_MAX + 1);
    assert_int_equal(config_load(path, &spec), -EINVAL);
}

static void test_no_file(void **state) {
    (void)state;
    static struct spec spec;
    spec_defaults(&spec);
    assert_int_equal(config_load("/nonexistent/soma.conf", &spec), -ENOENT);
    assert_non_null(strstr(err_text(), "/nonexistent/soma.conf"));
    assert_int_equal(config_load(dir, &spec), -EINVAL);
    assert_int_equal(config_load("/dev/null", &spec), -EINVAL);
}

/* ---- places ---- */

static void set(const char *name, const char *value) {
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void test_find(void **state) {
    (void)state;
    char out[SPEC_PATH];
    put_bytes("", 0);
    set("SOMA_CONFIG", NULL);
    set("XDG_CONFIG_HOME", NULL);
    set("HOME", "/nonexistent");
    assert_int_equal(config_find("/given", out), 0);
    assert_string_equal(out, "/given");
    set("SOMA_CONFIG", "/named");
    assert_int_equal(config_find(NULL, out), 0);
    assert_string_equal(out, "/named");
    set("SOMA_CONFIG", "");
    set("XDG_CONFIG_HOME", "/nonexistent");
    int r = config_find(NULL, out);
    assert_true(r == 1 ? !*out : strcmp(out, "/etc/soma/soma.conf") == 0);
    char xdg[SPEC_PATH], folder[SPEC_PATH];
    (void)snprintf(folder, sizeof folder, "%.100s/soma", dir);
    (void)snprintf(xdg, sizeof xdg, "%.100s/soma.conf", folder);
    assert_true(mkdir(folder, 0700) == 0 && link(path, xdg) == 0);
    set("XDG_CONFIG_HOME", dir);
    r = config_find(NULL, out);
    (void)unlink(xdg);
    (void)rmdir(folder);
    assert_int_equal(r, 0);
    assert_string_equal(out, xdg);
}

static void test_places(void **state) {
    (void)state;
    static struct spec spec;
    spec_defaults(&spec);
    (void)snprintf(spec.state_dir, sizeof spec.state_dir, "/configured");
    set("STATE_DIRECTORY", "/given/state");
    set("RUNTIME_DIRECTORY", "/given/run");
    assert_int_equal(config_places(&spec), 0);
    assert_string_equal(spec.state_dir, "/configured");
    assert_string_equal(spec.runtime_dir, "/given/run");
    assert_string_equal(spec.socket_path, "/given/run/soma.sock");
    spec_defaults(&spec);
    set("STATE_DIRECTORY", NULL);
    set("RUNTIME_DIRECTORY", NULL);
    set("XDG_STATE_HOME", "/xdg/state");
    set("XDG_RUNTIME_DIR", "/xdg/run");
    assert_int_equal(config_places(&spec), 0);
    assert_string_equal(spec.state_dir, geteuid() ? "/xdg/state/soma" : "/var/lib/soma");
    assert_string_equal(spec.runtime_dir, geteuid() ? "/xdg/run/soma" : "/run/soma");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_providers),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_line_length),
        cmocka_unit_test(test_long_comments_are_refused_too),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
