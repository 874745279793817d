/* The other end of a channel in a test's hands: one message out, one message in, on a bare descriptor. */
#ifndef SOMA_TESTS_COMMON_WIRE_H
#define SOMA_TESTS_COMMON_WIRE_H

#include "common/msg.h"

#include <sys/types.h>

/* Sends one message; descriptors stay the caller's. */
void wire_put(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds);

/* Takes the next message, its descriptors in msg->fds, the caller's; its texts are valid until the next call. Returns
 * false at the end of the stream. Fails the test when nothing comes for 20 s. */
bool wire_get(int fd, struct msg *out);

/* Waits for a process and returns its exit status, or 128 + its signal. */
int wire_reap(pid_t pid);

#endif
