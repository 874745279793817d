#include "tests/gateway/fixture.h"

#include "common/chan.h"
#include "common/cleanup.h"
#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

static const enum role_id wires[] = {ROLE_EVENTLOG, ROLE_REGISTRY, ROLE_TOOLCALLS,
                                     ROLE_LLMCALLS, ROLE_RUNS,     ROLE_ACTORS};
#define N_WIRES (sizeof wires / sizeof *wires)

void fixture_spec(struct spec *spec) {
    spec_defaults(spec);
    spec->cancel_timeout = 60000; /* nothing here is to be hurried by a timer */
    (void)snprintf(spec->state_dir, sizeof spec->state_dir, "/state\xff");
}

/* ---- messages ---- */

void put_msg(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    assert_int_equal(msg_encode(type, body, &b), 0);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(frame_write_once(fd, b.p, b.n, fds, n_fds), 0);
}

bool readable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static size_t read_exactly(int fd, char *to, size_t n) {
    size_t got = 0;
    while (got < n) {
        if (!readable(fd, WAIT_MS))
            fail_msg("nothing came within %d ms", WAIT_MS);
        ssize_t r = read(fd, to + got, n - got);
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    return got;
}

/* The first part of a frame with its descriptors: of an endpoint all of it, of a link the length. */
static size_t read_first(struct fixture *f, int fd, char *to, size_t n) {
    union {
        char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {to, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (!readable(fd, WAIT_MS))
        fail_msg("no message within %d ms", WAIT_MS);
    ssize_t got = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
    assert_true(got >= 4);
    struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
    f->msg.n_fds = cm ? (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    if (cm)
        memcpy(f->msg.fds, CMSG_DATA(cm), f->msg.n_fds * sizeof(int));
    return (size_t)got;
}

const struct msg *want_msg(struct fixture *f, int fd, enum msg_type type) {
    int kind = 0;
    socklen_t size = sizeof kind;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size), 0);
    size_t got = read_first(f, fd, f->text, kind == SOCK_STREAM ? 4 : FRAME_MAX);
    uint32_t be;
    memcpy(&be, f->text, sizeof be);
    size_t n = ntohl(be);
    assert_true(n <= FRAME_MAX);
    assert_int_equal(read_exactly(fd, f->text + got, n + 4 - got), n + 4 - got);
    unsigned n_fds = f->msg.n_fds;
    int fds[MSG_FDS_MAX];
    memcpy(fds, f->msg.fds, sizeof fds);
    assert_int_equal(msg_decode(f->text + 4, n, &f->msg), 0);
    f->msg.n_fds = n_fds;
    memcpy(f->msg.fds, fds, sizeof fds);
    if (f->msg.type != type)
        fail_msg("%s came, %s was wanted", msg_name(f->msg.type), msg_name(type));
    return &f->msg;
}

/* ---- the gateway ---- */

static int listen_at(struct fixture *f) {
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/soma-gateway-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chmod(f->dir, 0755), 0);
    (void)snprintf(f->path, sizeof f->path, "%s/sock", f->dir);
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, f->path, strlen(f->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(chmod(f->path, 0666), 0); /* the gateway's own check is what is tested */
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

/* Only status leaves this process. Descriptors of the test's side are closed: their end is what the tests watch. */
static void __attribute__((noreturn)) be_gateway(int control) {
    if (dup2(control, CONTROL_FD) < 0)
        _exit(99);
    for (int fd = CONTROL_FD + 1; fd < 256; fd++)
        (void)close(fd);
    char name[] = "soma-gateway";
    char *argv[] = {name, NULL};
    exit(role_main(&gateway_role, 1, argv));
}

void fixture_start(struct fixture *f, const struct spec *spec, unsigned generation) {
    int pair[2];
    *f = (struct fixture){.text = malloc(FRAME_MAX + 4)};
    assert_non_null(f->text);
    auto_close int listening = listen_at(f);
    assert_int_equal(chan_pair(CHAN_STREAM, pair), 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0)
        be_gateway(pair[1]);
    (void)close(pair[1]);
    f->control = pair[0];
    for (size_t i = 0; i < N_WIRES; i++) {
        int wire[2];
        assert_int_equal(chan_pair(wires[i] == ROLE_EVENTLOG ? CHAN_STREAM : CHAN_SEQPACKET, wire), 0);
        put_msg(f->control, MSG_WIRE, &(struct msg_wire){.to = role_name(wires[i])}, &wire[1], 1);
        (void)close(wire[1]);
        f->wire[wires[i]] = wire[0];
    }
    auto_close int sealed = spec_seal(spec);
    assert_true(sealed >= 0);
    int fds[] = {sealed, listening};
    put_msg(f->control, MSG_BEGIN, &(struct msg_begin){.generation = generation}, fds, 2);
    (void)want_msg(f, f->control, MSG_READY);
}

void fixture_stop(struct fixture *f) {
    int status;
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)close(f->control);
    for (size_t i = 0; i < N_WIRES; i++)
        (void)close(f->wire[wires[i]]);
    (void)unlink(f->path);
    (void)rmdir(f->dir);
    free(f->text);
}

/* ---- clients ---- */

int client_connect(const struct fixture *f) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, f->path, strlen(f->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    return fd;
}

void client_put_bytes(int fd, const void *bytes, size_t n) {
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

void client_put(int fd, const char *text) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    uint32_t be = htonl((uint32_t)strlen(text));
    (void)buf_add(&b, &be, sizeof be);
    assert_int_equal(buf_addz(&b, text), 0);
    client_put_bytes(fd, b.p, b.n);
}

json_t *client_get(int fd) {
    uint32_t be;
    if (read_exactly(fd, (char *)&be, sizeof be) < sizeof be)
        return NULL;
    size_t n = ntohl(be);
    assert_true(n <= FRAME_MAX);
    auto_free char *text = malloc(n);
    assert_non_null(text);
    assert_int_equal(read_exactly(fd, text, n), n);
    json_t *frame = NULL;
    assert_int_equal(json_parse(text, n, FRAME_MAX, &frame), 0);
    return frame;
}

json_t *want_result(int fd, int id) {
    auto_json json_t *frame = client_get(fd);
    assert_non_null(frame);
    if (json_i64(frame, "id", -1) != id || !json_object_get(frame, "result")) {
        char *text = json_dumps(frame, 0);
        print_error("%s\n", text);
        free(text);
        fail_msg("a result for %d was wanted", id);
    }
    return json_incref(json_object_get(frame, "result"));
}

void want_error(int fd, int id, const char *name, int exit_code, const char *why) {
    auto_json json_t *frame = client_get(fd);
    assert_non_null(frame);
    json_t *data = json_at(frame, "/error/data");
    assert_non_null(data);
    assert_string_equal(json_str(data, "name"), name);
    assert_int_equal(json_i64(frame, "id", -1), id);
    assert_int_equal(json_i64(data, "exit", -1), exit_code);
    if (!strstr(json_str(data, "why"), why))
        fail_msg("\"%s\" does not say \"%s\"", json_str(data, "why"), why);
}

void barrier(struct fixture *f) {
    auto_close int fd = client_connect(f);
    client_put(fd, "{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"head\"}");
    int64_t ref = want_msg(f, f->wire[ROLE_EVENTLOG], MSG_HEAD)->head.ref;
    struct msg_head_is head = {.ref = ref, .seq = 5, .hash = "ab"};
    put_msg(f->wire[ROLE_EVENTLOG], MSG_HEAD_IS, &head, NULL, 0);
    auto_json json_t *result = want_result(fd, 77);
    assert_int_equal(json_i64(result, "seq", 0), 5);
    assert_string_equal(json_str(result, "hash"), "ab");
}
