/* /proc/self/exe is the kernel's word on which file is running (proc(5)), whatever argv[0] claims. */
#include "cli/exe.h"

#include "common/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* To add an executable, add its room here. */
static const struct {
    const char *name, *room;
} rooms[] = {
    {"soma", "cli"},
    {"soma-actors", "actor"},
    {"soma-eventlog", "eventlog"},
    {"soma-gateway", "gateway"},
    {"soma-llmcalls", "llmcall"},
    {"soma-registry", "registry"},
    {"soma-runs", "run"},
    {"soma-toolcalls", "toolcall"},
    {"somad", "supervisor"},
};

static const char *room_of(const char *name) {
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (strcmp(rooms[i].name, name) == 0)
            return rooms[i].room;
    return NULL;
}

/* A folder of that name (supervisor/somad/) may be searched too, hence the type check. */
static int usable(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

int exe_find_from(const char *dir, const char *name, char out[PATH_MAX]) {
    const char *room = room_of(name);
    const char *between[] = {"", room ? room : ".", "libexec/soma"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof between / sizeof *between; i++) {
        int n = snprintf(path, sizeof path, "%s/%s%s/%s", dir, i ? "../" : ".", between[i], name);
        if (n < 0 || (size_t)n >= sizeof path)
            return err_raise(-ENAMETOOLONG, "the path of %s", name);
        if (!usable(path))
            continue;
        memcpy(out, path, (size_t)n + 1);
        return 0;
    }
    return err_raise(-ENOENT, "%s is not in %s, nor in ../%s or ../libexec/soma beside it", name, dir, between[1]);
}

int exe_find(const char *name, char out[PATH_MAX]) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return err_raise(-errno, "/proc/self/exe: %s", strerror(errno));
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    return exe_find_from(self, name, out);
}
