/* Folders, socket, supervisor. What does not exist yet is no fault: `soma up` makes it. */
#include "cli/doctor.h"

#include "cli/session.h"
#include "common/cleanup.h"
#include "common/err.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define SPACE_LEAST (64ull << 20) /* bytes; below it the log cannot keep its reserve */
#define SPACE_LOW (1ull << 30)

static bool unknown(const struct patient *p, struct finding *f) {
    if (p->places_code < 0)
        found(f, DOCTOR_NOTE, NULL, "unknown without a configuration");
    return p->places_code < 0;
}

void nearest_folder(const char *path, char out[SPEC_PATH]) {
    struct stat st;
    (void)snprintf(out, SPEC_PATH, "%s", path);
    for (char *slash; stat(out, &st) < 0 && (slash = strrchr(out, '/')) && slash != out;)
        *slash = '\0';
    if (stat(out, &st) < 0)
        (void)snprintf(out, SPEC_PATH, "/");
}

void check_config(const struct patient *p, struct finding *f) {
    if (p->places_code < 0)
        found(f, DOCTOR_FAIL, "correct the file; soma.conf(5) lists every key", "%s", p->places_why);
    else if (*p->places.config)
        found(f, DOCTOR_OK, NULL, "%s", p->places.config);
    else
        found(f, DOCTOR_OK, NULL, "no file, defaults apply");
}

/* --- state ----------------------------------------------------------------------------------------------------- */

/* File systems on which a memory map of the log is not safe (or not the same for two mounts). */
static const char *unfit(long type) {
    static const struct {
        long magic;
        const char *name;
    } types[] = {
        {NFS_SUPER_MAGIC, "nfs"},   {0xff534d42, "cifs"},
        {0xfe534d42, "smb"},        {V9FS_MAGIC, "9p"},
        {FUSE_SUPER_MAGIC, "fuse"}, {CEPH_SUPER_MAGIC, "ceph"},
        {AFS_SUPER_MAGIC, "afs"},   {OVERLAYFS_SUPER_MAGIC, "overlay"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].magic == type)
            return types[i].name;
    return NULL;
}

void check_state_dir(const struct patient *p, struct finding *f) {
    static const char remedy[] = "set [soma] state= to a folder of your own (0700) on a local disk";
    char folder[SPEC_PATH];
    struct stat st;
    struct statfs fs;
    if (unknown(p, f))
        return;
    const char *dir = p->places.state_dir;
    nearest_folder(dir, folder);
    const char *bad = statfs(folder, &fs) == 0 ? unfit((long)fs.f_type) : NULL;
    bool there = lstat(dir, &st) == 0;
    if (bad)
        found(f, DOCTOR_FAIL, remedy, "%s is on a %s file system, where the log cannot be kept", dir, bad);
    else if (!there)
        found(f, access(folder, W_OK) == 0 ? DOCTOR_OK : DOCTOR_FAIL, access(folder, W_OK) == 0 ? NULL : remedy,
              "%s is not there yet; %s %s", dir, folder, access(folder, W_OK) == 0 ? "takes it" : "cannot be written");
    else if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        found(f, DOCTOR_FAIL, remedy, "%s: owner %u, mode %04o%s", dir, st.st_uid, st.st_mode & 07777,
              S_ISDIR(st.st_mode) ? "" : ", not a folder");
    else
        found(f, DOCTOR_OK, NULL, "%s, mode %04o", dir, st.st_mode & 07777);
}

void check_disk(const struct patient *p, struct finding *f) {
    char folder[SPEC_PATH];
    struct statfs fs;
    if (unknown(p, f))
        return;
    nearest_folder(p->places.state_dir, folder);
    if (statfs(folder, &fs) < 0) {
        found(f, DOCTOR_FAIL, "look at the mount", "%s: %s", folder, strerror(errno));
        return;
    }
    unsigned long long room = (unsigned long long)fs.f_bavail * (unsigned long long)fs.f_bsize;
    enum level level = room < SPACE_LEAST ? DOCTOR_FAIL : room < SPACE_LOW ? DOCTOR_WARN : DOCTOR_OK;
    found(f, level, level == DOCTOR_OK ? NULL : "make room: a full disk ends running work", "%llu MiB at %s",
          room >> 20, folder);
}

/* --- runtime --------------------------------------------------------------------------------------------------- */

void check_runtime_dir(const struct patient *p, struct finding *f) {
    if (unknown(p, f))
        return;
    int r = places_check_runtime(&p->places);
    if (r == -ENOENT)
        found(f, DOCTOR_OK, NULL, "%s is not there yet", p->places.runtime_dir);
    else if (r < 0)
        found(f, DOCTOR_FAIL, "remove it, or set [soma] runtime= to a folder of your own (0700)", "%s", err_text());
    else
        found(f, DOCTOR_OK, NULL, "%s", p->places.runtime_dir);
}

void check_socket(const struct patient *p, struct finding *f) {
    struct stat st;
    if (unknown(p, f))
        return;
    if (lstat(p->places.socket, &st) < 0)
        found(f, DOCTOR_OK, NULL, "%s is not there yet", p->places.socket);
    else if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 07))
        found(f, DOCTOR_FAIL, "remove it and start the supervisor again", "%s: owner %u, mode %04o%s", p->places.socket,
              st.st_uid, st.st_mode & 07777, S_ISSOCK(st.st_mode) ? "" : ", not a socket");
    else
        found(f, DOCTOR_OK, NULL, "%s, mode %04o", p->places.socket, st.st_mode & 07777);
}

void check_supervisor(const struct patient *p, struct finding *f) {
    auto_session struct session s = SESSION_NULL;
    if (unknown(p, f))
        return;
    int r = session_open(p->cli, &s);
    if (r == 0)
        found(f, DOCTOR_OK, NULL, "running, pid %d%s", (int)s.launcher,
              s.short_lived ? ", until its clients leave" : "");
    else if (r == -ENOENT || r == -ECONNREFUSED)
        found(f, DOCTOR_NOTE, "`soma up` starts one; `soma run` and `soma ask` bring their own", "not running");
    else
        found(f, DOCTOR_FAIL, "look at its processes with `ps f`", "%s", err_text());
}

void check_tools(const struct patient *p, struct finding *f) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    int r = p->places_code < 0 ? -ENOENT : session_open(p->cli, &s);
    if (r == 0)
        r = rpc_call(&s.rpc, "tools", NULL, SESSION_CALL_MS, &answer);
    if (r == -ENOENT || r == -ECONNREFUSED) {
        found(f, DOCTOR_NOTE, NULL, "not looked at without a supervisor; `soma tool check FILE` checks one");
        return;
    }
    if (r != 0) {
        found(f, DOCTOR_FAIL, "look at `soma log -n 20`", "%s", r < 0 ? err_text() : json_str(answer, "message"));
        return;
    }
    const json_t *problems = json_object_get(answer, "problems"), *first = json_array_get(problems, 0);
    size_t n = json_array_size(json_object_get(answer, "tools")), bad = json_array_size(problems);
    if (bad == 0)
        found(f, DOCTOR_OK, NULL, "%zu, no problems", n);
    else
        found(f, DOCTOR_FAIL, "`soma tool check FILE` says more", "%zu good, %zu skipped; the first: %s: %s", n, bad,
              json_str(first, "file"), json_str(first, "why"));
}

/* To be said until it is no longer true. */
void check_containment(const struct patient *p, struct finding *f) {
    found(
        f, DOCTOR_WARN, "let soma run only tools that you would run yourself",
        "external tools are NOT yet contained by seccomp and Landlock (P5): they run without privileges, in a process "
        "namespace of their own, but see the file system and the network, as an ordinary user also the "
        "supervisor's socket");
}
