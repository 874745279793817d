/* The sandbox part of a tool manifest: profile, grants, environment, limits. */
#ifndef SOMA_REGISTRY_SANDBOX_H
#define SOMA_REGISTRY_SANDBOX_H

#include "registry/fields.h"

/* Reads `sandbox` (NULL when the manifest has none) for a tool of this effect, and puts profile, available, read,
 * write, net, env and limits into f->normal; the place must be at the manifest. On success *timeout_ms is the profile's
 * default. Returns 0, -EINVAL, -ENOMEM. */
int sandbox_read(struct fields *f, const json_t *sandbox, const char *effect, int64_t *timeout_ms);

#endif
