/* Giving up rights. Raw capset(2) and prctl(2): all we ever do is drop everything, no library is needed for that. The
 * order matters: the bounding set needs CAP_SETPCAP, groups and ids need CAP_SETGID and CAP_SETUID, the sets themselves
 * go last, and dumpable after the change of uid, which resets it. A user namespace of its own, entered in between,
 * brings all capabilities inside it, so the bounding set is emptied once more. */
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "toolcall/exec.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int caps_get(struct __user_cap_data_struct data[2]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &header, data) == 0 ? 0 : err_raise(-errno, "capget: %s", strerror(errno));
}

static int caps_any(const struct __user_cap_data_struct data[2]) {
    uint32_t any = 0;
    for (int i = 0; i < 2; i++)
        any |= data[i].effective | data[i].permitted | data[i].inheritable;
    return any != 0;
}

/* A process without any capability may not touch the bounding set, and need not: under no_new_privs nothing can raise
 * what it bounds. */
static int drop_bounding(void) {
    struct __user_cap_data_struct now[2];
    int r = caps_get(now);
    if (r < 0 || !caps_any(now))
        return r;
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            return err_raise(-errno, "drop capability %lu from the bounding set: %s", cap, strerror(errno));
    return 0;
}

static int change_ids(uid_t uid, gid_t gid) {
    if (getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid) {
        /* An ordinary user cannot leave its groups; whoever can, does. */
        if (setgroups(0, NULL) != 0 && errno != EPERM)
            return err_raise(-errno, "setgroups: %s", strerror(errno));
        return 0;
    }
    if (setgroups(0, NULL) != 0)
        return err_raise(-errno, "setgroups: %s", strerror(errno));
    if (setresgid(gid, gid, gid) != 0)
        return err_raise(-errno, "setresgid %u: %s", gid, strerror(errno));
    if (setresuid(uid, uid, uid) != 0)
        return err_raise(-errno, "setresuid %u: %s", uid, strerror(errno));
    return 0;
}

static int put(const char *path, const char *text) {
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return err_raise(errno ? -errno : -EIO, "write %s: %s", path, strerror(errno));
    return 0;
}

/* RLIMIT_NPROC counts the processes of an uid in its user namespace, and under root all calls have one uid: without a
 * namespace of its own, one call's processes use up another's limit. An ordinary user's scope was born in one. Where
 * the kernel gives none, the limit stays shared, which is too strict and never too weak. user_namespaces(7). */
static int own_namespace(uid_t uid, gid_t gid) {
    char map[64];
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) /* or /proc/self belongs to root, and the maps cannot be written */
        return err_raise(-errno, "dumpable: %s", strerror(errno));
    if (unshare(CLONE_NEWUSER) != 0) {
        log_debug("event=shared_process_limit reason=\"%s\"", strerror(errno));
        return 0;
    }
    int r = put("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (r == 0)
        r = put("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof map, "%u %u 1", gid, gid);
    if (r == 0)
        r = put("/proc/self/gid_map", map);
    return r < 0 ? r : drop_bounding();
}

static int drop_caps(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
        return err_raise(-errno, "clear ambient capabilities: %s", strerror(errno));
    if (syscall(SYS_capset, &header, none) != 0)
        return err_raise(-errno, "capset: %s", strerror(errno));
    return 0;
}

/* Believing the calls is not enough here: a set-up that half worked must not run a tool. */
static int look_back(uid_t uid, gid_t gid) {
    struct __user_cap_data_struct now[2];
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    int r = caps_get(now);
    if (r < 0)
        return err_up(r);
    if (getresuid(&ruid, &euid, &suid) != 0 || getresgid(&rgid, &egid, &sgid) != 0)
        return err_raise(-errno, "read ids: %s", strerror(errno));
    if (caps_any(now) || ruid != uid || euid != uid || suid != uid || rgid != gid || egid != gid || sgid != gid)
        return err_raise(-EPERM, "rights are still held after giving them up");
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_raise(-EPERM, "no_new_privs or dumpable did not take");
    return 0;
}

int exec_become_tool(uid_t uid, gid_t gid) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_raise(-errno, "no_new_privs: %s", strerror(errno));
    bool changes = getuid() != uid;
    int r = drop_bounding();
    if (r == 0)
        r = change_ids(uid, gid);
    if (r == 0 && changes)
        r = own_namespace(uid, gid);
    if (r == 0)
        r = drop_caps();
    if (r < 0)
        return err_up(r);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_raise(-errno, "dumpable: %s", strerror(errno));
    return look_back(uid, gid);
}
