/* Channels: one end of an AF_UNIX socketpair that carries frames. A frame is a 4-byte big-endian length and that many
 * bytes of text. Links are SOCK_STREAM, endpoints SOCK_SEQPACKET (one frame a packet). Nothing here blocks: a frame is
 * offered whole to one sendmsg(2), what the socket does not take waits in a queue with a ceiling and follows when it
 * is writable; descriptors travel with the first byte. unix(7), recvmsg(2), cmsg(3).
 *
 * The other side is hostile: a length beyond `in_max`, a packet whose length lies, descriptors nobody asked for or a
 * frame left incomplete for CHAN_PARTIAL_MS end the channel, and nothing else. */
#ifndef SOMA_COMMON_CHAN_H
#define SOMA_COMMON_CHAN_H

#include "common/ids.h"
#include "common/loop.h"
#include "common/msg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRAME_MAX (1u << 20)          /* bytes of text on a link */
#define FRAME_PACKET_MAX (64u * 1024) /* on an endpoint, length included */
#define FRAME_CONTROL_MAX 4096u       /* received by root and supervisors */
#define CHAN_OUT_MAX (8u << 20)       /* default ceiling of the queue, bytes */
#define CHAN_PARTIAL_MS 10000         /* a frame must be whole this long after its first byte */

enum chan_kind { CHAN_STREAM, CHAN_SEQPACKET };

/* Who is at the other end: pinned by whoever made the channel, never taken from a frame. */
struct peer {
    enum role_id role;
    char run[ID_SIZE], call[ID_SIZE]; /* that it is, or works for */
    char actor[NAME_SIZE];            /* an actor's name or a session's id: that it is, or works for */
    pid_t pid;                        /* host pid, for people */
    uint32_t generation;
};

struct chan;

struct chan_ops {
    /* One frame; `text` may be changed in place and is gone after the call. A negative return ends the channel as if
     * the peer had sent garbage. The channel may be closed inside. */
    int (*on_frame)(void *arg, struct chan *c, char *text, size_t n);
    /* The channel has ended: 0 = end of file, else a negative errno. It is closed and freed by itself after this;
     * drop the pointer. Not called for chan_close(). May be NULL. */
    void (*on_close)(void *arg, struct chan *c, int reason);
};

struct chan_config {
    struct loop *loop;
    int fd; /* taken over, also on failure */
    enum chan_kind kind;
    struct peer peer;
    size_t in_max;  /* bytes of a frame's text accepted; 0 = the kind's maximum */
    size_t out_max; /* ceiling of the queue; 0 = CHAN_OUT_MAX */
    const struct chan_ops *ops;
    void *arg;
};

/* NULL with err_text() on failure. */
struct chan *chan_new(const struct chan_config *config);

/* Ends and frees it after the current turn; queued frames and descriptors are dropped. Accepts NULL. */
void chan_close(struct chan *c);

/* Sends one message (copied). Descriptors are duplicated into the frame: the caller keeps its own.
 * 0; -EPIPE the peer is gone; -ENOBUFS the queue's ceiling; -EINVAL, -EMSGSIZE as msg_encode(). */
int chan_send(struct chan *c, enum msg_type type, const void *body);
int chan_send_fds(struct chan *c, enum msg_type type, const void *body, const int *fds, unsigned n_fds);
/* The same with a text already made. */
int chan_send_text(struct chan *c, const char *text, size_t n, const int *fds, unsigned n_fds);

/* Inside on_frame: the descriptors that came with this frame, at most MSG_FDS_MAX, now the caller's. */
unsigned chan_take_fds(struct chan *c, int fds[MSG_FDS_MAX]);

/* Delivers everything readable now, to 0, EAGAIN or an error: an owner does this with a link before it believes `down`.
 * Must not be called from this channel's own on_frame. The channel may be gone afterwards. */
void chan_drain(struct chan *c);

/* Stops and starts reading (a client that is not being served yet). */
void chan_pause(struct chan *c, bool paused);

const struct peer *chan_peer(const struct chan *c);
/* A pointer of the owner's choosing, NULL at first. */
void chan_set_user(struct chan *c, void *user);
void *chan_user(const struct chan *c);
int chan_fd(const struct chan *c);
size_t chan_queued(const struct chan *c); /* bytes waiting to be written */
/* Closes by itself once the queue is written; nothing is read any more. */
void chan_close_after_flush(struct chan *c);

/* A pair of connected sockets, close-on-exec and non-blocking. */
int chan_pair(enum chan_kind kind, int out[2]);

/* One blocking-free frame on a bare descriptor: for a supervisor that writes `down` and closes. */
int frame_write_once(int fd, const char *text, size_t n, const int *fds, unsigned n_fds);

#endif
