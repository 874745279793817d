/* The floor of a durable event, in two forms.
 *
 * --producers 0: one process, one synced LMDB transaction per event. A sample is the time of one event.
 *
 * --producers P: the same rows behind sockets, with group commit. The writer takes whatever waits when the last sync
 * has returned, commits it in one transaction and acknowledges each event; every producer waits for its
 * acknowledgement before it sends the next. A sample is the rate of one round.
 *
 *            go/done               250 B frame
 *     main ---------- producer 1 --------------.
 *       |  ---------- producer 2 -------------- writer -- LMDB
 *       '  ---------- producer P --------------'
 *                                  durable{seq}
 */
#include "common/cleanup.h"
#include "common/err.h"
#include "tests/floor/bare_log.h"
#include "tests/floor/floor.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- one process --- */

static int bare_round(struct bare_log *log, unsigned n, double *samples) {
    for (unsigned i = 0; i < n; i++) {
        char event[FLOOR_EVENT_BYTES];
        floor_event(event, 1, log->seq + 1);
        double start = floor_now_us();
        int r = bare_log_event(log, event, sizeof event);
        if (r)
            return err_up(r);
        samples[i] = floor_now_us() - start;
    }
    return 0;
}

static int run_bare(const struct floor_options *options, const char *path) {
    auto_free double *samples = calloc(options->iterations, sizeof *samples);
    if (!samples)
        return err_raise(-ENOMEM, "room for samples");
    struct bare_log log = BARE_LOG_NULL;
    int r = bare_log_open(&log, path);
    if (!r)
        r = bare_round(&log, options->iterations / 10 + 1, samples); /* warm up; not printed */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = bare_round(&log, options->iterations, samples);
        if (!r)
            r = floor_print("durable_event_1", "us", samples, options->iterations);
    }
    bare_log_close(&log);
    return r;
}

/* --- the writer --- */

static int acknowledge(int fd, uint64_t seq) {
    char text[64];
    int n = snprintf(text, sizeof text, "{\"type\":\"durable\",\"seq\":%llu}", (unsigned long long)seq);
    return floor_send(fd, text, (size_t)n);
}

/* Takes one event; a producer that has closed leaves the poll set (fd -1). */
static int take_event(struct bare_log *log, struct pollfd *link, unsigned *live, uint64_t *seq) {
    char event[FLOOR_FRAME_MAX];
    size_t n;
    int r = floor_recv(link->fd, event, &n);
    if (r == -ECONNRESET) {
        link->fd = fd_close(link->fd);
        (*live)--;
        return 0;
    }
    if (!r)
        r = bare_log_put(log, event, n);
    if (!r)
        *seq = log->seq;
    return r;
}

/* One group: everything readable now, one commit, then the acknowledgements. */
static int write_group(struct bare_log *log, struct pollfd *links, unsigned n, unsigned *live) {
    uint64_t seqs[FLOOR_WIDTH_MAX] = {0};
    uint64_t before = log->seq;
    int r = bare_log_begin(log);
    for (unsigned i = 0; !r && i < n; i++)
        if (links[i].fd >= 0 && links[i].revents)
            r = take_event(log, &links[i], live, &seqs[i]);
    if (r || log->seq == before) { /* nobody but closing producers: nothing to commit */
        mdb_txn_abort(log->txn);
        log->txn = NULL;
        return r;
    }
    r = bare_log_commit(log);
    for (unsigned i = 0; !r && i < n; i++)
        if (seqs[i])
            r = acknowledge(links[i].fd, seqs[i]);
    return r;
}

static int write_all(const char *path, struct pollfd *links, unsigned n) {
    struct bare_log log = BARE_LOG_NULL;
    unsigned live = n;
    int r = bare_log_open(&log, path);
    while (!r && live) {
        if (poll(links, n, -1) < 0)
            r = err_raise(-errno, "poll the producers");
        else
            r = write_group(&log, links, n, &live);
    }
    bare_log_close(&log);
    return r;
}

/* --- the producers --- */

static int produce_round(int link, unsigned who, unsigned n, uint64_t *count) {
    for (unsigned i = 0; i < n; i++) {
        char event[FLOOR_EVENT_BYTES], ack[FLOOR_FRAME_MAX];
        size_t ack_n;
        floor_event(event, who, ++*count);
        int r = floor_send(link, event, sizeof event);
        if (!r)
            r = floor_recv(link, ack, &ack_n);
        if (r)
            return err_up(r);
    }
    return 0;
}

/* A word on the control socket is the number of events to send; it comes back when they are durable. */
static int produce(int control, int link, unsigned who) {
    uint64_t count = 0;
    unsigned n;
    ssize_t got;
    while ((got = read(control, &n, sizeof n)) == (ssize_t)sizeof n) {
        int r = produce_round(link, who, n, &count);
        if (r)
            return err_up(r);
        if (write(control, &n, sizeof n) != (ssize_t)sizeof n)
            return err_raise(-EPIPE, "report a round");
    }
    return got ? err_raise(-EIO, "read from the control socket") : 0;
}

/* --- who holds what --- */

struct crowd {
    unsigned n; /* producers started */
    struct pollfd links[FLOOR_WIDTH_MAX];
    int controls[FLOOR_WIDTH_MAX];
    pid_t pids[FLOOR_WIDTH_MAX];
    pid_t writer;
};

/* End of file on a socket only comes when nobody else holds its other end, so every child drops what is not its own. */
static void drop_links(struct crowd *crowd) {
    for (unsigned i = 0; i < crowd->n; i++)
        crowd->links[i].fd = fd_close(crowd->links[i].fd);
}
static void drop_controls(struct crowd *crowd) {
    for (unsigned i = 0; i < crowd->n; i++)
        crowd->controls[i] = fd_close(crowd->controls[i]);
}

_Noreturn static void leave(const char *what, int r) {
    if (r)
        fprintf(stderr, "floor-log: %s: %s (%s)\n", what, err_text(), err_place());
    _exit(r ? 1 : 0);
}

static int start_producer(struct crowd *crowd) {
    int link[2], control[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) < 0)
        return err_raise(-errno, "socketpair");
    auto_close int link_child = link[1];
    crowd->links[crowd->n] = (struct pollfd){.fd = link[0], .events = POLLIN};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) < 0) {
        fd_close(link[0]);
        return err_raise(-errno, "socketpair");
    }
    auto_close int control_child = control[1];
    crowd->controls[crowd->n] = control[0];
    crowd->n++;
    pid_t pid = fork();
    if (pid == 0) {
        drop_links(crowd);
        drop_controls(crowd);
        leave("producer", produce(control_child, link_child, crowd->n));
    }
    crowd->pids[crowd->n - 1] = pid;
    return pid < 0 ? err_raise(-errno, "fork a producer") : 0;
}

static int start_writer(struct crowd *crowd, const char *path) {
    crowd->writer = fork();
    if (crowd->writer == 0) {
        drop_controls(crowd);
        leave("writer", write_all(path, crowd->links, crowd->n));
    }
    return crowd->writer < 0 ? err_raise(-errno, "fork the writer") : 0;
}

static int crowd_start(struct crowd *crowd, unsigned producers, const char *path) {
    int r = 0;
    while (!r && crowd->n < producers)
        r = start_producer(crowd);
    if (!r)
        r = start_writer(crowd, path);
    drop_links(crowd);
    return r;
}

/* Producers end at the end of their control sockets, the writer when the last producer has gone. */
static int crowd_stop(struct crowd *crowd) {
    drop_controls(crowd);
    int failed = 0;
    for (unsigned i = 0; i < crowd->n; i++)
        if (crowd->pids[i] > 0 && floor_reap(crowd->pids[i], "producer") < 0)
            failed = -ECHILD;
    if (crowd->writer > 0 && floor_reap(crowd->writer, "writer") < 0)
        failed = -ECHILD;
    return failed;
}

static int crowd_round(struct crowd *crowd, unsigned events, double *rate) {
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

static int run_crowd(const struct floor_options *options, const char *path) {
    static struct crowd crowd; /* too big for a stack that forks */
    char row[32];
    double rate;
    (void)snprintf(row, sizeof row, "durable_event_%u", options->width);
    int r = crowd_start(&crowd, options->width, path);
    if (!r)
        r = crowd_round(&crowd, options->iterations / 10 + 1, &rate); /* warm up; not printed */
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
    int r = floor_dir_make(options->state, &path);
    if (r)
        return err_up(r);
    r = options->width ? run_crowd(options, path) : run_bare(options, path);
    floor_dir_remove(path);
    return r;
}

int main(int argc, char **argv) {
    static const struct floor_program program = {
        .name = "floor-log",
        .summary = "The least a durable event can cost: a bare LMDB transaction, alone or behind sockets.",
        .width_name = "producers",
        .width_help = "0: one process, us per event; else processes, events per second",
        .needs_state = 1,
        .defaults = {.rounds = 5, .iterations = 200, .width = 0},
        .run = run,
    };
    return floor_main(&program, argc, argv);
}
