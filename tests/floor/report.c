/* Results as a table for people and as JSON for programs, both with the machine they were measured on: an absolute
 * number means nothing without it. */
#include "tests/floor/bench.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <jansson.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define XFS_MAGIC 0x58465342 /* linux/magic.h of this age does not have it */
#define ZFS_MAGIC 0x2fc12fc1

/* --- the machine --- */

struct machine {
    struct utsname uts;
    char cpu[128];
    long cpus;
    const char *disk; /* kind of file system under the state directory */
};

static void read_cpu(char *name, size_t max) {
    auto_file FILE *info = fopen("/proc/cpuinfo", "re");
    char line[256];
    (void)snprintf(name, max, "unknown");
    while (info && fgets(line, sizeof line, info)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        (void)snprintf(name, max, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        return;
    }
}

static const char *disk_name(const char *path) {
    static const struct {
        long magic;
        const char *name;
    } known[] = {
        {BTRFS_SUPER_MAGIC, "btrfs"}, {EXT4_SUPER_MAGIC, "ext4"}, {OVERLAYFS_SUPER_MAGIC, "overlay"},
        {TMPFS_MAGIC, "tmpfs"},       {XFS_MAGIC, "xfs"},         {ZFS_MAGIC, "zfs"},
    };
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return "unknown";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].magic == (long)fs.f_type)
            return known[i].name;
    return "other";
}

static struct machine machine_read(const char *state) {
    struct machine machine = {.cpus = sysconf(_SC_NPROCESSORS_ONLN), .disk = disk_name(state)};
    (void)uname(&machine.uts); /* fails for a bad pointer only */
    read_cpu(machine.cpu, sizeof machine.cpu);
    return machine;
}

/* --- the table --- */

static const char *verdict(const struct result *result) {
    if (result->problem[0] || !result->rounds)
        return "not_measured";
    if (result->floor_only)
        return "floor_only";
    return result->met ? "met" : "missed";
}

static void print_numbers(FILE *out, const struct result *result) {
    const struct row *row = result->row;
    bool measured = !result->problem[0] && result->rounds;
    bool floor = measured && row->floor[0], thing = measured && !result->floor_only;
    char text[3][32] = {"-", "-", "-"};
    if (floor)
        (void)snprintf(text[0], sizeof text[0], "%.1f", result->floor.spread.median);
    if (thing)
        (void)snprintf(text[1], sizeof text[1], "%.1f", result->thing.spread.median);
    if (thing && floor)
        (void)snprintf(text[2], sizeof text[2], "%.2f (%.2f-%.2f)", result->ratio.median, result->ratio.min,
                       result->ratio.max);
    fprintf(out, " %10s %10s  %-18s", text[0], text[1], text[2]);
}

void report_table(FILE *out, const struct bench *bench, const struct result *results, size_t n) {
    struct machine machine = machine_read(bench->state);
    fprintf(out, "%s, %ld processors, Linux %s, %s\n", machine.cpu, machine.cpus, machine.uts.release, machine.disk);
    fprintf(out, "load average of the last minute when it began: %.2f\n\n", bench->load);
    if (strcmp(machine.disk, "tmpfs") == 0)
        fprintf(out, "The state directory is in memory: durable rows say nothing. Give a disk with --state.\n\n");
    fprintf(out, "%-42s %-6s %10s %10s  %-18s %-10s %s\n", "what (median of round medians)", "unit", "floor", "soma",
            "ratio (min-max)", "goal", "verdict");
    for (size_t i = 0; i < n; i++) {
        const struct row *row = results[i].row;
        char goal[24];
        if (!results[i].wanted)
            continue;
        (void)snprintf(goal, sizeof goal, "%s %g %s", row->goal == GOAL_RATE_MIN ? ">=" : "<=", row->bound,
                       row->goal == GOAL_MS_MAX ? "ms" : "x");
        fprintf(out, "%-42s %-6s", row->what, row->unit);
        print_numbers(out, &results[i]);
        fprintf(out, " %-10s %s\n", goal, verdict(&results[i]));
        if (results[i].problem[0])
            fprintf(out, "    %s\n", results[i].problem);
    }
}

/* --- JSON --- */

static json_t *json_side(const struct side *side, unsigned rounds) {
    json_t *medians = json_array();
    for (unsigned i = 0; i < rounds; i++)
        json_array_append_new(medians, json_real(side->medians[i]));
    return json_pack("{s:f, s:f, s:f, s:o}", "median", side->spread.median, "min", side->spread.min, "max",
                     side->spread.max, "rounds", medians);
}

static json_t *json_result(const struct result *result) {
    const struct row *row = result->row;
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:{s:s, s:f}, s:s}", "row", row->name, "what", row->what, "unit", row->unit, "goal",
                  "kind", goal_name(row->goal), "bound", row->bound, "verdict", verdict(result));
    bool floor = row->floor[0] != NULL, measured = !result->problem[0] && result->rounds;
    if (result->problem[0])
        json_object_set_new(object, "problem", json_string(result->problem));
    if (measured && floor)
        json_object_set_new(object, "floor", json_side(&result->floor, result->rounds));
    if (measured && !result->floor_only)
        json_object_set_new(object, "soma", json_side(&result->thing, result->rounds));
    if (measured && floor && !result->floor_only)
        json_object_set_new(object, "ratio",
                            json_pack("{s:f, s:f, s:f}", "median", result->ratio.median, "min", result->ratio.min,
                                      "max", result->ratio.max));
    return object;
}

static json_t *json_report(const struct bench *bench, const struct result *results, size_t n) {
    struct machine machine = machine_read(bench->state);
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++)
        if (results[i].wanted)
            json_array_append_new(rows, json_result(&results[i]));
    return json_pack("{s:i, s:I, s:f, s:{s:s, s:I, s:s, s:s}, s:o}", "v", 1, "time", (json_int_t)time(NULL), "load",
                     bench->load, "machine", "cpu", machine.cpu, "cpus", (json_int_t)machine.cpus, "kernel",
                     machine.uts.release, "disk", machine.disk, "rows", rows);
}

int report_json(const char *path, const struct bench *bench, const struct result *results, size_t n) {
    json_t *report = json_report(bench, results, n);
    auto_file FILE *file = fopen(path, "we");
    int r = 0;
    if (!report)
        r = err_raise(-ENOMEM, "make the report");
    else if (!file)
        r = err_raise(-errno, "open %s", path);
    else if (json_dumpf(report, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) < 0 || fputc('\n', file) < 0 ||
             fflush(file))
        r = err_raise(-EIO, "write %s", path);
    json_decref(report);
    return r;
}
