/* file_list: a walk over one folder, or the tree below it, depth first and each folder in byte order, so that the same
 * tree gives the same list. Links are named and never followed; what bounds the walk (depth, count, size of the result)
 * and what cannot be shown (a folder closed to us, a name that is not UTF-8) makes the list `truncated`. */
#include "common/cleanup.h"
#include "common/json.h"
#include "toolcall/builtin_impl.h"
#include "toolcall/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 32u
#define NAMES_MAX 50000u /* looked at in one call, matching or not */
#define ENVELOPE 64u     /* bytes of the result beside its entries */
#define ENTRY_COST 56u   /* bytes of an entry beside its path: keys, quotes, type, a 20-digit size */

struct list {
    const struct builtin_call *call;
    const char *glob; /* NULL: everything */
    bool glob_is_path, recursive, truncated;
    size_t seen, budget;
    json_t *entries;
    char path[PATH_MAX]; /* of the entry looked at, as the caller may use it in file_read */
    size_t below;        /* where, in it, the part below the folder asked for begins */
};

struct names {
    char **list;
    size_t n, room;
};

static void names_deinit(struct names *names) {
    for (size_t i = 0; i < names->n; i++)
        free(names->list[i]);
    free(names->list);
    *names = (struct names){0};
}

static int names_add(struct names *names, const char *name) {
    if (names->n == names->room) {
        size_t room = names->room ? 2 * names->room : 32;
        char **list = realloc(names->list, room * sizeof *list);
        if (!list)
            return -ENOMEM;
        names->list = list;
        names->room = room;
    }
    names->list[names->n] = strdup(name);
    if (!names->list[names->n])
        return -ENOMEM;
    names->n++;
    return 0;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names of a folder, sorted, as far as the call's count reaches. Takes a descriptor of its own for the DIR. */
static int names_read(struct list *l, int fd, struct names *names) {
    int own = path_open_at(fd, ".", O_RDONLY | O_DIRECTORY, 0, true);
    if (own < 0)
        return own;
    auto_dir DIR *dir = fdopendir(own);
    if (!dir) {
        int r = -errno;
        (void)fd_close(own);
        return r;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno != 0)
            return -errno;
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (l->seen == NAMES_MAX) {
            l->truncated = true;
            break;
        }
        l->seen++;
        int r = names_add(names, entry->d_name);
        if (r < 0)
            return r;
    }
    if (names->n > 1)
        qsort(names->list, names->n, sizeof names->list[0], by_bytes);
    return 0;
}

static const char *type_text(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "link";
    default:
        return "other";
    }
}

static bool wanted(const struct list *l, const char *name) {
    if (!l->glob)
        return true;
    return l->glob_is_path ? fnmatch(l->glob, l->path + l->below, FNM_PATHNAME) == 0 : fnmatch(l->glob, name, 0) == 0;
}

/* Appends the entry whose path stands in l->path. Returns 1 when the result is full, 0, or a negative errno. */
static int list_emit(struct list *l, const struct stat *st) {
    size_t n = strlen(l->path);
    if (bytes_utf8_prefix(l->path, n) != n) {
        l->truncated = true;
        return 0;
    }
    size_t cost = bytes_json_length(l->path, n) + ENTRY_COST;
    if (cost > l->budget) {
        l->truncated = true;
        return 1;
    }
    l->budget -= cost;
    /* Only a file's size means the same on every file system. */
    json_int_t size = S_ISREG(st->st_mode) ? (json_int_t)st->st_size : 0;
    json_t *entry = json_pack("{s:s, s:s, s:I}", "path", l->path, "type", type_text(st->st_mode), "size", size);
    return json_array_append_new(l->entries, entry) == 0 ? 0 : -ENOMEM;
}

static int list_folder(struct list *l, int fd, size_t length, unsigned depth);

/* One name of the folder `fd`, whose own path is the first `length` bytes of l->path. Same returns as list_emit(). */
static int list_name(struct list *l, int fd, const char *name, size_t length, unsigned depth) {
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        l->truncated = l->truncated || errno != ENOENT; /* gone since it was read: it is not there */
        return 0;
    }
    int n = snprintf(l->path + length, sizeof l->path - length, "%s", name);
    if (n < 0 || (size_t)n + 1 >= sizeof l->path - length) {
        l->truncated = true; /* a path too long to be used */
        return 0;
    }
    int r = wanted(l, name) ? list_emit(l, &st) : 0;
    if (r != 0 || !l->recursive || !S_ISDIR(st.st_mode))
        return r;
    auto_close int sub = depth + 1 < DEPTH_MAX ? path_open_at(fd, name, O_RDONLY | O_DIRECTORY, 0, false) : -ELOOP;
    if (sub < 0) {
        l->truncated = true;
        return 0;
    }
    size_t end = length + (size_t)n;
    l->path[end] = '/';
    l->path[end + 1] = '\0';
    return list_folder(l, sub, end + 1, depth + 1);
}

static int list_folder(struct list *l, int fd, size_t length, unsigned depth) {
    struct names names = {0};
    int r = names_read(l, fd, &names);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = list_name(l, fd, names.list[i], length, depth);
    names_deinit(&names);
    return r;
}

/* What stands before every name: "" for ".", else the path asked for and one slash. */
static int list_prefix(struct list *l, const char *path) {
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/')
        n--;
    bool here = n == 0 || (n == 1 && path[0] == '.');
    if (path[0] == '/' || !here) {
        int written = snprintf(l->path, sizeof l->path, "%.*s/", (int)n, path);
        if (written < 0 || (size_t)written >= sizeof l->path)
            return path_failure(l->call, path, ENAMETOOLONG);
        l->below = (size_t)written;
    }
    return 0;
}

int builtin_file_list(const struct builtin_call *call, json_t **out) {
    const char *path;
    size_t n;
    struct list l = {.call = call, .budget = call->max_bytes > ENVELOPE ? call->max_bytes - ENVELOPE : 0};
    if (arg_text(call, "path", true, &path, &n) != 0 || arg_text(call, "glob", false, &l.glob, &n) != 0 ||
        arg_flag(call, "recursive", &l.recursive) != 0)
        return 1;
    if (strlen(path) >= PATH_MAX)
        return path_failure(call, path, ENAMETOOLONG);
    l.glob_is_path = l.glob && strchr(l.glob, '/');
    auto_close int fd = -1;
    if (path_open(call, call->roots->read, call->roots->n_read, path, O_RDONLY | O_DIRECTORY, &fd) != 0 ||
        list_prefix(&l, path) != 0)
        return 1;
    auto_json json_t *entries = json_array();
    l.entries = entries;
    int r = entries ? list_folder(&l, fd, l.below, 0) : -ENOMEM;
    if (r < 0)
        return path_failure(call, path, -r);
    return builtin_done(call, json_pack("{s:O, s:b}", "entries", entries, "truncated", l.truncated), out);
}
