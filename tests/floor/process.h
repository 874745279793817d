/* Child processes of bench: start one, wait for it, hear what it said, and wait for whatever it left behind. */
#ifndef SOMA_TESTS_FLOOR_PROCESS_H
#define SOMA_TESTS_FLOOR_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    int pidfd, out, err; /* out and err: memory files that took its output */
};
#define CHILD_NULL ((struct child){.pidfd = -1, .out = -1, .err = -1})
void child_deinit(struct child *child); /* closes the descriptors; the process is child_end()'s */
#define auto_child __attribute__((cleanup(child_deinit)))

/* Starts words[0], a path, with no input and all signals unblocked. */
int child_start(char *const *words, struct child *child);

/* Waits for the child, at most `seconds`; then kills it (-ETIME). Reaped in any case. `name` is for the texts. */
int child_end(struct child *child, const char *name, unsigned seconds, int *status);

/* 0 when `status` says that it exited with 0; else -ECHILD, and err_text() tells what it wrote to stderr last. */
int child_check(const struct child *child, const char *name, int status);

/* The whole text of child->out or child->err; malloc'ed, NUL-terminated, the caller's. */
int child_output(int fd, char **text, size_t *n);

/* Waits until this process has no child left, at most `seconds`; then kills them all (-ECHILD). SIGCHLD is blocked. */
int settle(unsigned seconds);

#endif
