/* The store when things go wrong: altered files, full maps and disks, failing system calls, killed writers. System
 * calls fail by interposition: the definitions of pwrite(2), fdatasync(2) and clock_gettime(2) below take the place of
 * libc's for liblmdb and the store too. Cases that need mounts run in a child with a mount namespace of its own. */
#include "store_fixture.h"

#include "eventlog/chain.h"

#include <lmdb.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

static struct dir dir;

static struct {
    int syncs, syncs_skipped; /* so many fdatasync fail with EIO, after so many that do not */
    int metas;                /* so many writes of a meta page fail, */
    int meta_errno;
    bool metas_land; /* although they reach the file */
    int64_t clock_shift_ns;
} fault;

int fdatasync(int fd) {
    if (fault.syncs_skipped > 0)
        fault.syncs_skipped--;
    else if (fault.syncs > 0) {
        fault.syncs--;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static ssize_t injected(int fd, const void *buf, size_t n, off_t at) {
    bool meta = n < 4096; /* all else LMDB writes is whole pages */
    if (meta && fault.metas > 0) {
        fault.metas--;
        if (fault.metas_land)
            (void)syscall(SYS_pwrite64, fd, buf, n, at);
        fault.metas_land = false; /* what follows is LMDB's attempt to put the old one back */
        errno = fault.meta_errno;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, buf, n, at);
}

/* By symbol: the headers give the name pwrite either symbol (_FILE_OFFSET_BITS), and so may liblmdb's build. */
ssize_t pwrite_symbol(int fd, const void *buf, size_t n, off_t at) __asm__("pwrite");
ssize_t pwrite_symbol(int fd, const void *buf, size_t n, off_t at) {
    return injected(fd, buf, n, at);
}
ssize_t pwrite64_symbol(int fd, const void *buf, size_t n, off_t at) __asm__("pwrite64");
ssize_t pwrite64_symbol(int fd, const void *buf, size_t n, off_t at) {
    return injected(fd, buf, n, at);
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
    int r = (int)syscall(SYS_clock_gettime, clock, ts);
    if (clock == CLOCK_REALTIME)
        ts->tv_sec += fault.clock_shift_ns / 1000000000;
    return r;
}

static int setup(void **state) {
    *state = NULL;
    memset(&fault, 0, sizeof fault);
    return dir_make(&dir);
}

static int teardown(void **state) {
    memset(&fault, 0, sizeof fault);
    store_close(*state);
    dir_remove(&dir);
    return 0;
}

static struct store *must_open(void **state, size_t first, size_t max) {
    store_close(*state);
    *state = NULL;
    int r = store_open_sized(dir.fd, true, first, max, (struct store **)state);
    if (r < 0)
        fail_msg("open: %d %s", r, err_text());
    return *state;
}

static struct store *must_open_plain(void **state) {
    return must_open(state, STORE_MAP_FIRST, STORE_MAP_MAX);
}

static void fill(struct store *s, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(add(s, "x", i % 2 ? "r-1" : "r-2"), 0);
        assert_int_equal(store_commit(s), 0);
    }
}

static void assert_whole(struct store *s, uint64_t last) {
    uint64_t bad = 0;
    struct seen seen = {0};
    bool more;
    int r = store_verify(s, &bad);
    if (r < 0)
        fail_msg("verify: %llu: %s", (unsigned long long)bad, err_text());
    assert_int_equal(store_durable(s).seq, last);
    assert_int_equal(store_last_seq(s), last);
    assert_int_equal(store_pending(s), 0);
    assert_int_equal(store_query(s, STORE_ALL, NULL, 0, SIZE_MAX, SIZE_MAX, see, &seen, &more), 0);
    assert_int_equal(seen.n, last);
}

/* --- altered files ---------------------------------------------------------------------------------------------- */

enum { RECORDS = 9 };

struct raw {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi events, head;
};

static void raw_begin(struct raw *raw) {
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", dir.path, STORE_FILE);
    assert_int_equal(mdb_env_create(&raw->env), 0);
    assert_int_equal(mdb_env_set_maxdbs(raw->env, 3), 0);
    assert_int_equal(mdb_env_open(raw->env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
    assert_int_equal(mdb_txn_begin(raw->env, NULL, 0, &raw->txn), 0);
    assert_int_equal(mdb_dbi_open(raw->txn, NULL, 0, &raw->head), 0);
    assert_int_equal(mdb_dbi_open(raw->txn, "events", 0, &raw->events), 0);
}

static void raw_end(struct raw *raw) {
    assert_int_equal(mdb_txn_commit(raw->txn), 0);
    mdb_env_close(raw->env);
}

static size_t raw_get(struct raw *raw, uint64_t seq, char out[4096]) {
    MDB_val key = {sizeof seq, &seq}, value;
    assert_int_equal(mdb_get(raw->txn, raw->events, &key, &value), 0);
    assert_true(value.mv_size <= 4096);
    memcpy(out, value.mv_data, value.mv_size);
    return value.mv_size;
}

static void raw_put(struct raw *raw, uint64_t seq, char *text, size_t n) {
    MDB_val key = {sizeof seq, &seq}, value = {n, text};
    assert_int_equal(mdb_put(raw->txn, raw->events, &key, &value, 0), 0);
}

static void raw_del(struct raw *raw, uint64_t seq) {
    MDB_val key = {sizeof seq, &seq};
    assert_int_equal(mdb_del(raw->txn, raw->events, &key, NULL), 0);
}

static void flip(struct raw *raw, uint64_t seq, size_t from_end) {
    char text[4096];
    size_t n = raw_get(raw, seq, text);
    text[n - from_end] ^= 1;
    raw_put(raw, seq, text, n);
}

static void flip_fifth(struct raw *raw) {
    flip(raw, 5, 2);
}
static void flip_first(struct raw *raw) {
    flip(raw, 1, 2);
}
static void flip_last(struct raw *raw) {
    flip(raw, RECORDS, 2);
}
static void swap_two(struct raw *raw) {
    char a[4096], b[4096];
    size_t a_n = raw_get(raw, 3, a), b_n = raw_get(raw, 4, b);
    raw_put(raw, 3, b, b_n);
    raw_put(raw, 4, a, a_n);
}
static void garble(struct raw *raw) {
    char text[] = "not a record";
    raw_put(raw, 6, text, sizeof text);
}
static void drop_middle(struct raw *raw) {
    raw_del(raw, 4);
}
static void drop_last(struct raw *raw) {
    raw_del(raw, RECORDS);
}
static void append_one(struct raw *raw) {
    char text[4096];
    size_t n = raw_get(raw, RECORDS, text);
    raw_put(raw, RECORDS + 1, text, n);
}
static void renumber(struct raw *raw) { /* as many as before, but with a hole */
    char text[4096];
    size_t n = raw_get(raw, 4, text);
    raw_del(raw, 4);
    raw_put(raw, RECORDS + 5, text, n);
}
static void head_altered(struct raw *raw) {
    MDB_val key = {4, (char[]){"head"}}, value;
    char row[256];
    assert_int_equal(mdb_get(raw->txn, raw->head, &key, &value), 0);
    memcpy(row, value.mv_data, value.mv_size);
    row[value.mv_size - 1] ^= 1;
    value.mv_data = row;
    assert_int_equal(mdb_put(raw->txn, raw->head, &key, &value, 0), 0);
}
static void head_gone(struct raw *raw) {
    MDB_val key = {4, (char[]){"head"}};
    assert_int_equal(mdb_del(raw->txn, raw->head, &key, NULL), 0);
}
static void events_gone(struct raw *raw) {
    assert_int_equal(mdb_drop(raw->txn, raw->events, 1), 0);
}

static void tampering(void **state) {
    static const struct {
        const char *name;
        void (*alter)(struct raw *raw);
        int open;     /* what store_open says */
        uint64_t bad; /* else what store_verify names */
    } cases[] = {
        {"first record", flip_first, 0, 1},
        {"fifth record", flip_fifth, 0, 5},
        {"two swapped", swap_two, 0, 3},
        {"no record", garble, 0, 6},
        {"renumbered", renumber, 0, 4},
        {"last record", flip_last, -EUCLEAN, 0},
        {"one missing", drop_middle, -EUCLEAN, 0},
        {"last missing", drop_last, -EUCLEAN, 0},
        {"one too many", append_one, -EUCLEAN, 0},
        {"head altered", head_altered, -EUCLEAN, 0},
        {"head gone", head_gone, -EUCLEAN, 0},
        {"events gone", events_gone, -EUCLEAN, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raw raw;
        uint64_t bad = 0;
        (void)unlinkat(dir.fd, STORE_FILE, 0);
        fill(must_open_plain(state), RECORDS);
        store_close(*state);
        *state = NULL;
        raw_begin(&raw);
        cases[i].alter(&raw);
        raw_end(&raw);
        int r = store_open(dir.fd, true, (struct store **)state);
        if (r != cases[i].open)
            fail_msg("%s: open %d (%s)", cases[i].name, r, err_text());
        if (r < 0)
            continue;
        r = store_verify(*state, &bad);
        if (r != -EUCLEAN || bad != cases[i].bad)
            fail_msg("%s: verify %d, record %llu (%s)", cases[i].name, r, (unsigned long long)bad, err_text());
        store_close(*state);
        *state = NULL;
    }
}

static void shortened(void **state) {
    static const off_t lengths[] = {0, 100, 4096, 8192, 3 * 4096, 40000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct store *s = NULL;
        char path[300];
        (void)unlinkat(dir.fd, STORE_FILE, 0);
        fill(must_open_plain(state), 300);
        store_close(*state);
        *state = NULL;
        (void)snprintf(path, sizeof path, "%s/%s", dir.path, STORE_FILE);
        assert_int_equal(truncate(path, lengths[i]), 0);
        assert_int_equal(store_open(dir.fd, true, &s), -EUCLEAN);
        assert_int_equal(store_open(dir.fd, false, &s), -EUCLEAN);
        assert_null(s);
    }
}

static void not_a_file(void **state) {
    struct store *s = NULL;
    assert_int_equal(symlinkat("/dev/null", dir.fd, STORE_FILE), 0);
    assert_int_equal(store_open(dir.fd, true, &s), -EUCLEAN);
}

static void foreign_file(void **state) {
    struct store *s = NULL;
    int fd = openat(dir.fd, STORE_FILE, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    char bytes[16384];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    close(fd);
    assert_int_equal(store_open(dir.fd, true, &s), -EUCLEAN);
}

/* A process that died while making the log leaves a beginning under another name. */
static void interrupted_creation(void **state) {
    int fd = openat(dir.fd, "events.new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    fill(must_open_plain(state), 3);
    assert_whole(*state, 3);
    assert_int_equal(faccessat(dir.fd, "events.new", F_OK, 0), -1);
}

/* --- room ------------------------------------------------------------------------------------------------------- */

static const size_t small = 64 << 10;

/* Random keys touch index pages all over, far more bytes than the records have. */
static uint64_t add_scattered(struct store *s, size_t n) {
    uint64_t last = store_last_seq(s);
    for (size_t i = 0; i < n; i++) {
        char key[40];
        (void)snprintf(key, sizeof key, "%08x%024u", (unsigned)last * 2654435761u, 0u);
        struct store_event e = {
            .type = "x", .run = key, .actor = key, .task = key, .corr = key, .data = "{}", .data_n = 2};
        assert_int_equal(store_append(s, &e, &last), 0);
    }
    assert_int_equal(store_commit(s), 0);
    return last;
}

static void grows(void **state) {
    static const size_t batches[] = {1, 10, 300};
    uint64_t last = 0;
    must_open(state, small, STORE_MAP_MAX);
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
        for (int round = 0; round < 100; round++)
            last = add_scattered(*state, batches[b]);
    assert_whole(*state, last);
    must_open(state, small, STORE_MAP_MAX); /* smaller than the file: LMDB takes what the file needs */
    assert_whole(*state, last);
    fill(*state, 10);
    assert_whole(*state, last + 10);
}

static size_t bytes_used(void) {
    struct raw raw;
    MDB_envinfo info;
    MDB_stat stat;
    raw_begin(&raw);
    assert_int_equal(mdb_env_info(raw.env, &info), 0);
    assert_int_equal(mdb_env_stat(raw.env, &stat), 0);
    raw_end(&raw);
    return (info.me_last_pgno + 1) * stat.ms_psize;
}

/* A batch that looks as if it fitted and does not: the pages it copies are many times its own bytes. */
static void grows_in_mid_batch(void **state) {
    add_scattered(must_open_plain(state), 8000);
    store_close(*state);
    *state = NULL;
    size_t map = bytes_used() / 10 * 13;
    uint64_t last = add_scattered(must_open(state, map, STORE_MAP_MAX), 200);
    assert_whole(*state, last);
    store_close(*state);
    *state = NULL;
    assert_true(bytes_used() > map);
}

static void ceiling(void **state) {
    char object[3000];
    memset(object, ' ', sizeof object);
    object[0] = '{';
    object[sizeof object - 1] = '}';
    struct store *s = must_open(state, small, 512 << 10);
    uint64_t last = 0;
    int r;
    for (;;) {
        for (int i = 0; i < 5; i++)
            assert_int_equal(add_data(s, "x", "r-1", object, sizeof object), 0);
        r = store_commit(s);
        if (r < 0)
            break;
        last += 5;
        assert_true(last < 1000);
    }
    assert_int_equal(r, -ENOSPC);
    assert_true(last > 20);
    assert_whole(s, last);
    s = must_open(state, small, 1 << 20); /* a higher ceiling is all it takes */
    assert_int_equal(add_data(s, "x", "r-1", object, sizeof object), 0);
    assert_int_equal(store_commit(s), 0);
    assert_whole(s, last + 1);
}

/* Children report by exit status: a cmocka assertion would make them run the rest of the group. */
#define SKIPPED 77
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            (void)fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, err_text());                             \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void private_mounts(void) {
    if (geteuid() != 0) {
        (void)fprintf(stderr, "skipped: mounting needs root\n");
        _exit(SKIPPED);
    }
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        (void)fprintf(stderr, "skipped: no mount namespace of its own (%s)\n", strerror(errno));
        _exit(SKIPPED);
    }
}

static void child_check_whole(struct store *s, uint64_t last) {
    uint64_t bad = 0;
    struct seen seen = {0};
    bool more;
    CHECK(store_verify(s, &bad) == 0);
    CHECK(store_durable(s).seq == last && store_last_seq(s) == last && store_pending(s) == 0);
    CHECK(store_query(s, STORE_ALL, NULL, 0, SIZE_MAX, SIZE_MAX, see, &seen, &more) == 0 && seen.n == last);
}

static int fill_disk(struct store *s, uint64_t *last, size_t per_batch) {
    char object[3000];
    memset(object, ' ', sizeof object);
    object[0] = '{';
    object[sizeof object - 1] = '}';
    for (;;) {
        for (size_t i = 0; i < per_batch; i++)
            CHECK(add_data(s, "x", "r-1", object, sizeof object) == 0);
        int r = store_commit(s);
        if (r < 0)
            return r;
        *last += per_batch;
    }
}

static void full_disk(size_t per_batch) {
    private_mounts();
    CHECK(mount("tmpfs", dir.path, "tmpfs", 0, "size=1m") == 0);
    int fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *s;
    uint64_t last = 0;
    CHECK(fd >= 0 && store_open(fd, true, &s) == 0);
    for (int i = 0; i < 3; i++) { /* again and again: a refused batch leaves nothing behind */
        CHECK(fill_disk(s, &last, per_batch) == -ENOSPC);
        child_check_whole(s, last);
    }
    CHECK(last > 20);
    store_close(s);
    CHECK(store_open(fd, false, &s) == 0);
    child_check_whole(s, last);
    store_close(s);
    CHECK(store_open(fd, true, &s) == 0);
    CHECK(fill_disk(s, &last, per_batch) == -ENOSPC);
    CHECK(mount(NULL, dir.path, NULL, MS_REMOUNT, "size=8m") == 0);
    CHECK(add(s, "x", "r-1") == 0 && store_commit(s) == 0); /* recovery needs no restart */
    child_check_whole(s, last + 1);
    store_close(s);
    _exit(0);
}

static void no_room_to_begin(void) {
    private_mounts();
    CHECK(mount("tmpfs", dir.path, "tmpfs", 0, "size=4k") == 0);
    int fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *s;
    CHECK(fd >= 0 && store_open(fd, true, &s) == -ENOSPC);
    CHECK(faccessat(fd, STORE_FILE, F_OK, 0) < 0 && faccessat(fd, "events.new", F_OK, 0) < 0);
    _exit(0);
}

static void on_overlay(void) {
    private_mounts();
    char options[1024];
    CHECK(mount("tmpfs", dir.path, "tmpfs", 0, NULL) == 0);
    int fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdirat(fd, "l", 0700) == 0 && mkdirat(fd, "u", 0700) == 0 && mkdirat(fd, "w", 0700) == 0);
    (void)snprintf(options, sizeof options, "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", dir.path, dir.path, dir.path);
    if (mount("overlay", dir.path, "overlay", 0, options) < 0) {
        (void)fprintf(stderr, "skipped: overlay cannot be mounted (%s)\n", strerror(errno));
        _exit(SKIPPED);
    }
    int over = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *s;
    CHECK(over >= 0 && store_open(over, true, &s) == -ESTALE);
    _exit(0);
}

static void full_disk_single(void) {
    full_disk(1);
}
static void full_disk_batches(void) {
    full_disk(10);
}

static void in_child(const char *name, void (*body)(void)) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        body();
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        print_message("skipped: %s\n", name);
        skip();
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: status %#x", name, (unsigned)status);
}

static void disk_full(void **state) {
    in_child("disk full, one event a commit", full_disk_single);
    in_child("disk full, ten events a commit", full_disk_batches);
    in_child("disk full before the beginning", no_room_to_begin);
}

static void overlay_is_refused(void **state) {
    in_child("overlay", on_overlay);
}

/* --- failing calls ---------------------------------------------------------------------------------------------- */

static void commit_fails_once(void **state) {
    static const struct {
        const char *name;
        int syncs, metas, meta_errno;
        bool lands;
        int r; /* of the commit */
    } cases[] = {
        {"sync fails", 1, 0, 0, false, -EIO},
        {"meta page fails, no space", 0, 1, ENOSPC, false, -ENOSPC},
        {"meta page fails twice", 0, 2, EIO, false, -EIO},
        {"meta page lands, the old one comes back", 0, 1, EIO, true, -EIO},
        {"meta page lands and stays", 0, 2, EIO, true, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)unlinkat(dir.fd, STORE_FILE, 0);
        struct store *s = must_open_plain(state);
        fill(s, 5);
        assert_int_equal(add(s, "run.accepted", "r-1"), 0);
        fault.syncs = cases[i].syncs;
        fault.metas = cases[i].metas;
        fault.meta_errno = cases[i].meta_errno;
        fault.metas_land = cases[i].lands;
        int r = store_commit(s);
        if (r != cases[i].r)
            fail_msg("%s: %d (%s)", cases[i].name, r, err_text());
        assert_int_equal(fault.syncs + fault.metas, 0);
        assert_whole(s, r == 0 ? 6 : 5);
        fill(s, 5);
        assert_whole(s, r == 0 ? 11 : 10);
        s = must_open_plain(state);
        assert_whole(s, r == 0 ? 11 : 10);
    }
}

static void unknown_outcome_ends_the_store(void **state) {
    struct store *s = must_open_plain(state);
    uint64_t bad;
    fill(s, 5);
    assert_int_equal(add(s, "x", NULL), 0);
    fault.metas = 2;
    fault.meta_errno = EIO;
    fault.metas_land = true;
    fault.syncs_skipped = 1; /* the pages reach the disk; whether the meta page does is the question */
    fault.syncs = 1;
    assert_int_equal(store_commit(s), -EIO);
    assert_int_equal(add(s, "x", NULL), -EIO);
    assert_int_equal(store_commit(s), -EIO);
    assert_int_equal(store_verify(s, &bad), -EIO);
    s = must_open_plain(state);
    assert_whole(s, store_durable(s).seq);
    assert_in_range(store_durable(s).seq, 5, 6);
}

static int times_ascend(void *arg, uint64_t seq, const char *record, size_t n) {
    uint64_t *last = arg;
    struct chain_link link;
    if (chain_link_read(record, n, &link) < 0 || link.ts < *last)
        return 1;
    *last = link.ts;
    return 0;
}

static void time_never_goes_back(void **state) {
    static const int64_t hours[] = {0, 5, -5, 2, 6, -1000};
    struct store *s = must_open_plain(state);
    uint64_t last = 0;
    bool more;
    for (size_t i = 0; i < 2 * (sizeof hours / sizeof *hours); i++) {
        fault.clock_shift_ns = hours[i / 2] * 3600 * 1000000000;
        if (i % 2)
            s = must_open_plain(state); /* also not across a restart */
        fill(s, 1);
    }
    assert_int_equal(store_query(s, STORE_ALL, NULL, 0, 100, 1 << 20, times_ascend, &last, &more), 0);
    assert_true(last > 6u * 3600 * 1000000000);
}

static void forked_child_is_refused(void **state) {
    struct store *s = must_open_plain(state);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_DUMPABLE, 0); /* the abort is wanted; a core file is not */
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        (void)store_commit(s);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* --- killed writers --------------------------------------------------------------------------------------------- */

static void write_for_ever(int ack) {
    struct store *s;
    CHECK(store_open_sized(dir.fd, true, small, STORE_MAP_MAX, &s) == 0);
    for (unsigned i = 0;; i++) {
        for (unsigned k = 0; k <= i % 7; k++) {
            CHECK(add(s, k % 2 ? "run.accepted" : "x", k % 3 ? "r-1" : "r-2") == 0);
            CHECK(add(s, "run.completed", "r-1") == 0);
        }
        CHECK(store_commit(s) == 0);
        uint64_t seq = store_durable(s).seq;
        CHECK(write(ack, &seq, sizeof seq) == sizeof seq);
    }
}

/* Kills the writer after some acknowledgements and a while that is random on purpose; returns the last one. */
static uint64_t kill_a_writer(unsigned acks, unsigned spin) {
    int ack[2];
    uint64_t seq = 0, last = 0;
    assert_int_equal(pipe2(ack, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_for_ever(ack[1]);
    close(ack[1]);
    for (unsigned i = 0; i < acks; i++) {
        assert_int_equal(read(ack[0], &seq, sizeof seq), sizeof seq);
        last = seq;
    }
    for (volatile unsigned i = 0; i < spin; i++)
        ;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(ack[0], &seq, sizeof seq) == sizeof seq)
        last = seq;
    close(ack[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return last;
}

static void writer_killed(void **state) {
    unsigned random = 12345;
    for (int round = 0; round < 60; round++) {
        random = random * 1103515245 + 12345;
        uint64_t acked = kill_a_writer(round % 5, (random >> 8) % 400000);
        struct store *s = must_open_plain(state);
        uint64_t durable = store_durable(s).seq;
        assert_true(durable >= acked);
        assert_whole(s, durable);
        store_close(s);
        *state = NULL;
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(tampering),
        CASE(shortened),
        CASE(not_a_file),
        CASE(foreign_file),
        CASE(interrupted_creation),
        CASE(grows),
        CASE(grows_in_mid_batch),
        CASE(ceiling),
        CASE(disk_full),
        CASE(overlay_is_refused),
        CASE(commit_fails_once),
        CASE(unknown_outcome_ends_the_store),
        CASE(time_never_goes_back),
        CASE(forked_child_is_refused),
        CASE(writer_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
