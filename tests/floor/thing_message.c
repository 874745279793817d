/* A message there and one back on a real link: channel, codec and loop of common/ at both ends, between two processes.
 * Both messages have the members of floor-message's (an `append` is the nearest in the catalogue: the codec does not
 * mind who sends it to whom), are as long, and are made anew and checked each time. Both processes stay on one
 * processor, as in the floor. A sample is one round trip.
 *
 *     main ── ask ──> answering process
 *          <── got ──
 */
#include "common/chan.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/msg.h"
#include "tests/floor/floor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_BYTES 250u
#define SERIAL_FIRST 10000000 /* eight digits from here on: every message has the same length */
#define RUN "r-01J8ZQ4W2E4R6T8Y0V2X4C6B8N"
#define CALL "c-01J8ZQ4W2E4R6T8Y0V2X4C6B8N"

static char padding[MESSAGE_BYTES + 1];

/* --- messages --- */

struct message {
    char data[MESSAGE_BYTES + 64];
    struct msg_append body;
};

static void message_make(struct message *m, const char *type, int64_t serial) {
    (void)snprintf(m->data, sizeof m->data, "{\"tool\":\"file_read\",\"size\":%d,\"text\":\"%s\"}", 65536, padding);
    m->body = (struct msg_append){.ref = serial, .type = type, .run = RUN, .call = CALL, .data = SPAN(m->data)};
}

/* Finds the padding that makes a message exactly MESSAGE_BYTES long, and looks whether it did. */
static int fit_padding(void) {
    struct message m;
    for (int pass = 0; pass < 2; pass++) {
        auto_buf struct buf text = BUF_NULL(FLOOR_FRAME_MAX);
        message_make(&m, "ask", SERIAL_FIRST);
        int r = msg_encode(MSG_APPEND, &m.body, &text);
        if (r)
            return err_up(r);
        if (text.n > MESSAGE_BYTES || (pass && text.n != MESSAGE_BYTES))
            return err_raise(-EMSGSIZE, "a message of %zu bytes instead of %u", text.n, MESSAGE_BYTES);
        memset(padding, 'p', MESSAGE_BYTES - text.n); /* the second time: nothing */
    }
    return 0;
}

/* --- one end --- */

struct end {
    struct loop *loop;
    struct chan *chan;
    const char *wanted; /* type of what comes in */
    const char *answer; /* type of what is sent back; NULL = nothing is */
    int64_t serial;     /* of the last message that came in */
    bool closed;
    int failure;
};

static int end_send(struct end *end, const char *type, int64_t serial) {
    struct message m;
    message_make(&m, type, serial);
    return chan_send(end->chan, MSG_APPEND, &m.body);
}

static int on_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct end *end = arg;
    struct msg m;
    (void)c;
    int r = n == MESSAGE_BYTES ? msg_decode(text, n, &m) : err_raise(-EMSGSIZE, "a message of %zu bytes", n);
    if (r == 0 && (m.type != MSG_APPEND || strcmp(m.append.type, end->wanted) != 0))
        r = err_raise(-EPROTO, "not a message of type %s", end->wanted);
    if (r == 0) {
        end->serial = m.append.ref;
        r = end->answer ? end_send(end, end->answer, end->serial) : 0;
    }
    end->failure = r;
    return r;
}

static void on_close(void *arg, struct chan *c, int reason) {
    struct end *end = arg;
    (void)c;
    end->chan = NULL;
    end->closed = true;
    if (end->failure == 0)
        end->failure = reason;
}

static const struct chan_ops ops = {on_frame, on_close};

/* Takes `link`. */
static int end_open(struct end *end, int link, const char *wanted, const char *answer) {
    *end = (struct end){.loop = loop_new(3), .wanted = wanted, .answer = answer};
    struct chan_config config = {.loop = end->loop, .fd = link, .kind = CHAN_STREAM, .ops = &ops, .arg = end};
    if (!end->loop) {
        (void)fd_close(link);
        return -ENOMEM;
    }
    end->chan = chan_new(&config);
    return end->chan ? 0 : -ENOMEM;
}

static void end_close(struct end *end) {
    chan_close(end->chan);
    loop_free(end->loop);
    *end = (struct end){0};
}

/* --- the answering process --- */

/* In a child; does not return. Answers until the link is closed. */
_Noreturn static void answer_all(int link) {
    struct end end;
    int r = end_open(&end, link, "ask", "got");
    while (r == 0 && !end.closed)
        r = loop_turn(end.loop, -1);
    if (r == 0)
        r = end.failure;
    if (r)
        fprintf(stderr, "thing-message: answering: %s (%s)\n", err_text(), err_place());
    end_close(&end);
    _exit(r ? 1 : 0);
}

/* --- the asking one --- */

static int ask_once(struct end *end, int64_t serial) {
    int r = end_send(end, "ask", serial);
    while (r == 0 && end->serial != serial) {
        r = loop_turn(end->loop, -1);
        if (r == 0 && end->closed)
            r = end->failure ? end->failure : err_raise(-ECONNRESET, "the answering process is gone");
    }
    return r;
}

static int ask_round(struct end *end, unsigned n, int64_t *serial, double *samples) {
    for (unsigned i = 0; i < n; i++) {
        double start = floor_now_us();
        int r = ask_once(end, ++*serial);
        if (r)
            return err_up(r);
        samples[i] = floor_now_us() - start;
    }
    return 0;
}

static int ask_all(struct end *end, const struct floor_options *options) {
    auto_free double *samples = calloc(options->iterations, sizeof *samples);
    if (!samples)
        return err_raise(-ENOMEM, "room for samples");
    int64_t serial = SERIAL_FIRST;
    int r = ask_round(end, options->iterations / 10 + 1, &serial, samples); /* warm up; not printed */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = ask_round(end, options->iterations, &serial, samples);
        if (!r)
            r = floor_print("message_250", "us", samples, options->iterations);
    }
    return r;
}

static int run(const struct floor_options *options) {
    int pair[2], r = fit_padding();
    if (r == 0)
        r = floor_stay();
    if (r == 0)
        r = chan_pair(CHAN_STREAM, pair);
    if (r)
        return err_up(r);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        answer_all(pair[1]);
    }
    int fork_error = errno;
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        return err_raise(-fork_error, "fork");
    }
    struct end end;
    r = end_open(&end, pair[0], "got", NULL);
    if (r == 0)
        r = ask_all(&end, options);
    end_close(&end); /* and the other one ends */
    int reaped = floor_reap(pid, "answering process");
    return r ? r : reaped;
}

int main(int argc, char **argv) {
    static const struct floor_program program = {
        .name = "thing-message",
        .summary = "What a message of 250 bytes and its answer cost on a link.",
        .defaults = {.rounds = 5, .iterations = 2000},
        .run = run,
    };
    return floor_main(&program, argc, argv);
}
