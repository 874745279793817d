/* Channels over real socketpairs. One end is a channel on a loop, the other a bare descriptor in the test's hands, so
 * that bytes, descriptors and deaths come exactly as a case wants them. Turns of the loop are counted out, never waited
 * for: what is in a socketpair is readable at once. */
#include "tests/common/probe.h"

#include "common/chan.h"
#include "common/err.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define SEEN_MAX 64

struct end {
    struct loop *loop;
    struct chan *c; /* NULL once it has ended */
    int fd;         /* the other end */
    unsigned frames, closes, fds_at_start;
    int reason, answer; /* of on_close; what on_frame returns */
    size_t n[SEEN_MAX];
    char first[SEEN_MAX]; /* first byte of each frame */
    unsigned n_fds[SEEN_MAX];
    int fds[SEEN_MAX][MSG_FDS_MAX];
    bool take, close_inside;
    struct chan *drain_inside;
};

static int on_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct end *e = arg;
    unsigned i = e->frames++;
    assert_true(i < SEEN_MAX && n > 0);
    e->n[i] = n;
    e->first[i] = *text;
    text[0] = text[n - 1] = '!';       /* a handler may change the text in place */
    if (e->take && e->first[i] == 'D') /* as a dispatcher does: only for a message that carries some */
        e->n_fds[i] = chan_take_fds(c, e->fds[i]);
    if (e->drain_inside)
        chan_drain(e->drain_inside);
    if (e->close_inside)
        chan_close(c);
    return e->answer;
}

static void on_close(void *arg, struct chan *c, int reason) {
    struct end *e = arg;
    e->closes++;
    e->reason = reason;
    e->c = NULL;
}

static const struct chan_ops ops = {on_frame, on_close};

static void end_open(struct end *e, enum chan_kind kind, size_t in_max, size_t out_max) {
    int pair[2];
    *e = (struct end){.fds_at_start = open_fds()};
    e->loop = loop_new(3);
    assert_non_null(e->loop);
    assert_int_equal(chan_pair(kind, pair), 0);
    struct chan_config config = {.loop = e->loop,
                                 .fd = pair[0],
                                 .kind = kind,
                                 .peer = {.role = ROLE_RUN},
                                 .in_max = in_max,
                                 .out_max = out_max,
                                 .ops = &ops,
                                 .arg = e};
    e->c = chan_new(&config);
    assert_non_null(e->c);
    e->fd = pair[1];
}

/* Every test ends here: no descriptor is left, whatever came. */
static void end_close(struct end *e) {
    for (unsigned i = 0; i < e->frames; i++)
        for (unsigned k = 0; k < e->n_fds[i]; k++)
            e->fds[i][k] = fd_close(e->fds[i][k]);
    chan_close(e->c);
    e->fd = fd_close(e->fd);
    loop_free(e->loop);
    assert_int_equal(open_fds(), e->fds_at_start);
}

static void turns(struct end *e, int n) {
    while (n--)
        assert_int_equal(loop_turn(e->loop, 0), 0);
}

static void put(int fd, const void *bytes, size_t n) {
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

/* A frame of n bytes, all `c`; the caller frees. */
static char *frame(size_t n, char c) {
    char *p = malloc(n + 4);
    uint32_t be = htonl((uint32_t)n);
    assert_non_null(p);
    memcpy(p, &be, 4);
    memset(p + 4, c, n);
    return p;
}

static void put_frame(int fd, size_t n, char c) {
    auto_free char *p = frame(n, c);
    put(fd, p, n + 4);
}

static void put_fds(int fd, const void *bytes, size_t n, const int *fds, unsigned n_fds) {
    union {
        char bytes[CMSG_SPACE(253 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
    mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
    struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
    cm->cmsg_level = SOL_SOCKET;
    cm->cmsg_type = SCM_RIGHTS;
    cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
    assert_int_equal(sendmsg(fd, &mh, MSG_NOSIGNAL), n);
}

/* ---- framing ---- */

static void test_one_byte_at_a_time(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    for (int round = 0; round < 2; round++) {
        auto_free char *p = frame(9, 'a');
        for (int i = 0; i < 13; i++) {
            assert_int_equal(e.frames, round);
            put(e.fd, p + i, 1);
            turns(&e, 1);
        }
    }
    assert_true(e.frames == 2 && e.n[0] == 9 && e.n[1] == 9 && e.closes == 0);
    end_close(&e);
}

static void test_many_in_one_write(void **state) {
    (void)state;
    struct end e;
    auto_buf struct buf all = BUF_NULL(1u << 20);
    end_open(&e, CHAN_STREAM, 0, 0);
    for (unsigned i = 0; i < 20; i++) {
        auto_free char *p = frame(i + 1, (char)('a' + i));
        (void)buf_add(&all, p, i + 5);
    }
    (void)buf_add(&all, "\0\0", 2); /* and the start of one more */
    put(e.fd, all.p, all.n);
    turns(&e, 1);
    assert_int_equal(e.frames, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_true(e.n[i] == i + 1 && e.first[i] == (char)('a' + i));
    put(e.fd, "\0\1z", 3);
    turns(&e, 1);
    assert_true(e.frames == 21 && e.first[20] == 'z');
    end_close(&e);
}

/* A frame larger than any buffer of the kernel's, sent by a channel, piece by piece. */
static void test_largest_frame(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    auto_free char *p = frame(FRAME_MAX, 'm');
    for (size_t at = 0; at < FRAME_MAX + 4;) {
        ssize_t n = send(e.fd, p + at, FRAME_MAX + 4 - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_true(n > 0 || errno == EAGAIN);
        at += n > 0 ? (size_t)n : 0;
        turns(&e, 1);
    }
    turns(&e, 64);
    assert_true(e.frames == 1 && e.n[0] == FRAME_MAX && e.closes == 0);
    end_close(&e);
}

static void test_bad_lengths(void **state) {
    (void)state;
    static const struct {
        size_t in_max;
        uint32_t length;
        bool good;
    } cases[] = {
        {0, 0, false},
        {0, 0x80000000u, false},
        {0, 0xffffffffu, false},
        {0, FRAME_MAX, true},
        {0, FRAME_MAX + 1, false},
        {100, 100, true},
        {100, 101, false},
        {1, 1, true},
        {FRAME_MAX * 2, FRAME_MAX + 1, false},
        {FRAME_CONTROL_MAX, FRAME_CONTROL_MAX + 1, false},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct end e;
        uint32_t be = htonl(cases[i].length);
        end_open(&e, CHAN_STREAM, cases[i].in_max, 0);
        put_frame(e.fd, 1, 'k'); /* what came before is delivered all the same */
        put(e.fd, &be, 4);
        turns(&e, 1);
        assert_int_equal(e.frames, 1);
        if (e.closes != !cases[i].good)
            fail_msg("case %zu: %u closes", i, e.closes);
        assert_int_equal(e.reason, cases[i].good ? 0 : -EPROTO);
        end_close(&e);
    }
}

static void test_half_a_frame_then_death(void **state) {
    (void)state;
    for (size_t n = 0; n < 14; n++) {
        struct end e;
        end_open(&e, CHAN_STREAM, 0, 0);
        auto_free char *p = frame(10, 'x');
        put_frame(e.fd, 3, 'w');
        if (n)
            put(e.fd, p, n);
        e.fd = fd_close(e.fd);
        turns(&e, 3);
        assert_true(e.frames == 1 && e.closes == 1 && e.reason == 0);
        end_close(&e);
    }
}

/* A peer that dies with bytes unread makes the read fail with ECONNRESET: an end like any other, behind what it sent.
 */
static void test_reset_is_an_end(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    assert_int_equal(chan_send(e.c, MSG_READY, &(struct msg_ready){0}), 0); /* never read by the peer */
    put_frame(e.fd, 5, 'l');
    e.fd = fd_close(e.fd);
    turns(&e, 3);
    assert_true(e.frames == 1 && e.closes == 1 && e.reason == 0);
    end_close(&e);
}

static void test_incomplete_frame_has_a_deadline(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    put(e.fd, "\0", 1);
    int64_t from = now_ms();
    turns(&e, 1);
    /* the turn that is to wait for ever ends with the deadline; the wait is cut short to see that it is armed */
    assert_int_equal(loop_turn(e.loop, 20), 0);
    assert_true(e.closes == 0 && now_ms() - from < CHAN_PARTIAL_MS);
    put(e.fd, "\0\0\1x", 4);
    turns(&e, 1);
    assert_int_equal(e.frames, 1);
    end_close(&e);
}

/* ---- handlers ---- */

static void test_handler_results(void **state) {
    (void)state;
    static const struct {
        int answer;
        unsigned frames, closes;
        int reason;
    } cases[] = {
        {0, 3, 0, 0},
        {1, 3, 0,
         0}, /* what a handler returns from a function with positive outcomes ends nothing and delays nothing */
        {-EPERM, 1, 1, -EPERM},
        {-EAGAIN, 1, 1, -EPROTO}, /* a handler that could not fork does not make the frame come again */
        {-ECONNRESET, 1, 1, -EPROTO},
    };
    for (unsigned kind = CHAN_STREAM; kind <= CHAN_SEQPACKET; kind++)
        for (size_t i = 0; i < LENGTH(cases); i++) {
            struct end e;
            end_open(&e, kind, 0, 0);
            e.answer = cases[i].answer;
            for (int k = 0; k < 3; k++)
                put_frame(e.fd, 4, 'h');
            turns(&e, 4);
            if (e.frames != cases[i].frames || e.closes != cases[i].closes || e.reason != cases[i].reason)
                fail_msg("kind %u, case %zu: %u frames, %u closes, reason %d", kind, i, e.frames, e.closes, e.reason);
            end_close(&e);
        }
}

static void test_close_inside_a_callback(void **state) {
    (void)state;
    for (unsigned kind = CHAN_STREAM; kind <= CHAN_SEQPACKET; kind++)
        for (int answer = -EPERM; answer <= 0; answer += EPERM) {
            struct end e;
            end_open(&e, kind, 0, 0);
            e.close_inside = true;
            e.answer = answer;
            put_frame(e.fd, 4, 'h');
            put_frame(e.fd, 4, 'i');
            turns(&e, 3);
            assert_true(e.frames == 1 && e.closes == 0); /* who closes is not told of it */
            e.c = NULL;
            end_close(&e);
        }
}

/* ---- writing ---- */

/* Reads and throws away up to n bytes. */
static size_t swallow(int fd, size_t n) {
    char bytes[4096];
    size_t all = 0;
    while (all < n) {
        ssize_t got = recv(fd, bytes, n - all < sizeof bytes ? n - all : sizeof bytes, MSG_DONTWAIT);
        if (got <= 0)
            break;
        all += (size_t)got;
    }
    return all;
}

static void test_partial_send_then_the_rest(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    auto_free char *text = malloc(FRAME_MAX);
    memset(text, 'p', FRAME_MAX);
    for (char c = 'a'; c < 'd'; c++) {
        text[0] = c;
        assert_int_equal(chan_send_text(e.c, text, FRAME_MAX, NULL, 0), 0);
    }
    assert_true(chan_queued(e.c) > 2 * FRAME_MAX);
    struct end other = {0};
    /* the reader is a channel too: three whole frames in order come out, whatever the pieces were */
    int dup_fd = dup(e.fd);
    struct chan_config config = {.loop = e.loop, .fd = dup_fd, .kind = CHAN_STREAM, .ops = &ops, .arg = &other};
    struct chan *reader = chan_new(&config);
    assert_non_null(reader);
    for (int i = 0; i < 1000 && other.frames < 3; i++)
        turns(&e, 1);
    assert_int_equal(other.frames, 3);
    assert_true(memcmp(other.first, "abc", 3) == 0 && other.n[2] == FRAME_MAX && chan_queued(e.c) == 0);
    chan_close(reader);
    end_close(&e);
}

static void test_queue_ceiling(void **state) {
    (void)state;
    struct end e;
    char text[1000];
    size_t sent = 0;
    end_open(&e, CHAN_STREAM, 0, 5000);
    memset(text, 'q', sizeof text);
    int r;
    while ((r = chan_send_text(e.c, text, sizeof text, NULL, 0)) == 0)
        sent += sizeof text + 4;
    assert_int_equal(r, -ENOBUFS);
    size_t queued = chan_queued(e.c);
    assert_true(queued <= 5000 && queued > 5000 - sizeof text - 4);
    assert_int_equal(chan_send_text(e.c, "small", 5, NULL, 0), queued + 9 > 5000 ? -ENOBUFS : 0);
    assert_int_equal(e.closes, 0); /* a slow reader is refused, not ended */
    for (size_t got = 0; chan_queued(e.c);) {
        got += swallow(e.fd, sent + 100 - got);
        turns(&e, 1);
    }
    assert_int_equal(chan_send_text(e.c, text, sizeof text, NULL, 0), 0);
    end_close(&e);
}

/* What the socket took in part must be finished, also beyond the ceiling: half a frame would be the end of the stream.
 */
static void test_a_started_frame_is_finished(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 10);
    auto_free char *text = malloc(FRAME_MAX);
    memset(text, 's', FRAME_MAX);
    assert_int_equal(chan_send_text(e.c, text, FRAME_MAX, NULL, 0), 0);
    assert_true(chan_queued(e.c) > 10);
    size_t got = 0;
    for (int i = 0; i < 1000 && got < FRAME_MAX + 4; i++) {
        got += swallow(e.fd, FRAME_MAX + 4);
        turns(&e, 1);
    }
    assert_int_equal(got, FRAME_MAX + 4);
    end_close(&e);
}

static void test_send_to_the_dead(void **state) {
    (void)state;
    for (unsigned kind = CHAN_STREAM; kind <= CHAN_SEQPACKET; kind++) {
        struct end e;
        end_open(&e, kind, 0, 0);
        assert_int_equal(chan_send(e.c, MSG_READY, &(struct msg_ready){0}), 0);
        e.fd = fd_close(e.fd);
        for (int i = 0; i < 3; i++) /* the first may find the reset that the unread frame left behind */
            assert_int_equal(chan_send(e.c, MSG_READY, &(struct msg_ready){0}), -EPIPE);
        turns(&e, 2);
        assert_int_equal(e.closes, 1);
        end_close(&e);
    }
    assert_int_equal(chan_send(NULL, MSG_READY, &(struct msg_ready){0}), -EPIPE);
}

static void test_refused_messages_send_nothing(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    assert_int_equal(chan_send(e.c, MSG_HELLO, &(struct msg_hello){.pid = 1, .generation = 1}), -EINVAL);
    auto_free char *text = calloc(1, FRAME_MAX + 1);
    assert_int_equal(chan_send_text(e.c, text, FRAME_MAX + 1, NULL, 0), -EMSGSIZE);
    char byte;
    assert_int_equal(recv(e.fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(chan_send(e.c, MSG_READY, &(struct msg_ready){0}), 0);
    assert_true(recv(e.fd, &byte, 1, MSG_DONTWAIT) == 1);
    end_close(&e);
}

static void test_close_after_flush(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    auto_free char *text = malloc(FRAME_MAX);
    memset(text, 'f', FRAME_MAX);
    assert_int_equal(chan_send_text(e.c, text, FRAME_MAX, NULL, 0), 0);
    chan_close_after_flush(e.c);
    assert_int_equal(chan_send(e.c, MSG_READY, &(struct msg_ready){0}), -EPIPE);
    put_frame(e.fd, 4, 'n'); /* nothing is read any more */
    size_t got = 0;
    for (int i = 0; i < 1000 && got < FRAME_MAX + 4; i++) {
        got += swallow(e.fd, FRAME_MAX + 4);
        turns(&e, 1);
    }
    assert_int_equal(got, FRAME_MAX + 4);
    char byte;
    assert_true(recv(e.fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN); /* and then it is closed */
    assert_int_equal(e.frames, 0);
    e.c = NULL;
    end_close(&e);
}

static void test_close_after_flush_with_an_empty_queue(void **state) {
    (void)state;
    struct end e;
    char byte;
    end_open(&e, CHAN_STREAM, 0, 0);
    chan_close_after_flush(e.c);
    e.c = NULL;
    assert_int_equal(recv(e.fd, &byte, 1, MSG_DONTWAIT), 0);
    end_close(&e);
}

static void test_pause(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    chan_pause(e.c, true);
    put_frame(e.fd, 4, 'p');
    turns(&e, 2);
    assert_int_equal(e.frames, 0);
    chan_pause(e.c, false);
    turns(&e, 1);
    assert_int_equal(e.frames, 1);
    chan_pause(e.c, true); /* a paused peer that goes is still noticed, once */
    e.fd = fd_close(e.fd);
    turns(&e, 3);
    assert_int_equal(e.closes, 1);
    end_close(&e);
}

static void test_drain(void **state) {
    (void)state;
    struct end e, other;
    end_open(&e, CHAN_STREAM, 0, 0);
    end_open(&other, CHAN_STREAM, 0, 0);
    other.drain_inside = e.c;
    for (char c = 'a'; c < 'f'; c++)
        put_frame(e.fd, 20000, c);
    e.fd = fd_close(e.fd);
    put_frame(other.fd, 10, 'o');
    turns(&other, 1); /* inside its handler all of the first one's frames come, in order, and its end */
    assert_true(e.frames == 5 && memcmp(e.first, "abcde", 5) == 0 && e.closes == 1);
    assert_true(other.frames == 1 && other.first[0] == 'o' && other.closes == 0);
    other.fds_at_start -= 2; /* both ends of the first one are gone */
    end_close(&other);
    end_close(&e);
    chan_drain(NULL);
}

/* Not from inside itself: the frames would come out of order. */
static void test_drain_inside_itself_does_nothing(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    e.drain_inside = e.c;
    put_frame(e.fd, 4, 'a');
    put_frame(e.fd, 4, 'b');
    turns(&e, 1);
    assert_true(e.frames == 2 && memcmp(e.first, "ab", 2) == 0);
    end_close(&e);
}

/* ---- descriptors ---- */

/* An empty file with a number of its own, to know it again. */
static int marked(off_t mark) {
    int fd = (int)memfd_create("mark", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, mark) == 0);
    return fd;
}

static off_t mark_of(int fd) {
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

static int send_carrying(struct chan *c, char *text, size_t n, const int *fds, unsigned n_fds) {
    *text = n_fds ? 'D' : '-';
    return chan_send_text(c, text, n, fds, n_fds);
}

/* Descriptors come with the frame that carried them: also behind frames without, also when the frame had to wait. */
static void test_descriptors_with_their_frame(void **state) {
    (void)state;
    struct end to, from = {0};
    end_open(&to, CHAN_STREAM, 0, 0);
    to.take = true;
    struct chan_config config = {.loop = to.loop, .fd = dup(to.fd), .kind = CHAN_STREAM, .ops = &ops, .arg = &from};
    struct chan *sender = chan_new(&config);
    assert_non_null(sender);
    auto_free char *big = calloc(1, FRAME_MAX);
    int fds[3] = {marked(1), marked(2), marked(3)};
    static const unsigned carried[] = {0, 1, 0, 2, 3, 0, 1};
    for (unsigned i = 0; i < LENGTH(carried); i++)
        assert_int_equal(send_carrying(sender, big, i == 2 ? FRAME_MAX : 10, fds, carried[i]), 0);
    for (int i = 0; i < 3; i++)
        fds[i] = fd_close(fds[i]); /* they were duplicated: the sender's own may go */
    for (int i = 0; i < 200 && to.frames < LENGTH(carried); i++)
        turns(&to, 1);
    assert_int_equal(to.frames, LENGTH(carried));
    for (unsigned i = 0; i < LENGTH(carried); i++) {
        assert_int_equal(to.n_fds[i], carried[i]);
        for (unsigned k = 0; k < carried[i]; k++) {
            assert_int_equal(mark_of(to.fds[i][k]), k + 1);
            assert_true(fcntl(to.fds[i][k], F_GETFD) & FD_CLOEXEC);
        }
    }
    if (to.closes)
        fail_msg("ended: %d %s", to.reason, err_text());
    chan_close(sender);
    end_close(&to);
}

static void test_unasked_descriptors(void **state) {
    (void)state;
    int many[253];
    for (size_t i = 0; i < LENGTH(many); i++)
        many[i] = marked(0);
    static const unsigned counts[] = {1, 3, 4, 253};
    for (unsigned kind = CHAN_STREAM; kind <= CHAN_SEQPACKET; kind++)
        for (size_t i = 0; i < LENGTH(counts); i++)
            for (int whole = 0; whole < 2; whole++) {
                struct end e;
                end_open(&e, kind, 0, 0);
                auto_free char *p = frame(4, 'u');
                put_fds(e.fd, p, whole || kind == CHAN_SEQPACKET ? 8 : 2, many, counts[i]);
                turns(&e, 1);
                /* up to three are kept while the frame that might want them is on its way */
                bool waits = !whole && kind == CHAN_STREAM && counts[i] <= MSG_FDS_MAX;
                assert_int_equal(e.closes, !waits);
                assert_int_equal(e.reason, waits ? 0 : -EPROTO);
                end_close(&e); /* counts the descriptors */
            }
    for (size_t i = 0; i < LENGTH(many); i++)
        many[i] = fd_close(many[i]);
}

/* A peer that hoards: a frame that never ends, a descriptor with each of its bytes. */
static void test_hoarded_descriptors(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    int fd = marked(0);
    auto_free char *p = frame(1000, 'h');
    unsigned sent = 0;
    for (; sent < 200 && !e.closes; sent++) {
        put_fds(e.fd, p + sent, 1, &fd, 1);
        turns(&e, 1);
    }
    assert_true(e.closes == 1 && e.reason == -EPROTO && sent < 100);
    fd = fd_close(fd);
    end_close(&e);
}

static void test_queued_descriptors_are_closed(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    auto_free char *big = calloc(1, FRAME_MAX);
    int fds[2] = {marked(1), marked(2)};
    assert_int_equal(chan_send_text(e.c, big, FRAME_MAX, NULL, 0), 0);
    assert_int_equal(chan_send_text(e.c, big, 10, fds, 2), 0);
    fds[0] = fd_close(fds[0]);
    fds[1] = fd_close(fds[1]);
    end_close(&e);
}

/* ---- packets ---- */

static void test_packets(void **state) {
    (void)state;
    static const struct {
        size_t packet;   /* bytes sent */
        uint32_t length; /* what they say */
        bool good;
    } cases[] = {
        {5, 1, true},
        {104, 100, true},
        {FRAME_PACKET_MAX, FRAME_PACKET_MAX - 4, true},
        {104, 99, false},
        {104, 101, false},
        {104, 0, false},
        {104, 0xffffffffu, false},
        {4, 0, false},
        {3, 0, false},
        {1, 1, false},
        {FRAME_PACKET_MAX + 1, FRAME_PACKET_MAX - 3, false},
        {FRAME_PACKET_MAX + 1, FRAME_PACKET_MAX - 4, false}, /* cut by the kernel, it would look whole */
    };
    auto_free char *bytes = calloc(1, FRAME_PACKET_MAX + 1);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct end e;
        uint32_t be = htonl(cases[i].length);
        end_open(&e, CHAN_SEQPACKET, 0, 0);
        memcpy(bytes, &be, 4);
        put(e.fd, bytes, cases[i].packet);
        turns(&e, 1);
        if (e.frames != cases[i].good || e.closes == cases[i].good || (e.closes && e.reason != -EPROTO))
            fail_msg("case %zu: %u frames, %u closes, reason %d", i, e.frames, e.closes, e.reason);
        end_close(&e);
    }
}

static void test_packets_sent(void **state) {
    (void)state;
    struct end e;
    char got[64];
    end_open(&e, CHAN_SEQPACKET, 0, 0);
    assert_int_equal(chan_send(e.c, MSG_READY, &(struct msg_ready){0}), 0);
    assert_int_equal(recv(e.fd, got, sizeof got, MSG_DONTWAIT), 4 + strlen("{\"msg\":\"ready\"}"));
    assert_memory_equal(got, "\0\0\0\x0f{\"msg\":\"ready\"}", 19);
    auto_free char *big = calloc(1, FRAME_PACKET_MAX);
    assert_int_equal(chan_send_text(e.c, big, FRAME_PACKET_MAX - 3, NULL, 0), -EMSGSIZE);
    assert_int_equal(chan_send_text(e.c, big, FRAME_PACKET_MAX - 4, NULL, 0), 0);
    end_close(&e);
}

static void test_packets_with_descriptors(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_SEQPACKET, 0, 0);
    e.take = true;
    int fds[2] = {marked(7), marked(8)};
    auto_free char *p = frame(4, 'D');
    put_frame(e.fd, 4, 'c');
    put_fds(e.fd, p, 8, fds, 2);
    fds[0] = fd_close(fds[0]);
    fds[1] = fd_close(fds[1]);
    turns(&e, 2);
    assert_true(e.frames == 2 && e.n_fds[0] == 0 && e.n_fds[1] == 2 && e.closes == 0);
    assert_true(mark_of(e.fds[1][0]) == 7 && mark_of(e.fds[1][1]) == 8);
    end_close(&e);
}

static void test_write_once(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    assert_int_equal(frame_write_once(e.fd, "down", 4, NULL, 0), 0);
    turns(&e, 1);
    assert_true(e.frames == 1 && e.n[0] == 4 && e.first[0] == 'd');
    chan_close(e.c);
    e.c = NULL;
    assert_int_equal(frame_write_once(e.fd, "down", 4, NULL, 0), -EPIPE);
    end_close(&e);
}

static void test_no_channel_without_a_descriptor(void **state) {
    (void)state;
    struct end e;
    end_open(&e, CHAN_STREAM, 0, 0);
    struct chan_config config = {.loop = e.loop, .fd = -1, .ops = &ops};
    assert_null(chan_new(&config));
    config.fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC); /* epoll takes no regular file; it is closed */
    assert_null(chan_new(&config));
    end_close(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_byte_at_a_time),
        cmocka_unit_test(test_many_in_one_write),
        cmocka_unit_test(test_largest_frame),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_half_a_frame_then_death),
        cmocka_unit_test(test_reset_is_an_end),
        cmocka_unit_test(test_incomplete_frame_has_a_deadline),
        cmocka_unit_test(test_handler_results),
        cmocka_unit_test(test_close_inside_a_callback),
        cmocka_unit_test(test_partial_send_then_the_rest),
        cmocka_unit_test(test_queue_ceiling),
        cmocka_unit_test(test_a_started_frame_is_finished),
        cmocka_unit_test(test_send_to_the_dead),
        cmocka_unit_test(test_refused_messages_send_nothing),
        cmocka_unit_test(test_close_after_flush),
        cmocka_unit_test(test_close_after_flush_with_an_empty_queue),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_inside_itself_does_nothing),
        cmocka_unit_test(test_descriptors_with_their_frame),
        cmocka_unit_test(test_unasked_descriptors),
        cmocka_unit_test(test_hoarded_descriptors),
        cmocka_unit_test(test_queued_descriptors_are_closed),
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_packets_sent),
        cmocka_unit_test(test_packets_with_descriptors),
        cmocka_unit_test(test_write_once),
        cmocka_unit_test(test_no_channel_without_a_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
