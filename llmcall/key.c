/* The header line is built around the key in place, so that the secret is written once. mlock(2), madvise(2). */
#include "llmcall/key.h"

#include "common/err.h"
#include "common/log.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "Authorization: Bearer "
#define PREFIX_BYTES (sizeof PREFIX - 1)
#define AREA_BYTES (2 * KEY_FILE_MAX) /* the prefix, the file and a terminator; whole pages */

static int check_file(int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_raise(-EIO, "the key file cannot be examined");
    if (!S_ISREG(st.st_mode))
        return err_raise(-EACCES, "the key file is not a regular file");
    if (st.st_uid != geteuid())
        return err_raise(-EACCES, "the key file belongs to uid %u, soma runs as uid %u; chown it", st.st_uid,
                         geteuid());
    if (st.st_mode & 077)
        return err_raise(-EACCES, "the key file is open to others (mode %04o); chmod 600 it", st.st_mode & 07777u);
    if (st.st_size > (off_t)KEY_FILE_MAX)
        return err_raise(-EACCES, "the key file is longer than %u bytes", KEY_FILE_MAX);
    return 0;
}

/* pread, since the descriptor's offset is shared with every other call that was given this file. One byte more than
 * allowed is asked for: the file may have grown. */
static int read_file(int fd, char *to, size_t *n) {
    size_t have = 0;
    while (have <= KEY_FILE_MAX) {
        ssize_t got = pread(fd, to + have, KEY_FILE_MAX + 1 - have, (off_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_raise(-EIO, "the key file cannot be read");
        if (got == 0)
            break;
        have += (size_t)got;
    }
    if (have > KEY_FILE_MAX)
        return err_raise(-EACCES, "the key file is longer than %u bytes", KEY_FILE_MAX);
    *n = have;
    return 0;
}

/* Anything else would end the header line, or could be escaped by a provider that repeats it and so escape us. */
static int check_text(const char *text, size_t n) {
    if (n == 0)
        return err_raise(-EACCES, "the key file is empty");
    for (size_t i = 0; i < n; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f || text[i] == '"' || text[i] == '\\')
            return err_raise(-EACCES, "the key file holds something that is no key: one line of printable ASCII "
                                      "without spaces, quotes and backslashes");
    return 0;
}

static int fill(int fd, char *area, struct key *out) {
    size_t n = 0;
    memcpy(area, PREFIX, PREFIX_BYTES);
    char *text = area + PREFIX_BYTES;
    int r = read_file(fd, text, &n);
    if (r < 0)
        return err_up(r);
    if (n && text[n - 1] == '\n')
        n--;
    if (n && text[n - 1] == '\r')
        n--;
    text[n] = '\0';
    r = check_text(text, n);
    if (r < 0)
        return err_up(r);
    *out = (struct key){.header = area, .text = text};
    return 0;
}

int key_read(int fd, struct key *out) {
    int r = check_file(fd);
    if (r < 0)
        return err_up(r);
    char *area = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return err_raise(-ENOMEM, "no memory for the key");
    /* A container may forbid locked memory altogether; then the key could be swapped out, which is said, not hidden. */
    if (mlock(area, AREA_BYTES) < 0)
        log_warn("event=key_not_locked errno=%d", errno);
    if (madvise(area, AREA_BYTES, MADV_DONTDUMP) < 0)
        log_warn("event=key_in_dumps errno=%d", errno);
    r = fill(fd, area, out);
    if (r < 0) {
        struct key half = {.header = area};
        key_wipe(&half);
    }
    return r;
}

void key_wipe(struct key *key) {
    if (key->header) {
        explicit_bzero(key->header, AREA_BYTES);
        (void)munmap(key->header, AREA_BYTES); /* a whole mapping of our own */
    }
    *key = KEY_NULL;
}
