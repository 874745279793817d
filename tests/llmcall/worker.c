/* Frames by hand, blocking, so that a fault in common/chan.c cannot hide itself. */
#include "tests/llmcall/worker.h"

#include "common/chan.h"
#include "common/cleanup.h"
#include "common/role.h"
#include "llmcall/llmcall.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the child ---- */

static void move(int fd, int slot) {
    if (fd < 0 ? close(slot) < 0 && errno != EBADF : dup2(fd, slot) < 0)
        _exit(99);
}

/* Ends with the test, however that ends. First out of the way of the slots, then into them. */
static void child(const struct spec *spec, int link, int log, int secret) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        _exit(99);
    int high[3] = {fcntl(link, F_DUPFD, 200), fcntl(log, F_DUPFD, 200), secret < 0 ? -1 : fcntl(secret, F_DUPFD, 200)};
    for (int slot = SLOT_LINK; slot < SLOT__END; slot++)
        move(-1, slot);
    move(high[0], SLOT_LINK);
    move(high[1], SLOT_LOG);
    if (high[2] >= 0)
        move(high[2], SLOT_SECRET);
    if (close_range(SLOT__END, ~0u, 0) < 0)
        _exit(99);
    struct worker_start start = {.role = ROLE_LLMCALL,
                                 .id = CALL_ID,
                                 .generation = 1,
                                 .owner = {.role = ROLE_ACTOR, .actor = "assistant"},
                                 .owner_known = true,
                                 .actor = "assistant",
                                 .spec = spec,
                                 .wires = M(EVENTLOG),
                                 .has_secret = secret >= 0};
    (void)snprintf(start.profile, sizeof start.profile, "%s", spec->providers[0].name);
    _exit(role_worker(&llmcall_role, &start));
}

/* ---- the test's side ---- */

static void patience(int fd) {
    struct timeval t = {.tv_sec = 30};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
}

void worker_start(struct worker *w, const struct spec *spec, int secret) {
    int owner[2], log[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, owner), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, log), 0);
    *w = (struct worker){.owner = owner[0], .log = log[0]};
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0)
        child(spec, owner[1], log[1], secret);
    (void)close(owner[1]);
    (void)close(log[1]);
    patience(w->owner);
    patience(w->log);
    auto_json json_t *hello = worker_hear(w, w->owner);
    assert_string_equal(json_str(hello, "msg"), "hello");
    assert_string_equal(json_str(hello, "id"), CALL_ID);
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

static void remember(struct worker *w, const char *text, size_t n) {
    char *grown = realloc(w->heard, w->heard_n + n + 1);
    assert_non_null(grown);
    memcpy(grown + w->heard_n, text, n);
    w->heard = grown;
    w->heard_n += n;
    w->heard[w->heard_n] = '\0';
}

json_t *worker_hear(struct worker *w, int fd) {
    uint32_t be;
    if (!read_exactly(fd, &be, sizeof be))
        return NULL;
    size_t n = ntohl(be);
    assert_in_range(n, 2, FRAME_MAX);
    auto_free char *text = malloc(n);
    assert_non_null(text);
    assert_true(read_exactly(fd, text, n));
    remember(w, text, n);
    json_t *frame = NULL;
    assert_int_equal(json_parse(text, n, FRAME_MAX, &frame), 0);
    return frame;
}

void worker_ask(struct worker *w, const char *messages, int64_t timeout_ms) {
    worker_send(w->owner,
                "{\"msg\":\"llm_request\",\"model\":\"fake-1\",\"messages\":%s,\"tools\":[{\"type\":\"function\","
                "\"function\":{\"name\":\"wc\",\"parameters\":{}}}],\"timeout_ms\":%lld,\"task\":\"" TASK_ID
                "\",\"corr\":\"corr-7\"}",
                messages, (long long)timeout_ms);
}

json_t *worker_journal(struct worker *w) {
    json_t *event = worker_hear(w, w->log);
    assert_non_null(event);
    assert_string_equal(json_str(event, "msg"), "append");
    assert_string_equal(json_str(event, "task"), TASK_ID);
    assert_string_equal(json_str(event, "corr"), "corr-7");
    assert_null(json_object_get(event, "barrier"));
    worker_send(w->log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":12}", (long long)json_i64(event, "ref", 0));
    return event;
}

void worker_shut(int *fd) {
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

int worker_end(struct worker *w) {
    int status = 0;
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    worker_shut(&w->owner);
    worker_shut(&w->log);
    free(w->heard);
    w->heard = NULL;
    return status;
}
