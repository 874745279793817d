/* scripts/bench: every part of soma beside its floor, in the same run. A row names two commands, the floor and the
 * thing; in every round both are run, in turns, and what is judged is the ratio of their medians within a round, since
 * the speed of a machine drifts from minute to minute but hardly within a second. Some rows have no floor but an
 * absolute goal, and their thing is a whole command, timed from its start to its end.
 *
 * rows.c is the only list of rows. stat.c is arithmetic, command.c runs programs, report.c writes, bench.c is the loop.
 */
#ifndef SOMA_TESTS_FLOOR_BENCH_H
#define SOMA_TESTS_FLOOR_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define BENCH_ARGS_MAX 10u /* words of one command, the NULL behind it included */
#define BENCH_ROUNDS_MAX 1000u
#define BENCH_SAMPLES_MAX 100000u /* of one command in one round */

/* --- what is measured --- */

enum goal {
    GOAL_RATIO_MAX, /* thing / floor of times: at most */
    GOAL_RATE_MIN,  /* thing / floor of rates: at least */
    GOAL_MS_MAX,    /* the thing alone, milliseconds: at most */
    GOAL__COUNT
};

/* Commands are lists of words ended by NULL. The first word is a program below the build folder. Elsewhere {build}
 * stands for that folder and {state} for a fresh directory, removed after the command. An empty list is no command. */
struct row {
    const char *name, *what, *unit; /* unit: "us", "per_s", "ms"; for GOAL_MS_MAX always "ms" */
    enum goal goal;
    double bound;
    const char *floor[BENCH_ARGS_MAX]; /* prints samples as floor.h describes, under the row's name and unit */
    const char *thing[BENCH_ARGS_MAX]; /* prints likewise; for GOAL_MS_MAX any program, timed as a whole */
    unsigned times;                    /* GOAL_MS_MAX: how often per round */
    /* GOAL_MS_MAX: runs beside the thing all the while (the supervisor); measuring begins when `ready` has exited 0.
     * It is asked to end by SIGTERM. The three share one {state}. */
    const char *beside[BENCH_ARGS_MAX], *ready[BENCH_ARGS_MAX];
};
extern const struct row bench_rows[];
extern const size_t bench_rows_n;

/* --- arithmetic --- */

/* Middle value, or the mean of the two middle ones; sorts `v`. n ≥ 1. */
double stat_median(double *v, size_t n);

struct spread {
    double median, min, max;
};
/* Of n ≥ 1 values; leaves them in place. The median is of a copy: -ENOMEM. */
int stat_spread(const double *v, size_t n, struct spread *out);

/* Whether `value` (a ratio, or milliseconds for GOAL_MS_MAX) meets the bound. */
bool goal_met(enum goal goal, double value, double bound);
const char *goal_name(enum goal goal); /* "ratio_max", "rate_min", "ms_max" */

/* --- running --- */

struct bench {
    const char *build;   /* absolute */
    const char *state;   /* directory in which {state} directories are made, absolute */
    unsigned deadline_s; /* of one command */
    double load;         /* average of the last minute when the measuring began; negative = unknown */
};

/* Runs one command that prints samples, and gives their median. -ENOENT when the program has not been built, -ETIME
 * past the deadline, -ECHILD when it fails or leaves processes behind, -EPROTO when it prints something else. */
int command_measure(const struct bench *bench, const struct row *row, const char *const *words, double *median);

/* Starts row->beside if there is one, runs row->thing row->times times and gives the median of the milliseconds from
 * its start until it has ended. Without a `beside`, each time begins after everything the last one left has ended. */
int command_time(const struct bench *bench, const struct row *row, double *median);

/* --- results --- */

struct side {
    double medians[BENCH_ROUNDS_MAX]; /* one per round */
    struct spread spread;
};
struct result {
    const struct row *row;
    unsigned rounds; /* measured completely */
    struct side floor, thing;
    double ratios[BENCH_ROUNDS_MAX];
    struct spread ratio;
    bool wanted, floor_only, met;
    char problem[512]; /* why the row could not be measured; "" = it was */
};

/* Folds the rounds into spreads and judges. */
int result_finish(struct result *result);

void report_table(FILE *out, const struct bench *bench, const struct result *results, size_t n);
int report_json(const char *path, const struct bench *bench, const struct result *results, size_t n);

#endif
