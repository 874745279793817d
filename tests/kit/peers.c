/* Every read and write waits with poll(2) and then does not block, whatever the flags of the socket are: one deadline
 * for all. A stream is read length first; a packet is read whole and must be as long as it says. */
#include "tests/kit/peers.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

union fd_room {
    char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
};

/* The last frame as it came. */
static struct {
    char text[4 + FRAME_MAX + 1];
    int fds[MSG_FDS_MAX];
    unsigned n_fds;
} last;

/* The last message: a copy, since decoding changes the text and whoever holds a message may hear JSON elsewhere. */
static struct {
    struct msg msg;
    char text[FRAME_MAX];
} heard;

int peer_pair(enum chan_kind kind, int *theirs) {
    int ends[2];
    assert_int_equal(chan_pair(kind, ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0);
    *theirs = ends[1];
    return ends[0];
}

/* ---- the fake root of a static child ---- */

int peer_wire(int control, enum role_id to) {
    int theirs, ours = peer_pair(to == ROLE_EVENTLOG ? CHAN_STREAM : CHAN_SEQPACKET, &theirs);
    peer_put_fds(control, MSG_WIRE, &(struct msg_wire){.to = role_name(to)}, &theirs, 1);
    (void)fd_close(theirs);
    return ours;
}

void peer_begin(int control, const struct spec *spec, uint32_t generation, int extra_fd) {
    auto_close int sealed = spec_seal(spec);
    assert_true(sealed >= 0);
    int fds[] = {sealed, extra_fd};
    peer_put_fds(control, MSG_BEGIN, &(struct msg_begin){.generation = generation}, fds, extra_fd < 0 ? 1 : 2);
}

/* ---- speaking ---- */

static void await(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    if (poll(&p, 1, (int)kit_ms(KIT_WAIT_MS)) != 1)
        fail_msg("%s within %lld ms", events == POLLIN ? "nothing came" : "nothing was taken",
                 (long long)kit_ms(KIT_WAIT_MS));
}

static size_t write_some(int fd, const char *bytes, size_t n, const int *fds, unsigned n_fds) {
    union fd_room control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)bytes, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds) {
        mh.msg_control = &control;
        mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
    }
    ssize_t sent = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        fail_msg("send: %s", strerror(errno));
    return sent < 0 ? 0 : (size_t)sent;
}

void peer_put_bytes(int fd, const void *bytes, size_t n, const int *fds, unsigned n_fds) {
    assert_true(n_fds <= MSG_FDS_MAX);
    for (size_t at = 0; at < n;) {
        await(fd, POLLOUT);
        size_t sent = write_some(fd, (const char *)bytes + at, n - at, fds, n_fds);
        n_fds = sent ? 0 : n_fds; /* they go with the first byte */
        at += sent;
    }
}

void peer_put_text(int fd, const char *text, size_t n, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    uint32_t be = htonl((uint32_t)n);
    (void)buf_add(&b, &be, sizeof be);
    assert_int_equal(buf_add(&b, text, n), 0);
    peer_put_bytes(fd, b.p, b.n, fds, n_fds);
}

void peer_putf(int fd, const char *fmt, ...) {
    auto_free char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    assert_true(n > 0);
    peer_put_text(fd, text, (size_t)n, NULL, 0);
}

void peer_put_fds(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    if (msg_encode(type, body, &b) < 0)
        fail_msg("%s: %s", msg_name(type), err_text());
    peer_put_text(fd, b.p, b.n, fds, n_fds);
}

void peer_put(int fd, enum msg_type type, const void *body) {
    peer_put_fds(fd, type, body, NULL, 0);
}

/* ---- hearing ---- */

bool peer_readable(int fd, int64_t ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, (int)ms) == 1;
}

/* 0 = the end, also when the other side left something of ours unread. */
static size_t read_some(int fd, char *to, size_t n) {
    union fd_room control;
    struct iovec iov = {to, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    await(fd, POLLIN);
    ssize_t got = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && errno != ECONNRESET)
        fail_msg("receive: %s", strerror(errno));
    const struct cmsghdr *cm = got > 0 ? CMSG_FIRSTHDR(&mh) : NULL;
    if (cm) {
        assert_int_equal(last.n_fds, 0);
        last.n_fds = (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(last.fds, CMSG_DATA(cm), last.n_fds * sizeof(int));
        for (unsigned i = 0; i < last.n_fds; i++)
            assert_int_equal(fcntl(last.fds[i], F_SETFL, 0), 0); /* they are this side's now, and block */
    }
    return got < 0 ? 0 : (size_t)got;
}

/* Up to `want` bytes of the frame in hand, of which `have` are there. */
static size_t read_up_to(int fd, size_t have, size_t want) {
    while (have < want) {
        size_t got = read_some(fd, last.text + have, want - have);
        if (!got && have)
            fail_msg("the channel ends within a frame, after %zu bytes", have);
        if (!got)
            return 0;
        have += got;
    }
    return have;
}

static size_t announced(void) {
    uint32_t be;
    memcpy(&be, last.text, sizeof be);
    return ntohl(be);
}

static size_t read_packet(int fd) {
    size_t n = read_some(fd, last.text, FRAME_PACKET_MAX);
    if (n)
        assert_true(n > 4 && announced() == n - 4);
    return n;
}

static size_t read_stream(int fd) {
    if (!read_up_to(fd, 0, 4))
        return 0;
    assert_in_range(announced(), 1, FRAME_MAX);
    return read_up_to(fd, 4, 4 + announced());
}

const char *peer_text(int fd, size_t *n) {
    int type;
    socklen_t size = sizeof type;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    last.n_fds = 0;
    size_t whole = type == SOCK_STREAM ? read_stream(fd) : read_packet(fd);
    if (!whole)
        return NULL;
    last.text[whole] = '\0';
    *n = whole - 4;
    return last.text + 4;
}

struct msg *peer_hear(int fd) {
    size_t n;
    const char *text = peer_text(fd, &n);
    if (!text)
        return NULL;
    memcpy(heard.text, text, n);
    if (msg_decode(heard.text, n, &heard.msg) < 0)
        fail_msg("%s: %s", text, err_text());
    heard.msg.n_fds = last.n_fds;
    memcpy(heard.msg.fds, last.fds, sizeof last.fds);
    return &heard.msg;
}

struct msg *peer_get(int fd, enum msg_type type) {
    struct msg *m = peer_hear(fd);
    if (!m)
        fail_msg("the channel has ended, %s was wanted", msg_name(type));
    if (m->type != type)
        fail_msg("%s came, %s was wanted%s%s", msg_name(m->type), msg_name(type), m->type == MSG_REFUSED ? ": " : "",
                 m->type == MSG_REFUSED ? m->refused.why : "");
    return m;
}

json_t *peer_json(int fd) {
    size_t n;
    json_t *frame = NULL;
    const char *text = peer_text(fd, &n);
    if (text && json_parse(text, n, FRAME_MAX, &frame) < 0)
        fail_msg("%s: %s", text, err_text());
    return frame;
}

void peer_end(int fd) {
    size_t n;
    const char *text = fd < 0 ? NULL : peer_text(fd, &n);
    if (text)
        fail_msg("more was sent than was wanted: %s", text);
}
