/* What a role takes away from itself before it reads its first byte of input: privileges it could gain (prctl(2),
 * PR_SET_NO_NEW_PRIVS), capabilities (capabilities(7)), core dumps and resources (setrlimit(2)). */
#ifndef SOMA_COMMON_PROFILE_H
#define SOMA_COMMON_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

struct profile {
    bool keep_capabilities; /* roles whose descendants make namespaces or change their uid */
    bool secret;            /* non-dumpable: nothing of the same uid may read its memory */
    uint64_t data_bytes;    /* RLIMIT_DATA; 0 = 1 GiB; not applied under sanitizers */
};

/* Returns 0, or a negative errno naming the step; the caller must then exit before reading anything. */
int profile_apply(const struct profile *profile);

/* Empties all five capability sets of the calling process. */
int capabilities_drop(void);

/* Raises the soft limit of open descriptors to the hard one; returns the limit. */
uint64_t nofile_raise(void);

#endif
