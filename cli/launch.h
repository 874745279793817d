/* Starting a short-lived tree: somad in a session of its own, which ends after its last foreground client.
 *
 *   soma ──fork, exec──▶ somad --short-lived --ready-fd 3 [--config FILE]
 *        ◀──pipe──────── "ready", or four lines: exit code, what, why, what to do */
#ifndef SOMA_CLI_LAUNCH_H
#define SOMA_CLI_LAUNCH_H

#include "cli/cli.h"

#define LAUNCH_LOG "somad.log" /* in the runtime folder: what it and its roles write to stderr */
#define LAUNCH_BUSY 1          /* positive outcome: another somad holds the state folder */

struct launch {
    int exit;
    char text[1536]; /* what the three point into */
    const char *what, *why, *fix;
};

/* 0 = ready; LAUNCH_BUSY; -EINTR; another negative errno with `out` filled. Waits at most half a minute. */
int launch_tree(const struct cli *cli, struct launch *out);

/* Replaces this program by one of soma's (argv[0] is its name). Returns an exit code, only on failure. */
int launch_exec(const struct cli *cli, char *const argv[]);

#endif
