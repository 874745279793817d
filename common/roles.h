/* The roles, one line each: enum, names, room of the executable. A role is what a process is; identity on a channel is
 * the role (and ids) that whoever made the channel pinned to it. */
#ifndef SOMA_COMMON_ROLES_H
#define SOMA_COMMON_ROLES_H

#include <stdint.h>

#define ROLES(X)                                                                                                       \
    X(LAUNCHER, "launcher")                                                                                            \
    X(ROOT, "root")                                                                                                    \
    X(EVENTLOG, "eventlog")                                                                                            \
    X(REGISTRY, "registry")                                                                                            \
    X(TOOLCALLS, "toolcalls")                                                                                          \
    X(LLMCALLS, "llmcalls")                                                                                            \
    X(RUNS, "runs")                                                                                                    \
    X(ACTORS, "actors")                                                                                                \
    X(GATEWAY, "gateway")                                                                                              \
    X(TOOLCALL, "toolcall")                                                                                            \
    X(LLMCALL, "llmcall")                                                                                              \
    X(RUN, "run")                                                                                                      \
    X(ACTOR, "actor")                                                                                                  \
    X(SESSION, "session")                                                                                              \
    X(CLIENT, "client")

enum role_id {
#define X(id, name) ROLE_##id,
    ROLES(X)
#undef X
        ROLE__COUNT
};

/* Sets of roles, as bits. */
#define M(role) (UINT32_C(1) << ROLE_##role)
#define M_KINDS (M(TOOLCALLS) | M(LLMCALLS) | M(RUNS) | M(ACTORS))
#define M_SUPERVISORS M_KINDS
#define M_STATIC (M(EVENTLOG) | M(REGISTRY) | M_KINDS | M(GATEWAY))
#define M_SERVERS (M(EVENTLOG) | M(REGISTRY) | M_KINDS)
#define M_WORKERS (M(TOOLCALL) | M(LLMCALL) | M(RUN) | M(ACTOR) | M(SESSION))
#define M_OWNERS (M(RUN) | M(ACTOR) | M(SESSION) | M(GATEWAY) | M(ACTORS))
#define M_REQUESTERS (M(RUN) | M(ACTOR) | M(SESSION) | M(GATEWAY))
#define M_LOGGERS (M(ROOT) | M_KINDS | M(REGISTRY) | M(GATEWAY) | M_WORKERS)
#define M_READERS (M(GATEWAY) | M(RUN) | M(ACTOR) | M(SESSION))

const char *role_name(enum role_id role);
/* -1 for an unknown name. */
int role_by_name(const char *name);

#endif
