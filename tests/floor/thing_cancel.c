/* A cancel through a whole tree: `somad` of this build in a place of its own, a run of one step whose external tool has
 * as many processes as --processes says, and the door's `run.cancel`. A sample is the time from the request to its
 * answer, which comes when everything under the run is dead and reaped and run.cancelled is on disk. Starting the run,
 * and waiting in /proc until all of the tool's processes are asleep, is not in it.
 *
 *     main ── soma.sock ── gateway … run ── toolcall ── tool-crowd ×N
 *       └── somad (our child) … */
#include "common/cleanup.h"
#include "common/err.h"
#include "tests/floor/floor.h"
#include "tests/tree/proc.h"
#include "tests/tree/rpc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_FD 3
#define PATIENCE_MS 30000 /* for what takes milliseconds unless something is wrong */
#define RUN_ID_SIZE 32u

struct tree {
    pid_t pid; /* of the launcher */
    struct rpc rpc;
    char tool[PATH_MAX];
};
#define TREE_NULL ((struct tree){.rpc = RPC_NULL})

/* --- start and stop --- */

/* A tool runs under a uid of its own, and the build may stand where that uid may not go, in root's home for one: so its
 * program is copied to `dir`, which everybody may enter. */
static int place_tool(const char *dir, char tool[PATH_MAX]) {
    char built[PATH_MAX];
    int r = floor_built("tests/floor/tool-crowd", built);
    if (r)
        return err_up(r);
    if (snprintf(tool, PATH_MAX, "%s/tool-crowd", dir) >= PATH_MAX)
        return err_raise(-ENAMETOOLONG, "path of the tool");
    auto_close int from = open(built, O_RDONLY | O_CLOEXEC);
    auto_close int to = open(tool, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (from < 0 || to < 0 || fchmod(to, 0755) < 0 || chmod(dir, 0755) < 0)
        return err_raise(-errno, "copy %s to %s", built, tool);
    ssize_t n;
    while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
        ;
    return n < 0 ? err_raise(-errno, "copy %s to %s", built, tool) : 0;
}

static int write_manifest(const struct tree *tree, const char *dir, unsigned processes) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/tools/crowd.json", dir) >= (int)sizeof path)
        return err_raise(-ENAMETOOLONG, "path of the manifest");
    char count[16];
    (void)snprintf(count, sizeof count, "%u", processes);
    json_t *manifest = json_pack("{s:s, s:s, s:{s:s, s:b}, s:s, s:s, s:[s, s], s:s, s:{s:{s:i}}}", "name", "crowd",
                                 "description", "Sleeps, in many processes.", "input_schema", "type", "object",
                                 "additionalProperties", 0, "effect", "reader", "timeout", "1h", "command", tree->tool,
                                 count, "input", "argv", "sandbox", "limits", "processes", 2048);
    int r = manifest ? json_dump_file(manifest, path, 0) : -1;
    json_decref(manifest);
    return r ? err_raise(-EIO, "write %s", path) : 0;
}

/* In a child; does not return. */
_Noreturn static void become_somad(const char *conf, int ready) {
    char path[PATH_MAX], number[] = {'0' + READY_FD, 0};
    int high = fcntl(ready, F_DUPFD_CLOEXEC, READY_FD + 1);
    if (floor_built("supervisor/somad", path) == 0 && high >= 0 && dup2(high, READY_FD) == READY_FD)
        (void)execl(path, "somad", "--config", conf, "--ready-fd", number, (char *)NULL);
    fprintf(stderr, "thing-cancel: exec %s: %s\n", path, strerror(errno));
    _exit(127);
}

/* somad says "ready", or in four lines why not. */
static int await_ready(int fd) {
    char text[512];
    size_t n = 0;
    for (ssize_t got; n < sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0;) {
        n += (size_t)got;
        text[n] = 0;
        if (strcmp(text, "ready\n") == 0)
            return 0;
    }
    return err_raise(-ECHILD, "somad is not ready: %.*s", (int)n, text);
}

static int tree_start(struct tree *tree, const char *conf, const char *runtime) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_raise(-errno, "pipe");
    auto_close int ours = ends[0];
    auto_close int theirs = ends[1];
    tree->pid = fork();
    if (tree->pid == 0)
        become_somad(conf, theirs);
    if (tree->pid < 0)
        return err_raise(-errno, "fork somad");
    theirs = fd_close(theirs); /* or its end would not be heard */
    int r = await_ready(ours);
    if (r)
        return err_up(r);
    r = rpc_open(runtime, &tree->rpc);
    return r ? err_raise(r, "connect to the socket in %s", runtime) : 0;
}

static int tree_stop(struct tree *tree) {
    rpc_close(&tree->rpc);
    if (tree->pid <= 0)
        return 0;
    (void)kill(tree->pid, SIGTERM); /* unreaped, so the pid is its own */
    return floor_reap(tree->pid, "tree");
}

/* --- one cancel --- */

/* The member `wanted` of the result, a text, into `out`; cut where it is longer. */
static int call(struct rpc *rpc, const char *method, json_t *params, const char *wanted, char out[RUN_ID_SIZE]) {
    json_t *answer = NULL;
    int r = rpc_call(rpc, method, params, PATIENCE_MS, &answer);
    const char *text = json_string_value(json_object_get(answer, wanted));
    if (r < 0) {
        r = err_raise(r, "%s", method);
    } else if (r > 0 || !text) {
        auto_free char *said = json_dumps(answer, JSON_COMPACT);
        r = err_raise(-EPROTO, "%s: %.300s", method, said ? said : "");
    } else {
        (void)snprintf(out, RUN_ID_SIZE, "%s", text);
    }
    json_decref(answer);
    return r;
}

/* The living ones of the tool's processes below the tree; *asleep, those of them at rest. */
static unsigned count_crowd(const struct tree *tree, unsigned *asleep) {
    static struct proc_list list;
    unsigned n = 0;
    list.n = 0;
    *asleep = 0;
    proc_below(tree->pid, false, &list);
    for (size_t i = 0; i < list.n; i++)
        if (strncmp(list.at[i].title, tree->tool, strlen(tree->tool)) == 0) {
            n++;
            *asleep += list.at[i].state == 'S';
        }
    return n;
}

static int await_crowd(const struct tree *tree, unsigned processes) {
    double until = floor_now_us() + PATIENCE_MS * 1e3;
    unsigned asleep = 0;
    while (count_crowd(tree, &asleep) != processes || asleep != processes) {
        if (floor_now_us() > until)
            return err_raise(-ETIME, "%u of the tool's %u processes came up", asleep, processes);
        (void)poll(NULL, 0, 1); /* leaves them the processor */
    }
    return 0;
}

/* The head is asked for because everything accepted is committed before it is told: what the start left to be written
 * is no part of the cancel. */
static int cancel_once(struct tree *tree, unsigned processes, double *sample) {
    char run[RUN_ID_SIZE], status[RUN_ID_SIZE], hash[RUN_ID_SIZE];
    json_t *plan = json_pack("{s:{s:[{s:s, s:s}]}}", "plan", "steps", "id", "crowd", "tool", "crowd");
    int r = call(&tree->rpc, "run.start", plan, "run", run);
    if (!r)
        r = await_crowd(tree, processes);
    if (!r)
        r = call(&tree->rpc, "head", NULL, "hash", hash);
    if (r)
        return err_up(r);
    double start = floor_now_us();
    r = call(&tree->rpc, "run.cancel", json_pack("{s:s}", "run", run), "status", status);
    *sample = floor_now_us() - start;
    if (r)
        return err_up(r);
    unsigned asleep, left = count_crowd(tree, &asleep); /* an answer before the end would make a fine time */
    if (left || strcmp(status, "cancelled") != 0)
        return err_raise(-EPROTO, "answered %s with %u processes alive", status, left);
    return 0;
}

static int cancel_round(struct tree *tree, unsigned processes, unsigned n, double *samples) {
    int r = 0;
    for (unsigned i = 0; !r && i < n; i++)
        r = cancel_once(tree, processes, &samples[i]);
    return r;
}

static int cancel_all(struct tree *tree, const struct floor_options *options) {
    auto_free double *samples = calloc(options->iterations, sizeof *samples);
    if (!samples)
        return err_raise(-ENOMEM, "room for samples");
    char row[32];
    (void)snprintf(row, sizeof row, "cancel_%u", options->width);
    int r = cancel_round(tree, options->width, options->iterations / 10 + 1, samples); /* warm up; not printed */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = cancel_round(tree, options->width, options->iterations, samples);
        if (!r)
            r = floor_print(row, "us", samples, options->iterations);
    }
    return r;
}

/* --- main --- */

static int measure(const struct floor_options *options, const char *dir, const char *tool_dir) {
    struct tree tree = TREE_NULL;
    auto_free char *conf = NULL, *runtime = NULL;
    if (asprintf(&runtime, "%s/run", dir) < 0) {
        runtime = NULL;
        return err_raise(-ENOMEM, "room for a path");
    }
    int r = place_tool(tool_dir, tree.tool);
    if (!r)
        r = floor_place_make(dir, &conf);
    if (!r)
        r = write_manifest(&tree, dir, options->width);
    if (!r)
        r = tree_start(&tree, conf, runtime);
    if (!r)
        r = cancel_all(&tree, options);
    int stopped = tree_stop(&tree);
    return r ? r : stopped;
}

static int run(const struct floor_options *options) {
    auto_free char *path = NULL, *tool_dir = NULL;
    int r = floor_dir_make(options->state, &path);
    if (!r)
        r = floor_dir_make("/tmp", &tool_dir);
    if (!r)
        r = measure(options, path, tool_dir);
    floor_dir_remove(tool_dir);
    floor_dir_remove(path);
    return r;
}

int main(int argc, char **argv) {
    static const struct floor_program program = {
        .name = "thing-cancel",
        .summary = "What a cancel costs through a whole tree, until all is reaped and the answer is there.",
        .width_name = "processes",
        .width_help = "processes of the tool that is cancelled",
        .width_min = 1,
        .needs_state = 1,
        .defaults = {.rounds = 5, .iterations = 20, .width = 1},
        .run = run,
    };
    return floor_main(&program, argc, argv);
}
