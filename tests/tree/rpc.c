/* The folder's descriptor stands for its path, since sun_path takes 107 bytes only: unix(7). */
#include "tests/tree/rpc.h"

#include "common/cleanup.h"
#include "common/json.h"
#include "common/loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int rpc_open(const char *dir, struct rpc *out) {
    auto_close int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (at < 0 || fd < 0)
        return -errno;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/soma.sock", at);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    *out = (struct rpc){.fd = take_fd(&fd), .early = json_object()};
    return 0;
}

void rpc_close(struct rpc *rpc) {
    rpc->fd = fd_close(rpc->fd);
    json_decref(rpc->early);
    rpc->early = NULL;
}

int rpc_write(struct rpc *rpc, const void *bytes, size_t n) {
    for (const char *p = bytes; n;) {
        ssize_t sent = send(rpc->fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return errno == EPIPE ? -ECONNRESET : -errno;
        p += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

int rpc_write_frame(struct rpc *rpc, const void *body, size_t n) {
    uint32_t length = htonl((uint32_t)n);
    int r = rpc_write(rpc, &length, sizeof length);
    return r < 0 ? r : rpc_write(rpc, body, n);
}

/* ---- reading ---- */

static int read_full(int fd, void *to, size_t n, int64_t until) {
    for (char *p = to; n;) {
        struct pollfd ready = {fd, POLLIN, 0};
        int64_t left = until - now_ms();
        int r = left > 0 ? poll(&ready, 1, (int)left) : 0;
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -ETIMEDOUT;
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0)
            return got < 0 && errno != ECONNRESET ? -errno : -ECONNRESET;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

int rpc_read_frame(struct rpc *rpc, int64_t timeout_ms, char **out) {
    int64_t until = now_ms() + timeout_ms;
    uint32_t length;
    int r = read_full(rpc->fd, &length, sizeof length, until);
    length = ntohl(length);
    if (r < 0 || length > RPC_ANSWER_MAX)
        return r < 0 ? r : -EPROTO;
    auto_free char *text = calloc(1, (size_t)length + 1);
    r = text ? read_full(rpc->fd, text, length, until) : -ENOMEM;
    if (r == 0)
        *out = take_ptr(&text);
    return r;
}

/* ---- requests ---- */

int64_t rpc_send(struct rpc *rpc, const char *method, json_t *params) {
    int64_t id = ++rpc->last_id;
    json_t *request =
        json_pack("{s:s, s:I, s:s, s:o*}", "jsonrpc", "2.0", "id", (json_int_t)id, "method", method, "params", params);
    auto_free char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    int r = text ? rpc_write_frame(rpc, text, strlen(text)) : -ENOMEM;
    return r < 0 ? r : id;
}

/* Takes the answer to `id` out of what came before. */
static bool take(struct rpc *rpc, int64_t id, json_t **answer) {
    char key[32];
    (void)snprintf(key, sizeof key, "%lld", (long long)id);
    *answer = json_incref(json_object_get(rpc->early, key));
    (void)json_object_del(rpc->early, key);
    return *answer != NULL;
}

static int next(struct rpc *rpc, int64_t timeout_ms) {
    auto_free char *text = NULL;
    char key[32];
    int r = rpc_read_frame(rpc, timeout_ms, &text);
    if (r < 0)
        return r;
    json_t *answer = NULL;
    r = json_parse(text, strlen(text), RPC_ANSWER_MAX, &answer);
    if (r == 0 && !json_is_object(answer))
        r = -EPROTO;
    if (r < 0) {
        json_decref(answer);
        return r;
    }
    (void)snprintf(key, sizeof key, "%lld", (long long)json_integer_value(json_object_get(answer, "id")));
    return json_object_set_new(rpc->early, key, answer) < 0 ? -ENOMEM : 0;
}

int rpc_wait(struct rpc *rpc, int64_t id, int64_t timeout_ms, json_t **out) {
    int64_t until = now_ms() + timeout_ms;
    json_t *answer = NULL;
    while (!take(rpc, id, &answer)) {
        int64_t left = until - now_ms();
        int r = next(rpc, left > 0 ? left : 0);
        if (r < 0)
            return r;
    }
    json_t *error = json_object_get(answer, "error");
    *out = json_incref(error ? error : json_object_get(answer, "result"));
    json_decref(answer);
    return error ? 1 : *out ? 0 : -EPROTO;
}

int rpc_call(struct rpc *rpc, const char *method, json_t *params, int64_t timeout_ms, json_t **out) {
    int64_t id = rpc_send(rpc, method, params);
    return id < 0 ? (int)id : rpc_wait(rpc, id, timeout_ms, out);
}
