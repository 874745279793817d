/* The floor of a message on a link: a length-prefixed frame there and one back over a SOCK_STREAM socketpair between
 * two processes, with the JSON work that no design avoids: each end encodes what it sends and parses what it gets.
 * Both stay on one processor. A sample is one round trip. */
#include "common/cleanup.h"
#include "common/err.h"
#include "tests/floor/floor.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_BYTES 250u
#define SERIAL_FIRST 10000000 /* eight digits from here on: every message has the same length */

static char padding[MESSAGE_BYTES + 1];

/* The encoded length; 0 when jansson could not. */
static size_t encode(const char *type, json_int_t serial, char *text, size_t max) {
    json_t *message = json_pack("{s:s, s:s, s:s, s:I, s:{s:s, s:i, s:s}}", "type", type, "run",
                                "r-01J8ZQ4W2E4R6T8Y0V2X4C6B8N", "call", "c-01J8ZQ4W2E4R6T8Y0V2X4C6B8N", "serial",
                                serial, "data", "tool", "file_read", "size", 65536, "text", padding);
    size_t n = message ? json_dumpb(message, text, max, JSON_COMPACT) : 0;
    json_decref(message);
    return n;
}

/* Finds the padding that makes a message exactly MESSAGE_BYTES long. */
static int fit_padding(void) {
    char text[FLOOR_FRAME_MAX];
    size_t n = encode("ask", SERIAL_FIRST, text, sizeof text);
    if (!n || n > MESSAGE_BYTES)
        return err_raise(-EMSGSIZE, "a message without padding has %zu bytes", n);
    memset(padding, 'p', MESSAGE_BYTES - n);
    return 0;
}

static int send_message(int fd, const char *type, json_int_t serial) {
    char text[FLOOR_FRAME_MAX];
    size_t n = encode(type, serial, text, sizeof text);
    if (n != MESSAGE_BYTES)
        return err_raise(-EMSGSIZE, "a message of %zu bytes instead of %u", n, MESSAGE_BYTES);
    return floor_send(fd, text, n);
}

static int recv_message(int fd, const char *type, json_int_t *serial) {
    char text[FLOOR_FRAME_MAX];
    size_t n;
    int r = floor_recv(fd, text, &n);
    if (r)
        return err_up(r);
    json_error_t error;
    json_t *message = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    const char *got = json_string_value(json_object_get(message, "type"));
    if (got && strcmp(got, type) == 0)
        *serial = json_integer_value(json_object_get(message, "serial"));
    else
        r = err_raise(-EPROTO, "not a message of type %s: %.*s", type, (int)n, text);
    json_decref(message);
    return r;
}

/* The other end: answers until the link is closed. */
static int answer_all(int fd) {
    for (;;) {
        json_int_t serial;
        int r = recv_message(fd, "ask", &serial);
        if (r)
            return r == -ECONNRESET ? 0 : r;
        r = send_message(fd, "got", serial);
        if (r)
            return err_up(r);
    }
}

static int ask_round(int fd, unsigned n, json_int_t *serial, double *samples) {
    for (unsigned i = 0; i < n; i++) {
        json_int_t answered = 0;
        double start = floor_now_us();
        int r = send_message(fd, "ask", ++*serial);
        if (!r)
            r = recv_message(fd, "got", &answered);
        if (r)
            return err_up(r);
        samples[i] = floor_now_us() - start;
        if (answered != *serial)
            return err_raise(-EPROTO, "answer %lld to message %lld", (long long)answered, (long long)*serial);
    }
    return 0;
}

static int ask_all(int fd, const struct floor_options *options) {
    auto_free double *samples = calloc(options->iterations, sizeof *samples);
    if (!samples)
        return err_raise(-ENOMEM, "room for samples");
    json_int_t serial = SERIAL_FIRST;
    int r = ask_round(fd, options->iterations / 10 + 1, &serial, samples); /* warm up; not printed */
    for (unsigned i = 0; !r && i < options->rounds; i++) {
        r = ask_round(fd, options->iterations, &serial, samples);
        if (!r)
            r = floor_print("message_250", "us", samples, options->iterations);
    }
    return r;
}

static int run(const struct floor_options *options) {
    int pair[2], r = fit_padding();
    if (!r)
        r = floor_stay();
    if (r)
        return err_up(r);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_raise(-errno, "socketpair");
    auto_close int near = pair[0];
    auto_close int far = pair[1];
    pid_t pid = fork();
    if (pid < 0)
        return err_raise(-errno, "fork");
    if (pid == 0) {
        near = fd_close(near);
        r = answer_all(far);
        if (r)
            fprintf(stderr, "floor-message: answering: %s (%s)\n", err_text(), err_place());
        _exit(r ? 1 : 0);
    }
    far = fd_close(far);
    r = ask_all(near, options);
    near = fd_close(near);
    int reaped = floor_reap(pid, "answering process");
    return r ? r : reaped;
}

int main(int argc, char **argv) {
    static const struct floor_program program = {
        .name = "floor-message",
        .summary = "The least a message of 250 bytes and its answer can cost between two processes.",
        .defaults = {.rounds = 5, .iterations = 2000},
        .run = run,
    };
    return floor_main(&program, argc, argv);
}
