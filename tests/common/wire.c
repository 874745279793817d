/* A link is read in two steps, length and text, so that what follows stays in the socket; an endpoint's packet comes
 * whole, and the length is peeked at. */
#include "tests/common/wire.h"

#include "common/chan.h"
#include "tests/common/probe.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char text[FRAME_MAX + 4];

void wire_put(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    assert_int_equal(msg_encode(type, body, &b), 0);
    assert_int_equal(frame_write_once(fd, b.p, b.n, fds, n_fds), 0);
}

static ssize_t take(int fd, size_t n, int flags, struct msg *out) {
    union {
        char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {text, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, 20000) != 1)
        fail_msg("nothing came on descriptor %d", fd);
    ssize_t got = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | flags);
    struct cmsghdr *cm = got > 0 ? CMSG_FIRSTHDR(&mh) : NULL;
    if (out && cm) {
        out->n_fds = (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(out->fds, CMSG_DATA(cm), out->n_fds * sizeof(int));
    }
    return got;
}

bool wire_get(int fd, struct msg *out) {
    int type = 0;
    socklen_t size = sizeof type;
    struct msg fds = {.fds = {-1, -1, -1}};
    uint32_t be;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    ssize_t got = take(fd, sizeof text, type == SOCK_STREAM ? MSG_PEEK : 0, type == SOCK_STREAM ? NULL : &fds);
    if (got <= 0)
        return false;
    assert_true(got >= 5);
    memcpy(&be, text, 4);
    size_t n = ntohl(be);
    if (type == SOCK_STREAM)
        assert_int_equal(take(fd, n + 4, MSG_WAITALL, &fds), n + 4);
    if (msg_decode(text + 4, n, out) < 0)
        fail_msg("not a message: %.*s", (int)n, text + 4);
    out->n_fds = fds.n_fds;
    memcpy(out->fds, fds.fds, sizeof fds.fds);
    return true;
}

int wire_reap(pid_t pid) {
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
