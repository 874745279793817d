/* file_read and file_write. A read never blocks (O_NONBLOCK, regular files only). A write is on the disk before it is
 * reported: the file is synced, and where a name was made or moved its folder too. */
#include "common/cleanup.h"
#include "common/json.h"
#include "toolcall/builtin_impl.h"
#include "toolcall/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENVELOPE 96u /* bytes of a result beside its content */
#define NAME_TRIES 8

/* A regular file, or a refusal: a fifo, a device or a socket is not data at rest. */
static int want_regular(const struct builtin_call *call, const char *path, int fd, struct stat *st) {
    if (fstat(fd, st) != 0)
        return path_failure(call, path, errno);
    return S_ISREG(st->st_mode) ? 0 : path_failure(call, path, EISDIR);
}

/* Reads up to `want` bytes from `offset`. Returns 0 with *got, or a negative errno. */
static int read_at(int fd, char *buffer, size_t want, int64_t offset, size_t *got) {
    size_t n = 0;
    while (n < want) {
        ssize_t r = pread(fd, buffer + n, want - n, (off_t)offset + (off_t)n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    *got = n;
    return 0;
}

static json_t *base64_value(const char *data, size_t n) {
    auto_free char *text = malloc(BYTES_BASE64_LENGTH(n) + 1);
    if (!text)
        return NULL;
    bytes_base64_encode(data, n, text);
    return json_string_nocheck(text);
}

/* Text if it is text, else base64, cut to what the result may hold. A cut through a character does not make text
 * binary: the last, incomplete character is left for the next read. */
static json_t *file_content(const char *data, size_t n, size_t budget, int64_t size, bool truncated) {
    size_t valid = bytes_utf8_prefix(data, n);
    bool text = valid == n || (truncated && valid > 0 && n - valid < 4);
    size_t fits = text ? bytes_json_prefix(data, valid, budget) : n < budget / 4 * 3 ? n : budget / 4 * 3;
    if (fits < n)
        truncated = true;
    return json_pack("{s:o, s:I, s:b}", text ? "text" : "base64",
                     text ? json_stringn(data, fits) : base64_value(data, fits), "size", (json_int_t)size, "truncated",
                     truncated);
}

int builtin_file_read(const struct builtin_call *call, json_t **out) {
    const char *path;
    size_t n, got = 0, budget = call->max_bytes > ENVELOPE ? call->max_bytes - ENVELOPE : 0;
    int64_t offset = 0, max = (int64_t)budget;
    if (arg_text(call, "path", true, &path, &n) != 0 || arg_number(call, "offset", 0, INT64_MAX / 2, &offset) != 0 ||
        arg_number(call, "max_bytes", 0, INT64_MAX, &max) != 0)
        return 1;
    size_t want = max < (int64_t)budget ? (size_t)max : budget;
    auto_close int fd = -1;
    struct stat st;
    if (path_open(call, call->roots->read, call->roots->n_read, path, O_RDONLY | O_NONBLOCK, &fd) != 0 ||
        want_regular(call, path, fd, &st) != 0)
        return 1;
    auto_free char *data = malloc(want + 1);
    if (!data)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "out of memory");
    /* One byte more than wanted tells whether there is more, also where st_size is 0 by convention (proc). */
    int r = read_at(fd, data, want + 1, offset, &got);
    if (r < 0)
        return path_failure(call, path, -r);
    bool more = got > want;
    return builtin_done(call, file_content(data, more ? want : got, budget, (int64_t)st.st_size, more), out);
}

/* Where a write goes: the open folder and the last component. */
struct target {
    const struct builtin_call *call;
    const char *path, *name;
    int dir;
    const void *data;
    size_t n;
};

static int write_all(int fd, const char *data, size_t n) {
    while (n > 0) {
        ssize_t r = write(fd, data, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        data += r;
        n -= (size_t)r;
    }
    return 0;
}

static int sync_fd(int fd) {
    return fsync(fd) == 0 ? 0 : -errno;
}

/* Content and sync of a file just made under `name`; takes it away again when that fails. */
static int fill_new(const struct target *t, int fd, const char *name) {
    int r = write_all(fd, t->data, t->n);
    if (r == 0)
        r = sync_fd(fd);
    if (r < 0)
        (void)unlinkat(t->dir, name, 0); /* r is the failure to tell; a name left behind is only untidy */
    return r;
}

static int write_create(const struct target *t) {
    auto_close int fd = path_open_at(t->dir, t->name, O_WRONLY | O_CREAT | O_EXCL, 0666, false);
    if (fd == -EEXIST)
        return tool_fail(t->call->failure, TOOL_TOOL_ERROR, "%.150s: exists already", t->path);
    if (fd < 0)
        return path_failure(t->call, t->path, -fd);
    int r = fill_new(t, fd, t->name);
    if (r == 0)
        r = sync_fd(t->dir);
    return r < 0 ? path_failure(t->call, t->path, -r) : 0;
}

/* A new file under a name nobody guesses, in the same folder so that the rename is atomic. */
static int make_temporary(const struct target *t, char name[32]) {
    int fd = -EEXIST;
    for (int i = 0; i < NAME_TRIES && fd == -EEXIST; i++) {
        uint64_t salt;
        if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt)
            return -errno;
        (void)snprintf(name, 32, ".soma-%016llx", (unsigned long long)salt);
        fd = path_open_at(t->dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600, false);
    }
    return fd;
}

/* The mode the file has, or would have been created with. A link, a folder, a device is not replaced. */
static int replaced_mode(const struct target *t, mode_t *mode) {
    struct stat st;
    if (fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode))
            return -EISDIR;
        *mode = st.st_mode & 0777;
        return 0;
    }
    if (errno != ENOENT)
        return -errno;
    mode_t mask = umask(077);
    (void)umask(mask);
    *mode = 0666 & ~mask;
    return 0;
}

static int replace_with(const struct target *t, int fd, const char *name, mode_t mode) {
    int r = fchmod(fd, mode) == 0 ? 0 : -errno;
    if (r < 0) {
        (void)unlinkat(t->dir, name, 0); /* as in fill_new() */
        return r;
    }
    r = fill_new(t, fd, name);
    if (r < 0)
        return r;
    if (renameat(t->dir, name, t->dir, t->name) != 0) {
        r = -errno;
        (void)unlinkat(t->dir, name, 0); /* as in fill_new() */
        return r;
    }
    return sync_fd(t->dir);
}

static int write_replace(const struct target *t) {
    mode_t mode = 0;
    char name[32];
    int r = replaced_mode(t, &mode);
    if (r < 0)
        return path_failure(t->call, t->path, -r);
    auto_close int fd = make_temporary(t, name);
    if (fd < 0)
        return path_failure(t->call, t->path, -fd);
    r = replace_with(t, fd, name, mode);
    return r < 0 ? path_failure(t->call, t->path, -r) : 0;
}

static int write_append(const struct target *t) {
    struct stat st;
    auto_close int fd = path_open_at(t->dir, t->name, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0666, false);
    if (fd < 0)
        return path_failure(t->call, t->path, -fd);
    if (want_regular(t->call, t->path, fd, &st) != 0)
        return 1;
    int r = write_all(fd, t->data, t->n);
    if (r == 0)
        r = sync_fd(fd);
    if (r == 0)
        r = sync_fd(t->dir);
    if (r < 0)
        return tool_fail(t->call->failure, TOOL_TOOL_ERROR, "%.150s: %s; part of the text may have been appended",
                         t->path, strerror(-r));
    return 0;
}

/* Opens the folder of `path` below a writable root; parents are not created. */
static int open_target(const struct builtin_call *call, const char *path, struct target *t) {
    const char *slash = strrchr(path, '/');
    t->call = call;
    t->path = path;
    t->name = slash ? slash + 1 : path;
    if (t->name[0] == '\0' || strcmp(t->name, ".") == 0 || strcmp(t->name, "..") == 0)
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument path: does not end with the name of a file");
    auto_free char *parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!parent)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "out of memory");
    return path_open(call, call->roots->write, call->roots->n_write, parent, O_RDONLY | O_DIRECTORY, &t->dir);
}

/* The content: `text` as it is, or `base64` decoded into *owned. Exactly one of them. */
static int write_content(const struct builtin_call *call, struct target *t, uint8_t **owned) {
    const char *text, *base64;
    size_t text_n, base64_n;
    if (arg_text(call, "text", false, &text, &text_n) != 0 || arg_text(call, "base64", false, &base64, &base64_n) != 0)
        return 1;
    if (!text == !base64)
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "exactly one of text and base64 is needed");
    t->data = text;
    t->n = text_n;
    if (text)
        return 0;
    *owned = malloc(base64_n / 4 * 3 + 1);
    if (!*owned)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "out of memory");
    if (bytes_base64_decode(base64, base64_n, *owned, &t->n) < 0)
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument base64: not base64 (RFC 4648, with padding)");
    t->data = *owned;
    return 0;
}

int builtin_file_write(const struct builtin_call *call, json_t **out) {
    static const struct {
        const char *name;
        int (*write)(const struct target *t);
    } modes[] = {{"create", write_create}, {"replace", write_replace}, {"append", write_append}};
    const char *path, *mode;
    size_t n;
    auto_free uint8_t *owned = NULL;
    struct target t = {.dir = -1};
    if (arg_text(call, "path", true, &path, &n) != 0 || arg_text(call, "mode", true, &mode, &n) != 0 ||
        write_content(call, &t, &owned) != 0)
        return 1;
    size_t i = 0;
    while (i < sizeof modes / sizeof modes[0] && strcmp(modes[i].name, mode) != 0)
        i++;
    if (i == sizeof modes / sizeof modes[0])
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument mode: create, replace or append is needed");
    if (open_target(call, path, &t) != 0)
        return 1;
    auto_close int dir = t.dir;
    t.dir = dir;
    return modes[i].write(&t) != 0 ? 1 : builtin_done(call, json_pack("{s:I}", "bytes", (json_int_t)t.n), out);
}
