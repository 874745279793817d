/* Medians and verdicts; pure. The ratio of a row is the median of the ratios of its rounds, not the ratio of two
 * medians: a round in which the whole machine was slow then counts like any other. */
#include "tests/floor/bench.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <assert.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double stat_median(double *v, size_t n) {
    assert(n >= 1);
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int stat_spread(const double *v, size_t n, struct spread *out) {
    assert(n >= 1);
    auto_free double *sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return err_raise(-ENOMEM, "room for %zu values", n);
    memcpy(sorted, v, n * sizeof *sorted);
    double median = stat_median(sorted, n);
    *out = (struct spread){.median = median, .min = sorted[0], .max = sorted[n - 1]};
    return 0;
}

static const struct {
    const char *name;
    bool at_least;
} goals[GOAL__COUNT] = {
    [GOAL_RATIO_MAX] = {"ratio_max", false},
    [GOAL_RATE_MIN] = {"rate_min", true},
    [GOAL_MS_MAX] = {"ms_max", false},
};

bool goal_met(enum goal goal, double value, double bound) {
    return goals[goal].at_least ? value >= bound : value <= bound;
}

const char *goal_name(enum goal goal) {
    return goals[goal].name;
}

int result_finish(struct result *result) {
    const struct row *row = result->row;
    int r = 0;
    if (result->problem[0] || !result->rounds)
        return 0;
    if (row->floor[0])
        r = stat_spread(result->floor.medians, result->rounds, &result->floor.spread);
    if (r || result->floor_only)
        return r;
    r = stat_spread(result->thing.medians, result->rounds, &result->thing.spread);
    if (!r && row->floor[0])
        r = stat_spread(result->ratios, result->rounds, &result->ratio);
    double value = row->goal == GOAL_MS_MAX ? result->thing.spread.median : result->ratio.median;
    result->met = !r && goal_met(row->goal, value, row->bound);
    return r;
}
