/* The loop: order of timers, and the promise that nothing which was removed is ever called. */
#include "tests/common/probe.h"

#include "common/err.h"
#include "common/loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static char order[64];
#define S(text) ((char[]){text})

static void note(const char *text) {
    strncat(order, text, sizeof order - strlen(order) - 1);
}

static void fire(void *arg) {
    note(arg);
}

static struct loop *fresh(void) {
    order[0] = 0;
    struct loop *loop = loop_new(3);
    assert_non_null(loop);
    return loop;
}

/* ---- timers ---- */

static void test_timers_fire_in_order_of_their_times(void **state) {
    (void)state;
    static char names[9][2];
    static const unsigned shuffled[] = {5, 1, 9, 3, 7, 2, 8, 4, 6};
    struct loop *loop = fresh();
    struct loop_timer timers[9] = {0};
    int64_t past = now_ms() - 100;
    for (size_t i = 0; i < 9; i++) {
        names[i][0] = (char)('0' + shuffled[i]);
        assert_int_equal(loop_timer_set(loop, &timers[i], past + shuffled[i], fire, names[i]), 0);
    }
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_string_equal(order, "123456789");
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(timers[i].index, 0);
    loop_free(loop);
}

static void test_timers_cleared_and_moved(void **state) {
    (void)state;
    struct loop *loop = fresh();
    struct loop_timer a = LOOP_TIMER_NULL, b = LOOP_TIMER_NULL, c = LOOP_TIMER_NULL;
    int64_t past = now_ms() - 100;
    (void)loop_timer_set(loop, &a, past, fire, S("a"));
    (void)loop_timer_set(loop, &b, past + 1, fire, S("b"));
    (void)loop_timer_set(loop, &c, past + 2, fire, S("c"));
    (void)loop_timer_set(loop, &a, past + 3, fire, S("A")); /* moved, not doubled */
    loop_timer_clear(loop, &b);
    loop_timer_clear(loop, &b);
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_string_equal(order, "cA");
    loop_free(loop);
}

/* Against a plain array as the model: many settings, moves and clearings with numbers that repeat. */
static void test_heap_against_a_model(void **state) {
    (void)state;
    enum { N = 200 };
    static struct loop_timer timers[N];
    static int64_t due[N];
    struct loop *loop = fresh();
    unsigned random = 12345;
    int64_t later = now_ms() + 1000000;
    for (int i = 0; i < 20000; i++) {
        random = random * 1103515245u + 12345u;
        unsigned at = random >> 8 & 0xffff;
        if (at % 3 == 0) {
            loop_timer_clear(loop, &timers[at % N]);
            due[at % N] = 0;
        } else {
            due[at % N] = later + (random >> 24);
            assert_int_equal(loop_timer_set(loop, &timers[at % N], due[at % N], fire, S("x")), 0);
        }
    }
    for (int i = 0; i < N; i++)
        assert_true(timers[i].index ? timers[i].due_ms == due[i] : due[i] == 0);
    for (int i = 0; i < N; i++) /* no timer is earlier than its parent in the heap */
        for (int k = 0; k < N && timers[i].index > 1; k++)
            assert_true(timers[k].index != timers[i].index / 2 || timers[k].due_ms <= timers[i].due_ms);
    loop_free(loop);
}

struct clears {
    struct loop *loop;
    struct loop_timer *timer;
};

static void clear_other(void *arg) {
    struct clears *c = arg;
    note("clear ");
    loop_timer_clear(c->loop, c->timer);
}

static void test_due_timer_cleared_inside_a_callback(void **state) {
    (void)state;
    struct loop *loop = fresh();
    struct loop_timer first = LOOP_TIMER_NULL, second = LOOP_TIMER_NULL;
    struct clears c = {.loop = loop, .timer = &second};
    int64_t past = now_ms() - 10;
    (void)loop_timer_set(loop, &first, past, clear_other, &c);
    (void)loop_timer_set(loop, &second, past + 1, fire, S("second"));
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_string_equal(order, "clear ");
    loop_free(loop);
}

static void clear_on_ready(void *arg, uint32_t events) {
    clear_other(arg);
}

/* Descriptors are served before timers, so what one of them clears does not fire, though it was due. */
static void test_due_timer_cleared_by_a_source(void **state) {
    (void)state;
    struct loop *loop = fresh();
    struct loop_timer timer = LOOP_TIMER_NULL;
    struct loop_source source = LOOP_SOURCE_NULL;
    auto_close int fd = eventfd(1, EFD_CLOEXEC);
    struct clears c = {.loop = loop, .timer = &timer};
    (void)loop_timer_set(loop, &timer, now_ms() - 10, fire, S("fired"));
    assert_int_equal(loop_add(loop, &source, fd, EPOLLIN, clear_on_ready, &c), 0);
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_string_equal(order, "clear ");
    loop_remove(loop, &source);
    loop_free(loop);
}

static void test_a_turn_waits_for_the_timer(void **state) {
    (void)state;
    struct loop *loop = fresh();
    struct loop_timer timer = LOOP_TIMER_NULL;
    int64_t due = now_ms() + 20;
    (void)loop_timer_set(loop, &timer, due, fire, S("t"));
    while (!*order)
        assert_int_equal(loop_turn(loop, -1), 0);
    assert_true(now_ms() >= due);
    loop_free(loop);
}

/* ---- sources ---- */

struct pair {
    struct loop *loop;
    struct loop_source a, b;
};

/* Whichever of the two is served first removes the other and gives its memory another meaning. */
static void remove_b(void *arg, uint32_t events) {
    struct pair *p = arg;
    note("a");
    loop_remove(p->loop, &p->b);
    memset(&p->b, 0xff, sizeof p->b);
}
static void remove_a(void *arg, uint32_t events) {
    struct pair *p = arg;
    note("b");
    loop_remove(p->loop, &p->a);
    memset(&p->a, 0xff, sizeof p->a);
}

static void test_source_removed_inside_anothers_callback(void **state) {
    (void)state;
    auto_close int x = eventfd(1, EFD_CLOEXEC), y = eventfd(1, EFD_CLOEXEC);
    struct pair p = {.loop = fresh()};
    assert_int_equal(loop_add(p.loop, &p.a, x, EPOLLIN, remove_b, &p), 0);
    assert_int_equal(loop_add(p.loop, &p.b, y, EPOLLIN, remove_a, &p), 0);
    assert_int_equal(loop_turn(p.loop, -1), 0);
    assert_int_equal(strlen(order), 1); /* both were ready, one was called */
    loop_free(p.loop);
}

static void remove_self(void *arg, uint32_t events) {
    struct pair *p = arg;
    note("self");
    loop_remove(p->loop, &p->a);
    loop_remove(p->loop, &p->a);
}

static void test_source_removes_itself(void **state) {
    (void)state;
    auto_close int x = eventfd(1, EFD_CLOEXEC);
    struct pair p = {.loop = fresh()};
    assert_int_equal(loop_add(p.loop, &p.a, x, EPOLLIN, remove_self, &p), 0);
    assert_int_equal(loop_turn(p.loop, 0), 0);
    assert_int_equal(loop_turn(p.loop, 0), 0);
    assert_string_equal(order, "self");
    assert_int_equal(loop_change(p.loop, &p.a, EPOLLOUT), 0); /* of one that is gone: nothing */
    loop_remove(p.loop, &p.b);                                /* never added */
    loop_free(p.loop);
}

static void count_ready(void *arg, uint32_t events) {
    note(events & EPOLLOUT ? "o" : "i");
}

static void test_change(void **state) {
    (void)state;
    auto_close int x = eventfd(1, EFD_CLOEXEC);
    struct loop *loop = fresh();
    struct loop_source source;
    assert_int_equal(loop_add(loop, &source, x, EPOLLIN, count_ready, NULL), 0);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_int_equal(loop_change(loop, &source, EPOLLOUT), 0);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_int_equal(loop_change(loop, &source, 0), 0);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_string_equal(order, "io");
    struct loop_source none;
    assert_int_equal(loop_add(loop, &none, -1, EPOLLIN, count_ready, NULL), -EBADF);
    assert_false(none.live);
    loop_remove(loop, &source);
    loop_free(loop);
}

/* ---- signals, turns, graves ---- */

static void on_signal(void *arg, const struct signalfd_siginfo *info) {
    note(arg);
    assert_int_equal(info->ssi_pid, getpid());
}

static void test_signals(void **state) {
    (void)state;
    unsigned before = open_fds();
    sigset_t old;
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &old), 0);
    struct loop *loop = fresh();
    assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, S("1")), 0);
    assert_int_equal(loop_signal(loop, SIGUSR2, on_signal, S("2")), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0); /* pending signals do not add up */
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_string_equal(order, "21");
    loop_free(loop);
    assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
    assert_int_equal(open_fds(), before);
}

static void test_too_many_signals(void **state) {
    (void)state;
    sigset_t old;
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &old), 0);
    struct loop *loop = fresh();
    for (unsigned i = 0; i < LOOP_SIGNALS_MAX; i++)
        assert_int_equal(loop_signal(loop, SIGRTMIN + (int)i, on_signal, S("x")), 0);
    assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, S("x")), -ENOSPC);
    loop_free(loop);
    assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
}

struct corpse {
    struct loop_grave grave; /* first */
    struct loop *loop;
};

static void bury(struct loop_grave *grave) {
    note("buried");
}

static void die_inside(void *arg, uint32_t events) {
    struct corpse *c = arg;
    loop_bury(c->loop, &c->grave);
    note("ready ");
}

static void on_turn(void *arg) {
    note(arg);
}

static void test_graves_and_turns(void **state) {
    (void)state;
    auto_close int x = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    struct corpse c = {.grave.bury = bury, .loop = fresh()};
    struct loop_source source;
    loop_on_turn(c.loop, on_turn, S("turn "));
    assert_int_equal(loop_add(c.loop, &source, x, EPOLLIN, die_inside, &c), 0);
    assert_int_equal(loop_turn(c.loop, 0), 0);
    loop_remove(c.loop, &source);
    assert_string_equal(order, "ready turn buried"); /* once everyone in the turn is done with it */
    loop_bury(c.loop, &c.grave);
    loop_free(c.loop); /* what is left is buried with the loop */
    assert_string_equal(order, "ready turn buriedburied");
}

static void stop(void *arg) {
    loop_stop(arg, 42);
}

static void test_run_until_stopped(void **state) {
    (void)state;
    struct loop *loop = fresh();
    struct loop_timer timer = LOOP_TIMER_NULL;
    (void)loop_timer_set(loop, &timer, now_ms(), stop, loop);
    assert_false(loop_stopping(loop));
    assert_int_equal(loop_run(loop), 42);
    assert_true(loop_stopping(loop));
    loop_free(loop);
    loop_free(NULL);
}

static void test_descriptors_stay_high(void **state) {
    (void)state;
    unsigned before = open_fds();
    sigset_t old;
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &old), 0);
    struct loop *loop = loop_new(200);
    assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, S("1")), 0);
    assert_int_equal(open_fds(), before + 2);
    for (int fd = 200; fd < 202; fd++)
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    loop_free(loop);
    assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
    assert_int_equal(open_fds(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_in_order_of_their_times),
        cmocka_unit_test(test_timers_cleared_and_moved),
        cmocka_unit_test(test_heap_against_a_model),
        cmocka_unit_test(test_due_timer_cleared_inside_a_callback),
        cmocka_unit_test(test_due_timer_cleared_by_a_source),
        cmocka_unit_test(test_a_turn_waits_for_the_timer),
        cmocka_unit_test(test_source_removed_inside_anothers_callback),
        cmocka_unit_test(test_source_removes_itself),
        cmocka_unit_test(test_change),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_too_many_signals),
        cmocka_unit_test(test_graves_and_turns),
        cmocka_unit_test(test_run_until_stopped),
        cmocka_unit_test(test_descriptors_stay_high),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
