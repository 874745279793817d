/* Who is up: the name of an actor and the incarnation that holds it, as their supervisor tells it. */
#ifndef SOMA_REGISTRY_NAMES_H
#define SOMA_REGISTRY_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/ids.h"

#define NAMES_MAX 4096u

struct name {
    char name[NAME_SIZE], id[NAME_SIZE];
    uint32_t generation;
    pid_t pid;
};

struct names {
    struct name *list;
    size_t n, cap;
};

void names_deinit(struct names *names);

/* Gives the name to this incarnation. Returns 0; 1 when a newer one holds it, which keeps it; -EINVAL for texts that
 * are no names; -ENOSPC above NAMES_MAX; -ENOMEM. */
int names_put(struct names *names, const struct name *holder);

/* Takes the name from that incarnation. Returns 0, or 1 when another one or nobody holds it. */
int names_drop(struct names *names, const char *name, uint32_t generation);

/* Borrowed until the next change; NULL when nobody holds it. */
const struct name *names_find(const struct names *names, const char *name);

/* Their supervisor is gone, and everybody with it. */
void names_clear(struct names *names);

#endif
