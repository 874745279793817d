/* A role in a process of its own, as a supervisor or root would start it, with the test at the other end of every wire.
 * The role here is a tool call's worker that answers calls and tells the log what befalls it; nothing is asserted
 * inside the child. */
#include "tests/common/probe.h"
#include "tests/common/wire.h"

#include "common/err.h"
#include "common/role.h"
#include "common/title.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* ---- the role under test ---- */

enum { READY, SPENT, STATES };
enum { CALLED, EVENTS };
static const char *const state_names[] = {"ready", "spent"}, *const event_names[] = {"called"};
static const struct fsm_cell cells[STATES][EVENTS] = {[READY] = {[CALLED] = FSM_GO(SPENT, NULL)}};
static const struct fsm_def fsm = {.name = "test",
                                   .n_states = STATES,
                                   .n_events = EVENTS,
                                   .state_names = state_names,
                                   .event_names = event_names,
                                   .cells = &cells[0][0]};

struct self {
    struct role_ctx *ctx;
};

static void tell(struct self *s, const char *type) {
    struct msg_append event = {.type = type, .data = SPAN("{}")};
    (void)role_event(s->ctx, &event, false);
}

static int on_call(void *self, struct chan *from, struct msg *m) {
    struct self *s = self;
    if (strcmp(m->call.tool, "refuse") == 0)
        return err_raise(-EINVAL, "told to refuse");
    (void)role_step(s->ctx, CALLED, NULL);
    return chan_send(from, MSG_CALL_DONE, &(struct msg_call_done){.ok = true, .value = m->call.args});
}

static int on_accepted(void *self, struct chan *from, struct msg *m) {
    tell(self, "heard");
    return 0;
}

static int start(struct role_ctx *ctx, void *self) {
    ((struct self *)self)->ctx = ctx;
    tell(self, "started");
    return 0;
}

static int start_failing(struct role_ctx *ctx, void *self) {
    return err_raise(-EIO, "told to fail");
}

static void closed(void *self, struct chan *c, int reason) {
    tell(self, chan_peer(c)->role == ROLE_RUN ? reason ? "run.refused" : "run.closed" : "other.closed");
}
static void cancel(void *self) {
    role_exit(((struct self *)self)->ctx, 5);
}
static void adopted(void *self) {
    tell(self, "adopted");
}

static const struct accept accepts[] = {
    {MSG_CALL, M(RUN), 1u << READY, on_call},
    {MSG_ACCEPTED, M(EVENTLOG), 0, on_accepted},
};
static struct role role = {.id = ROLE_TOOLCALL,
                           .self_size = sizeof(struct self),
                           .accepts = accepts,
                           .n_accepts = LENGTH(accepts),
                           .fsm = &fsm,
                           .start = start,
                           .closed = closed,
                           .cancel = cancel,
                           .adopted = adopted};

/* ---- the worker's process ---- */

struct worker {
    pid_t pid;
    int link, log;
    unsigned fds_at_start;
};

static const char id[] = "c-01J00000000000000000000000";

static void worker_main(int link, int log, bool owner_known) __attribute__((noreturn));
static void worker_main(int link, int log, bool owner_known) {
    static struct spec spec;
    struct worker_start begin = {.role = ROLE_TOOLCALL,
                                 .generation = 3,
                                 .owner = {.role = ROLE_RUN},
                                 .owner_known = owner_known,
                                 .spec = &spec,
                                 .wires = M(EVENTLOG)};
    spec_defaults(&spec);
    (void)snprintf(begin.id, sizeof begin.id, "%s", id);
    int a = fcntl(link, F_DUPFD, 100), b = fcntl(log, F_DUPFD, 100);
    if (a < 0 || b < 0 || close_range(SLOT_LINK, 99, 0) < 0 || dup2(a, SLOT_LINK) < 0 || dup2(b, SLOT_LOG) < 0 ||
        close_range(SLOT__END, ~0U, 0) < 0)
        _exit(99);
    _exit(role_worker(&role, &begin));
}

static void worker_open(struct worker *w, bool owner_known, bool owner_gone) {
    int link[2], log[2];
    *w = (struct worker){.fds_at_start = open_fds()};
    assert_true(chan_pair(CHAN_STREAM, link) == 0 && chan_pair(CHAN_STREAM, log) == 0);
    w->link = owner_gone ? fd_close(link[0]) : link[0];
    w->log = log[0];
    w->pid = fork();
    if (w->pid == 0)
        worker_main(link[1], log[1], owner_known);
    (void)close(link[1]);
    (void)close(log[1]);
}

static void expect_event(struct worker *w, const char *type) {
    struct msg m;
    assert_true(wire_get(w->log, &m));
    assert_int_equal(m.type, MSG_APPEND);
    assert_string_equal(m.append.type, type);
}

static void expect_hello(struct worker *w) {
    struct msg m;
    assert_true(wire_get(w->link, &m));
    assert_int_equal(m.type, MSG_HELLO);
    assert_string_equal(m.hello.id, id);
    assert_true(m.hello.pid > 0 && m.hello.generation == 3);
}

static void worker_close(struct worker *w, int signo, int status) {
    struct msg m;
    assert_int_equal(kill(w->pid, signo), 0);
    assert_int_equal(wire_reap(w->pid), status);
    assert_false(wire_get(w->log, &m)); /* nothing was said that the case did not expect */
    w->link = fd_close(w->link);
    w->log = fd_close(w->log);
    assert_int_equal(open_fds(), w->fds_at_start);
}

static const struct msg_call call = {.tool = "t", .step = "s", .args = {"{\"a\" : 1}", 9}, .timeout_ms = 1};

static void test_worker_works(void **state) {
    (void)state;
    struct worker w;
    struct msg m;
    worker_open(&w, true, false);
    expect_hello(&w);
    expect_event(&w, "started");
    wire_put(w.link, MSG_CALL, &call, NULL, 0);
    assert_true(wire_get(w.link, &m) && m.type == MSG_CALL_DONE && m.call_done.ok);
    assert_memory_equal(m.call_done.value.p, call.args.p, call.args.n);
    wire_put(w.log, MSG_ACCEPTED, &(struct msg_accepted){.ref = 1, .seq = 1}, NULL, 0);
    expect_event(&w, "heard");
    assert_int_equal(kill(w.pid, SIGUSR1), 0);
    expect_event(&w, "adopted");
    worker_close(&w, SIGTERM, 0);
}

static void test_worker_cancels_itself(void **state) {
    (void)state;
    struct worker w;
    worker_open(&w, true, false);
    expect_hello(&w);
    expect_event(&w, "started");
    worker_close(&w, SIGUSR2, 5);
}

static void test_worker_without_owner(void **state) {
    (void)state;
    struct worker w;
    worker_open(&w, false, false); /* never had one */
    expect_event(&w, "started");
    worker_close(&w, SIGTERM, 0);
    worker_open(&w, true, true); /* gone before hello */
    expect_event(&w, "started");
    expect_event(&w, "run.closed");
    worker_close(&w, SIGTERM, 0);
}

static void test_worker_that_cannot_start(void **state) {
    (void)state;
    struct worker w;
    struct msg m;
    role.start = start_failing;
    worker_open(&w, true, false);
    role.start = start;
    expect_hello(&w);
    assert_int_equal(wire_reap(w.pid), 1);
    assert_false(wire_get(w.link, &m));
    w.link = fd_close(w.link);
    w.log = fd_close(w.log);
}

/* ---- refusals cost the channel and nothing else ---- */

#define CALL_TEXT(members) "{\"msg\":\"call\",\"tool\":\"t\",\"step\":\"s\",\"args\":{}" members "}"

static void test_dispatch_refusals(void **state) {
    (void)state;
    static const char *const texts[] = {
        "x",
        "{\"msg\":\"nope\"}",
        "{\"msg\":\"ready\"}",                     /* not from a run to a call */
        "{\"msg\":\"cancel\"}",                    /* allowed, but this role has no row for it */
        CALL_TEXT(""),                             /* a member is missing */
        CALL_TEXT(",\"timeout_ms\":1,\"more\":1"), /* one too many */
        CALL_TEXT(",\"timeout_ms\":0"),            /* out of range */
        "{\"msg\":\"call\",\"tool\":\"refuse\",\"step\":\"s\",\"args\":{},\"timeout_ms\":1}", /* its handler says no */
    };
    for (size_t i = 0; i < LENGTH(texts); i++) {
        struct worker w;
        struct msg m;
        worker_open(&w, true, false);
        expect_hello(&w);
        expect_event(&w, "started");
        assert_int_equal(frame_write_once(w.link, texts[i], strlen(texts[i]), NULL, 0), 0);
        expect_event(&w, "run.refused");
        assert_false(wire_get(w.link, &m));
        wire_put(w.log, MSG_ACCEPTED, &(struct msg_accepted){.ref = 1, .seq = 1}, NULL, 0);
        expect_event(&w, "heard"); /* the others are served as before */
        worker_close(&w, SIGTERM, 0);
    }
}

static void test_refused_in_this_state(void **state) {
    (void)state;
    struct worker w;
    struct msg m;
    worker_open(&w, true, false);
    expect_hello(&w);
    expect_event(&w, "started");
    wire_put(w.link, MSG_CALL, &call, NULL, 0);
    assert_true(wire_get(w.link, &m) && m.type == MSG_CALL_DONE);
    wire_put(w.link, MSG_CALL, &call, NULL, 0);
    expect_event(&w, "run.refused");
    worker_close(&w, SIGTERM, 0);
}

static void test_refused_for_its_descriptors(void **state) {
    (void)state;
    struct worker w;
    struct msg m;
    int one = STDERR_FILENO;
    worker_open(&w, true, false);
    expect_hello(&w);
    expect_event(&w, "started");
    wire_put(w.link, MSG_CALL, &call, &one, 1);
    assert_true(wire_get(w.link, &m) && m.type == MSG_CALL_DONE); /* the frame itself was fine */
    expect_event(&w, "run.refused");
    worker_close(&w, SIGTERM, 0);
}

/* ---- a static child ---- */

static int static_start(struct role_ctx *ctx, void *self) {
    ((struct self *)self)->ctx = ctx;
    return ctx->wire[ROLE_EVENTLOG] && ctx->extra_fd < 0 ? role_ready(ctx) : -EINVAL;
}

static struct role static_role = {.id = ROLE_REGISTRY, .self_size = sizeof(struct self), .start = static_start};

static pid_t static_open(int *control) {
    int pair[2];
    assert_int_equal(chan_pair(CHAN_STREAM, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        static char name[] = "soma-registry", pad[] = TITLE_PAD_TEXT;
        char *argv[] = {name, pad, NULL};
        int a = fcntl(pair[1], F_DUPFD, 200);
        if (a < 0 || dup2(a, CONTROL_FD) < 0 || close_range(CONTROL_FD + 1, ~0U, 0) < 0)
            _exit(99);
        _exit(role_main(&static_role, 2, argv));
    }
    (void)close(pair[1]);
    *control = pair[0];
    return pid;
}

static int sealed_spec(void) {
    static struct spec spec;
    spec_defaults(&spec);
    int fd = spec_seal(&spec);
    assert_true(fd >= 0);
    return fd;
}

/* Returns the wire's other end. */
static int put_wire(int control, const char *to) {
    int pair[2];
    assert_int_equal(chan_pair(CHAN_STREAM, pair), 0);
    wire_put(control, MSG_WIRE, &(struct msg_wire){.to = to}, &pair[1], 1);
    (void)close(pair[1]);
    return pair[0];
}

static void test_static_child(void **state) {
    (void)state;
    struct msg m;
    for (int ending = 0; ending < 2; ending++) {
        auto_close int control = -1, spec = sealed_spec();
        pid_t pid = static_open(&control);
        auto_close int log = put_wire(control, "eventlog");
        assert_true(log >= 0);
        wire_put(control, MSG_BEGIN, &(struct msg_begin){.generation = 2}, &spec, 1);
        assert_true(wire_get(control, &m) && m.type == MSG_READY);
        if (ending == 0)
            assert_int_equal(kill(pid, SIGTERM), 0);
        else
            control = fd_close(control); /* root is gone: so is its child */
        assert_int_equal(wire_reap(pid), ending);
    }
}

static void test_static_child_refuses_to_start(void **state) {
    (void)state;
    enum { EARLY, TWO_WIRES, UNKNOWN_WIRE, UNSEALED, NO_DESCRIPTOR, GARBAGE, START_FAILS, CASES };
    for (int c = 0; c < CASES; c++) {
        auto_close int control = -1, spec = sealed_spec(), unsealed = (int)memfd_create("u", MFD_CLOEXEC);
        auto_close int first = -1, second = -1;
        pid_t pid = static_open(&control);
        struct msg_begin begin = {.generation = 1};
        if (c == EARLY)
            wire_put(control, MSG_LIST, &(struct msg_list){0}, NULL, 0);
        else if (c == TWO_WIRES || c == UNKNOWN_WIRE)
            first = put_wire(control, c == TWO_WIRES ? "eventlog" : "nobody");
        else if (c == GARBAGE)
            assert_int_equal(frame_write_once(control, "[]", 2, NULL, 0), 0);
        else
            wire_put(control, MSG_BEGIN, &begin, c == UNSEALED ? &unsealed : &spec, c != NO_DESCRIPTOR);
        if (c == TWO_WIRES)
            second = put_wire(control, "eventlog");
        if (wire_reap(pid) != 1)
            fail_msg("case %d did not end with 1", c);
    }
}

static void closed_too_early(void *self, struct chan *c, int reason) {
    *(int *)self = 1; /* there must be a self */
}

/* The log died between wire and begin: the role is not told before it exists. */
static void test_wire_that_ends_before_begin(void **state) {
    (void)state;
    auto_close int control = -1, spec = sealed_spec();
    static_role.closed = closed_too_early;
    pid_t pid = static_open(&control);
    static_role.closed = NULL;
    int log = put_wire(control, "eventlog"), again = -1;
    (void)close(log);
    /* A second wire to the log is accepted once the end of the first was seen, and refused before: either way it ends
     * by a decision of its own. */
    again = put_wire(control, "eventlog");
    wire_put(control, MSG_BEGIN, &(struct msg_begin){.generation = 2}, &spec, 1);
    struct msg m;
    bool ready = wire_get(control, &m);
    if (ready)
        assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(wire_reap(pid), ready ? 0 : 1);
    (void)close(again);
}

/* ---- who may introduce whom ---- */

static void test_introductions(void **state) {
    (void)state;
    static const uint32_t may[ROLE__COUNT] = {
        [ROLE_ROOT] = M_STATIC | M(ROOT),
        [ROLE_TOOLCALLS] = M(TOOLCALL),
        [ROLE_LLMCALLS] = M(LLMCALL),
        [ROLE_RUNS] = M(RUN),
        [ROLE_ACTORS] = M(ACTOR) | M(SESSION) | M(GATEWAY),
    };
    struct loop *loop = loop_new(3);
    for (unsigned by = 0; by < ROLE__COUNT; by++) {
        int pair[2];
        assert_int_equal(chan_pair(CHAN_STREAM, pair), 0);
        struct chan_config config = {.loop = loop, .fd = pair[0], .peer = {.role = by}};
        struct chan *c = chan_new(&config);
        assert_non_null(c);
        for (unsigned of = 0; of < ROLE__COUNT; of++) {
            struct peer out;
            struct msg_introduce m = {.role = role_name(of), .run = "r-1", .actor = "a", .pid = 7, .generation = 2};
            int r = role_introduced(c, &m, &out);
            if (r != (may[by] & 1u << of ? 0 : -EPERM))
                fail_msg("%s introduces %s: %d", role_name(by), role_name(of), r);
            if (r == 0)
                assert_true(out.role == of && strcmp(out.run, "r-1") == 0 && out.pid == 7 && !out.call[0]);
        }
        struct peer out;
        assert_int_equal(role_introduced(c, &(struct msg_introduce){.role = "nobody"}, &out), -EPROTO);
        chan_close(c);
        (void)close(pair[1]);
    }
    loop_free(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_works),
        cmocka_unit_test(test_worker_cancels_itself),
        cmocka_unit_test(test_worker_without_owner),
        cmocka_unit_test(test_worker_that_cannot_start),
        cmocka_unit_test(test_dispatch_refusals),
        cmocka_unit_test(test_refused_in_this_state),
        cmocka_unit_test(test_refused_for_its_descriptors),
        cmocka_unit_test(test_static_child),
        cmocka_unit_test(test_static_child_refuses_to_start),
        cmocka_unit_test(test_wire_that_ends_before_begin),
        cmocka_unit_test(test_introductions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
