/* What the launcher prepares: the folders, the lock, the door, the namespace. */
#ifndef SOMA_SUPERVISOR_LAUNCH_H
#define SOMA_SUPERVISOR_LAUNCH_H

#include "common/spec.h"

#include <sys/types.h>

struct launch {
    int state, runtime, listener; /* locked folders; listening socket */
    int status;                   /* root's line, readable */
    pid_t root;
    const char *what, *fix; /* after a failure: for the person; err_text() is the why */
};
#define LAUNCH_NULL ((struct launch){.state = -1, .runtime = -1, .listener = -1, .status = -1})

/* Makes and checks the folders (0700, own, no link), takes the lock, binds the socket over a stale one.
 * -EBUSY: another supervisor uses this state folder. */
int launch_places(const struct spec *spec, struct launch *out);

/* Makes the PID namespace (with a user namespace when unprivileged) and executes root in it. -EPERM and others when the
 * kernel does not let us. */
int launch_root(const struct spec *spec, struct launch *out);

/* Takes the socket away and lets go of the lock. */
void launch_end(const struct spec *spec, struct launch *l);

#endif
