/* Frames by hand, blocking, so that a fault in common/chan.c cannot hide itself. */
#include "tests/toolcall/worker.h"

#include "common/chan.h"
#include "common/cleanup.h"
#include "common/role.h"
#include "tests/toolcall/scope.h"
#include "toolcall/toolcall.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cmocka.h>

#define HIGH 200 /* above every slot */

void worker_spec(struct spec *spec) {
    spec_defaults(spec);
    spec->magic = SPEC_MAGIC;
    spec->size = sizeof *spec;
    spec->privileged = geteuid() == 0;
    spec->tool_uid = TOOL_UID;
    spec->tool_gid = TOOL_UID;
}

int worker_grants(const char *tools) {
    auto_free char *text = NULL;
    int n = asprintf(&text, "{\"generation\":1,\"tools\":[%s]}", tools);
    assert_true(n > 0);
    int fd = memfd_seal("grants", text, (size_t)n);
    assert_true(fd >= 0);
    return fd;
}

/* ---- the child ---- */

struct body {
    const struct worker_plan *plan;
    int link, log;
};

/* First out of the way of the slots, then into them. */
static void place(const struct body *b) {
    const struct worker_plan *p = b->plan;
    const struct {
        int fd, slot;
    } rows[] = {
        {b->link, SLOT_LINK},
        {b->log, SLOT_LOG},
        {p->grants, SLOT_GRANTS},
        {p->read_root, SLOT_ROOTS},
        {p->write_root, SLOT_ROOTS + (p->read_root >= 0)},
    };
    int high[sizeof rows / sizeof *rows];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].fd >= 0 && (high[i] = fcntl(rows[i].fd, F_DUPFD, HIGH)) < 0)
            _exit(99);
    if (close_range(SLOT_LINK, HIGH - 1, 0) < 0)
        _exit(99);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].fd >= 0 && dup2(high[i], rows[i].slot) < 0)
            _exit(99);
    if (close_range(SLOT__END, ~0u, 0) < 0)
        _exit(99);
}

static int body(const void *arg) {
    const struct body *b = arg;
    const struct worker_plan *plan = b->plan;
    place(b);
    struct worker_start start = {.role = ROLE_TOOLCALL,
                                 .id = CALL_ID,
                                 .generation = 1,
                                 .owner = {.role = ROLE_RUN},
                                 .owner_known = true,
                                 .spec = plan->spec,
                                 .wires = M(EVENTLOG),
                                 .has_grants = plan->grants >= 0,
                                 .n_read_roots = plan->read_root >= 0,
                                 .n_write_roots = plan->write_root >= 0};
    (void)snprintf(start.profile, sizeof start.profile, "%s", plan->profile);
    return role_worker(&toolcall_role, &start);
}

/* ---- the test's side ---- */

static void patience(int fd) {
    struct timeval t = {.tv_sec = scope_slack_ms(30000) / 1000};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
}

void worker_start(struct worker *w, const struct worker_plan *plan) {
    int owner[2], log[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, owner), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, log), 0);
    *w = (struct worker){.owner = owner[0], .log = log[0]};
    struct body b = {plan, owner[1], log[1]};
    w->pid = scope_fork(body, &b, false);
    assert_true(w->pid > 0);
    (void)close(owner[1]);
    (void)close(log[1]);
    patience(w->owner);
    patience(w->log);
    auto_json json_t *hello = worker_hear(w->owner);
    assert_string_equal(json_str(hello, "msg"), "hello");
    assert_string_equal(json_str(hello, "id"), CALL_ID);
    w->host_pid = (pid_t)json_i64(hello, "pid", 0);
}

void worker_send(int fd, const char *fmt, ...) {
    auto_free char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    assert_true(n > 0);
    uint32_t be = htonl((uint32_t)n);
    assert_int_equal(send(fd, &be, sizeof be, MSG_NOSIGNAL | MSG_MORE), sizeof be);
    for (int sent = 0; sent < n;) {
        ssize_t s = send(fd, text + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        assert_true(s > 0);
        sent += (int)s;
    }
}

static bool read_exactly(int fd, void *to, size_t n) {
    for (size_t have = 0; have < n;) {
        ssize_t got = recv(fd, (char *)to + have, n - have, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) {
            assert_int_equal(have, 0); /* never half a frame */
            return false;
        }
        if (got < 0)
            fail_msg("no frame: %s", strerror(errno));
        have += (size_t)got;
    }
    return true;
}

json_t *worker_hear(int fd) {
    uint32_t be;
    if (!read_exactly(fd, &be, sizeof be))
        return NULL;
    size_t n = ntohl(be);
    assert_in_range(n, 2, FRAME_MAX);
    auto_free char *text = malloc(n);
    assert_non_null(text);
    assert_true(read_exactly(fd, text, n));
    json_t *frame = NULL;
    assert_int_equal(json_parse(text, n, FRAME_MAX, &frame), 0);
    return frame;
}

void worker_call(struct worker *w, const char *tool, const char *args, const char *more) {
    worker_send(w->owner,
                "{\"msg\":\"call\",\"tool\":\"%s\",\"step\":\"one\",\"args\":%s,\"corr\":\"corr-7\",\"task\":\"" TASK_ID
                "\"%s%s}",
                tool, args, strstr(more, "timeout_ms") ? "" : ",\"timeout_ms\":60000", more);
}

json_t *worker_event(struct worker *w) {
    json_t *event = worker_hear(w->log);
    assert_non_null(event);
    assert_string_equal(json_str(event, "msg"), "append");
    assert_string_equal(json_str(event, "step"), "one");
    assert_string_equal(json_str(event, "task"), TASK_ID);
    assert_string_equal(json_str(event, "corr"), "corr-7");
    assert_null(json_object_get(event, "call")); /* the log stamps it from the channel */
    assert_false(json_flag(event, "barrier", false));
    assert_true(json_i64(event, "ref", 0) > 0);
    return event;
}

void worker_accept(struct worker *w, const json_t *event) {
    worker_send(w->log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":12}", (long long)json_i64(event, "ref", 0));
}

json_t *worker_answer(struct worker *w) {
    json_t *done = worker_hear(w->owner);
    assert_non_null(done);
    assert_string_equal(json_str(done, "msg"), "call_done");
    return done;
}

int worker_end(struct worker *w) {
    int status = 0;
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    w->owner = fd_close(w->owner);
    w->log = fd_close(w->log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}
