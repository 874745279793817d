/* One turn: wait until a descriptor or the earliest timer, serve descriptors, fire due timers one by one, bury what was
 * closed. The events of a turn are taken from the kernel once; a source removed meanwhile is recognised by its slot
 * having been emptied, so no callback reaches freed memory. */
#include "common/loop.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define TURN_EVENTS 64

struct signal_slot {
    int signo;
    void (*handle)(void *arg, const struct signalfd_siginfo *info);
    void *arg;
};

struct loop {
    int epoll_fd, signal_fd;
    struct epoll_event events[TURN_EVENTS];
    int n_events, at_event;
    struct loop_timer **heap; /* heap[1] is the earliest */
    size_t n_timers, cap_timers;
    sigset_t mask;
    struct signal_slot signals[LOOP_SIGNALS_MAX];
    size_t n_signals;
    struct loop_source signal_source;
    struct loop_grave *graves;
    void (*turn)(void *arg);
    void *turn_arg;
    bool stop;
    int code;
};

int64_t now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t now_ms(void) {
    return now_us() / 1000;
}

struct loop *loop_new(int min_fd) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        (void)err_raise(-ENOMEM, "event loop");
        return NULL;
    }
    auto_close int fd = epoll_create1(EPOLL_CLOEXEC);
    loop->epoll_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, min_fd);
    loop->signal_fd = -1;
    loop->signal_source = LOOP_SOURCE_NULL;
    (void)sigemptyset(&loop->mask);
    if (loop->epoll_fd < 0) {
        (void)err_raise(-errno, "epoll_create1");
        loop_free(loop);
        return NULL;
    }
    return loop;
}

static void bury_all(struct loop *loop) {
    while (loop->graves) {
        struct loop_grave *grave = loop->graves;
        loop->graves = grave->next;
        grave->bury(grave);
    }
}

void loop_free(struct loop *loop) {
    if (!loop)
        return;
    bury_all(loop);
    (void)fd_close(loop->epoll_fd);
    (void)fd_close(loop->signal_fd);
    free(loop->heap);
    free(loop);
}

int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t events,
             void (*ready)(void *arg, uint32_t events), void *arg) {
    *source = (struct loop_source){fd, events, true, ready, arg};
    struct epoll_event ev = {.events = events, .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int r = -errno;
        *source = LOOP_SOURCE_NULL;
        return err_raise(r, "epoll_ctl add");
    }
    return 0;
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events) {
    if (!source->live || source->events == events)
        return 0;
    struct epoll_event ev = {.events = events, .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &ev) < 0)
        return err_raise(-errno, "epoll_ctl mod");
    source->events = events;
    return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source) {
    if (!source->live)
        return;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = loop->at_event; i < loop->n_events; i++)
        if (loop->events[i].data.ptr == source)
            loop->events[i].data.ptr = NULL;
    *source = LOOP_SOURCE_NULL;
}

static void heap_put(struct loop *loop, size_t at, struct loop_timer *timer) {
    loop->heap[at] = timer;
    timer->index = at;
}

static void heap_up(struct loop *loop, size_t at) {
    struct loop_timer *timer = loop->heap[at];
    for (; at > 1 && loop->heap[at / 2]->due_ms > timer->due_ms; at /= 2)
        heap_put(loop, at, loop->heap[at / 2]);
    heap_put(loop, at, timer);
}

static void heap_down(struct loop *loop, size_t at) {
    struct loop_timer *timer = loop->heap[at];
    for (size_t child; (child = at * 2) <= loop->n_timers; at = child) {
        if (child < loop->n_timers && loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
            child++;
        if (loop->heap[child]->due_ms >= timer->due_ms)
            break;
        heap_put(loop, at, loop->heap[child]);
    }
    heap_put(loop, at, timer);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer) {
    size_t at = timer->index;
    if (!at)
        return;
    struct loop_timer *last = loop->heap[loop->n_timers--];
    timer->index = 0;
    if (last == timer)
        return;
    heap_put(loop, at, last);
    heap_up(loop, at);
    heap_down(loop, last->index);
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_ms, void (*fire)(void *arg), void *arg) {
    loop_timer_clear(loop, timer);
    if (loop->n_timers + 1 >= loop->cap_timers) {
        size_t cap = loop->cap_timers ? loop->cap_timers * 2 : 16;
        struct loop_timer **heap = realloc(loop->heap, cap * sizeof *heap);
        if (!heap)
            return err_raise(-ENOMEM, "timer heap");
        loop->heap = heap;
        loop->cap_timers = cap;
    }
    timer->due_ms = due_ms;
    timer->fire = fire;
    timer->arg = arg;
    heap_put(loop, ++loop->n_timers, timer);
    heap_up(loop, timer->index);
    return 0;
}

static void on_signal(void *arg, uint32_t events) {
    struct loop *loop = arg;
    struct signalfd_siginfo info;
    while (read(loop->signal_fd, &info, sizeof info) == sizeof info)
        for (size_t i = 0; i < loop->n_signals; i++)
            if (loop->signals[i].signo == (int)info.ssi_signo)
                loop->signals[i].handle(loop->signals[i].arg, &info);
}

int loop_signal(struct loop *loop, int signo, void (*handle)(void *arg, const struct signalfd_siginfo *info),
                void *arg) {
    if (loop->n_signals == LOOP_SIGNALS_MAX)
        return err_raise(-ENOSPC, "more than %u signals", LOOP_SIGNALS_MAX);
    (void)sigaddset(&loop->mask, signo);
    if (sigprocmask(SIG_BLOCK, &loop->mask, NULL) < 0)
        return err_raise(-errno, "sigprocmask");
    int fd = signalfd(loop->signal_fd, &loop->mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_raise(-errno, "signalfd");
    loop->signals[loop->n_signals++] = (struct signal_slot){signo, handle, arg};
    if (loop->signal_fd >= 0)
        return 0;
    loop->signal_fd = fcntl(fd, F_DUPFD_CLOEXEC, loop->epoll_fd); /* beside epoll, out of the low slots */
    (void)fd_close(fd);
    if (loop->signal_fd < 0)
        return err_raise(-errno, "dup of signalfd");
    return loop_add(loop, &loop->signal_source, loop->signal_fd, EPOLLIN, on_signal, loop);
}

void loop_bury(struct loop *loop, struct loop_grave *grave) {
    grave->next = loop->graves;
    loop->graves = grave;
}

void loop_on_turn(struct loop *loop, void (*turn)(void *arg), void *arg) {
    loop->turn = turn;
    loop->turn_arg = arg;
}

static int wait_ms(const struct loop *loop, int max_ms) {
    if (!loop->n_timers)
        return max_ms;
    int64_t left = loop->heap[1]->due_ms - now_ms();
    if (left < 0)
        left = 0;
    if (left > 3600000)
        left = 3600000;
    return max_ms >= 0 && max_ms < left ? max_ms : (int)left;
}

int loop_turn(struct loop *loop, int max_ms) {
    int n = epoll_wait(loop->epoll_fd, loop->events, TURN_EVENTS, wait_ms(loop, max_ms));
    if (n < 0 && errno != EINTR)
        return err_raise(-errno, "epoll_wait");
    loop->n_events = n < 0 ? 0 : n;
    for (loop->at_event = 0; loop->at_event < loop->n_events; loop->at_event++) {
        struct epoll_event *ev = &loop->events[loop->at_event];
        struct loop_source *source = ev->data.ptr;
        if (source)
            source->ready(source->arg, ev->events);
    }
    loop->n_events = 0;
    for (int64_t now = now_ms(); loop->n_timers && loop->heap[1]->due_ms <= now;) {
        struct loop_timer *timer = loop->heap[1];
        loop_timer_clear(loop, timer);
        timer->fire(timer->arg);
    }
    if (loop->turn)
        loop->turn(loop->turn_arg);
    bury_all(loop);
    return 0;
}

int loop_run(struct loop *loop) {
    while (!loop->stop) {
        int r = loop_turn(loop, -1);
        if (r < 0)
            return err_up(r);
    }
    return loop->code;
}

void loop_stop(struct loop *loop, int code) {
    loop->stop = true;
    loop->code = code;
}

bool loop_stopping(const struct loop *loop) {
    return loop->stop;
}
