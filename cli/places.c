/* The environment and the file are read by supervisor/config.c; what is checked here is what others may have put in our
 * way: /tmp belongs to everybody. */
#include "cli/places.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "supervisor/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All or nothing: the specification is big and only these four of it are wanted. */
static int resolve(const char *config, struct spec *spec) {
    char file[SPEC_PATH];
    spec_defaults(spec);
    int r = config_find(config, file);
    if (r == 0)
        r = config_load(file, spec);
    return r < 0 ? err_up(r) : config_places(spec);
}

int places_resolve(const char *config, struct places *out) {
    auto_free struct spec *spec = malloc(sizeof *spec);
    if (!spec)
        return err_raise(-ENOMEM, "configuration");
    int r = resolve(config, spec);
    if (r < 0)
        return err_up(r);
    memcpy(out->config, spec->config_path, sizeof out->config);
    memcpy(out->state_dir, spec->state_dir, sizeof out->state_dir);
    memcpy(out->runtime_dir, spec->runtime_dir, sizeof out->runtime_dir);
    memcpy(out->socket, spec->socket_path, sizeof out->socket);
    return 0;
}

/* /tmp is everybody's: without this check somebody else could have made the folder first and listen in it. */
int places_check_runtime(const struct places *places) {
    const char *dir = places->runtime_dir;
    struct stat st;
    if (lstat(dir, &st) < 0)
        return err_raise(-errno, "%s: %s", dir, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return err_raise(-EPERM, "%s is a symbolic link; refused", dir);
    if (!S_ISDIR(st.st_mode))
        return err_raise(-EPERM, "%s is not a folder; refused", dir);
    if (st.st_uid != geteuid())
        return err_raise(-EPERM, "%s belongs to uid %u, not to %u; refused", dir, st.st_uid, geteuid());
    if (st.st_mode & 022)
        return err_raise(-EPERM, "%s can be written by others (mode %04o); refused", dir, st.st_mode & 07777);
    return 0;
}

int places_make_runtime(const struct places *places) {
    int r = config_make_parents(places->runtime_dir);
    if (r < 0)
        return err_up(r);
    if (mkdir(places->runtime_dir, 0700) < 0 && errno != EEXIST)
        return err_raise(-errno, "make %s: %s", places->runtime_dir, strerror(errno));
    return places_check_runtime(places);
}
