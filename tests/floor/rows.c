/* The table of rows. To measure something new, start here: write its floor (floor_*.c), the program that measures the
 * thing (thing_*.c, printing the same lines), and add a row. Iterations are chosen so that one command takes well under
 * a second: long enough for a median, short enough for both sides to see the same machine. */
#include "tests/floor/bench.h"

#define FLOOR(name) "tests/floor/floor-" name
#define THING(name) "tests/floor/thing-" name
#define ONE_STEP "{build}/tests/floor/one_step.json"

const struct row bench_rows[] = {
    {
        .name = "durable_event_1",
        .what = "durable event, 1 producer",
        .unit = "us",
        .goal = GOAL_RATIO_MAX,
        .bound = 1.4,
        .floor = {FLOOR("log"), "--rounds=1", "--iterations=500", "--producers=0", "--state={state}"},
        .thing = {THING("log"), "--rounds=1", "--iterations=500", "--producers=1", "--state={state}"},
    },
    {
        .name = "durable_event_16",
        .what = "durable events, 16 producers",
        .unit = "per_s",
        .goal = GOAL_RATE_MIN,
        .bound = 0.8,
        .floor = {FLOOR("log"), "--rounds=1", "--iterations=1000", "--producers=16", "--state={state}"},
        .thing = {THING("log"), "--rounds=1", "--iterations=1000", "--producers=16", "--state={state}"},
    },
    {
        .name = "message_250",
        .what = "message round trip on a link, 250 B",
        .unit = "us",
        .goal = GOAL_RATIO_MAX,
        .bound = 1.3,
        .floor = {FLOOR("message"), "--rounds=1", "--iterations=5000"},
        .thing = {THING("message"), "--rounds=1", "--iterations=5000"},
    },
    {
        .name = "run_alone",
        .what = "soma run of one step, no supervisor",
        .unit = "ms",
        .goal = GOAL_MS_MAX,
        .bound = 100,
        .thing = {"cli/soma", "run", ONE_STEP},
        .times = 5,
    },
    {
        .name = "run_beside",
        .what = "soma run of one step, supervisor running",
        .unit = "ms",
        .goal = GOAL_MS_MAX,
        .bound = 12,
        .thing = {"cli/soma", "run", ONE_STEP},
        .times = 20,
        .beside = {"cli/soma", "up"},
        .ready = {"cli/soma", "ps"},
    },
    {
        .name = "cancel_1",
        .what = "cancel until all is reaped, 1 process",
        .unit = "us",
        .goal = GOAL_RATIO_MAX,
        .bound = 1.5,
        .floor = {FLOOR("cancel"), "--rounds=1", "--iterations=50", "--processes=1", "--state={state}"},
        .thing = {THING("cancel"), "--rounds=1", "--iterations=50", "--processes=1", "--state={state}"},
    },
    {
        .name = "cancel_10",
        .what = "cancel until all is reaped, 10 processes",
        .unit = "us",
        .goal = GOAL_RATIO_MAX,
        .bound = 1.5,
        .floor = {FLOOR("cancel"), "--rounds=1", "--iterations=30", "--processes=10", "--state={state}"},
        .thing = {THING("cancel"), "--rounds=1", "--iterations=30", "--processes=10", "--state={state}"},
    },
    {
        .name = "cancel_100",
        .what = "cancel until all is reaped, 100 processes",
        .unit = "us",
        .goal = GOAL_RATIO_MAX,
        .bound = 1.5,
        .floor = {FLOOR("cancel"), "--rounds=1", "--iterations=10", "--processes=100", "--state={state}"},
        .thing = {THING("cancel"), "--rounds=1", "--iterations=10", "--processes=100", "--state={state}"},
    },
};
const size_t bench_rows_n = sizeof bench_rows / sizeof *bench_rows;
