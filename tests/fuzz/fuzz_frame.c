/* Bytes into a channel, whole and cut at random places: which frames come out, and why the channel ends, must not
 * depend on the cuts. The first byte chooses the limit, the next two the cuts; the rest is the stream. */
#include "common/chan.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAM_MAX 8192u /* fits a socket's buffer, so that a write is never short */

struct trace {
    uint64_t hash;
    unsigned frames, ends;
    int reason;
};

static int on_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct trace *t = arg;
    assert(n > 0 && t->ends == 0);
    t->frames++;
    for (size_t i = 0; i < n; i++)
        t->hash = (t->hash ^ (uint8_t)text[i]) * 0x100000001b3u;
    t->hash = (t->hash ^ n) * 0x100000001b3u;
    memset(text, 'x', n); /* a handler may: its neighbours must not suffer */
    return text[0] == 'x' && n == 13 ? -EINVAL : 0;
}

static void on_close(void *arg, struct chan *c, int reason) {
    struct trace *t = arg;
    t->ends++;
    t->reason = reason;
}

static const struct chan_ops ops = {on_frame, on_close};

static void turn(struct loop *loop) {
    if (loop_turn(loop, 0) < 0)
        abort();
}

static struct trace run(struct loop *loop, const uint8_t *data, size_t n, size_t in_max, unsigned cuts) {
    struct trace t = {0};
    int pair[2];
    if (chan_pair(CHAN_STREAM, pair) < 0)
        abort();
    struct chan_config config = {.loop = loop, .fd = pair[0], .in_max = in_max, .ops = &ops, .arg = &t};
    if (!chan_new(&config))
        abort();
    for (size_t at = 0; at < n && !t.ends;) {
        size_t piece = cuts ? 1 + (cuts >> 16) % 40 : n; /* 0: none */
        cuts = cuts * 1103515245u + 12345u * (cuts != 0);
        piece = piece < n - at ? piece : n - at;
        if (send(pair[1], data + at, piece, MSG_NOSIGNAL) != (ssize_t)piece)
            abort();
        at += piece;
        turn(loop);
    }
    (void)close(pair[1]);
    for (int i = 0; i < 4 && !t.ends; i++)
        turn(loop);
    turn(loop); /* frees it */
    assert(t.ends == 1);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const size_t limits[] = {0, 100, FRAME_CONTROL_MAX, 1};
    static struct loop *loop;
    if (!loop && !(loop = loop_new(3)))
        abort();
    if (n < 3 || n > STREAM_MAX)
        return 0;
    size_t in_max = limits[data[0] % 4];
    unsigned cuts = 1u + data[1] + 256u * data[2];
    struct trace whole = run(loop, data + 3, n - 3, in_max, 0);
    struct trace cut = run(loop, data + 3, n - 3, in_max, cuts);
    assert(whole.hash == cut.hash && whole.frames == cut.frames && whole.reason == cut.reason);
    return 0;
}
