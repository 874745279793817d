/* Think of who could have written what is read. A definition says which program is started and what it is granted, so
 * whoever can put a file here acts for the user: the folder must be ours or root's, and writable by its owner only. */
#include "registry/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/scan.h"

/* --- the folder ------------------------------------------------------------------------------------------------ */

/* Root is whoever owns "/": in a user namespace that is the overflow uid, since root has no number of its own there. */
static bool trusted_owner(uid_t uid) {
    struct stat top;
    return uid == geteuid() || uid == 0 || (stat("/", &top) == 0 && uid == top.st_uid);
}

static int check_trust(const struct stat *st) {
    if (!trusted_owner(st->st_uid))
        return err_raise(-EPERM,
                         "the folder belongs to uid %u, who could make tools act for you; chown it to yourself "
                         "or to root",
                         st->st_uid);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return err_raise(-EPERM, "others may write the folder (mode %04o), so nobody can answer for it; chmod go-w",
                         st->st_mode & 07777u);
    return 0;
}

/* The path stands in problems and logs. */
static bool path_shows(const char *path) {
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return scan_utf8(path, strlen(path)) != 0;
}

static int open_failed(int error) {
    switch (error) {
    case ENOENT:
        return err_raise(-error, "the folder does not exist; make it, or take it out of the configuration");
    case ENOTDIR:
        return err_raise(-error, "not a folder; name the folder that holds the files");
    default:
        return err_raise(-error, "the folder cannot be opened: %s", strerror(error));
    }
}

int folder_open(const char *path, int *out) {
    struct stat st;
    if (!path_shows(path))
        return err_raise(-EINVAL, "the folder's path is no plain text; rename it");
    auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return open_failed(errno);
    if (fstat(fd, &st) < 0)
        return err_raise(-errno, "the folder cannot be examined: %s", strerror(errno));
    int r = check_trust(&st);
    if (r < 0)
        return err_up(r);
    *out = take_fd(&fd);
    return 0;
}

/* --- its files ------------------------------------------------------------------------------------------------- */

void file_names_free(struct file_names **names) {
    for (size_t i = 0; *names && i < (*names)->n; i++)
        free((*names)->list[i]);
    free(*names);
    *names = NULL;
}

bool file_name_wanted(const char *name) {
    size_t n = strlen(name);
    return name[0] != '.' && n > 5 && strcmp(name + n - 5, ".json") == 0;
}

bool file_name_show(const char *name, char *shown, size_t size) {
    bool plain = true;
    size_t i = 0;
    for (; name[i] && i < size - 1; i++) {
        bool fits = name[i] >= 0x20 && name[i] <= 0x7e;
        shown[i] = (char)(fits ? name[i] : '?');
        plain = plain && fits;
    }
    shown[i] = '\0';
    return plain;
}

static int add_name(struct file_names *names, const char *name) {
    if (!file_name_wanted(name))
        return 0;
    if (names->n == FOLDER_FILES_MAX) {
        names->more = true;
        return 0;
    }
    names->list[names->n] = strdup(name);
    if (!names->list[names->n])
        return err_raise(-ENOMEM, "names of files");
    names->n++;
    return 0;
}

static int by_name(const void *x, const void *y) {
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static int read_names(DIR *dir, struct file_names *names) {
    int r = 0;
    while (r == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            break;
        r = add_name(names, entry->d_name);
    }
    if (r == 0 && errno)
        return err_raise(-errno, "the folder cannot be read: %s", strerror(errno));
    return err_up(r);
}

/* Opened anew, so that the caller's offset stays where it is. */
int folder_list(int dirfd, struct file_names **out) {
    auto_file_names struct file_names *names = calloc(1, sizeof *names);
    if (!names)
        return err_raise(-ENOMEM, "names of files");
    auto_close int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_raise(-errno, "the folder cannot be opened: %s", strerror(errno));
    auto_dir DIR *dir = fdopendir(fd);
    if (!dir)
        return err_raise(-ENOMEM, "names of files");
    (void)take_fd(&fd); /* the stream's now */
    int r = read_names(dir, names);
    if (r < 0)
        return err_up(r);
    qsort(names->list, names->n, sizeof *names->list, by_name);
    *out = take_ptr(&names);
    return 0;
}

/* --- one file -------------------------------------------------------------------------------------------------- */

/* O_NONBLOCK: a FIFO must not hold the registry until somebody writes into it. */
static int open_regular(int dirfd, const char *name, int *out) {
    auto_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 && errno == ELOOP)
        return err_raise(-ELOOP, "a symbolic link; put the file itself here");
    if (fd < 0)
        return err_raise(-errno, "cannot be opened: %s", strerror(errno));
    if (fstat(fd, &st) < 0)
        return err_raise(-errno, "cannot be examined: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_raise(-EINVAL, "not a regular file");
    if (st.st_mode & S_IWOTH)
        return err_raise(-EPERM, "everybody may write it, so nobody can answer for it; chmod o-w");
    *out = take_fd(&fd);
    return 0;
}

/* Reads to the end or to one byte above the limit. */
static int read_all(int fd, char *text, size_t *n) {
    size_t used = 0;
    while (used <= FILE_BYTES_MAX) {
        ssize_t got = read(fd, text + used, FILE_BYTES_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_raise(-errno, "cannot be read: %s", strerror(errno));
        if (got == 0)
            break;
        used += (size_t)got;
    }
    if (used > FILE_BYTES_MAX)
        return err_raise(-EMSGSIZE, "larger than %u bytes", FILE_BYTES_MAX);
    *n = used;
    return 0;
}

int file_read(int dirfd, const char *name, char **text, size_t *n) {
    auto_close int fd = -1;
    auto_free char *bytes = malloc(FILE_BYTES_MAX + 1);
    if (!bytes)
        return err_raise(-ENOMEM, "a definition's text");
    int r = open_regular(dirfd, name, &fd);
    if (r == 0)
        r = read_all(fd, bytes, n);
    if (r < 0)
        return err_up(r);
    *text = take_ptr(&bytes);
    return 0;
}
