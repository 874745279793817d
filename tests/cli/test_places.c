/* Where things are looked for, and whose folders are trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/exe.h"
#include "cli/places.h"
#include "common/err.h"
#include "tests/cli/fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static const char *const variables[] = {
    "SOMA_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY",
    "HOME"};

static void clear(void) {
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        assert_int_equal(unsetenv(variables[i]), 0);
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The environment alone; what depends on the uid is compared with what this uid gets. */
static void test_folders(void **state) {
    struct places p;
    clear();
    assert_int_equal(setenv("HOME", "/home/u", 1), 0);
    assert_int_equal(places_resolve(NULL, &p), 0);
    bool root = geteuid() == 0;
    char tmp[64];
    (void)snprintf(tmp, sizeof tmp, "/tmp/soma-%u", geteuid());
    assert_string_equal(p.state_dir, root ? "/var/lib/soma" : "/home/u/.local/state/soma");
    assert_string_equal(p.runtime_dir, root ? "/run/soma" : tmp);
    assert_int_equal(setenv("XDG_STATE_HOME", "/xs", 1), 0);
    assert_int_equal(setenv("XDG_RUNTIME_DIR", "/xr", 1), 0);
    assert_int_equal(places_resolve(NULL, &p), 0);
    assert_string_equal(p.state_dir, root ? "/var/lib/soma" : "/xs/soma");
    assert_string_equal(p.runtime_dir, root ? "/run/soma" : "/xr/soma");
    assert_int_equal(setenv("STATE_DIRECTORY", "/svc/state", 1), 0);
    assert_int_equal(setenv("RUNTIME_DIRECTORY", "/svc/run", 1), 0);
    assert_int_equal(places_resolve(NULL, &p), 0);
    assert_string_equal(p.state_dir, "/svc/state");
    assert_string_equal(p.runtime_dir, "/svc/run");
    assert_string_equal(p.socket, "/svc/run/soma.sock");
}

/* --config, then $SOMA_CONFIG, then the user's own; a soma.conf in the current folder is never read. */
static void test_config(void **state) {
    struct place dir;
    struct places p;
    char given[4352], named[4352], own[4352], here[4096];
    clear();
    assert_int_equal(place_make(&dir, 0), 0);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(dir.dir), 0);
    write_text("soma.conf", "this is not read\n");
    (void)snprintf(given, sizeof given, "%s/given.conf", dir.dir);
    (void)snprintf(named, sizeof named, "%s/named.conf", dir.dir);
    (void)snprintf(own, sizeof own, "%s/soma", dir.dir);
    assert_int_equal(mkdir(own, 0700), 0);
    (void)snprintf(own, sizeof own, "%s/soma/soma.conf", dir.dir);
    write_text(given, "[soma]\nruntime = /given\nstate = /given-state\n");
    write_text(named, "[soma]\nruntime = /named\n");
    write_text(own, "[soma]\nruntime = /own\n");
    assert_int_equal(setenv("XDG_CONFIG_HOME", dir.dir, 1), 0);
    assert_int_equal(setenv("RUNTIME_DIRECTORY", "/svc", 1), 0);
    assert_int_equal(setenv("STATE_DIRECTORY", "/svc-state", 1), 0);
    assert_int_equal(places_resolve(NULL, &p), 0);
    assert_string_equal(p.socket, "/own/soma.sock");
    assert_string_equal(p.state_dir, "/svc-state");
    assert_int_equal(setenv("SOMA_CONFIG", named, 1), 0);
    assert_int_equal(places_resolve(NULL, &p), 0);
    assert_string_equal(p.socket, "/named/soma.sock");
    assert_int_equal(places_resolve(given, &p), 0);
    assert_string_equal(p.socket, "/given/soma.sock");
    assert_string_equal(p.state_dir, "/given-state");
    assert_int_equal(places_resolve("/nonexistent/soma.conf", &p), -ENOENT);
    assert_string_equal(p.socket, "/given/soma.sock"); /* untouched on failure */
    write_text(given, "[soma]\nnonsense = 1\n");
    assert_int_equal(places_resolve(given, &p), -EINVAL);
    assert_non_null(strstr(err_text(), ":2:"));
    assert_int_equal(chdir(here), 0);
    place_remove(&dir);
}

static void test_runtime_folder(void **state) {
    struct place dir;
    struct places p = {0};
    char link[4352];
    assert_int_equal(place_make(&dir, 0), 0);
    (void)snprintf(p.runtime_dir, sizeof p.runtime_dir, "%.900s/run", dir.dir);
    assert_int_equal(places_check_runtime(&p), -ENOENT);
    assert_int_equal(places_make_runtime(&p), 0);
    assert_int_equal(places_make_runtime(&p), 0); /* again */
    struct stat st;
    assert_int_equal(stat(p.runtime_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(chmod(p.runtime_dir, 0777), 0);
    assert_int_equal(places_make_runtime(&p), -EPERM);
    (void)snprintf(link, sizeof link, "%s/link", dir.dir);
    assert_int_equal(symlink(dir.dir, link), 0);
    (void)snprintf(p.runtime_dir, sizeof p.runtime_dir, "%.900s", link);
    assert_int_equal(places_check_runtime(&p), -EPERM);
    assert_non_null(strstr(err_text(), "symbolic link"));
    if (geteuid() == 0) {
        (void)snprintf(p.runtime_dir, sizeof p.runtime_dir, "%.900s/foreign", dir.dir);
        assert_int_equal(mkdir(p.runtime_dir, 0700), 0);
        assert_int_equal(chown(p.runtime_dir, 4242, 4242), 0);
        assert_int_equal(places_make_runtime(&p), -EPERM);
        assert_non_null(strstr(err_text(), "4242"));
    }
    place_remove(&dir);
}

/* Beside the program, in the build tree, in the installation; nowhere else. */
static void test_executables(void **state) {
    static const struct {
        const char *installed, *found;
    } cases[] = {
        {"cli/libexec-is-no-place/soma-runs", NULL},
        {"libexec/soma/soma-runs", "/cli/../libexec/soma/soma-runs"},
        {"run/soma-runs", "/cli/../run/soma-runs"},
        {"cli/soma-runs", "/cli/./soma-runs"},
    };
    struct place dir;
    char from[4352], path[PATH_MAX], wanted[4352], made[4352];
    assert_int_equal(place_make(&dir, 0), 0);
    (void)snprintf(made, sizeof made, "%s/libexec", dir.dir);
    assert_int_equal(mkdir(made, 0700), 0);
    (void)snprintf(from, sizeof from, "%s/cli", dir.dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(place_install(&dir, cases[i].installed, "#!/bin/sh\n"), 0);
        int r = exe_find_from(from, "soma-runs", path);
        assert_int_equal(r, cases[i].found ? 0 : -ENOENT);
        if (!cases[i].found)
            continue;
        (void)snprintf(wanted, sizeof wanted, "%s%s", dir.dir, cases[i].found);
        assert_string_equal(path, wanted);
    }
    place_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_runtime_folder),
        cmocka_unit_test(test_executables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
