/* The loop over rounds and rows, and the options. In every round each row runs its two sides one directly after the
 * other; which goes first changes from round to round, so that neither profits from the other's warm caches. A row that
 * cannot be measured is named with its reason and is a failure, like a goal that is missed. */
#include "tests/floor/bench.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "tests/floor/floor.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct wish {
    unsigned rounds;
    unsigned deadline_s;
    bool floors;      /* measure floors only */
    bool list;        /* only name the rows */
    bool some;        /* --row was given */
    const char *json; /* file for the report */
    char state[PATH_MAX];
};

/* --- rounds --- */

static int measure_side(const struct bench *bench, struct result *result, bool floor, unsigned round) {
    const struct row *row = result->row;
    struct side *side = floor ? &result->floor : &result->thing;
    if (!floor && row->goal == GOAL_MS_MAX)
        return command_time(bench, row, &side->medians[round]);
    return command_measure(bench, row, floor ? row->floor : row->thing, &side->medians[round]);
}

static int measure_round(const struct bench *bench, struct result *result, unsigned round) {
    bool has[2] = {!result->floor_only, result->row->floor[0] != NULL}; /* thing, floor */
    for (unsigned turn = 0; turn < 2; turn++) {
        bool floor = (round + turn) % 2 == 0;
        int r = has[floor] ? measure_side(bench, result, floor, round) : 0;
        if (r)
            return err_up(r);
    }
    if (has[0] && has[1])
        result->ratios[round] = result->thing.medians[round] / result->floor.medians[round];
    result->rounds = round + 1;
    return 0;
}

/* A row with a problem is not tried again: its reason would not change, and half a row proves nothing. */
static void measure_all(const struct bench *bench, const struct wish *wish, struct result *results) {
    for (unsigned round = 0; round < wish->rounds; round++) {
        for (size_t i = 0; i < bench_rows_n; i++) {
            struct result *result = &results[i];
            if (!result->wanted || result->problem[0])
                continue;
            int r = measure_round(bench, result, round);
            if (r)
                (void)snprintf(result->problem, sizeof result->problem, "%s", err_text());
        }
        fprintf(stderr, "bench: round %u of %u\n", round + 1, wish->rounds);
    }
}

/* --- options --- */

static int usage(void) {
    printf("usage: bench [OPTION]...\n"
           "Measures soma beside its floors and judges the ratios.\n\n"
           "  --rounds N    rounds of every row (5)\n"
           "  --row NAME    only this row; may be repeated\n"
           "  --floors      only the floors\n"
           "  --deadline S  seconds after which a command is killed (120)\n"
           "  --state DIR   existing directory on the disk to be measured (the build folder)\n"
           "  --json FILE   write the report there, too\n"
           "  --list        name the rows\n"
           "  --help\n"
           "Exit code: 0 every goal met, 1 a goal missed or a row not measured, 2 usage.\n");
    return 0;
}

static int want_row(const char *name, struct wish *wish, struct result *results) {
    if (!wish->some)
        for (size_t i = 0; i < bench_rows_n; i++)
            results[i].wanted = false;
    wish->some = true;
    for (size_t i = 0; i < bench_rows_n; i++)
        if (strcmp(bench_rows[i].name, name) == 0) {
            results[i].wanted = true;
            return 0;
        }
    fprintf(stderr, "bench: there is no row '%s'; --list names them\n", name);
    return -EINVAL;
}

static int want_count(const char *option, const char *text, unsigned max, unsigned *out) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n < 1 || n > max) {
        fprintf(stderr, "bench: --%s %s: give a number from 1 to %u\n", option, text, max);
        return -EINVAL;
    }
    *out = (unsigned)n;
    return 0;
}

static int want_state(const char *path, struct wish *wish) {
    if (realpath(path, wish->state))
        return 0;
    fprintf(stderr, "bench: --state %s: %s\n", path, strerror(errno));
    return -EINVAL;
}

enum { OPT_ROUNDS = 1, OPT_ROW, OPT_FLOORS, OPT_DEADLINE, OPT_STATE, OPT_JSON, OPT_LIST, OPT_HELP };

/* 0; -EINVAL, already explained; 1 after --help. */
static int take_options(int argc, char **argv, struct wish *wish, struct result *results) {
    static const struct option table[] = {
        {"rounds", required_argument, NULL, OPT_ROUNDS},
        {"row", required_argument, NULL, OPT_ROW},
        {"floors", no_argument, NULL, OPT_FLOORS},
        {"state", required_argument, NULL, OPT_STATE},
        {"json", required_argument, NULL, OPT_JSON},
        {"list", no_argument, NULL, OPT_LIST},
        {"help", no_argument, NULL, OPT_HELP},
        {"deadline", required_argument, NULL, OPT_DEADLINE},
        {0},
    };
    int r = 0;
    for (int option; !r && (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (option) {
        case OPT_ROUNDS:
            r = want_count("rounds", optarg, BENCH_ROUNDS_MAX, &wish->rounds);
            break;
        case OPT_DEADLINE:
            r = want_count("deadline", optarg, 3600, &wish->deadline_s);
            break;
        case OPT_ROW:
            r = want_row(optarg, wish, results);
            break;
        case OPT_FLOORS:
            wish->floors = true;
            break;
        case OPT_STATE:
            r = want_state(optarg, wish);
            break;
        case OPT_JSON:
            wish->json = optarg;
            break;
        case OPT_LIST:
            wish->list = true;
            break;
        default:
            r = option == OPT_HELP ? 1 : -EINVAL;
        }
    }
    if (!r && optind < argc) {
        fprintf(stderr, "bench: unexpected argument '%s'\n", argv[optind]);
        r = -EINVAL;
    }
    return r;
}

/* --- main --- */

/* Orphans of what we run become ours, and SIGCHLD waits to be asked for (command.c, settle()). */
static int become_reaper(void) {
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || sigprocmask(SIG_BLOCK, &chld, NULL) < 0)
        return err_raise(-errno, "become the reaper");
    return 0;
}

/* Main()'s value. */
static int conclude(const struct bench *bench, const struct wish *wish, struct result *results) {
    int status = 0;
    for (size_t i = 0; i < bench_rows_n; i++) {
        if (!results[i].wanted)
            continue;
        if (result_finish(&results[i]) < 0)
            (void)snprintf(results[i].problem, sizeof results[i].problem, "%s", err_text());
        if (results[i].problem[0] || (!wish->floors && !results[i].met))
            status = 1;
    }
    report_table(stdout, bench, results, bench_rows_n);
    if (wish->json && report_json(wish->json, bench, results, bench_rows_n) < 0) {
        fprintf(stderr, "bench: %s\n", err_text());
        status = 1;
    }
    return status;
}

static int list_rows(void) {
    for (size_t i = 0; i < bench_rows_n; i++)
        printf("%-18s %s\n", bench_rows[i].name, bench_rows[i].what);
    return 0;
}

static double load_now(void) {
    double load;
    return getloadavg(&load, 1) == 1 ? load : -1;
}

static int measure(const struct wish *wish, struct result *results) {
    char build[PATH_MAX];
    struct bench bench = {.build = build, .deadline_s = wish->deadline_s};
    int r = floor_built(NULL, build);
    if (!r)
        r = become_reaper();
    if (r) {
        fprintf(stderr, "bench: %s: %s\n", err_text(), strerror(-r));
        return 1;
    }
    bench.state = wish->state[0] ? wish->state : build;
    for (size_t i = 0; i < bench_rows_n; i++) {
        results[i].floor_only = wish->floors;
        results[i].wanted = results[i].wanted && !(wish->floors && !bench_rows[i].floor[0]);
    }
    bench.load = load_now();
    measure_all(&bench, wish, results);
    return conclude(&bench, wish, results);
}

int main(int argc, char **argv) {
    struct wish wish = {.rounds = 5, .deadline_s = 120};
    auto_free struct result *results = calloc(bench_rows_n, sizeof *results);
    if (!results) {
        fprintf(stderr, "bench: out of memory\n");
        return 1;
    }
    for (size_t i = 0; i < bench_rows_n; i++) {
        results[i].row = &bench_rows[i];
        results[i].wanted = true;
    }
    int r = take_options(argc, argv, &wish, results);
    if (r > 0)
        return usage();
    if (r < 0) {
        fprintf(stderr, "bench: --help lists the options\n");
        return 2;
    }
    return wish.list ? list_rows() : measure(&wish, results);
}
