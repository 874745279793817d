/* A scope for tests: a process that is PID 1 of a PID namespace of its own, as root directly, else through a user
 * namespace. What happens inside is told by exit status; cmocka's assertions belong to the process outside. */
#ifndef SOMA_TESTS_TOOLCALL_SCOPE_H
#define SOMA_TESTS_TOOLCALL_SCOPE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Runs `body` as PID 1 and waits; returns its exit status, or 256 + the signal. `own_proc`: with a /proc of its own. */
int scope_run(int (*body)(const void *arg), const void *arg, bool own_proc);

/* The same without waiting: its pid here, or -1. */
pid_t scope_fork(int (*body)(const void *arg), const void *arg, bool own_proc);

/* Inside: says what is wrong on stderr and returns 1, so that `return scope_wrong(...)` ends a body. */
int scope_wrong(const char *what, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Inside: 0 when no process but this one is left in the namespace and nothing is left to reap. */
int scope_alone(const char *what);

#endif
