/* A durable event through the real log process: `soma-eventlog` of this build, with a fake root at its control link.
 * Producers are runs: each has a link under its own run id, appends with a barrier and waits for `durable`, with soma's
 * own channels and codec on its side.
 *
 * --producers 1: this process is the producer; a sample is the time of one event.
 * --producers P: P processes; a sample is the rate of one round.
 *
 *     main ── control ──────────── soma-eventlog
 *       ├──── link of "runs" ──────┤    introduces the producers
 *       └ go/done ── producer 1…P ─┘    append{barrier} -> accepted, durable
 */
#include "common/chan.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/msg.h"
#include "common/role.h"
#include "common/spec.h"
#include "tests/floor/floor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- one producer --- */

struct producer {
    struct loop *loop;
    struct chan *chan;
    char corr[ID_SIZE], pad[FLOOR_EVENT_BYTES];
    int64_t ref; /* of the event under way */
    bool durable;
    int failure;
};

static int on_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct producer *p = arg;
    struct msg m;
    (void)c;
    int r = msg_decode(text, n, &m);
    if (r == 0 && m.type == MSG_DURABLE && m.durable.ref == p->ref)
        p->durable = true;
    else if (r == 0 && m.type != MSG_ACCEPTED)
        r = err_raise(-EPROTO, "%s: %s", msg_name(m.type), m.type == MSG_REFUSED ? m.refused.why : "not expected");
    p->failure = r;
    return r;
}

static void on_close(void *arg, struct chan *c, int reason) {
    struct producer *p = arg;
    (void)c;
    p->chan = NULL;
    if (p->failure == 0)
        p->failure = reason ? reason : err_raise(-EPIPE, "the log closed the link");
}

/* The event of floor_event(), as a message whose text has FLOOR_EVENT_BYTES at a reference of one digit. */
static int append(struct producer *p, bool only_measure, size_t *bytes) {
    char data[FLOOR_EVENT_BYTES * 2], call[ID_SIZE];
    (void)snprintf(call, sizeof call, "c-01J%023lld", (long long)p->ref);
    (void)snprintf(data, sizeof data,
                   "{\"tool\":\"file_read\",\"safe\":true,\"args\":{\"max_bytes\":65536,\"path\":\"%s\"}}", p->pad);
    struct msg_append event = {.ref = p->ref,
                               .type = "tool.started",
                               .step = "read",
                               .call = call,
                               .corr = p->corr,
                               .barrier = true,
                               .data = SPAN(data)};
    if (!only_measure)
        return chan_send(p->chan, MSG_APPEND, &event);
    auto_buf struct buf text = BUF_NULL(FLOOR_FRAME_MAX);
    int r = msg_encode(MSG_APPEND, &event, &text);
    *bytes = text.n;
    return r;
}

static int one_event(struct producer *p) {
    p->ref++;
    p->durable = false;
    int r = append(p, false, NULL);
    while (r == 0 && !p->durable) {
        r = loop_turn(p->loop, -1);
        if (r == 0)
            r = p->failure;
    }
    return r;
}

/* `samples` may be NULL. */
static int produce(struct producer *p, unsigned n, double *samples) {
    for (unsigned i = 0; i < n; i++) {
        double start = floor_now_us();
        int r = one_event(p);
        if (r)
            return err_up(r);
        if (samples)
            samples[i] = floor_now_us() - start;
    }
    return 0;
}

static const struct chan_ops ops = {on_frame, on_close};

/* Takes `link`. */
static int producer_open(struct producer *p, int link, unsigned who) {
    *p = (struct producer){.loop = loop_new(3), .ref = 1};
    struct chan_config config = {.loop = p->loop, .fd = link, .kind = CHAN_STREAM, .ops = &ops, .arg = p};
    config.peer.role = ROLE_EVENTLOG;
    p->chan = p->loop ? chan_new(&config) : NULL;
    if (!p->chan)
        return -ENOMEM;
    (void)snprintf(p->corr, sizeof p->corr, "t-01J%023u", who);
    size_t bare = 0;
    int r = append(p, true, &bare);
    if (r == 0 && bare > FLOOR_EVENT_BYTES)
        r = err_raise(-EMSGSIZE, "the bare event has %zu bytes", bare);
    if (r == 0)
        memset(p->pad, 'p', FLOOR_EVENT_BYTES - bare);
    p->ref = 0;
    return r;
}

static void producer_close(struct producer *p) {
    chan_close(p->chan);
    loop_free(p->loop);
    *p = (struct producer){0};
}

/* --- the log and its fake root --- */

struct log {
    pid_t pid;
    int control, runs; /* links: the root's, and that of "runs" */
};

static int tell(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf text = BUF_NULL(FLOOR_FRAME_MAX);
    int r = msg_encode(type, body, &text);
    return r < 0 ? err_up(r) : frame_write_once(fd, text.p, text.n, fds, n_fds);
}

static int begin(const struct log *log, int dir) {
    struct spec spec;
    char text[FLOOR_FRAME_MAX];
    size_t n;
    spec_defaults(&spec);
    auto_close int sealed = spec_seal(&spec);
    if (sealed < 0)
        return err_up(sealed);
    int r = tell(log->control, MSG_BEGIN, &(struct msg_begin){.generation = 1}, (int[]){sealed, dir}, 2);
    return r < 0 ? err_up(r) : floor_recv(log->control, text, &n); /* ready: it says nothing else */
}

/* *out is the new peer's end of its link. */
static int introduce(int by, const char *role, const char *run, int *out) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_raise(-errno, "socketpair");
    int r = tell(by, MSG_INTRODUCE, &(struct msg_introduce){.role = role, .run = run, .pid = getpid()}, &ends[1], 1);
    (void)close(ends[1]);
    if (r < 0) {
        (void)close(ends[0]);
        return err_up(r);
    }
    *out = ends[0];
    return 0;
}

static int log_start(struct log *log, const char *dir_path) {
    char path[PATH_MAX];
    int ends[2], r = floor_built("eventlog/soma-eventlog", path);
    auto_close int dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && (dir < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0))
        r = err_raise(-errno, "open %s", dir_path);
    if (r < 0)
        return err_up(r);
    log->control = ends[0];
    auto_close int theirs = ends[1];
    log->pid = fork();
    if (log->pid == 0) {
        if (theirs == CONTROL_FD ? fcntl(theirs, F_SETFD, 0) == 0 : dup2(theirs, CONTROL_FD) == CONTROL_FD)
            (void)execl(path, path, (char *)NULL);
        fprintf(stderr, "thing-log: exec %s: %s\n", path, strerror(errno));
        _exit(127);
    }
    if (log->pid < 0)
        return err_raise(-errno, "fork the log");
    theirs = fd_close(theirs); /* or its death would not be heard */
    r = begin(log, dir);
    return r < 0 ? err_up(r) : introduce(log->control, "runs", NULL, &log->runs);
}

static int log_stop(struct log *log) {
    int r = 0;
    if (log->pid > 0) {
        (void)kill(log->pid, SIGTERM); /* unreaped, so the pid is its own */
        r = floor_reap(log->pid, "log");
    }
    log->runs = fd_close(log->runs);
    log->control = fd_close(log->control);
    return r;
}

static int link_new(const struct log *log, unsigned who, int *out) {
    char run[ID_SIZE];
    (void)snprintf(run, sizeof run, "r-01J%023u", who);
    return introduce(log->runs, "run", run, out);
}

/* --- one producer: times --- */

static int time_rounds(struct producer *p, const struct floor_options *options) {
    auto_free double *samples = calloc(options->iterations, sizeof *samples);
    if (!samples)
        return err_raise(-ENOMEM, "room for samples");
    int r = produce(p, options->iterations / 10 + 1, NULL); /* warm up */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = produce(p, options->iterations, samples);
        if (!r)
            r = floor_print("durable_event_1", "us", samples, options->iterations);
    }
    return r;
}

static int run_one(const struct floor_options *options, const struct log *log) {
    struct producer p = {0};
    int link, r = link_new(log, 1, &link);
    if (r == 0)
        r = producer_open(&p, link, 1);
    if (r == 0)
        r = time_rounds(&p, options);
    producer_close(&p);
    return r;
}

/* --- many: rates --- */

struct crowd {
    unsigned n; /* started */
    int controls[FLOOR_WIDTH_MAX];
    pid_t pids[FLOOR_WIDTH_MAX];
};

/* In a child; does not return. A word on the control socket is the number of events to send; it comes back when they
 * are durable. */
_Noreturn static void be_producer(int control, int link, unsigned who) {
    struct producer p;
    unsigned n;
    int r = producer_open(&p, link, who);
    while (!r && read(control, &n, sizeof n) == (ssize_t)sizeof n) {
        r = produce(&p, n, NULL);
        if (!r && write(control, &n, sizeof n) != (ssize_t)sizeof n)
            r = err_raise(-EPIPE, "report a round");
    }
    if (r)
        fprintf(stderr, "thing-log: producer %u: %s (%s)\n", who, err_text(), err_place());
    _exit(r ? 1 : 0);
}

static void drop_controls(struct crowd *crowd) {
    for (unsigned i = 0; i < crowd->n; i++)
        crowd->controls[i] = fd_close(crowd->controls[i]);
}

static int start_producer(struct crowd *crowd, const struct log *log) {
    int control[2], opened, r = link_new(log, crowd->n + 1, &opened);
    if (r < 0)
        return err_up(r);
    auto_close int link = opened;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) < 0)
        return err_raise(-errno, "socketpair");
    auto_close int theirs = control[1];
    pid_t pid = fork();
    if (pid == 0) {
        drop_controls(crowd);
        (void)close(control[0]);
        be_producer(take_fd(&theirs), take_fd(&link), crowd->n + 1);
    }
    if (pid < 0) {
        (void)close(control[0]);
        return err_raise(-errno, "fork a producer");
    }
    crowd->controls[crowd->n] = control[0];
    crowd->pids[crowd->n++] = pid;
    return 0;
}

static int crowd_stop(struct crowd *crowd) {
    drop_controls(crowd);
    int failed = 0;
    for (unsigned i = 0; i < crowd->n; i++)
        if (floor_reap(crowd->pids[i], "producer") < 0)
            failed = -ECHILD;
    return failed;
}

static int crowd_round(const struct crowd *crowd, unsigned events, double *rate) {
    double start = floor_now_us();
    for (unsigned i = 0; i < crowd->n; i++)
        if (send(crowd->controls[i], &events, sizeof events, MSG_NOSIGNAL) != (ssize_t)sizeof events)
            return err_raise(-EPIPE, "start producer %u", i);
    for (unsigned i = 0; i < crowd->n; i++) {
        unsigned done;
        if (read(crowd->controls[i], &done, sizeof done) != (ssize_t)sizeof done)
            return err_raise(-EPIPE, "producer %u did not finish", i);
    }
    *rate = (double)events * crowd->n / ((floor_now_us() - start) / 1e6);
    return 0;
}

static int run_crowd(const struct floor_options *options, const struct log *log) {
    static struct crowd crowd;
    char row[32];
    double rate;
    (void)snprintf(row, sizeof row, "durable_event_%u", options->width);
    int r = 0;
    while (!r && crowd.n < options->width)
        r = start_producer(&crowd, log);
    if (!r)
        r = crowd_round(&crowd, options->iterations / 10 + 1, &rate); /* warm up */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = crowd_round(&crowd, options->iterations, &rate);
        if (!r)
            r = floor_print(row, "per_s", &rate, 1);
    }
    int stopped = crowd_stop(&crowd);
    return r ? r : stopped;
}

static int run(const struct floor_options *options) {
    auto_free char *path = NULL;
    struct log log = {.control = -1, .runs = -1};
    int r = floor_dir_make(options->state, &path);
    if (r)
        return err_up(r);
    r = log_start(&log, path);
    if (r == 0)
        r = options->width == 1 ? run_one(options, &log) : run_crowd(options, &log);
    int stopped = log_stop(&log);
    floor_dir_remove(path);
    return r ? r : stopped;
}

int main(int argc, char **argv) {
    static const struct floor_program program = {
        .name = "thing-log",
        .summary = "What a durable event costs through the log process.",
        .width_name = "producers",
        .width_help = "1: us per event; more: processes, events per second",
        .width_min = 1,
        .needs_state = 1,
        .defaults = {.rounds = 5, .iterations = 200, .width = 1},
        .run = run,
    };
    return floor_main(&program, argc, argv);
}
