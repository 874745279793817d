/* The granted folders, on file systems that each case mounts for itself in a mount namespace of its own. Being root is
 * the point of idmapped mounts: without it those cases are skipped by name. */
#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "tests/kit/process.h"
#include "tests/toolcall/scope.h"
#include "toolcall/builtin.h"
#include "toolcall/exec.h"
#include "toolcall/roots.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define TOOL_UID 64998 /* nobody's on a Debian system */
#define TOOL_GID 64999
#define OWNER 12345
#define GROUP 12346

static char folder[] = "/tmp/soma-roots-XXXXXX";

static void make_spec(struct spec *spec, bool privileged) {
    spec_defaults(spec);
    spec->privileged = privileged;
    spec->tool_uid = TOOL_UID;
    spec->tool_gid = TOOL_GID;
}

static void grant(char roots[][SPEC_PATH], uint32_t *n, const char *path) {
    (void)snprintf(roots[(*n)++], SPEC_PATH, "%s", path);
}

/* ---- inside a scope: exit status 0 is good ---- */

static int mount_owned(const char *type) {
    if (mount(type, folder, type, MS_NOSUID | MS_NODEV, "mode=0700") != 0)
        return scope_wrong(type, "mount: %s", strerror(errno));
    if (chown(folder, OWNER, GROUP) != 0)
        return scope_wrong(type, "chown: %s", strerror(errno));
    return 0;
}

static int write_as_tool(const struct tool_roots *roots, const char *path, const char *mode, const char *failure) {
    auto_json json_t *args = json_pack("{s:s, s:s, s:s}", "path", path, "text", "abc", "mode", mode);
    auto_json json_t *value = NULL;
    struct tool_failure why;
    bool failed = builtin_run("file_write", args, roots, TOOL_VALUE_MAX, &value, &why) != 0;
    if (failed != (failure != NULL))
        return scope_wrong(path, "%s", failed ? why.message : "was written");
    if (failed && strcmp(tool_failure_text(why.name), failure) != 0)
        return scope_wrong(path, "%s, expected %s", tool_failure_text(why.name), failure);
    return 0;
}

/* What the tool's process sees and may do; it has no way to the folder but the descriptor. */
static int as_tool(const struct roots *roots) {
    struct tool_roots tool = {.write = {{roots->write[0], folder}}, .n_write = 1};
    char path[sizeof folder + 16];
    (void)snprintf(path, sizeof path, "%s/around", folder);
    if (exec_become_tool(TOOL_UID, TOOL_GID) < 0)
        return scope_wrong("rights", "%s", err_text());
    struct stat st;
    if (fstat(roots->write[0], &st) != 0 || st.st_uid != TOOL_UID || st.st_gid != TOOL_GID)
        return scope_wrong("through the root", "owner %u:%u", st.st_uid, st.st_gid);
    if (open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EACCES)
        return scope_wrong("around the root", "%s", strerror(errno));
    int r = write_as_tool(&tool, "new", "create", NULL);
    if (r == 0)
        r = write_as_tool(&tool, "new", "append", NULL);
    if (r == 0)
        r = write_as_tool(&tool, "others", "append", "denied");
    if (r == 0)
        r = write_as_tool(&tool, "../out", "create", "denied");
    return r;
}

static int in_child(const struct roots *roots) {
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int r = as_tool(roots);
        (void)fflush(NULL);
        _exit(r);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return scope_wrong("fork", "%s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int check_owner(const char *name) {
    char path[sizeof folder + 16];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (stat(path, &st) != 0)
        return scope_wrong(name, "%s", strerror(errno));
    if (st.st_uid != OWNER || st.st_gid != GROUP || st.st_size != 6)
        return scope_wrong(name, "owner %u:%u, %lld bytes", st.st_uid, st.st_gid, (long long)st.st_size);
    return 0;
}

static int write_root(const void *arg) {
    struct spec spec;
    struct roots roots;
    char path[sizeof folder + 16];
    int r = mount_owned("tmpfs");
    if (r != 0)
        return r;
    (void)snprintf(path, sizeof path, "%s/others", folder); /* root's own, not the owner's */
    auto_close int others = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    make_spec(&spec, true);
    grant(spec.write_roots, &spec.n_write_roots, folder);
    int before = kit_fds(0);
    if (others < 0 || roots_open(&spec, &roots) < 0)
        return scope_wrong("roots_open", "%s", err_text());
    if (kit_fds(0) != before + 1 || roots.n_write != 1 || roots.n_read != 0)
        return scope_wrong("roots_open", "%d descriptors, %d before", kit_fds(0), before);
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
        return scope_wrong("roots_open", "a child is left");
    r = in_child(&roots);
    return r != 0 ? r : check_owner("new");
}

/* ramfs is one of those that know no idmapped mounts. */
static int refused_by_name(const void *arg) {
    struct spec spec;
    struct roots roots;
    int r = mount_owned("ramfs");
    if (r != 0)
        return r;
    make_spec(&spec, true);
    grant(spec.read_roots, &spec.n_read_roots, folder); /* reading needs none */
    if (roots_open(&spec, &roots) != 0)
        return scope_wrong("read root", "%s", err_text());
    grant(spec.write_roots, &spec.n_write_roots, folder);
    r = roots_open(&spec, &roots);
    if (r != -EOPNOTSUPP || !strstr(err_text(), folder) || !strstr(err_text(), "write="))
        return scope_wrong("write root", "%d, %s", r, err_text());
    return 0;
}

/* ---- the cases ---- */

static void need_root(const char *what) {
    if (geteuid() == 0)
        return;
    print_message("  skipped: %s: only root has idmapped mounts\n", what);
    skip();
}

static void what_a_tool_writes_is_the_owners(void **state) {
    need_root("what a tool writes is the owner's");
    assert_int_equal(scope_run(write_root, NULL, true), 0);
}

static void a_file_system_without_idmap_is_refused(void **state) {
    need_root("a file system without idmap is refused");
    assert_int_equal(scope_run(refused_by_name, NULL, true), 0);
}

static void missing_folders_are_named(void **state) {
    struct spec spec;
    struct roots roots;
    make_spec(&spec, false);
    grant(spec.write_roots, &spec.n_write_roots, "/nowhere/at/all");
    assert_int_equal(roots_open(&spec, &roots), -ENOENT);
    assert_non_null(strstr(err_text(), "write=/nowhere/at/all"));
    make_spec(&spec, false);
    grant(spec.read_roots, &spec.n_read_roots, "/etc/passwd");
    assert_int_equal(roots_open(&spec, &roots), -ENOTDIR);
    assert_non_null(strstr(err_text(), "read=/etc/passwd"));
}

static bool same_folder(int fd, const char *path) {
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* An ordinary user's tools are that user's: nothing is mapped, the order is that of the configuration. */
static void an_ordinary_users_folders_are_themselves(void **state) {
    struct spec spec;
    struct roots roots;
    make_spec(&spec, false);
    grant(spec.read_roots, &spec.n_read_roots, "/usr");
    grant(spec.read_roots, &spec.n_read_roots, "/etc");
    grant(spec.write_roots, &spec.n_write_roots, folder);
    assert_int_equal(roots_open(&spec, &roots), 0);
    auto_close int usr = roots.read[0], etc = roots.read[1], own = roots.write[0];
    assert_int_equal(roots.n_read, 2);
    assert_int_equal(roots.n_write, 1);
    assert_true(same_folder(usr, "/usr"));
    assert_true(same_folder(etc, "/etc"));
    assert_true(same_folder(own, folder));
}

static int make_folder(void **state) {
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    return rmdir(folder); /* fails when something was written around the mounts */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_tool_writes_is_the_owners),
        cmocka_unit_test(a_file_system_without_idmap_is_refused),
        cmocka_unit_test(missing_folders_are_named),
        cmocka_unit_test(an_ordinary_users_folders_are_themselves),
    };
    return cmocka_run_group_tests_name("toolcall-roots", tests, make_folder, remove_folder);
}
