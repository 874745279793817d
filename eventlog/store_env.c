/* The LMDB environment: how the file is made, opened, judged and grown.
 *
 * Locking is off (MDB_NOLOCK). Exactly one process has the log open, under its caller's flock, and it is
 * single-threaded: LMDB's lock file would guard against nobody, and costs: a read-only opener would need to write it; a
 * reader's slot is keyed by pid, and the same pid in two PID namespaces makes the second reader fail with EAGAIN; a
 * killed reader's slot pins pages until swept (the reader check: without slots there is nothing to check); and any
 * plain open and close of the file drops LMDB's fcntl locks. What is lost is LMDB's protection of a reader from the
 * writer of the same process: store_commit() asserts that none is open instead.
 *
 * MDB_WRITEMAP turns a full disk into SIGBUS, MDB_NOSYNC breaks the promise of the log: neither is used.
 *
 * The file is reached through /proc/self/fd/N. LMDB has no openat(), and a path would be looked up again: the directory
 * could have been renamed or replaced since the caller took its lock in it. fchdir() would do too, but the way back can
 * fail (a working directory the process may no longer search after a change of uid). */
#include "eventlog/store_internal.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define FILE_NEW "events.new"
#define FILE_AHEAD (16u << 20) /* bytes of hole kept at the end of the file */

/* File systems on which a shared map and a lock do not mean what they must. */
static const struct {
    uint32_t magic;
    const char *name;
} refused[] = {
    {NFS_SUPER_MAGIC, "nfs"}, {OVERLAYFS_SUPER_MAGIC, "overlay"},
    {SMB_SUPER_MAGIC, "smb"}, {0xff534d42, "cifs"},
    {0xfe534d42, "smb2"},     {V9FS_MAGIC, "9p"},
    {0x00c36400, "ceph"},
};

static int check_file_system(const struct store *s) {
    struct statfs fs;
    if (fstatfs(s->dirfd, &fs) < 0)
        return err_raise(-errno, "event log: statfs");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if ((uint32_t)fs.f_type == refused[i].magic)
            return err_raise(-ESTALE, "event log: its directory is on %s; it needs a local file system",
                             refused[i].name);
    return 0;
}

static int env_open_file(struct store *s, const char *name) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s", s->dirfd, name);
    int rc = mdb_env_create(&s->env);
    if (rc) {
        s->env = NULL;
        return store_fail(s, rc, "environment");
    }
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOLOCK | (s->writable ? 0 : MDB_RDONLY);
    rc = mdb_env_set_maxdbs(s->env, 3);
    if (rc == 0)
        rc = mdb_env_set_mapsize(s->env, s->map_bytes);
    if (rc == 0)
        rc = mdb_env_open(s->env, path, flags, 0600);
    return rc ? store_fail(s, rc, name)
              : 0; /* the environment is closed by the caller, as after a failed open it must */
}

void store_env_close(struct store *s) {
    if (s->env)
        mdb_env_close(s->env);
    s->env = NULL;
}

static int open_tables(struct store *s, MDB_txn *txn, unsigned flags) {
    int rc = mdb_dbi_open(txn, NULL, 0, &s->head);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "events", flags | MDB_INTEGERKEY, &s->events);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "index", flags, &s->index);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "open", flags, &s->open);
    return rc;
}

static int write_empty(struct store *s) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc)
        return store_fail(s, rc, FILE_NEW);
    struct head_row row = {.format = STORE_FORMAT};
    MDB_val key = {4, (void *)(uintptr_t) "head"}, value = {sizeof row, &row};
    rc = open_tables(s, txn, MDB_CREATE);
    if (rc == 0)
        rc = mdb_put(txn, s->head, &key, &value, 0);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    return rc ? store_fail(s, rc, FILE_NEW) : 0;
}

/* Made under another name and renamed when whole: a log that exists is complete, so an empty or headless file is damage
 * and not an interrupted beginning. LMDB never syncs the directory; without that the whole log could be gone after a
 * power loss. */
static int create(struct store *s) {
    if (unlinkat(s->dirfd, FILE_NEW, 0) < 0 && errno != ENOENT)
        return err_raise(-errno, "event log: unlink %s", FILE_NEW);
    int r = env_open_file(s, FILE_NEW);
    if (r == 0)
        r = write_empty(s);
    store_env_close(s);
    if (r == 0 && renameat(s->dirfd, FILE_NEW, s->dirfd, STORE_FILE) < 0)
        r = err_raise(-errno, "event log: rename %s", FILE_NEW);
    if (r == 0 && fsync(s->dirfd) < 0)
        r = err_raise(-errno, "event log: sync directory");
    if (r < 0)
        (void)unlinkat(s->dirfd, FILE_NEW, 0); /* the failure has a name already; the next opening tries again */
    return err_up(r);
}

int store_env_find(struct store *s) {
    int r = check_file_system(s);
    if (r < 0)
        return err_up(r);
    struct stat st;
    if (fstatat(s->dirfd, STORE_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(st.st_mode))
            return err_raise(-EUCLEAN, "event log: %s is not a regular file", STORE_FILE);
        if (st.st_size == 0) /* LMDB would take it for a new one and begin again */
            return err_raise(-EUCLEAN, "event log: %s is empty", STORE_FILE);
        return 0;
    }
    if (errno != ENOENT)
        return err_raise(-errno, "event log: %s", STORE_FILE);
    return s->writable ? create(s) : err_raise(-ENOENT, "event log: there is none");
}

size_t store_env_used(const struct store *s) {
    MDB_envinfo info;
    int rc = mdb_env_info(s->env, &info);
    assert(rc == 0); /* fails on NULL arguments only */
    return (info.me_last_pgno + 1) * s->page_bytes;
}

/* Reading a mapped page beyond the end of the file is SIGBUS, so this comes before any transaction. */
static int check_length(struct store *s) {
    MDB_stat stat;
    MDB_envinfo info;
    mdb_filehandle_t fd;
    int rc = mdb_env_stat(s->env, &stat);
    if (rc == 0)
        rc = mdb_env_info(s->env, &info);
    if (rc == 0)
        rc = mdb_env_get_fd(s->env, &fd);
    if (rc)
        return store_fail(s, rc, STORE_FILE);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_raise(-errno, "event log: %s", STORE_FILE);
    s->page_bytes = stat.ms_psize;
    s->map_bytes = info.me_mapsize; /* LMDB raises it to what the file needs */
    s->file_bytes = (size_t)st.st_size;
    if (s->file_bytes < store_env_used(s))
        return err_raise(-EUCLEAN, "event log: %s is shortened: %zu bytes of %zu", STORE_FILE, s->file_bytes,
                         store_env_used(s));
    return 0;
}

/* LMDB leaves pages that a transaction took and gave back unwritten, even the last ones, so its file may end before its
 * last page. A hole kept ahead of the pages (synced, since a crash must not take it back) makes "shorter" mean
 * "damaged". It takes no blocks. */
int store_env_lengthen(struct store *s, size_t bytes) {
    if (bytes + (1u << 20) <= s->file_bytes)
        return 0;
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(s->env, &fd);
    if (rc)
        return store_fail(s, rc, STORE_FILE);
    if (ftruncate(fd, (off_t)(bytes + FILE_AHEAD)) < 0 || fsync(fd) < 0)
        return store_fail(s, errno, "lengthen");
    s->file_bytes = bytes + FILE_AHEAD;
    return 0;
}

/* set_mapsize() unmaps the old map first, and an environment whose new map failed is dead: so try the address space
 * before. */
static int map_fits(const struct store *s, size_t bytes) {
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(s->env, &fd);
    if (rc)
        return store_fail(s, rc, "grow");
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_raise(-errno, "event log: a map of %zu bytes", bytes);
    munmap(map, bytes);
    return 0;
}

int store_env_grow(struct store *s, size_t bytes) {
    size_t to = s->map_bytes;
    while (to < bytes && to < s->map_max)
        to = to > s->map_max / 2 ? s->map_max : 2 * to;
    if (to == s->map_bytes)
        return err_raise(-ENOSPC, "event log: the map is at its ceiling of %zu bytes", s->map_max);
    int r = map_fits(s, to);
    if (r < 0)
        return err_up(r);
    int rc = mdb_env_set_mapsize(s->env, to);
    if (rc) {
        s->broken = store_fail(s, rc, "grow");
        return s->broken;
    }
    s->map_bytes = to;
    return 0;
}

static int read_head(struct store *s, MDB_txn *txn, struct tip *out) {
    struct head_row row;
    MDB_val key = {4, (void *)(uintptr_t) "head"}, value;
    int rc = mdb_get(txn, s->head, &key, &value);
    if (rc)
        return store_fail(s, rc, "head");
    if (value.mv_size != sizeof row)
        return err_raise(-EUCLEAN, "event log: head of %zu bytes", value.mv_size);
    memcpy(&row, value.mv_data, sizeof row);
    if (row.format != STORE_FORMAT)
        return err_raise(-EUCLEAN, "event log: format %u, this program reads %u", row.format, STORE_FORMAT);
    *out = row.tip;
    return 0;
}

/* Numbers are gap-free from 1, so as many records as the head's number is the same as none missing in between. */
static int check_count(struct store *s, MDB_txn *txn, uint64_t seq) {
    MDB_stat stat;
    int rc = mdb_stat(txn, s->events, &stat);
    if (rc)
        return store_fail(s, rc, "events");
    if (stat.ms_entries != seq)
        return err_raise(-EUCLEAN, "event log: %zu records where the head says %llu", stat.ms_entries,
                         (unsigned long long)seq);
    return 0;
}

static int check_last(struct store *s, MDB_txn *txn, const struct tip *tip, uint64_t *ts) {
    uint64_t seq = tip->seq;
    MDB_val key = {sizeof seq, &seq}, value;
    int rc = mdb_get(txn, s->events, &key, &value);
    if (rc)
        return err_raise(-EUCLEAN, "event log: record %llu, the head's, is missing", (unsigned long long)seq);
    struct chain_hash hash;
    struct chain_link link;
    chain_hash(value.mv_data, value.mv_size, &hash);
    if (memcmp(&hash, &tip->hash, sizeof hash) != 0)
        return err_raise(-EUCLEAN, "event log: record %llu is not what the head vouches for", (unsigned long long)seq);
    int r = chain_link_read(value.mv_data, value.mv_size, &link);
    if (r < 0)
        return err_up(r);
    *ts = link.ts;
    return 0;
}

static int load(struct store *s, MDB_txn *txn) {
    struct tip tip;
    uint64_t ts = 0;
    int rc = open_tables(s, txn, 0);
    if (rc)
        return store_fail(s, rc, "tables");
    int r = read_head(s, txn, &tip);
    if (r == 0)
        r = check_count(s, txn, tip.seq);
    if (r == 0 && tip.seq > 0)
        r = check_last(s, txn, &tip, &ts);
    if (r < 0)
        return err_up(r);
    s->durable = s->accepted = tip;
    s->ts = ts > s->ts ? ts : s->ts;
    return 0;
}

static int open_checked(struct store *s) {
    int r = env_open_file(s, STORE_FILE);
    if (r == 0)
        r = check_length(s);
    if (r < 0)
        return err_up(r);
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return store_fail(s, rc, STORE_FILE);
    r = load(s, txn);
    if (r < 0) {
        mdb_txn_abort(txn);
        return err_up(r);
    }
    rc = mdb_txn_commit(txn); /* so that the table handles outlive it; there is nothing to write */
    return rc ? store_fail(s, rc, STORE_FILE) : 0;
}

int store_env_open(struct store *s) {
    int r = open_checked(s);
    if (r < 0)
        store_env_close(s);
    return err_up(r);
}
