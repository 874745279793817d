/* Processes under test: forked workers and static children, how they end, and what they leave behind. */
#ifndef SOMA_TESTS_KIT_PROCESS_H
#define SOMA_TESTS_KIT_PROCESS_H

#include "common/role.h"

#include <sys/types.h>

#define KIT_WAIT_MS 30000 /* for what must come; nothing waits so long when all is well */

/* Milliseconds, stretched by SOMA_TEST_SLACK for slow machines. */
int64_t kit_ms(int64_t ms);

/* ---- start ---- */

/* Where a worker finds one of its descriptors; fd < 0: it has none there. */
struct kit_slot {
    int fd, slot;
};

/* Inside a child of any kind: moves the descriptors into their slots, closes all others and is the worker; returns its
 * exit status. For a child that kit_worker() cannot fork. */
int kit_be_worker(const struct role *role, const struct worker_start *start, const struct kit_slot *slots, size_t n);
/* Forks a worker. It dies with the test. The descriptors stay the caller's. */
pid_t kit_worker(const struct role *role, const struct worker_start *start, const struct kit_slot *slots, size_t n);

/* Forks a child that runs `body` with a control link on CONTROL_FD and nothing else beside stdio; what it returns is
 * its exit status. *control is this side's end, blocking. */
pid_t kit_static(int (*body)(void), int *control);
/* A body's last call: the role with a title's room. */
int kit_serve(const struct role *role);

/* ---- end ---- */

/* Waits for its end: the exit status, or 256 + the signal. One that does not end in KIT_WAIT_MS is killed, and the test
 * fails. */
int kit_ended(pid_t pid);

/* ---- nothing is left behind ---- */

/* Open descriptors of a process (0: this one); -1 when it cannot be seen. Asserts nothing: forked children use it. */
int kit_fds(pid_t pid);

/* Notes this process's descriptors; fits cmocka as a set-up and always succeeds. */
int kit_count(void **state);
/* 0 when there are as many as noted, and no child, dead or alive; else says so and returns 1. Fits as a tear-down. */
int kit_left(void **state);

#endif
