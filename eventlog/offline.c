/* The log read while no supervisor runs. It takes the lock that the launcher would take, on the folder itself, so that
 * nobody writes meanwhile; what is printed are the stored bytes, one record per line.
 *
 * Errors are two lines on stderr: what and why, then what to do. */
#include "eventlog/eventlog.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "eventlog/store.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>

enum { EXIT_DONE = 0, EXIT_USAGE = 2, EXIT_NOT_FOUND = 3, EXIT_RUNTIME = 7 };

#define PAGE_RECORDS 1000u
#define PAGE_BYTES (4u << 20)

struct wish {
    const char *dir;
    enum store_index by;
    const char *key;
    uint64_t after, tail, limit; /* tail, limit: 0 = all */
    bool head, verify;
    char run[STORE_KEY_MAX + 1];
};

static int fail(int code, const char *fix, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail(int code, const char *fix, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("soma-eventlog: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n  fix: %s\n", fix);
    return code;
}

/* ---- options ---- */

static int usage(const char *problem, const char *word) {
    return fail(EXIT_USAGE,
                "soma-eventlog --read DIR [--by all|run|actor|task|corr --key K] [--after N] [--tail N] [--limit N]\n"
                "       soma-eventlog --read DIR --head | --verify",
                "%s%s%s", problem, word ? " " : "", word ? word : "");
}

static int take_number(const char *text, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n > INT64_MAX)
        return usage("not a number:", text);
    *out = n;
    return EXIT_DONE;
}

static int take_index(const char *text, enum store_index *out) {
    static const char *const names[] = {[STORE_ALL] = "all",
                                        [STORE_BY_RUN] = "run",
                                        [STORE_BY_ACTOR] = "actor",
                                        [STORE_BY_TASK] = "task",
                                        [STORE_BY_CORR] = "corr"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], text) == 0) {
            *out = (enum store_index)i;
            return EXIT_DONE;
        }
    return usage("there is no index", text);
}

enum { OPT_BY = 1, OPT_KEY, OPT_AFTER, OPT_TAIL, OPT_LIMIT, OPT_HEAD, OPT_VERIFY };

static int take_option(int option, struct wish *wish) {
    switch (option) {
    case OPT_BY:
        return take_index(optarg, &wish->by);
    case OPT_KEY:
        wish->key = optarg;
        return EXIT_DONE;
    case OPT_AFTER:
        return take_number(optarg, &wish->after);
    case OPT_TAIL:
        return take_number(optarg, &wish->tail);
    case OPT_LIMIT:
        return take_number(optarg, &wish->limit);
    case OPT_HEAD:
        wish->head = true;
        return EXIT_DONE;
    case OPT_VERIFY:
        wish->verify = true;
        return EXIT_DONE;
    default:
        return usage("unknown option, or one without its value", NULL);
    }
}

static int take_options(int argc, char **argv, struct wish *wish) {
    static const struct option table[] = {
        {"after", required_argument, NULL, OPT_AFTER}, {"by", required_argument, NULL, OPT_BY},
        {"head", no_argument, NULL, OPT_HEAD},         {"key", required_argument, NULL, OPT_KEY},
        {"limit", required_argument, NULL, OPT_LIMIT}, {"tail", required_argument, NULL, OPT_TAIL},
        {"verify", no_argument, NULL, OPT_VERIFY},     {0},
    };
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        int code = take_option(option, wish);
        if (code != EXIT_DONE)
            return code;
    }
    if (argc - optind != 1)
        return usage("one folder is needed", NULL);
    wish->dir = argv[optind];
    if ((wish->by != STORE_ALL) != (wish->key && *wish->key))
        return usage("--by run, actor, task or corr and --key belong together", NULL);
    return EXIT_DONE;
}

/* ---- opening ---- */

static int open_dir(const char *path, int *out) {
    auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return fail(EXIT_NOT_FOUND, "name the state folder of a soma that has run, or run a plan first",
                    "no log in %s: %s", path, strerror(errno));
    if (fd < 0)
        return fail(EXIT_RUNTIME, "be the user who owns the log", "cannot open %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return fail(EXIT_RUNTIME, "ask it instead (soma log), or stop it first (soma stop)",
                        "cannot read %s: a supervisor is using this log", path);
        return fail(EXIT_RUNTIME, "use a local file system", "cannot lock %s: %s", path, strerror(errno));
    }
    *out = take_fd(&fd);
    return EXIT_DONE;
}

static int store_failed(const struct wish *wish, int r) {
    if (r == -ENOENT)
        return fail(EXIT_NOT_FOUND, "name the state folder of a soma that has run, or run a plan first", "no log in %s",
                    wish->dir);
    const char *fix = r == -EUCLEAN
                          ? "restore the folder from a backup; what stands before the damage can still be read"
                          : "be the user who owns the log, on a local file system";
    return fail(EXIT_RUNTIME, fix, "%s: %s", wish->dir, err_text());
}

/* ---- printing ---- */

static int print_record(void *arg, uint64_t seq, const char *record, size_t n) {
    uint64_t *last = arg;
    if (fwrite(record, 1, n, stdout) != n || putchar('\n') == EOF)
        return err_raise(-EIO, "cannot write records: %s", strerror(errno));
    *last = seq;
    return 0;
}

struct counted {
    uint64_t last, n;
};

static int print_counted(void *arg, uint64_t seq, const char *record, size_t n) {
    struct counted *c = arg;
    c->n++;
    return print_record(&c->last, seq, record, n);
}

static int print_all(struct store *store, const struct wish *wish) {
    struct counted c = {.last = wish->after};
    bool more = true;
    int r = 0;
    while (r == 0 && more && (!wish->limit || c.n < wish->limit)) {
        uint64_t left = wish->limit ? wish->limit - c.n : PAGE_RECORDS;
        r = store_query(store, wish->by, wish->key, c.last, left < PAGE_RECORDS ? left : PAGE_RECORDS, PAGE_BYTES,
                        print_counted, &c, &more);
    }
    return r;
}

static int print_head(struct store *store, bool verify) {
    uint64_t bad;
    int r = verify ? store_verify(store, &bad) : 0;
    if (r < 0)
        return err_up(r);
    struct store_head head = store_durable(store);
    printf("{\"seq\":%llu,\"hash\":\"%s\"}\n", (unsigned long long)head.seq, head.hash);
    return 0;
}

static int find_run(struct store *store, struct wish *wish) {
    int r = store_resolve_run(store, wish->key, wish->run);
    if (r == -ENOENT || r == -EINVAL || r == -ENOTUNIQ)
        return fail(EXIT_NOT_FOUND, "give more of its id; soma log --tail 100 shows recent ones", "%s", err_text());
    wish->key = wish->run;
    return r < 0 ? store_failed(wish, r) : EXIT_DONE;
}

static int print(struct store *store, struct wish *wish) {
    int code = wish->by == STORE_BY_RUN ? find_run(store, wish) : EXIT_DONE;
    if (code != EXIT_DONE)
        return code;
    uint64_t last = 0;
    int r = wish->head || wish->verify ? print_head(store, wish->verify)
            : wish->tail ? store_tail(store, wish->by, wish->key, wish->tail, SIZE_MAX, print_record, &last)
                         : print_all(store, wish);
    if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        r = err_raise(-EIO, "cannot write records: %s", strerror(errno));
    return r < 0 ? store_failed(wish, r) : EXIT_DONE;
}

int offline_main(int argc, char **argv) {
    struct wish wish = {.by = STORE_ALL};
    auto_close int dir = -1;
    struct store *store = NULL;
    int code = take_options(argc, argv, &wish);
    if (code == EXIT_DONE)
        code = open_dir(wish.dir, &dir);
    if (code != EXIT_DONE)
        return code;
    int r = store_open(dir, false, &store);
    if (r == 0) /* the file is open: from here on rights are of no more use */
        r = profile_apply(&eventlog_role.profile);
    code = r < 0 ? store_failed(&wish, r) : print(store, &wish);
    store_close(store);
    return code;
}
