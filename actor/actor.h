/* An actor: a declared, long-lived agent with an identity, a model, an allow-list of tools and a mailbox. `actors`
 * starts it and hands it its clients' channels. One task at a time; whatever goes wrong with a task is that task's
 * result, and the actor stays up. */
#ifndef SOMA_ACTOR_ACTOR_H
#define SOMA_ACTOR_ACTOR_H

#include "common/role.h"

#define ACTOR_CLIENTS_MAX 256u /* channels at a time; one more is closed */

extern const struct role actor_role;

#endif
