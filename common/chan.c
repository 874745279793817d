/* Reading: one recvmsg(2) a turn into a shared scratch, appended to what is incomplete, frames delivered while whole.
 * The kernel ends a recvmsg behind the data that carried descriptors, so descriptors arrive as batches in the order of
 * the frames that sent them; every message that carries any carries at least one, hence one batch belongs to it. */
#include "common/chan.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define SCRATCH_BYTES (64u * 1024)
#define CMSG_FDS 253 /* SCM_MAX_FD: room for all that can come, so that all can be closed */
#define BATCHES_MAX 64u

struct out_frame {
    struct out_frame *next;
    size_t n, sent;
    unsigned n_fds;
    int fds[MSG_FDS_MAX];
    char bytes[];
};

struct batch {
    unsigned n;
    int fds[MSG_FDS_MAX];
};

struct chan {
    struct loop_grave grave; /* first: the loop frees through it */
    struct loop *loop;
    struct loop_source source;
    struct loop_timer partial; /* an incomplete frame's patience */
    int fd;
    enum chan_kind kind;
    struct peer peer;
    size_t in_max, out_max;
    const struct chan_ops *ops;
    void *arg, *user;
    struct buf in;
    struct batch *batches;
    unsigned n_batches, cap_batches;
    struct out_frame *out_head, **out_tail;
    size_t out_bytes;
    bool closed, paused, closing, delivering;
};

static char scratch[SCRATCH_BYTES];

int chan_pair(enum chan_kind kind, int out[2]) {
    int type = kind == CHAN_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out) < 0)
        return err_raise(-errno, "socketpair");
    return 0;
}

/* ---- end of a channel ---- */

static void drop_batch(struct chan *c) {
    for (unsigned i = 0; i < c->batches[0].n; i++)
        (void)fd_close(c->batches[0].fds[i]);
    memmove(c->batches, c->batches + 1, --c->n_batches * sizeof *c->batches);
}

static void drop_out(struct chan *c) {
    struct out_frame *f = c->out_head;
    c->out_head = f->next;
    if (!c->out_head)
        c->out_tail = &c->out_head;
    c->out_bytes -= f->n - f->sent;
    for (unsigned i = 0; i < f->n_fds; i++)
        (void)fd_close(f->fds[i]);
    free(f);
}

static void bury(struct loop_grave *grave) {
    struct chan *c = (struct chan *)(void *)grave;
    buf_deinit(&c->in);
    free(c->batches);
    free(c);
}

void chan_close(struct chan *c) {
    if (!c || c->closed)
        return;
    c->closed = true;
    loop_remove(c->loop, &c->source);
    loop_timer_clear(c->loop, &c->partial);
    while (c->n_batches)
        drop_batch(c);
    while (c->out_head)
        drop_out(c);
    c->fd = fd_close(c->fd);
    loop_bury(c->loop, &c->grave);
}

static void ended(struct chan *c, int reason) {
    if (c->closed)
        return;
    if (c->ops->on_close)
        c->ops->on_close(c->arg, c, reason);
    chan_close(c);
}

static void on_partial(void *arg) {
    ended(arg, err_raise(-EPROTO, "a frame stayed incomplete for %d ms", CHAN_PARTIAL_MS));
}

/* ---- reading ---- */

static int keep_batch(struct chan *c, const int *fds, size_t n) {
    if (c->n_batches == c->cap_batches && c->cap_batches < BATCHES_MAX) {
        unsigned cap = c->cap_batches ? c->cap_batches * 2 : 4;
        struct batch *grown = realloc(c->batches, cap * sizeof *grown);
        if (grown) {
            c->batches = grown;
            c->cap_batches = cap;
        }
    }
    if (n > MSG_FDS_MAX || c->n_batches == c->cap_batches) {
        for (size_t i = 0; i < n; i++)
            (void)fd_close(fds[i]);
        return err_raise(-EPROTO, "%zu descriptors that nobody asked for", n);
    }
    struct batch *b = &c->batches[c->n_batches++];
    b->n = (unsigned)n;
    memcpy(b->fds, fds, n * sizeof *fds);
    return 0;
}

static int keep_fds(struct chan *c, struct msghdr *mh) {
    int r = 0;
    for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
        if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
            continue;
        int fds[CMSG_FDS];
        size_t n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
        memcpy(fds, CMSG_DATA(cm), n * sizeof *fds);
        int k = keep_batch(c, fds, n);
        r = r ? r : k;
    }
    if (!r && mh->msg_flags & MSG_CTRUNC)
        r = err_raise(-EPROTO, "descriptors cut off");
    return r;
}

/* Bytes received into the scratch; 0 = end of file; negative errno (-EAGAIN: nothing now). */
static ssize_t receive(struct chan *c) {
    union {
        char bytes[CMSG_SPACE(CMSG_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {scratch, sizeof scratch};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    int r = keep_fds(c, &mh);
    if (r < 0)
        return r;
    if (mh.msg_flags & MSG_TRUNC)
        return err_raise(-EPROTO, "packet above %u bytes", SCRATCH_BYTES);
    return n;
}

/* Positive results end nothing; -EAGAIN and -ECONNRESET are the socket's words here, not a handler's. */
static int deliver(struct chan *c, char *text, size_t n) {
    c->delivering = true;
    int r = c->ops->on_frame(c->arg, c, text, n);
    c->delivering = false;
    return r >= 0 ? 0 : r == -EAGAIN || r == -ECONNRESET ? -EPROTO : r;
}

static size_t frame_length(const char *p) {
    uint32_t be;
    memcpy(&be, p, sizeof be);
    return ntohl(be);
}

static int check_length(const struct chan *c, size_t n) {
    if (n == 0 || n > c->in_max)
        return err_raise(-EPROTO, "frame of %zu bytes, 1 to %zu are allowed", n, c->in_max);
    return 0;
}

static int read_packet(struct chan *c, size_t n) {
    if (n < 4 || frame_length(scratch) != n - 4)
        return err_raise(-EPROTO, "packet of %zu bytes with a wrong length", n);
    int r = check_length(c, n - 4);
    if (r < 0)
        return err_up(r);
    /* The handler may read another channel into the scratch (chan_drain): work on a copy. */
    struct buf *copy = &c->in;
    copy->n = 0;
    r = buf_add(copy, scratch + 4, n - 4);
    if (r == 0)
        r = deliver(c, copy->p, n - 4);
    if (r == 0 && !c->closed && c->n_batches)
        return err_raise(-EPROTO, "descriptors that nobody asked for");
    return r;
}

/* Delivers the whole frames at the start of c->in; what was delivered is dropped at the end, in one move. */
static int deliver_whole(struct chan *c) {
    size_t at = 0;
    int r = 0;
    while (!r && !c->closed && c->in.n - at >= 4) {
        size_t n = frame_length(c->in.p + at);
        r = check_length(c, n);
        if (r < 0 || c->in.n - at - 4 < n)
            break;
        r = deliver(c, c->in.p + at + 4, n);
        at += 4 + n;
    }
    if (c->closed || r < 0)
        return r;
    buf_consume(&c->in, at);
    if (!c->in.n) {
        buf_deinit(&c->in); /* idle channels hold no memory */
        loop_timer_clear(c->loop, &c->partial);
        return c->n_batches ? err_raise(-EPROTO, "descriptors that nobody asked for") : 0;
    }
    if (!c->partial.index || at)
        return loop_timer_set(c->loop, &c->partial, now_ms() + CHAN_PARTIAL_MS, on_partial, c);
    return 0;
}

static int read_some(struct chan *c) {
    ssize_t n = receive(c);
    if (n <= 0)
        return n == 0 ? 1 : (int)n;
    if (c->kind == CHAN_SEQPACKET)
        return read_packet(c, (size_t)n);
    int r = buf_add(&c->in, scratch, (size_t)n);
    return r < 0 ? r : deliver_whole(c);
}

/* One read; ends the channel when it is over. Returns whether there may be more. */
static bool pump(struct chan *c) {
    int r = read_some(c);
    if (c->closed || r == 0)
        return !c->closed;
    if (r == -EAGAIN)
        return false;
    bool over = r == 1 || r == -ECONNRESET; /* a peer that left bytes unread reads as a reset */
    ended(c, over ? 0 : r);
    return false;
}

void chan_drain(struct chan *c) {
    if (!c || c->delivering)
        return;
    while (!c->closed && pump(c))
        ;
}

unsigned chan_take_fds(struct chan *c, int fds[MSG_FDS_MAX]) {
    if (!c->n_batches)
        return 0;
    unsigned n = c->batches[0].n;
    memcpy(fds, c->batches[0].fds, n * sizeof *fds);
    c->batches[0].n = 0;
    drop_batch(c);
    return n;
}

/* ---- writing ---- */

static ssize_t send_bytes(int fd, const char *p, size_t n, const int *fds, unsigned n_fds) {
    union {
        char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {(char *)(uintptr_t)p, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds) {
        memset(&control, 0, sizeof control);
        mh.msg_control = &control;
        mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
    }
    ssize_t r;
    do
        r = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static void want_write(struct chan *c) {
    uint32_t events = (c->paused || c->closing ? 0u : (uint32_t)EPOLLIN) | (c->out_head ? (uint32_t)EPOLLOUT : 0u);
    (void)loop_change(c->loop, &c->source, events);
}

static void flush_out(struct chan *c) {
    while (c->out_head) {
        struct out_frame *f = c->out_head;
        ssize_t n = send_bytes(c->fd, f->bytes + f->sent, f->n - f->sent, f->fds, f->sent ? 0 : f->n_fds);
        if (n == -EAGAIN)
            break;
        if (n < 0) { /* the reader of this channel will see the end; what waits can never be delivered */
            while (c->out_head)
                drop_out(c);
            break;
        }
        f->sent += (size_t)n;
        c->out_bytes -= (size_t)n;
        if (f->sent == f->n)
            drop_out(c);
    }
    if (!c->out_head && c->closing)
        chan_close(c);
    else
        want_write(c);
}

static int queue_rest(struct chan *c, const char *p, size_t n, const int *fds, unsigned n_fds) {
    struct out_frame *f = malloc(sizeof *f + n);
    if (!f)
        return err_raise(-ENOMEM, "a frame of %zu bytes to send", n);
    *f = (struct out_frame){.n = n, .n_fds = 0};
    memcpy(f->bytes, p, n);
    for (unsigned i = 0; i < n_fds; i++) {
        f->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (f->fds[i] < 0) {
            int r = err_raise(-errno, "duplicate a descriptor to send");
            while (f->n_fds)
                (void)fd_close(f->fds[--f->n_fds]);
            free(f);
            return r;
        }
        f->n_fds++;
    }
    *c->out_tail = f;
    c->out_tail = &f->next;
    c->out_bytes += n;
    want_write(c);
    return 0;
}

/* `frame` is the length and the text. */
static int send_frame(struct chan *c, const char *frame, size_t n, const int *fds, unsigned n_fds) {
    if (c->closed || c->closing)
        return -EPIPE;
    if (c->kind == CHAN_SEQPACKET && n > FRAME_PACKET_MAX)
        return err_raise(-EMSGSIZE, "a packet of %zu bytes, %u are allowed", n, FRAME_PACKET_MAX);
    size_t sent = 0;
    if (!c->out_head) {
        ssize_t r = send_bytes(c->fd, frame, n, fds, n_fds);
        if (r < 0 && r != -EAGAIN)
            return r == -ECONNRESET ? -EPIPE : (int)r;
        sent = r < 0 ? 0 : (size_t)r;
        if (sent == n)
            return 0;
    }
    if (c->out_bytes + n - sent > c->out_max && !sent) /* a started frame must be finished */
        return err_raise(-ENOBUFS, "more than %zu bytes wait for a reader", c->out_max);
    return queue_rest(c, frame + sent, n - sent, fds, sent ? 0 : n_fds);
}

static void put_length(struct buf *b) {
    uint32_t be = htonl((uint32_t)(b->n - 4));
    memcpy(b->p, &be, sizeof be);
}

int chan_send_text(struct chan *c, const char *text, size_t n, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    (void)buf_add(&b, "\0\0\0\0", 4);
    int r = buf_add(&b, text, n);
    if (r < 0)
        return err_up(r);
    put_length(&b);
    return send_frame(c, b.p, b.n, fds, n_fds);
}

int chan_send_fds(struct chan *c, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    if (!c)
        return -EPIPE;
    static struct buf b = BUF_NULL(FRAME_MAX + 4); /* kept: most frames are small and many */
    b.n = 0;
    b.failure = 0;
    (void)buf_add(&b, "\0\0\0\0", 4);
    int r = msg_encode(type, body, &b);
    if (r < 0)
        return err_up(r);
    put_length(&b);
    r = send_frame(c, b.p, b.n, fds, n_fds);
    if (b.cap > SCRATCH_BYTES)
        buf_deinit(&b);
    return r;
}

int chan_send(struct chan *c, enum msg_type type, const void *body) {
    return chan_send_fds(c, type, body, NULL, 0);
}

int frame_write_once(int fd, const char *text, size_t n, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    (void)buf_add(&b, "\0\0\0\0", 4);
    int r = buf_add(&b, text, n);
    if (r < 0)
        return err_up(r);
    put_length(&b);
    ssize_t sent = send_bytes(fd, b.p, b.n, fds, n_fds);
    if (sent < 0)
        return (int)sent;
    return (size_t)sent == b.n ? 0 : -EAGAIN;
}

/* ---- the rest ---- */

static void on_ready(void *arg, uint32_t events) {
    struct chan *c = arg;
    if (events & EPOLLOUT)
        flush_out(c);
    if (c->closed)
        return;
    if (events & (EPOLLHUP | EPOLLERR) && (c->closing || c->paused)) {
        ended(c, 0); /* nobody reads on, and the kernel would report this for ever */
        return;
    }
    if (!c->closing && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        (void)pump(c);
}

struct chan *chan_new(const struct chan_config *config) {
    auto_close int fd = config->fd;
    struct chan *c = calloc(1, sizeof *c);
    if (!c) {
        (void)err_raise(-ENOMEM, "channel");
        return NULL;
    }
    size_t most = config->kind == CHAN_STREAM ? FRAME_MAX : FRAME_PACKET_MAX - 4;
    c->grave.bury = bury;
    c->loop = config->loop;
    c->source = LOOP_SOURCE_NULL;
    c->kind = config->kind;
    c->peer = config->peer;
    c->in_max = config->in_max && config->in_max < most ? config->in_max : most;
    c->out_max = config->out_max ? config->out_max : CHAN_OUT_MAX;
    c->ops = config->ops;
    c->arg = config->arg;
    c->in = BUF_NULL(c->in_max + 4 + SCRATCH_BYTES);
    c->out_tail = &c->out_head;
    c->fd = fd;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        loop_add(c->loop, &c->source, fd, EPOLLIN, on_ready, c) < 0) {
        (void)err_raise(-EBADF, "channel on descriptor %d", fd);
        free(c);
        return NULL;
    }
    (void)take_fd(&fd);
    return c;
}

void chan_pause(struct chan *c, bool paused) {
    c->paused = paused;
    want_write(c);
}

void chan_close_after_flush(struct chan *c) {
    if (!c || c->closed)
        return;
    c->closing = true;
    if (!c->out_head)
        chan_close(c);
    else
        want_write(c);
}

void chan_set_user(struct chan *c, void *user) {
    c->user = user;
}

void *chan_user(const struct chan *c) {
    return c->user;
}

const struct peer *chan_peer(const struct chan *c) {
    return &c->peer;
}

int chan_fd(const struct chan *c) {
    return c->fd;
}

size_t chan_queued(const struct chan *c) {
    return c->out_bytes;
}
