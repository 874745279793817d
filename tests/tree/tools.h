/* The tools of the tests: programs with a manifest in the tree's tools folder. What they do can be seen from outside: a
 * line appended to a file, a process that stays, a gate that only the test opens.
 *
 *   echo, sleep, fail …      the built-ins
 *   note {file}              appends one line; not safe to repeat
 *   once {file, gate}        appends one line, then waits at the gate (a FIFO); not safe to repeat
 *   peek {file, gate}        the same, but safe to repeat
 *   linger {file}            appends one line, then stays for ever
 *   daemons {file}           the same, with a double-forked daemon of its own session, all ignoring TERM and HUP
 *   late {file, seconds}     waits, then appends one line
 */
#ifndef SOMA_TESTS_TREE_TOOLS_H
#define SOMA_TESTS_TREE_TOOLS_H

#include "tests/tree/tree.h"

void tools_write(struct tree *t);

/* A gate: made closed; opened for whoever waits there, and for whoever comes while the descriptor returned is open. */
void gate_make(struct tree *t, const char *name);
int gate_open(struct tree *t, const char *name);
#define auto_gate __attribute__((cleanup(cleanup_fd), unused)) /* often only kept open: clang calls that unused */

/* An actor "helper" that may use note, once, peek and linger, and the script of its model. */
void tools_actor(struct tree *t, const char *script);

#endif
