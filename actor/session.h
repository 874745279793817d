/* A session: an actor without a model. It owns the runs that one client started and outlives their failures. Its owner
 * is the gateway; `actors` restarts it when it crashes (transient), and the successor takes its runs back. */
#ifndef SOMA_ACTOR_SESSION_H
#define SOMA_ACTOR_SESSION_H

#include "common/role.h"

#define SESSION_RUNS_MAX 16u /* at once; one more is refused by name */

extern const struct role session_role;

#endif
