/* The arithmetic behind the verdicts. */
#include "tests/floor/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h> /* wants the ones above */

static void medians(void **state) {
    static const struct {
        size_t n;
        double v[5], wanted;
    } cases[] = {
        {1, {7}, 7}, {2, {9, 1}, 5}, {3, {9, 1, 4}, 4}, {4, {8, 2, 6, 4}, 5}, {5, {5, 5, 1, 9, 6}, 5},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double v[5];
        memcpy(v, cases[i].v, sizeof v);
        assert_float_equal(stat_median(v, cases[i].n), cases[i].wanted, 1e-9);
    }
}

static void spread_leaves_the_values_in_place(void **state) {
    double v[] = {3, 1, 2};
    struct spread spread;
    (void)state;
    assert_int_equal(stat_spread(v, 3, &spread), 0);
    assert_float_equal(spread.median, 2, 1e-9);
    assert_float_equal(spread.min, 1, 1e-9);
    assert_float_equal(spread.max, 3, 1e-9);
    assert_float_equal(v[0], 3, 1e-9);
}

static void goals(void **state) {
    static const struct {
        enum goal goal;
        double value, bound;
        bool met;
    } cases[] = {
        {GOAL_RATIO_MAX, 1.4, 1.4, true},  {GOAL_RATIO_MAX, 1.41, 1.4, false}, {GOAL_RATE_MIN, 0.8, 0.8, true},
        {GOAL_RATE_MIN, 0.79, 0.8, false}, {GOAL_RATE_MIN, 2.0, 0.8, true},    {GOAL_MS_MAX, 11.9, 12, true},
        {GOAL_MS_MAX, 12.1, 12, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(goal_met(cases[i].goal, cases[i].value, cases[i].bound), cases[i].met);
}

/* Two quick rounds and a slow one: the ratio of the rounds stays 1.2 although the medians of the sides moved. */
static void ratio_is_the_median_of_rounds(void **state) {
    static const struct row row = {.name = "x", .goal = GOAL_RATIO_MAX, .bound = 1.25, .floor = {"f"}, .thing = {"t"}};
    static struct result result;
    static const double floor[] = {10, 100, 50}, thing[] = {12, 120, 90};
    (void)state;
    result = (struct result){.row = &row, .rounds = 3};
    for (int i = 0; i < 3; i++) {
        result.floor.medians[i] = floor[i];
        result.thing.medians[i] = thing[i];
        result.ratios[i] = thing[i] / floor[i];
    }
    assert_int_equal(result_finish(&result), 0);
    assert_float_equal(result.ratio.median, 1.2, 1e-9);
    assert_float_equal(result.ratio.max, 1.8, 1e-9);
    assert_true(result.met);
}

static void a_row_with_a_problem_is_never_met(void **state) {
    static const struct row row = {.name = "x", .goal = GOAL_MS_MAX, .bound = 12, .thing = {"t"}};
    static struct result result;
    (void)state;
    result = (struct result){.row = &row, .rounds = 1, .problem = "no"};
    assert_int_equal(result_finish(&result), 0);
    assert_false(result.met);
}

static void every_row_is_complete(void **state) {
    (void)state;
    for (size_t i = 0; i < bench_rows_n; i++) {
        const struct row *row = &bench_rows[i];
        assert_non_null(row->thing[0]);
        assert_true(row->bound > 0);
        assert_int_equal(row->floor[0] == NULL, row->goal == GOAL_MS_MAX);
        assert_int_equal(row->times > 0, row->goal == GOAL_MS_MAX);
        assert_int_equal(row->beside[0] == NULL, row->ready[0] == NULL);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(row->name, bench_rows[j].name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians),
        cmocka_unit_test(spread_leaves_the_values_in_place),
        cmocka_unit_test(goals),
        cmocka_unit_test(ratio_is_the_median_of_rounds),
        cmocka_unit_test(a_row_with_a_problem_is_never_met),
        cmocka_unit_test(every_row_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
