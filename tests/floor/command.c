/* Running the commands of a row: the words are filled in, a fresh place is made, the program runs, its samples are read
 * or its time is taken, and nothing of it is left when the next one starts. */
#include "tests/floor/bench.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "tests/floor/floor.h"
#include "tests/floor/process.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define READY_PAUSE_MS 10 /* between two questions whether a supervisor is up; its death ends the pause at once */

/* --- words --- */

/* `word` with {build} and {state} replaced; malloc'ed, NULL when out of memory. */
static char *expand(const struct bench *bench, const char *state, const char *word) {
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    while (*word) {
        if (strncmp(word, "{build}", 7) == 0) {
            fputs(bench->build, out);
            word += 7;
        } else if (strncmp(word, "{state}", 7) == 0) {
            fputs(state, out);
            word += 7;
        } else {
            fputc(*word++, out);
        }
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

struct argv {
    char *words[BENCH_ARGS_MAX];
};

static void cleanup_argv(struct argv *argv) {
    for (size_t i = 0; i < BENCH_ARGS_MAX; i++)
        free(argv->words[i]);
}
#define auto_argv __attribute__((cleanup(cleanup_argv)))

static int argv_make(const struct bench *bench, const char *state, const char *const *words, struct argv *argv) {
    for (size_t i = 0; i + 1 < BENCH_ARGS_MAX && words[i]; i++) {
        argv->words[i] = expand(bench, state, words[i]);
        if (!argv->words[i])
            return err_raise(-ENOMEM, "room for a command");
    }
    char *program = NULL;
    if (asprintf(&program, "%s/%s", bench->build, argv->words[0]) < 0)
        return err_raise(-ENOMEM, "room for a command");
    free(argv->words[0]);
    argv->words[0] = program;
    return access(program, X_OK) < 0 ? err_raise(-errno, "%s is not built", words[0]) : 0;
}

/* --- places --- */

static void cleanup_state(char **path) {
    floor_dir_remove(*path);
    free(*path);
    *path = NULL;
}
#define auto_state __attribute__((cleanup(cleanup_state)))

/* A measurement must never touch the log or the socket of a real tree: what names this file names our own. */
static int state_make(const struct bench *bench, char **state) {
    auto_free char *conf = NULL;
    int r = floor_dir_make(bench->state, state);
    if (!r)
        r = floor_place_make(*state, &conf);
    if (!r && setenv("SOMA_CONFIG", conf, 1) < 0)
        r = err_raise(-errno, "set SOMA_CONFIG");
    return r;
}

/* --- samples --- */

struct samples {
    double *v;
    size_t n;
};

/* One line as floor.h describes it. */
static int take_line(const struct row *row, const char *line, size_t n, struct samples *out) {
    json_error_t error;
    json_t *object = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
    const char *name = json_string_value(json_object_get(object, "row"));
    const char *unit = json_string_value(json_object_get(object, "unit"));
    json_t *samples = json_object_get(object, "samples");
    int r = 0;
    if (!name || strcmp(name, row->name) || !unit || strcmp(unit, row->unit) || !json_is_array(samples))
        r = err_raise(-EPROTO, "not samples of %s in %s: %.*s", row->name, row->unit, (int)(n < 80 ? n : 80), line);
    for (size_t i = 0; !r && i < json_array_size(samples); i++) {
        double value = json_number_value(json_array_get(samples, i)); /* 0 for what is no number */
        if (value > 0 && out->n < BENCH_SAMPLES_MAX)
            out->v[out->n++] = value;
        else
            r = err_raise(-EPROTO, "sample %zu of %s is no positive number, or one too many", i, row->name);
    }
    json_decref(object);
    return r;
}

static int take_output(const struct row *row, const char *text, double *median) {
    auto_free double *v = calloc(BENCH_SAMPLES_MAX, sizeof *v);
    struct samples samples = {.v = v};
    if (!v)
        return err_raise(-ENOMEM, "room for samples");
    while (*text) {
        size_t n = strcspn(text, "\n");
        int r = take_line(row, text, n, &samples);
        if (r)
            return err_up(r);
        text += n + (text[n] == '\n');
    }
    if (!samples.n)
        return err_raise(-EPROTO, "no samples of %s", row->name);
    *median = stat_median(samples.v, samples.n);
    return 0;
}

int command_measure(const struct bench *bench, const struct row *row, const char *const *words, double *median) {
    auto_state char *state = NULL;
    auto_argv struct argv argv = {0};
    auto_child struct child child = CHILD_NULL;
    auto_free char *text = NULL;
    size_t n;
    int status = 0;
    int r = state_make(bench, &state);
    if (!r)
        r = argv_make(bench, state, words, &argv);
    if (!r)
        r = child_start(argv.words, &child);
    if (r)
        return err_up(r);
    r = child_end(&child, words[0], bench->deadline_s, &status);
    if (!r)
        r = child_check(&child, words[0], status);
    if (!r)
        r = child_output(child.out, &text, &n);
    if (!r)
        r = take_output(row, text, median);
    int settled = settle(bench->deadline_s);
    return r ? r : settled;
}

/* --- whole commands --- */

static int run_once(const struct bench *bench, char *const *words, double *ms) {
    auto_child struct child child = CHILD_NULL;
    int status = 0;
    double start = floor_now_us();
    int r = child_start(words, &child);
    if (r)
        return err_up(r);
    r = child_end(&child, words[0], bench->deadline_s, &status);
    if (r)
        return err_up(r);
    *ms = (floor_now_us() - start) / 1e3;
    return child_check(&child, words[0], status);
}

/* Asks until `words` exits with 0. The process beside must be alive meanwhile. */
static int await_ready(const struct bench *bench, char *const *words, const struct child *beside) {
    double start = floor_now_us(), ms;
    struct pollfd ended = {.fd = beside->pidfd, .events = POLLIN};
    while (run_once(bench, words, &ms) < 0) {
        if (poll(&ended, 1, READY_PAUSE_MS) > 0)
            return err_raise(-ESRCH, "ended before it was ready");
        if (floor_now_us() - start > bench->deadline_s * 1e6)
            return err_raise(-ETIME, "not ready after %u s", bench->deadline_s);
    }
    return 0;
}

static int time_rounds(const struct bench *bench, const struct row *row, char *const *words, double *median) {
    auto_free double *ms = calloc(row->times, sizeof *ms);
    if (!ms)
        return err_raise(-ENOMEM, "room for samples");
    for (unsigned i = 0; i < row->times; i++) {
        int r = run_once(bench, words, &ms[i]);
        int settled = row->beside[0] ? 0 : settle(bench->deadline_s);
        if (r || settled)
            return r ? r : settled;
    }
    *median = stat_median(ms, row->times);
    return 0;
}

/* Between start and stop of the process beside. */
static int time_beside(const struct bench *bench, const struct row *row, const char *state, char *const *words,
                       double *median) {
    auto_argv struct argv beside_argv = {0}, ready_argv = {0};
    auto_child struct child beside = CHILD_NULL;
    int status = 0;
    int r = argv_make(bench, state, row->beside, &beside_argv);
    if (!r)
        r = argv_make(bench, state, row->ready, &ready_argv);
    if (!r)
        r = child_start(beside_argv.words, &beside);
    if (r)
        return err_up(r);
    r = await_ready(bench, ready_argv.words, &beside);
    if (!r)
        r = time_rounds(bench, row, words, median);
    (void)kill(beside.pid, SIGTERM); /* unreaped, so the pid is its own, alive or not */
    int ended = child_end(&beside, row->beside[0], bench->deadline_s, &status);
    if (r == -ESRCH && child_check(&beside, row->beside[0], status) < 0)
        return -ECHILD; /* its last words say more than ours */
    return r ? r : ended;
}

int command_time(const struct bench *bench, const struct row *row, double *median) {
    auto_state char *state = NULL;
    auto_argv struct argv argv = {0};
    int r = state_make(bench, &state);
    if (!r)
        r = argv_make(bench, state, row->thing, &argv);
    if (r)
        return err_up(r);
    if (row->beside[0])
        r = time_beside(bench, row, state, argv.words, median);
    else
        r = time_rounds(bench, row, argv.words, median);
    int settled = settle(bench->deadline_s);
    return r ? r : settled;
}
