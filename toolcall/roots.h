/* The granted folders of [policy], opened once by the supervisor of tool calls and handed to scopes as descriptors. A
 * writable folder under root is a detached mount on which the folder's owner and the tool's uid change places, so that
 * a tool that is not root writes files that belong to the owner. open_tree(2), mount_setattr(2). */
#ifndef SOMA_TOOLCALL_ROOTS_H
#define SOMA_TOOLCALL_ROOTS_H

#include "common/spec.h"

struct roots {
    int read[SPEC_ROOTS_MAX], write[SPEC_ROOTS_MAX];
    uint32_t n_read, n_write;
};

/* Opens what the specification grants, in its order. A folder that is missing or cannot be idmapped is refused by name:
 * -ENOENT, -ENOTDIR, -EOPNOTSUPP (its file system knows no idmapped mounts), -EPERM. */
int roots_open(const struct spec *spec, struct roots *out);

#endif
