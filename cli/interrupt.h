/* ^C and TERM for commands that have something to clear up first. The signals are blocked everywhere but inside
 * interrupt_poll(), so none can slip in between a look at the flag and the wait. ppoll(2). */
#ifndef SOMA_CLI_INTERRUPT_H
#define SOMA_CLI_INTERRUPT_H

#include <stdint.h>

/* From here on SIGINT and SIGTERM are ours. Without it they end the program as usual. */
void interrupt_init(void);

/* The signal that arrived since the last call, or 0. */
int interrupt_take(void);

/* Waits for one descriptor (-1 = none). 1 ready, 0 timeout (ms, -1 = for ever), -EINTR when a signal of ours arrived.
 */
int interrupt_poll(int fd, short events, int64_t timeout_ms);

/* In a forked child, before exec: the signals as a new program expects them. */
void interrupt_reset(void);

#endif
