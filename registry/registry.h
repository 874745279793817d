/* The registry: tools and actors as their files define them, and who is up under which name. */
#ifndef SOMA_REGISTRY_REGISTRY_H
#define SOMA_REGISTRY_REGISTRY_H

#include "common/role.h"

extern const struct role registry_role;

#endif
