/* What the kernel offers is tried, not looked up: a sysctl that allows user namespaces says nothing about the container
 * or the security module around us. Everything happens in children, which tell by their exit status: an errno. */
#include "cli/doctor.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define RESERVE 100 /* descriptors that are no workers' */

void check_kernel(const struct patient *p, struct finding *f) {
    struct utsname u;
    unsigned major = 0, minor = 0;
    (void)uname(&u);
    if (sscanf(u.release, "%u.%u", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 1))
        found(f, DOCTOR_FAIL, "use Linux 6.1 or later", "Linux %s", u.release);
    else
        found(f, DOCTOR_OK, NULL, "Linux %s", u.release);
}

/* --- namespaces ------------------------------------------------------------------------------------------------ */

static int write_file(const char *path, const char *text) {
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;
}

/* Without a map the new namespace could not make another one (user_namespaces(7)). */
static int map_self(uid_t uid, gid_t gid) {
    char map[64];
    int e = write_file("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (e == 0)
        e = write_file("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof map, "%u %u 1", gid, gid);
    return e ? e : write_file("/proc/self/gid_map", map);
}

static int wait_status(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Makes `depth` namespaces inside each other. Runs in a child; 0 or an errno. */
static int nest(unsigned flags, int depth) {
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare((int)flags) < 0)
        return errno;
    int e = flags & CLONE_NEWUSER ? map_self(uid, gid) : 0;
    if (e || !(flags & CLONE_NEWPID))
        return e;
    pid_t pid = fork();
    if (pid == 0)
        _exit(getpid() != 1 ? EPROTO : depth > 1 ? nest(flags, depth - 1) : 0);
    return pid < 0 ? errno : wait_status(pid);
}

static int try_namespaces(unsigned flags, int depth) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(nest(flags, depth));
    return pid < 0 ? errno : wait_status(pid);
}

void check_user_namespaces(const struct patient *p, struct finding *f) {
    int e = try_namespaces(CLONE_NEWUSER, 1);
    if (e == 0)
        found(f, DOCTOR_OK, NULL, "can be made");
    else
        found(
            f, DOCTOR_FAIL,
            "allow them (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, AppArmor); do not run soma "
            "inside chroot",
            "cannot be made: %s", strerror(e));
}

/* launcher, root, supervisor, scope: three namespaces deep. As an ordinary user each brings its user namespace. */
void check_pid_namespaces(const struct patient *p, struct finding *f) {
    unsigned flags = geteuid() == 0 ? CLONE_NEWPID : CLONE_NEWPID | CLONE_NEWUSER;
    int one = try_namespaces(flags, 1), three = one ? one : try_namespaces(flags, 3);
    if (three == 0)
        found(f, DOCTOR_OK, NULL, "can be made, three deep%s", geteuid() == 0 ? "" : ", inside user namespaces");
    else
        found(f, DOCTOR_FAIL,
              "soma cannot promise that nothing is left behind here; run it outside the container that forbids them",
              "%s: %s", one ? "cannot be made" : "cannot be nested", strerror(three));
}

/* --- idmapped mounts ------------------------------------------------------------------------------------------- */

/* A user namespace that maps one uid, held by its descriptor. -errno. */
static int userns_open(void) {
    int ends[2], go[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    auto_close int ready_r = ends[0], ready_w = ends[1];
    if (pipe2(go, O_CLOEXEC) < 0)
        return -errno;
    auto_close int go_r = go[0], go_w = go[1];
    pid_t pid = fork();
    if (pid == 0) {
        char c = 0;
        go_w = fd_close(go_w);
        int e = unshare(CLONE_NEWUSER) < 0 || write(ready_w, &c, 1) != 1 ? errno : 0;
        _exit(e || read(go_r, &c, 1) < 0 ? 1 : 0);
    }
    ready_w = fd_close(ready_w);
    char c, path[64];
    int fd = -EPERM;
    if (pid > 0 && read(ready_r, &c, 1) == 1) {
        (void)snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        int e = write_file(path, "0 64998 1");
        (void)snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        e = e ? e : write_file(path, "0 64998 1");
        (void)snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
        fd = e ? -e : open(path, O_RDONLY | O_CLOEXEC);
        fd = fd == -1 ? -errno : fd;
    }
    go_w = fd_close(go_w); /* lets the child go */
    if (pid > 0)
        (void)wait_status(pid);
    return fd;
}

static int try_idmap(const char *folder) {
    int ns = userns_open();
    if (ns < 0)
        return -ns;
    auto_close int userns = ns;
    auto_close int tree = open_tree(AT_FDCWD, folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return errno;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)userns};
    return mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0 ? errno : 0;
}

void check_idmapped(const struct patient *p, struct finding *f) {
    char folder[SPEC_PATH] = "/";
    if (geteuid() != 0) {
        found(f, DOCTOR_NOTE, NULL, "not needed: tools run under your own uid");
        return;
    }
    if (p->places_code == 0)
        nearest_folder(p->places.state_dir, folder);
    int e = try_idmap(folder);
    if (e == 0)
        found(f, DOCTOR_OK, NULL, "can be made of %s", folder);
    else
        found(f, DOCTOR_WARN, "keep writable tool folders on ext4, xfs or btrfs; others are refused by name",
              "cannot be made of %s: %s", folder, strerror(e));
}

/* --- containment ----------------------------------------------------------------------------------------------- */

void check_landlock(const struct patient *p, struct finding *f) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi >= 1)
        found(f, DOCTOR_OK, NULL, "ABI %ld", abi);
    else
        found(f, DOCTOR_WARN, "boot with landlock in the kernel's lsm= list", "not available: %s", strerror(errno));
}

void check_seccomp(const struct patient *p, struct finding *f) {
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
        found(f, DOCTOR_OK, NULL, "filters can be installed");
    else
        found(f, DOCTOR_FAIL, "use a kernel with CONFIG_SECCOMP_FILTER", "not available: %s", strerror(errno));
}

/* --- limits ---------------------------------------------------------------------------------------------------- */

void check_nofile(const struct patient *p, struct finding *f) {
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    unsigned long long most = limit.rlim_max > RESERVE ? limit.rlim_max - RESERVE : 0;
    enum level level = most < 900 ? DOCTOR_WARN : DOCTOR_OK;
    found(f, level, level == DOCTOR_OK ? NULL : "raise the hard limit (ulimit -Hn, LimitNOFILE=)",
          "hard limit %llu: at most about %llu live workers", (unsigned long long)limit.rlim_max, most);
}

void check_nproc(const struct patient *p, struct finding *f) {
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_NPROC, &limit);
    if (limit.rlim_cur == RLIM_INFINITY)
        found(f, DOCTOR_OK, NULL, "no limit");
    else
        found(f, limit.rlim_cur < 256 ? DOCTOR_WARN : DOCTOR_OK,
              limit.rlim_cur < 256 ? "raise the limit (ulimit -u, TasksMax=)" : NULL, "at most %llu of this user",
              (unsigned long long)limit.rlim_cur);
}
