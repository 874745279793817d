/* The owner's side of a worker, with the test as its supervisor and as the worker: what is readable in which order is
 * decided here, so the promise "down after the last frame" is put to the case where both wait at once. */
#include "tests/common/probe.h"
#include "tests/common/wire.h"

#include "common/child.h"
#include "common/err.h"

#include <sys/socket.h>

struct world {
    struct role_ctx ctx;
    struct spec spec;
    struct child *child;
    int kind, link, monitor; /* the supervisor's endpoint; the worker's link and monitor, once taken */
    char seen[256];
    unsigned fds_at_start;
};

static struct world w;
static const char id[] = "c-01J00000000000000000000000";

static void note(const char *fmt, const char *a) {
    size_t n = strlen(w.seen);
    (void)snprintf(w.seen + n, sizeof w.seen - n, fmt, a);
}

static int on_hello(void *self, struct chan *from, struct msg *m) {
    note("hello ", "");
    return child_on_hello(&w.ctx, from, m);
}
static int on_done(void *self, struct chan *from, struct msg *m) {
    assert_ptr_equal(child_of(&w.ctx, from), w.child);
    note("%s ", m->call_done.message);
    return 0;
}
static int on_killed(void *self, struct chan *from, struct msg *m) {
    return 0;
}

static const struct accept accepts[] = {
    {MSG_HELLO, M(TOOLCALL), 0, on_hello},
    {MSG_CALL_DONE, M(TOOLCALL), 0, on_done},
    {MSG_KILLED, M(TOOLCALLS), 0, on_killed},
};

static void closed(void *self, struct chan *c, int reason) {
    note("%s ", chan_peer(c)->role == ROLE_TOOLCALL ? "link-closed" : "kind-closed");
}

static const struct role role = {.id = ROLE_RUN, .accepts = accepts, .n_accepts = LENGTH(accepts), .closed = closed};

static void on_down(struct child *child, const struct msg_down *down) {
    assert_ptr_equal(child, w.child);
    assert_ptr_equal(child->user, &w);
    assert_string_equal(down->id, id);
    note("down:%s ", down->reason);
    w.child = NULL;
}
static void on_up(struct child *child) {
    assert_int_equal(child->generation, 2);
    note("up ", "");
}

static void turns(int n) {
    while (n--)
        assert_int_equal(loop_turn(w.ctx.loop, 0), 0);
}

static int setup(void **state) {
    int pair[2];
    memset(&w, 0, sizeof w);
    w.fds_at_start = open_fds();
    w.link = w.monitor = -1;
    spec_defaults(&w.spec);
    w.ctx = (struct role_ctx){.role = &role, .self = &w, .loop = loop_new(3), .spec = &w.spec, .extra_fd = -1};
    if (!w.ctx.loop || chan_pair(CHAN_SEQPACKET, pair) < 0)
        return -1;
    w.ctx.wire[ROLE_TOOLCALLS] = role_chan(&w.ctx, pair[0], CHAN_SEQPACKET, &(struct peer){.role = ROLE_TOOLCALLS}, 0);
    w.kind = pair[1];
    return w.ctx.wire[ROLE_TOOLCALLS] ? 0 : -1;
}

static int teardown(void **state) {
    while (w.ctx.children)
        child_release(w.ctx.children);
    chan_close(w.ctx.wire[ROLE_TOOLCALLS]);
    loop_free(w.ctx.loop);
    w.kind = fd_close(w.kind);
    w.link = fd_close(w.link);
    w.monitor = fd_close(w.monitor);
    return open_fds() == w.fds_at_start ? 0 : -1;
}

/* A child whose spawn the supervisor has taken. */
static void spawn(void) {
    struct msg m;
    w.child = child_spawn(&w.ctx, ROLE_TOOLCALL, id, "pure", -1, on_down, &w);
    assert_non_null(w.child);
    w.child->on_up = on_up;
    assert_true(wire_get(w.kind, &m));
    assert_int_equal(m.type, MSG_SPAWN);
    assert_string_equal(m.spawn.id, id);
    assert_string_equal(m.spawn.role, "toolcall");
    assert_string_equal(m.spawn.profile, "pure");
    assert_int_equal(m.n_fds, 2);
    w.link = m.fds[0];
    w.monitor = m.fds[1];
}

static void put_done(int fd, const char *text) {
    wire_put(fd, MSG_CALL_DONE, &(struct msg_call_done){.message = text}, NULL, 0);
}
static void put_down(const char *reason) {
    wire_put(w.monitor, MSG_DOWN, &(struct msg_down){.id = id, .reason = reason}, NULL, 0);
}

/* `down` is readable first, and both before the turn begins. */
static void test_down_after_the_last_frame(void **state) {
    (void)state;
    spawn();
    put_down("exited");
    w.monitor = fd_close(w.monitor);
    wire_put(w.link, MSG_HELLO, &(struct msg_hello){.id = id, .pid = 7, .generation = 1}, NULL, 0);
    put_done(w.link, "one");
    put_done(w.link, "two");
    w.link = fd_close(w.link);
    turns(3);
    assert_string_equal(w.seen, "hello one two link-closed down:exited ");
    assert_null(w.ctx.children);
}

/* The worker died with a frame of its owner's unread: the link reads as a reset, behind what it had sent. */
static void test_down_after_a_reset(void **state) {
    (void)state;
    spawn();
    assert_int_equal(child_send(w.child, MSG_CANCEL, &(struct msg_cancel){0}), 0);
    put_done(w.link, "one");
    w.link = fd_close(w.link);
    put_down("signalled");
    turns(2);
    assert_string_equal(w.seen, "one link-closed down:signalled ");
}

/* A grandchild may hold the link open: down does not wait for its end. */
static void test_down_with_the_link_still_open(void **state) {
    (void)state;
    spawn();
    put_done(w.link, "one");
    put_down("exited");
    turns(2);
    assert_string_equal(w.seen, "one down:exited ");
}

static void test_supervisor_lost(void **state) {
    (void)state;
    spawn();
    w.monitor = fd_close(w.monitor);
    put_done(w.link, "one");
    turns(2);
    assert_string_equal(w.seen, "one down:supervisor_lost ");
    assert_null(w.ctx.children);
}

static void test_a_link_that_closes_is_no_death(void **state) {
    (void)state;
    spawn();
    w.link = fd_close(w.link);
    turns(2);
    assert_string_equal(w.seen, "link-closed ");
    assert_non_null(w.child);
    assert_null(w.child->link);
    assert_int_equal(child_send(w.child, MSG_CANCEL, &(struct msg_cancel){0}), -EPIPE);
    put_down("exited");
    turns(1);
    assert_string_equal(w.seen, "link-closed down:exited ");
}

static void test_up_replaces_the_link(void **state) {
    (void)state;
    int fresh[2];
    spawn();
    assert_int_equal(chan_pair(CHAN_STREAM, fresh), 0);
    wire_put(w.monitor, MSG_UP, &(struct msg_up){.id = id, .generation = 2}, fresh, 1);
    put_done(w.link, "old");
    put_done(fresh[1], "new");
    (void)close(fresh[0]);
    turns(3);
    assert_string_equal(w.seen, "old up new ");
    put_done(fresh[1], "last");
    (void)close(fresh[1]);
    put_down("exited");
    turns(3);
    assert_string_equal(w.seen, "old up new last link-closed down:exited ");
}

/* What a broken supervisor says on a monitor is as good as its loss. */
static void test_nonsense_on_a_monitor(void **state) {
    (void)state;
    for (int c = 0; c < 3; c++) {
        w.seen[0] = 0;
        spawn();
        if (c == 0)
            assert_int_equal(frame_write_once(w.monitor, "nonsense", 8, NULL, 0), 0);
        else if (c == 1)
            wire_put(w.monitor, MSG_UP, &(struct msg_up){.id = id, .generation = 2}, NULL, 0);
        else
            wire_put(w.monitor, MSG_READY, &(struct msg_ready){0}, NULL, 0);
        turns(2);
        assert_string_equal(w.seen, "down:supervisor_lost ");
        w.link = fd_close(w.link);
        w.monitor = fd_close(w.monitor);
    }
}

static void test_hello(void **state) {
    (void)state;
    spawn();
    wire_put(w.link, MSG_HELLO, &(struct msg_hello){.id = id, .pid = 7, .generation = 4}, NULL, 0);
    turns(1);
    assert_true(w.child->pid == 7 && w.child->generation == 4);
    wire_put(w.link, MSG_HELLO, &(struct msg_hello){.id = "c-other", .pid = 8, .generation = 1}, NULL, 0);
    turns(1);
    assert_true(w.child->pid == 7 && !w.child->link);
}

static void expect_kill(int64_t grace_ms) {
    struct msg m;
    assert_true(wire_get(w.kind, &m));
    assert_int_equal(m.type, MSG_KILL);
    assert_string_equal(m.kill.id, id);
    assert_int_equal(m.kill.grace_ms, grace_ms);
}

static bool quiet(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void test_cancel_then_kill(void **state) {
    (void)state;
    struct msg m;
    w.spec.cancel_timeout = 1;
    spawn();
    child_cancel(w.child, "deadline");
    child_cancel(w.child, "deadline");
    assert_true(wire_get(w.link, &m) && m.type == MSG_CANCEL);
    assert_string_equal(m.cancel.reason, "deadline");
    assert_true(quiet(w.link)); /* once */
    assert_true(quiet(w.kind));
    while (quiet(w.kind))
        assert_int_equal(loop_turn(w.ctx.loop, -1), 0); /* to the timer */
    expect_kill(0);
    put_down("signalled");
    turns(1);
    assert_string_equal(w.seen, "down:signalled ");
}

static void test_cancelled_in_time(void **state) {
    (void)state;
    spawn();
    child_cancel(w.child, NULL);
    put_down("exited");
    turns(2); /* the child is gone, and with it the timer */
    assert_string_equal(w.seen, "down:exited ");
    assert_true(quiet(w.kind));
}

static void test_cancel_without_a_link(void **state) {
    (void)state;
    spawn();
    w.link = fd_close(w.link);
    turns(1);
    child_cancel(w.child, "deadline");
    expect_kill(child_grace_ms(&w.spec, ROLE_TOOLCALL));
}

static void test_attach(void **state) {
    (void)state;
    struct msg m;
    w.child = child_attach(&w.ctx, ROLE_TOOLCALL, id, on_down, &w);
    assert_non_null(w.child);
    assert_true(wire_get(w.kind, &m) && m.type == MSG_ATTACH && m.n_fds == 1);
    assert_string_equal(m.attach.id, id);
    w.monitor = m.fds[0];
    put_down("noproc");
    turns(1);
    assert_string_equal(w.seen, "down:noproc ");
}

static void test_no_supervisor_to_ask(void **state) {
    (void)state;
    unsigned before = open_fds();
    assert_null(child_spawn(&w.ctx, ROLE_LLMCALL, id, NULL, -1, on_down, &w));
    assert_null(child_attach(&w.ctx, ROLE_LLMCALL, id, on_down, &w));
    turns(1);
    assert_null(w.ctx.children);
    assert_int_equal(open_fds(), before);
    assert_string_equal(w.seen, "");
}

static void test_release_forgets(void **state) {
    (void)state;
    spawn();
    put_down("exited");
    put_done(w.link, "one");
    child_release(w.child);
    turns(2);
    assert_string_equal(w.seen, "");
}

static void test_kinds(void **state) {
    (void)state;
    assert_int_equal(child_kind(ROLE_TOOLCALL), ROLE_TOOLCALLS);
    assert_int_equal(child_kind(ROLE_LLMCALL), ROLE_LLMCALLS);
    assert_int_equal(child_kind(ROLE_RUN), ROLE_RUNS);
    assert_int_equal(child_kind(ROLE_ACTOR), ROLE_ACTORS);
    assert_int_equal(child_kind(ROLE_SESSION), ROLE_ACTORS);
    w.spec.cancel_timeout = 100;
    assert_true(child_grace_ms(&w.spec, ROLE_TOOLCALL) < child_grace_ms(&w.spec, ROLE_RUN));
    assert_true(child_grace_ms(&w.spec, ROLE_RUN) < child_grace_ms(&w.spec, ROLE_SESSION));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_down_after_the_last_frame),
        CASE(test_down_after_a_reset),
        CASE(test_down_with_the_link_still_open),
        CASE(test_supervisor_lost),
        CASE(test_a_link_that_closes_is_no_death),
        CASE(test_up_replaces_the_link),
        CASE(test_nonsense_on_a_monitor),
        CASE(test_hello),
        CASE(test_cancel_then_kill),
        CASE(test_cancelled_in_time),
        CASE(test_cancel_without_a_link),
        CASE(test_attach),
        CASE(test_no_supervisor_to_ask),
        CASE(test_release_forgets),
        CASE(test_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
