#include "peers.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "run/run.h"

#define PATIENCE_S 60 /* never reached unless something is broken */

#define MANIFEST(name, schema, effect, idempotent)                                                                     \
    "{\"name\":\"" name "\",\"description\":\"\",\"input_schema\":" schema ",\"effect\":\"" effect                     \
    "\",\"idempotent\":" idempotent ",\"timeout_ms\":10000,\"builtin\":\"" name                                        \
    "\",\"output\":\"json\",\"profile\":\"pure\",\"env\":{},\"limits\":{}}"

static const char grants[] =
    "{\"generation\":1,\"tools\":[" MANIFEST("echo", "{\"type\":\"object\"}", "pure", "true") "," MANIFEST(
        "text", "{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\"}},\"required\":[\"t\"]}", "pure",
        "true") "," MANIFEST("write", "{\"type\":\"object\"}", "state", "false") "]}";

static char received[FRAME_MAX + 1];
static struct msg message;

/* ---- the worker ---- */

void peers_init(struct peers *peers) {
    *peers = (struct peers){.owner = -1, .log = -1, .calls = -1};
    spec_defaults(&peers->spec);
}

static void place(int fd, enum slot slot) {
    if (dup2(fd, slot) < 0)
        _exit(99);
}

static void worker(struct peers *peers, const int fds[3]) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int high[3];
    for (int i = 0; i < 3; i++)
        high[i] = fcntl(fds[i], F_DUPFD, 100);
    (void)close_range(3, 99, 0);
    place(high[0], SLOT_LINK);
    place(high[1], SLOT_LOG);
    place(high[2], SLOT_TOOLCALLS);
    (void)close_range(100, ~0u, 0);
    _exit(role_worker(&run_role, &peers->start));
}

static void blocking(int fd) {
    struct timeval patience = {.tv_sec = PATIENCE_S};
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
}

static int make_pair(enum chan_kind kind, int *theirs) {
    int pair[2];
    assert_int_equal(chan_pair(kind, pair), 0);
    blocking(pair[0]);
    *theirs = pair[1];
    return pair[0];
}

void peers_launch(struct peers *peers, bool recover, bool owned) {
    int theirs[3];
    peers->owner = make_pair(CHAN_STREAM, &theirs[0]);
    peers->log = make_pair(CHAN_STREAM, &theirs[1]);
    peers->calls = make_pair(CHAN_SEQPACKET, &theirs[2]);
    peers->start = (struct worker_start){.role = ROLE_RUN,
                                         .id = RUN_ID,
                                         .generation = 1,
                                         .owner = {.role = ROLE_SESSION, .actor = SESSION_ID},
                                         .owner_known = owned,
                                         .actor = SESSION_ID,
                                         .recover = recover,
                                         .spec = &peers->spec,
                                         .wires = M(EVENTLOG) | M(TOOLCALLS)};
    peers->pid = fork();
    assert_true(peers->pid >= 0);
    if (peers->pid == 0)
        worker(peers, theirs);
    for (int i = 0; i < 3; i++)
        (void)fd_close(theirs[i]);
    if (owned)
        assert_string_equal(get(peers->owner, MSG_HELLO)->hello.id, RUN_ID);
}

static void expect_eof(int fd) {
    char byte;
    ssize_t n = fd < 0 ? 0 : recv(fd, &byte, 1, 0);
    if (n > 0 || (n < 0 && errno != ECONNRESET))
        fail_msg("more was sent than was wanted: %zd, %s", n, strerror(errno));
}

void peers_ended(struct peers *peers, int code) {
    int status;
    assert_int_equal(waitpid(peers->pid, &status, 0), peers->pid);
    peers->pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
    expect_eof(peers->owner);
    expect_eof(peers->log);
    expect_eof(peers->calls);
}

void peers_deinit(struct peers *peers) {
    if (peers->pid > 0) {
        (void)kill(peers->pid, SIGKILL);
        (void)waitpid(peers->pid, NULL, 0);
        peers->pid = 0;
    }
    peers->owner = fd_close(peers->owner);
    peers->log = fd_close(peers->log);
    peers->calls = fd_close(peers->calls);
}

/* ---- frames ---- */

static void write_all(int fd, const char *p, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(fd, p + at, n - at, MSG_NOSIGNAL);
        if (sent <= 0)
            fail_msg("send: %s", strerror(errno));
        at += (size_t)sent;
    }
}

void put(int fd, enum msg_type type, const void *body) {
    auto_buf struct buf b = BUF_NULL(FRAME_MAX + 4);
    (void)buf_add(&b, "\0\0\0\0", 4);
    if (msg_encode(type, body, &b) < 0)
        fail_msg("%s: %s", msg_name(type), err_text());
    uint32_t n = (uint32_t)b.n - 4;
    unsigned char length[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                               (unsigned char)n};
    memcpy(b.p, length, 4);
    write_all(fd, b.p, b.n);
}

static void read_exactly(int fd, char *out, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, out + at, n - at, MSG_WAITALL);
        if (got <= 0)
            fail_msg("a frame was wanted: %s", got == 0 ? "end of file" : strerror(errno));
        at += (size_t)got;
    }
}

struct msg *get(int fd, enum msg_type type) {
    unsigned char length[4];
    read_exactly(fd, (char *)length, 4);
    size_t n = (size_t)length[0] << 24 | (size_t)length[1] << 16 | (size_t)length[2] << 8 | length[3];
    assert_true(n <= FRAME_MAX);
    read_exactly(fd, received, n);
    received[n] = 0;
    if (msg_decode(received, n, &message) < 0)
        fail_msg("%s: %s", received, err_text());
    if (message.type != type)
        fail_msg("%s came, %s was wanted: %s", msg_name(message.type), msg_name(type), received);
    return &message;
}

/* A packet and its descriptors. */
static struct msg *get_packet(int fd, enum msg_type type) {
    union {
        char bytes[CMSG_SPACE(MSG_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {received, sizeof received - 1};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
    if (n < 5)
        fail_msg("a packet was wanted: %s", n == 0 ? "end of file" : strerror(errno));
    assert_int_equal(msg_decode(received + 4, (size_t)n - 4, &message), 0);
    if (message.type != type)
        fail_msg("%s came, %s was wanted", msg_name(message.type), msg_name(type));
    struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
    message.n_fds = cm ? (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
    if (cm)
        memcpy(message.fds, CMSG_DATA(cm), message.n_fds * sizeof(int));
    return &message;
}

static char process_state(pid_t pid) {
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    auto_file FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    const char *end = strrchr(text, ')');
    return end ? end[2] : '?';
}

static bool taken(int fd) {
    int unread = 0;
    return fd < 0 || (ioctl(fd, SIOCOUTQ, &unread) == 0 && unread == 0);
}

void expect_silence(struct peers *peers, int fd) {
    int64_t due = now_ms() + PATIENCE_S * 1000;
    while (!taken(fd) || !taken(peers->owner) || !taken(peers->log) || !taken(peers->calls) ||
           process_state(peers->pid) != 'S') {
        assert_true(now_ms() < due);
        (void)sched_yield();
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) != 0) {
        ssize_t n = recv(fd, received, sizeof received - 1, MSG_PEEK);
        received[n > 0 ? n : 0] = 0;
        fail_msg("too early: %s", n > 4 ? received + 4 : "end of file");
    }
}

/* ---- the owner ---- */

void start_plan_with(struct peers *peers, const char *plan, const char *document, bool detached) {
    auto_close int fd = memfd_seal("grants", document, strlen(document));
    assert_true(fd >= 0);
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    struct msg_run_start start = {.plan = SPAN(plan), .detached = detached, .corr = "corr-1"};
    assert_int_equal(msg_encode(MSG_RUN_START, &start, &b), 0);
    assert_int_equal(frame_write_once(peers->owner, b.p, b.n, &fd, 1), 0);
}

void start_plan(struct peers *peers, const char *plan, bool detached) {
    start_plan_with(peers, plan, grants, detached);
}

static void same_json(struct json_span got, const char *wanted) {
    auto_json json_t *a = NULL, *b = NULL;
    assert_int_equal(json_parse(wanted, strlen(wanted), JSON_TEXT_MAX, &b), 0);
    if (!got.p || json_parse(got.p, got.n, JSON_TEXT_MAX, &a) < 0 || !json_equal(a, b))
        fail_msg("%.*s\nwanted %s", got.p ? (int)got.n : 7, got.p ? got.p : "nothing", wanted);
}

void expect_accepted(struct peers *peers) {
    struct msg *m = get(peers->owner, MSG_RUN_ACCEPTED);
    assert_string_equal(m->run_accepted.run, RUN_ID);
    assert_int_equal(m->run_accepted.seq, 1);
}

void expect_done(struct peers *peers, const char *status, const char *json) {
    struct msg *m = get(peers->owner, MSG_RUN_DONE);
    bool completed = strcmp(status, "completed") == 0;
    assert_string_equal(m->run_done.run, RUN_ID);
    assert_string_equal(m->run_done.status, status);
    same_json(completed ? m->run_done.outputs : m->run_done.error, json);
    assert_null(completed ? m->run_done.error.p : m->run_done.outputs.p);
}

/* ---- the log ---- */

struct msg *get_event(struct peers *peers, const char *type) {
    struct msg *m = get(peers->log, MSG_APPEND);
    if (strcmp(m->append.type, type) != 0)
        fail_msg("%s came, %s was wanted: %.*s", m->append.type, type, (int)m->append.data.n, m->append.data.p);
    (void)snprintf(peers->corr, sizeof peers->corr, "%s", m->append.corr ? m->append.corr : "");
    if (m->append.ref)
        peers->ref = m->append.ref;
    return m;
}

void expect_event(struct peers *peers, const char *type, bool barrier, const char *data) {
    struct msg *m = get_event(peers, type);
    if (m->append.barrier != barrier)
        fail_msg("%s: barrier %d", type, m->append.barrier);
    if (data)
        same_json(m->append.data, data);
    peers->seq++;
    if (m->append.ref)
        put(peers->log, MSG_ACCEPTED, &(struct msg_accepted){.ref = m->append.ref, .seq = peers->seq});
}

void expect_events(struct peers *peers, const char *types) {
    char copy[200], *rest = NULL;
    (void)snprintf(copy, sizeof copy, "%s", types);
    for (char *type = strtok_r(copy, " ", &rest); type; type = strtok_r(NULL, " ", &rest))
        expect_event(peers, type, false, NULL);
}

void durable(struct peers *peers) {
    put(peers->log, MSG_DURABLE, &(struct msg_durable){.ref = peers->ref, .seq = peers->seq});
}

void refuse(struct peers *peers, int64_t ref, const char *error) {
    put(peers->log, MSG_REFUSED, &(struct msg_refused){.ref = ref, .error = error, .why = "the log said no"});
}

void expect_start(struct peers *peers, bool first_safe, struct call *call) {
    expect_event(peers, "run.accepted", first_safe, NULL);
    int64_t accept_ref = peers->ref;
    expect_events(peers, "run.started step.started");
    expect_event(peers, "tool.started", !first_safe, NULL);
    expect_spawn(peers, call);
    if (first_safe) { /* the barrier in flight is that of run.accepted */
        put(peers->log, MSG_DURABLE, &(struct msg_durable){.ref = accept_ref, .seq = 1});
        expect_accepted(peers);
    }
}

/* ---- calls ---- */

void expect_spawn(struct peers *peers, struct call *call) {
    struct msg *m = get_packet(peers->calls, MSG_SPAWN);
    assert_int_equal(m->n_fds, 2);
    assert_string_equal(m->spawn.role, "toolcall");
    assert_string_equal(m->spawn.profile, "pure");
    assert_true(id_valid(m->spawn.id, 'c'));
    *call = (struct call){m->fds[0], m->fds[1], {0}};
    (void)snprintf(call->id, sizeof call->id, "%s", m->spawn.id);
    blocking(call->link);
    blocking(call->monitor);
}

void call_hello(struct call *call) {
    put(call->link, MSG_HELLO, &(struct msg_hello){.id = call->id, .pid = 4711, .generation = 1});
}

void expect_call(struct call *call, const char *tool, const char *args) {
    struct msg *m = get(call->link, MSG_CALL);
    assert_string_equal(m->call.tool, tool);
    assert_string_equal(m->call.corr, "corr-1");
    if (args)
        same_json(m->call.args, args);
}

void call_ok(struct call *call, const char *value) {
    struct msg_call_done done = {.ok = true, .value = SPAN(value), .wall_ms = 1};
    put(call->link, MSG_CALL_DONE, &done);
}

void call_fails(struct call *call, const char *failure, const char *text) {
    put(call->link, MSG_CALL_DONE, &(struct msg_call_done){.failure = failure, .message = text});
}

void call_down(struct call *call, const char *reason, int number) {
    bool signalled = strcmp(reason, "signalled") == 0;
    struct msg_down down = {.id = call->id,
                            .reason = reason,
                            .signal = signalled ? number : 0,
                            .code = signalled ? 0 : number,
                            .why = strcmp(reason, "refused") == 0 ? "too many" : NULL};
    call->link = fd_close(call->link);
    put(call->monitor, MSG_DOWN, &down);
    call->monitor = fd_close(call->monitor);
}

void expect_cancel(struct call *call) {
    (void)get(call->link, MSG_CANCEL);
}

void expect_kill(struct peers *peers, const char *id) {
    struct msg *m = get_packet(peers->calls, MSG_KILL);
    assert_string_equal(m->kill.id, id);
}

void call_serve(struct call *call, const char *tool, const char *args, const char *value) {
    call_hello(call);
    expect_call(call, tool, args);
    call_ok(call, value);
}

void expect_end(struct peers *peers, const char *status, const char *data) {
    char type[32];
    (void)snprintf(type, sizeof type, "run.%s", status);
    expect_event(peers, type, true, data);
    expect_silence(peers, peers->owner);
    durable(peers);
}
