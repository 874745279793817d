/* State machines: one small machine with everything in it, driven by hand and by a loop. */
#include "tests/common/probe.h"

#include "common/err.h"
#include "common/fsm.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { IDLE, BUSY, DONE, STATES };
enum { GO, FINISH, LATE, AGAIN, FAIL, TWICE, EVENTS };
static const char *const state_names[] = {"idle", "busy", "done"};
static const char *const event_names[] = {"go", "finish", "late", "again", "fail", "twice"};

struct machine {
    struct fsm fsm;
    char seen[128];
    unsigned state_in_action;
    int64_t ms;
};

static void note(struct machine *m, const char *text) {
    strncat(m->seen, text, sizeof m->seen - strlen(m->seen) - 1);
}

static int went(void *self, const void *arg) {
    struct machine *m = self;
    m->state_in_action = m->fsm.state;
    note(m, arg ? arg : "went ");
    return 0;
}
static int late(void *self, const void *arg) {
    note(self, "late ");
    return 0;
}
static int failing(void *self, const void *arg) {
    note(self, "fail ");
    return -EIO;
}
static int posting(void *self, const void *arg) {
    struct machine *m = self;
    note(m, "post ");
    fsm_post(&m->fsm, AGAIN);
    fsm_post(&m->fsm, FINISH);
    note(m, "posted "); /* nothing was taken yet */
    return 3;
}
static int64_t busy_ms(void *self) {
    return ((struct machine *)self)->ms;
}
static void entered(void *self, unsigned s) {
    char text[16];
    (void)snprintf(text, sizeof text, "[%s]", state_names[s]);
    note(self, text);
}

static const struct fsm_cell cells[STATES][EVENTS] = {
    [IDLE] = {[GO] = FSM_GO(BUSY, went), [TWICE] = FSM_GO(BUSY, posting), [FAIL] = FSM_GO(DONE, failing)},
    [BUSY] = {[FINISH] = FSM_GO(DONE, NULL), [LATE] = FSM_GO(DONE, late), [AGAIN] = FSM_GO(BUSY, went)},
};
static const struct fsm_timeout timeouts[STATES] = {[BUSY] = {busy_ms, LATE}};
static const struct fsm_def def = {.name = "test",
                                   .n_states = STATES,
                                   .n_events = EVENTS,
                                   .state_names = state_names,
                                   .event_names = event_names,
                                   .cells = &cells[0][0],
                                   .timeouts = timeouts,
                                   .entered = entered};

/* All states × events: the table, and an empty cell changes nothing. */
static void test_all_pairs(void **state) {
    (void)state;
    for (unsigned s = 0; s < STATES; s++)
        for (unsigned e = 0; e < EVENTS; e++) {
            struct machine m = {0};
            fsm_init(&m.fsm, &def, NULL, &m, s);
            m.seen[0] = 0;
            int r = fsm_step(&m.fsm, e, NULL);
            const struct fsm_cell *cell = &cells[s][e];
            if (cell->set)
                continue; /* below, one by one */
            assert_int_equal(r, -EPROTO);
            assert_int_equal(m.fsm.state, s);
            assert_string_equal(m.seen, "");
            assert_non_null(strstr(err_text(), state_names[s]));
            assert_non_null(strstr(err_text(), event_names[e]));
        }
}

static void test_step(void **state) {
    (void)state;
    struct machine m = {0};
    fsm_init(&m.fsm, &def, NULL, &m, IDLE);
    assert_int_equal(fsm_step(&m.fsm, GO, "hello "), 0);
    assert_int_equal(m.state_in_action, BUSY); /* actions run in the new state */
    assert_int_equal(fsm_step(&m.fsm, AGAIN, NULL), 0);
    assert_int_equal(fsm_step(&m.fsm, FINISH, NULL), 0);
    assert_string_equal(m.seen, "[idle][busy]hello went [done]"); /* the same state is not entered anew */
    assert_string_equal(fsm_state_name(&m.fsm), "done");
}

static void test_a_failing_action(void **state) {
    (void)state;
    struct machine m = {0};
    fsm_init(&m.fsm, &def, NULL, &m, IDLE);
    assert_int_equal(fsm_step(&m.fsm, FAIL, NULL), -EIO);
    assert_int_equal(m.fsm.state, DONE);
}

static void test_posted_events_come_after_the_step(void **state) {
    (void)state;
    struct machine m = {0};
    fsm_init(&m.fsm, &def, NULL, &m, IDLE);
    assert_true(fsm_step(&m.fsm, TWICE, NULL) >= 0);
    assert_string_equal(m.seen, "[idle][busy]post posted went [done]");
    assert_int_equal(m.fsm.n_posted, 0);
}

/* ---- timeouts ---- */

static void start(struct machine *m, struct loop **loop, int64_t ms) {
    *m = (struct machine){.ms = ms};
    *loop = loop_new(3);
    assert_non_null(*loop);
    fsm_init(&m->fsm, &def, *loop, m, IDLE);
}

static void stop(struct machine *m, struct loop *loop) {
    fsm_deinit(&m->fsm);
    loop_free(loop);
}

static void test_timeout_fires(void **state) {
    (void)state;
    struct machine m;
    struct loop *loop;
    start(&m, &loop, 0);
    (void)fsm_step(&m.fsm, GO, NULL);
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(m.fsm.state, DONE);
    assert_non_null(strstr(m.seen, "late "));
    stop(&m, loop);
}

static void test_no_timeout_when_negative(void **state) {
    (void)state;
    struct machine m;
    struct loop *loop;
    start(&m, &loop, -1);
    (void)fsm_step(&m.fsm, GO, NULL);
    assert_int_equal(m.fsm.timer.index, 0);
    stop(&m, loop);
}

static void leave(void *arg, uint32_t events) {
    struct machine *m = arg;
    assert_true(m->fsm.timer.index && m->fsm.timer.due_ms <= now_ms()); /* due already, in this very turn */
    (void)fsm_step(&m->fsm, FINISH, NULL);
}

static void test_due_timeout_of_a_left_state_does_not_fire(void **state) {
    (void)state;
    struct machine m;
    struct loop *loop;
    struct loop_source source;
    auto_close int fd = eventfd(1, EFD_CLOEXEC);
    start(&m, &loop, 0);
    assert_int_equal(loop_add(loop, &source, fd, EPOLLIN, leave, &m), 0);
    (void)fsm_step(&m.fsm, GO, NULL);
    assert_int_equal(loop_turn(loop, -1), 0);
    loop_remove(loop, &source);
    assert_int_equal(loop_turn(loop, 0), 0);
    assert_int_equal(m.fsm.state, DONE);
    assert_null(strstr(m.seen, "late"));
    stop(&m, loop);
}

static void leave_by_timer(void *arg) {
    (void)fsm_step(&((struct machine *)arg)->fsm, FINISH, NULL);
}

static void test_due_timeout_left_by_another_timer(void **state) {
    (void)state;
    struct machine m;
    struct loop *loop;
    struct loop_timer earlier = LOOP_TIMER_NULL;
    start(&m, &loop, 0);
    (void)loop_timer_set(loop, &earlier, now_ms() - 1, leave_by_timer, &m);
    (void)fsm_step(&m.fsm, GO, NULL);
    assert_int_equal(loop_turn(loop, -1), 0);
    assert_int_equal(m.fsm.state, DONE);
    assert_null(strstr(m.seen, "late"));
    stop(&m, loop);
}

/* An event that does not change the state leaves its clock running: it cannot be kept alive by noise. */
static void test_staying_does_not_rearm(void **state) {
    (void)state;
    struct machine m;
    struct loop *loop;
    start(&m, &loop, 1000);
    (void)fsm_step(&m.fsm, GO, NULL);
    int64_t due = m.fsm.timer.due_ms;
    m.ms = 999999;
    (void)fsm_step(&m.fsm, AGAIN, NULL);
    assert_int_equal(m.fsm.timer.due_ms, due);
    assert_int_equal(fsm_step(&m.fsm, GO, NULL), -EPROTO); /* unexpected: the state and its clock stay */
    assert_int_equal(m.fsm.timer.due_ms, due);
    stop(&m, loop);
    assert_int_equal(m.fsm.timer.index, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pairs),
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_a_failing_action),
        cmocka_unit_test(test_posted_events_come_after_the_step),
        cmocka_unit_test(test_timeout_fires),
        cmocka_unit_test(test_no_timeout_when_negative),
        cmocka_unit_test(test_due_timeout_of_a_left_state_does_not_fire),
        cmocka_unit_test(test_due_timeout_left_by_another_timer),
        cmocka_unit_test(test_staying_does_not_rearm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
