/* Plain blocking sockets on this side, so that a test reads as a conversation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/role.h"
#include "common/spec.h"
#include "tests/registry/world.h"

/* --- folders --------------------------------------------------------------------------------------------------- */

void put_file(const char *dir, const char *file, const char *text) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

void drop_file(const char *dir, const char *file) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(unlink(path), 0);
}

void put_tool(const struct world *w, const char *file, const char *name, const char *description) {
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"name\":\"%s\",\"description\":\"%s\",\"input_schema\":{\"type\":\"object\"},\"effect\":\"pure\","
                   "\"command\":[\"/bin/true\"],\"input\":\"argv\"}",
                   name, description);
    put_file(w->tools, file, text);
}

static void make_dir(char path[64], const char *what) {
    (void)snprintf(path, 64, "/tmp/test-registry-%s-XXXXXX", what);
    assert_non_null(mkdtemp(path));
}

static void remove_dir(const char *path) {
    auto_dir DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));)
        if (e->d_type == DT_REG)
            assert_int_equal(unlinkat(dirfd(dir), e->d_name, 0), 0);
    assert_int_equal(rmdir(path), 0);
}

void world_open(struct world *w) {
    *w = (struct world){.control = -1, .log = -1};
    make_dir(w->tools, "tools");
    make_dir(w->actors, "actors");
    put_tool(w, "a.json", "alpha", "first");
    put_tool(w, "b.json", "beta", "second");
    put_file(w->actors, "r.json",
             "{\"name\":\"reviewer\",\"provider\":\"local\",\"tools\":[\"alpha\",\"echo\",\"later\"],"
             "\"restart\":\"transient\"}");
    put_file(w->actors, "i.json", "{\"name\":\"idler\",\"provider\":\"local\"}");
}

/* --- frames ---------------------------------------------------------------------------------------------------- */

void tell(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf text = BUF_NULL(FRAME_MAX);
    if (msg_encode(type, body, &text) < 0 || frame_write_once(fd, text.p, text.n, fds, n_fds) < 0)
        fail_msg("send %s: %s", msg_name(type), err_text());
}

static void wait_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, WAIT_MS) != 1)
        fail_msg("nothing came");
}

static ssize_t receive(int fd, char *bytes, size_t n, struct msg *m) {
    union {
        char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {bytes, n};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    wait_readable(fd);
    ssize_t got = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *cm = got > 0 ? CMSG_FIRSTHDR(&mh) : NULL;
    if (cm) {
        m->n_fds = (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(m->fds, CMSG_DATA(cm), m->n_fds * sizeof(int));
    }
    return got;
}

/* Streams: the length first, then exactly the text. Packets: both at once. */
static ssize_t receive_frame(int fd, char *text, struct msg *m) {
    int type;
    socklen_t size = sizeof type;
    static char packet[FRAME_PACKET_MAX];
    uint32_t be;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    if (type == SOCK_SEQPACKET) {
        ssize_t got = receive(fd, packet, sizeof packet, m);
        if (got > 4)
            memcpy(text, packet + 4, (size_t)got - 4);
        return got > 4 ? got - 4 : -1;
    }
    if (receive(fd, (char *)&be, sizeof be, m) != sizeof be)
        return -1;
    size_t n = ntohl(be), at = 0;
    assert_true(n <= FRAME_MAX);
    while (at < n) {
        ssize_t got = receive(fd, text + at, n - at, m);
        assert_true(got > 0);
        at += (size_t)got;
    }
    return (ssize_t)n;
}

int hear(int fd, struct heard *out) {
    struct msg came = {.fds = {-1, -1, -1}};
    ssize_t n = receive_frame(fd, out->text, &came);
    if (n < 0)
        return -1;
    out->m = (struct msg){0};
    if (msg_decode(out->text, (size_t)n, &out->m) < 0)
        fail_msg("%s", err_text());
    out->m.n_fds = came.n_fds;
    memcpy(out->m.fds, came.fds, sizeof came.fds);
    return 0;
}

void hear_type(int fd, enum msg_type wanted, struct heard *out) {
    if (hear(fd, out) < 0)
        fail_msg("the channel has ended; wanted %s", msg_name(wanted));
    if (out->m.type != wanted)
        fail_msg("got %s, wanted %s", msg_name(out->m.type), msg_name(wanted));
}

/* --- the program ----------------------------------------------------------------------------------------------- */

/* Does not return. Its log lines are not this test's output. */
static void become_registry(int control) {
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDERR_FILENO) < 0 || dup2(control, CONTROL_FD) < 0)
        _exit(99);
    (void)fcntl(CONTROL_FD, F_SETFD, 0); /* dup2 of a number to itself leaves close-on-exec */
    (void)execl(REGISTRY_PROGRAM, "soma-registry", (char *)NULL);
    _exit(99);
}

static void pair(enum chan_kind kind, int out[2]) {
    assert_int_equal(chan_pair(kind, out), 0);
    int flags = fcntl(out[0], F_GETFL);
    assert_int_equal(fcntl(out[0], F_SETFL, flags & ~O_NONBLOCK), 0);
}

static void begin(const struct world *w, const char *extra_dir, int log_fd) {
    static struct spec spec;
    spec_defaults(&spec);
    spec.n_tool_dirs = extra_dir ? 2 : 1;
    spec.n_actor_dirs = 1;
    (void)snprintf(spec.tool_dirs[0], SPEC_PATH, "%s", w->tools);
    (void)snprintf(spec.tool_dirs[1], SPEC_PATH, "%s", extra_dir ? extra_dir : "");
    (void)snprintf(spec.actor_dirs[0], SPEC_PATH, "%s", w->actors);
    auto_close int spec_fd = spec_seal(&spec);
    assert_true(spec_fd >= 0);
    tell(w->control, MSG_WIRE, &(struct msg_wire){.to = "eventlog"}, &log_fd, 1);
    tell(w->control, MSG_BEGIN, &(struct msg_begin){.generation = 1}, &spec_fd, 1);
}

void world_start(struct world *w, const char *extra_dir) {
    int control[2], log[2];
    struct heard *heard = malloc(sizeof *heard);
    assert_non_null(heard);
    pair(CHAN_STREAM, control);
    pair(CHAN_STREAM, log);
    w->pid = fork();
    if (w->pid == 0)
        become_registry(control[1]);
    assert_true(w->pid > 0);
    close(control[1]);
    w->control = control[0];
    w->log = log[0];
    begin(w, extra_dir, log[1]);
    close(log[1]);
    hear_type(w->control, MSG_READY, heard);
    free(heard);
}

void world_close(struct world *w) {
    int status = -1;
    assert_int_equal(kill(w->pid, SIGTERM), 0);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(status, 0);
    close(w->control);
    close(w->log);
    remove_dir(w->tools);
    remove_dir(w->actors);
}

int peer(const struct world *w, int by, const char *role, const char *actor) {
    int ends[2];
    pair(CHAN_SEQPACKET, ends);
    struct msg_introduce m = {.role = role, .actor = actor, .pid = 4711, .generation = 1};
    tell(by, MSG_INTRODUCE, &m, &ends[1], 1);
    close(ends[1]);
    return ends[0];
}

unsigned open_fds(pid_t pid) {
    char path[64];
    unsigned n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", pid);
    auto_dir DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    return n;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

/* Every request begins with its number. */
static void send_request(int fd, enum msg_type type, int64_t ref) {
    union {
        struct msg_catalog catalog;
        struct msg_grants grants;
        struct msg_actor_get actor_get;
        struct msg_actors_declared declared;
        struct msg_problems problems;
    } body = {.catalog = {.ref = ref}};
    tell(fd, type, &body, NULL, 0);
}

static int64_t last_ref;

static int ask_fd(int fd, enum msg_type type, struct heard *heard) {
    send_request(fd, type, ++last_ref);
    hear_type(fd, MSG_DOCUMENT, heard);
    assert_int_equal(heard->m.document.ref, last_ref);
    assert_int_equal(heard->m.n_fds, 1);
    return heard->m.fds[0];
}

json_t *ask(int fd, enum msg_type type, int64_t *generation) {
    auto_free struct heard *heard = malloc(sizeof *heard);
    assert_non_null(heard);
    auto_close int doc = ask_fd(fd, type, heard);
    auto_free char *text = NULL;
    json_t *parsed = NULL;
    size_t n = 0;
    assert_int_equal(write(doc, "x", 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(doc, 0), -1);
    if (memfd_read(doc, JSON_TEXT_MAX, &text, &n) < 0 || json_parse(text, n, JSON_TEXT_MAX, &parsed) < 0)
        fail_msg("%s: %s", msg_name(type), err_text());
    assert_int_equal(n, heard->m.document.bytes);
    if (generation)
        *generation = heard->m.document.generation;
    return parsed;
}

ino_t ask_inode(int fd, enum msg_type type) {
    auto_free struct heard *heard = malloc(sizeof *heard);
    assert_non_null(heard);
    auto_close int doc = ask_fd(fd, type, heard);
    struct stat st;
    assert_int_equal(fstat(doc, &st), 0);
    return st.st_ino;
}

void ask_refused(int fd, enum msg_type type, const char *error) {
    auto_free struct heard *heard = malloc(sizeof *heard);
    assert_non_null(heard);
    send_request(fd, type, ++last_ref);
    hear_type(fd, MSG_REFUSED, heard);
    assert_int_equal(heard->m.refused.ref, last_ref);
    assert_string_equal(heard->m.refused.error, error);
}

void expect_catalog_event(const struct world *w, const char *wanted) {
    auto_free struct heard *heard = malloc(sizeof *heard);
    auto_json json_t *data = NULL;
    char got[128];
    assert_non_null(heard);
    hear_type(w->log, MSG_APPEND, heard);
    const struct msg_append *event = &heard->m.append;
    assert_string_equal(event->type, "system.catalog");
    assert_false(event->barrier);
    assert_int_equal(json_parse(event->data.p, event->data.n, JSON_TEXT_MAX, &data), 0);
    (void)snprintf(got, sizeof got, "%lld %lld %lld %lld", (long long)json_i64(data, "generation", -1),
                   (long long)json_i64(data, "tools", -1), (long long)json_i64(data, "actors", -1),
                   (long long)json_i64(data, "problems", -1));
    assert_string_equal(got, wanted);
    /* Refused, as a full log would: it must not matter. */
    struct msg_refused refused = {.ref = event->ref, .error = "log_full", .why = "the log is full"};
    tell(w->log, MSG_REFUSED, &refused, NULL, 0);
}
