/* One request is one frame; answers are read into one bounded buffer and kept in the inbox until somebody asks for
 * them. */
#include "cli/rpc.h"

#include "cli/interrupt.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* --- connecting ------------------------------------------------------------------------------------------------ */

/* A path too long for sun_path is reached through a descriptor of its folder: /proc/self/fd/N/NAME. */
static int address_by_folder(const char *path, struct sockaddr_un *to, int *dirfd) {
    const char *slash = strrchr(path, '/');
    auto_free char *folder = slash ? strndup(path, (size_t)(slash - path)) : NULL;
    if (!folder)
        return err_raise(slash ? -ENOMEM : -ENAMETOOLONG, "socket path %s", path);
    auto_close int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_raise(-errno, "%s: %s", folder, strerror(errno));
    int n = snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/%s", fd, slash + 1);
    if (n < 0 || (size_t)n >= sizeof to->sun_path)
        return err_raise(-ENAMETOOLONG, "socket name %s", slash + 1);
    *dirfd = take_fd(&fd);
    return 0;
}

static int address(const char *path, struct sockaddr_un *to, int *dirfd) {
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof to->sun_path)
        return address_by_folder(path, to, dirfd);
    memcpy(to->sun_path, path, n + 1);
    return 0;
}

int rpc_open(const char *socket_path, struct rpc *out) {
    struct sockaddr_un to;
    auto_close int dirfd = -1;
    int r = address(socket_path, &to, &dirfd);
    if (r < 0)
        return err_up(r);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_raise(-errno, "socket: %s", strerror(errno));
    /* connect(2) waits while the backlog is full; a gateway that does not accept shall not hang us. */
    struct timeval patience = {.tv_sec = 5};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0)
        return err_raise(-errno, "connect: %s", strerror(errno));
    json_t *inbox = json_array();
    if (!inbox)
        return err_raise(-ENOMEM, "inbox");
    *out = RPC_NULL;
    out->fd = take_fd(&fd);
    out->inbox = inbox;
    return 0;
}

void rpc_close(struct rpc *rpc) {
    rpc->fd = fd_close(rpc->fd);
    buf_deinit(&rpc->in);
    json_decref(rpc->inbox);
    *rpc = RPC_NULL;
}

/* --- sending --------------------------------------------------------------------------------------------------- */

static int lost(const char *why) {
    return err_raise(-ECONNRESET, "the connection to the gateway was lost (%s)", why);
}

static int send_all(int fd, const char *bytes, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(fd, bytes + at, n - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EPIPE)
            return 0; /* it has closed; what it said before that (why, as a rule) is still to be read */
        if (sent < 0)
            return errno == EAGAIN ? err_raise(-ETIMEDOUT, "the gateway does not read") : lost(strerror(errno));
        at += (size_t)sent;
    }
    return 0;
}

static int frame_send(int fd, const json_t *message) {
    auto_free char *text = NULL;
    size_t n;
    int r = json_text(message, RPC_FRAME_MAX, &text, &n);
    if (r < 0)
        return err_up(r);
    auto_buf struct buf frame = BUF_NULL(RPC_FRAME_MAX + 4);
    uint32_t length = htonl((uint32_t)n);
    (void)buf_add(&frame, &length, sizeof length);
    (void)buf_add(&frame, text, n);
    return buf_failed(&frame) ? err_up(frame.failure) : send_all(fd, frame.p, frame.n);
}

int rpc_send(struct rpc *rpc, const char *method, json_t *params, int64_t *id) {
    if (rpc->fd < 0) {
        json_decref(params);
        return lost("closed");
    }
    auto_json json_t *message =
        json_pack("{s:s, s:I, s:s}", "jsonrpc", "2.0", "id", (json_int_t)++rpc->last_id, "method", method);
    if (!message) {
        json_decref(params);
        return err_raise(-ENOMEM, "request %s", method);
    }
    if (params && json_object_set_new(message, "params", params) < 0)
        return err_raise(-ENOMEM, "request %s", method);
    int r = frame_send(rpc->fd, message);
    if (r < 0)
        return err_up(r);
    *id = rpc->last_id;
    return 0;
}

/* --- receiving ------------------------------------------------------------------------------------------------- */

/* Moves one whole frame from the buffer to the inbox. 1 = moved, 0 = none is complete. */
static int frame_take(struct rpc *rpc) {
    uint32_t length;
    if (rpc->in.n < sizeof length)
        return 0;
    memcpy(&length, rpc->in.p, sizeof length);
    length = ntohl(length);
    if (length > RPC_FRAME_MAX)
        return err_raise(-EPROTO, "the gateway sent a frame of %u bytes", length);
    if (rpc->in.n < sizeof length + length)
        return 0;
    auto_json json_t *answer = NULL;
    int r = json_parse(rpc->in.p + sizeof length, length, RPC_FRAME_MAX, &answer);
    if (r < 0 || !json_is_object(answer))
        return r < 0 ? err_up(r) : err_raise(-EPROTO, "the gateway sent something that is no object");
    if (json_array_size(rpc->inbox) >= RPC_INBOX_MAX)
        return err_raise(-EPROTO, "the gateway sent answers nobody asked for");
    buf_consume(&rpc->in, sizeof length + length);
    return json_array_append(rpc->inbox, answer) < 0 ? err_raise(-ENOMEM, "answer") : 1;
}

/* Takes the answer out of the inbox and apart. */
static int answer_take(struct rpc *rpc, int64_t id, json_t **out) {
    size_t i;
    json_t *answer;
    json_array_foreach(rpc->inbox, i, answer) {
        json_t *error = json_object_get(answer, "error"), *result = json_object_get(answer, "result");
        /* An answer without id is the gateway's last word on a request that it could not even read. */
        bool ours = json_i64(answer, "id", -1) == id || (error && json_is_null(json_object_get(answer, "id")));
        if (!ours)
            continue;
        if (!json_is_object(error) && !result)
            return err_raise(-EPROTO, "the gateway's answer has neither result nor error");
        *out = json_incref(error ? error : result);
        json_array_remove(rpc->inbox, i);
        return error ? RPC_REFUSED : 0;
    }
    return -EAGAIN;
}

int rpc_poll(struct rpc *rpc, int64_t id, json_t **out) {
    if (!rpc->inbox)
        return lost("closed");
    int r;
    while ((r = frame_take(rpc)) > 0)
        ;
    return r < 0 ? err_up(r) : answer_take(rpc, id, out);
}

static int read_some(struct rpc *rpc) {
    size_t want = RPC_FRAME_MAX + 4 - rpc->in.n;
    want = want < 65536 ? want : 65536;
    int r = buf_reserve(&rpc->in, want);
    if (r < 0)
        return err_up(r);
    ssize_t got = recv(rpc->fd, rpc->in.p + rpc->in.n, want, 0);
    if (got < 0)
        return errno == EINTR ? 0 : lost(strerror(errno));
    if (got == 0)
        return lost("end of file");
    rpc->in.n += (size_t)got;
    return 0;
}

int rpc_wait(struct rpc *rpc, int64_t id, int timeout_ms, json_t **out) {
    int64_t until = now_ms() + timeout_ms;
    for (;;) {
        int r = rpc_poll(rpc, id, out);
        if (r != -EAGAIN)
            return r;
        int64_t left = timeout_ms < 0 ? -1 : until - now_ms();
        if (timeout_ms >= 0 && left < 0)
            return err_raise(-ETIMEDOUT, "the gateway did not answer within %d ms", timeout_ms);
        r = interrupt_poll(rpc->fd, POLLIN, left);
        if (r > 0)
            r = read_some(rpc);
        if (r < 0)
            return err_up(r);
    }
}

int rpc_call(struct rpc *rpc, const char *method, json_t *params, int timeout_ms, json_t **out) {
    int64_t id;
    int r = rpc_send(rpc, method, params, &id);
    return r < 0 ? err_up(r) : rpc_wait(rpc, id, timeout_ms, out);
}
