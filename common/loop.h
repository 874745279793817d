/* The one event loop: epoll for descriptors, a heap of monotonic timers, a signalfd. Single-threaded, level-triggered.
 * A source or timer may be removed from inside any callback: nothing that was removed is called afterwards, also when
 * it was already due. epoll(7), signalfd(2). */
#ifndef SOMA_COMMON_LOOP_H
#define SOMA_COMMON_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/signalfd.h>

#define LOOP_SIGNALS_MAX 8u

struct loop;

struct loop_timer {
    int64_t due_ms; /* monotonic; meaningless while index is 0 */
    size_t index;   /* place in the heap, from 1; 0 = not set */
    void (*fire)(void *arg);
    void *arg;
};
#define LOOP_TIMER_NULL ((struct loop_timer){0})

struct loop_source {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT */
    bool live;
    void (*ready)(void *arg, uint32_t events);
    void *arg;
};
#define LOOP_SOURCE_NULL ((struct loop_source){.fd = -1})

/* Freed after the current turn of the loop: what a callback may still be standing on. */
struct loop_grave {
    struct loop_grave *next;
    void (*bury)(struct loop_grave *grave);
};

/* Makes the process's loop with epoll in a descriptor >= min_fd. Returns NULL with err_text() set. */
struct loop *loop_new(int min_fd);
void loop_free(struct loop *loop);

/* Registers embedded `source`; the caller keeps the memory and the descriptor. */
int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t events,
             void (*ready)(void *arg, uint32_t events), void *arg);
int loop_change(struct loop *loop, struct loop_source *source, uint32_t events);
void loop_remove(struct loop *loop, struct loop_source *source); /* accepts one that was never added */

/* Sets (or moves) a timer to fire once at `due_ms`. -ENOMEM only when the heap must grow. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_ms, void (*fire)(void *arg), void *arg);
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

/* Blocks `signo` in the process and calls `handle` for each delivery. */
int loop_signal(struct loop *loop, int signo, void (*handle)(void *arg, const struct signalfd_siginfo *info),
                void *arg);

void loop_bury(struct loop *loop, struct loop_grave *grave);

/* Calls `idle` once at the end of every turn, after all ready descriptors were served. */
void loop_on_turn(struct loop *loop, void (*turn)(void *arg), void *arg);

/* Turns until loop_stop(); returns the code given to it. */
int loop_run(struct loop *loop);
/* One turn, waiting at most `max_ms` (-1 = until something happens). */
int loop_turn(struct loop *loop, int max_ms);
void loop_stop(struct loop *loop, int code);
bool loop_stopping(const struct loop *loop);

int64_t now_ms(void); /* CLOCK_MONOTONIC */
int64_t now_us(void);

#endif
