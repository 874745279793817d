/* What a tool gives back: a JSON value, or a failure with one of the names of the catalogue. Everything a call is made
 * of (folders, limits) is described here too, so that built-ins, commands and the scope speak of the same things. */
#ifndef SOMA_TOOLCALL_TOOL_H
#define SOMA_TOOLCALL_TOOL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define TOOL_VALUE_MAX (256u * 1024u) /* bytes of one encoded result that travels inline; more is output_limit */
#define TOOL_ROOTS_MAX 8u             /* granted folders of one kind */
#define TOOL_STDERR_MAX 4096u         /* bytes of stderr that are kept: the last ones */

#define TOOL_FAILURES(X)                                                                                               \
    X(NOT_FOUND, "not_found")                                                                                          \
    X(NOT_EXECUTABLE, "not_executable")                                                                                \
    X(EXIT_STATUS, "exit_status")                                                                                      \
    X(SIGNALLED, "signalled")                                                                                          \
    X(TIMEOUT, "timeout")                                                                                              \
    X(OUTPUT_LIMIT, "output_limit")                                                                                    \
    X(MEMORY_LIMIT, "memory_limit")                                                                                    \
    X(DENIED, "denied")                                                                                                \
    X(BAD_OUTPUT, "bad_output")                                                                                        \
    X(INVALID_ARGS, "invalid_args")                                                                                    \
    X(SANDBOX_UNAVAILABLE, "sandbox_unavailable")                                                                      \
    X(TOOL_ERROR, "tool_error") /* a built-in that ran and reports that it could not: fail{error}, an I/O error */

enum tool_failure_name {
#define X(id, name) TOOL_##id,
    TOOL_FAILURES(X)
#undef X
        TOOL_FAILURE__COUNT
};

/* The name as it stands in results and in the log. */
const char *tool_failure_text(enum tool_failure_name name);
/* The other way round; TOOL_FAILURE__COUNT for a name that is not in the catalogue, or NULL. */
enum tool_failure_name tool_failure_parse(const char *text);

/* A granted folder: an open directory descriptor (possibly of a detached mount) and the absolute path it stands for. */
struct tool_root {
    int fd;
    const char *path;
};
struct tool_roots {
    struct tool_root read[TOOL_ROOTS_MAX], write[TOOL_ROOTS_MAX];
    size_t n_read, n_write;
};

/* Limits of one call; 0 is "not set", which the built-in ceilings still bound where they exist. */
struct tool_limits {
    uint64_t memory_bytes; /* resident, all processes of the call together */
    uint64_t cpu_ms;       /* per process, rounded up to seconds: RLIMIT_CPU */
    uint64_t output_bytes; /* stdout; never more than TOOL_VALUE_MAX */
    uint64_t processes;    /* of the call's uid in its user namespace: RLIMIT_NPROC, not enforced for uid 0 */
    uint64_t file_bytes;   /* one file: RLIMIT_FSIZE */
};

struct tool_failure {
    enum tool_failure_name name;
    char message[256]; /* one sentence for a person or a model, UTF-8; no user data beyond a path or a name */
};

/* Fills `failure` and returns 1, the "failed" outcome of everything in this folder that takes a failure. */
int tool_fail(struct tool_failure *failure, enum tool_failure_name name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
