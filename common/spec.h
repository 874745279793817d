/* The specification: what the launcher made of soma.conf, validated, flat, in a sealed memfd that every role maps
 * read-only. One fixed struct, so that root parses nothing; magic and size refuse a role of another build. */
#ifndef SOMA_COMMON_SPEC_H
#define SOMA_COMMON_SPEC_H

#include "common/ids.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SPEC_MAGIC UINT32_C(0x736f6d61)
#define SPEC_PATH 1024u   /* bytes of a path, terminator included */
#define SPEC_ROOTS_MAX 8u /* folders of one kind in [policy] */
#define SPEC_PROVIDERS_MAX 8u
#define SPEC_DIRS_MAX 4u /* folders of tool manifests or actor definitions */

enum provider_kind { PROVIDER_SCRIPT, PROVIDER_OPENAI };

struct spec_provider {
    char name[NAME_SIZE];
    enum provider_kind kind;
    char path[SPEC_PATH];     /* script: the file */
    char url[SPEC_PATH];      /* openai: base URL, without /chat/completions */
    char key_file[SPEC_PATH]; /* openai: 0600 file holding the key; "" = none */
    char ca_file[SPEC_PATH];  /* openai over https: "" = the system's bundle */
    char model[128];          /* default model */
    int64_t timeout_ms;
};

struct spec {
    uint32_t magic, size;
    char config_path[SPEC_PATH]; /* "" = no file, defaults */
    char state_dir[SPEC_PATH], runtime_dir[SPEC_PATH], socket_path[SPEC_PATH];
    char tool_dirs[SPEC_DIRS_MAX][SPEC_PATH], actor_dirs[SPEC_DIRS_MAX][SPEC_PATH];
    uint32_t n_tool_dirs, n_actor_dirs;
    char read_roots[SPEC_ROOTS_MAX][SPEC_PATH], write_roots[SPEC_ROOTS_MAX][SPEC_PATH];
    uint32_t n_read_roots, n_write_roots;
    struct spec_provider providers[SPEC_PROVIDERS_MAX];
    uint32_t n_providers;
    uid_t tool_uid; /* under root; else the user's own */
    gid_t tool_gid;
    bool privileged;  /* started by uid 0 */
    bool short_lived; /* ends after the last foreground client */
    bool debug;       /* debug lines on stderr */
    /* times, milliseconds */
    int64_t restart_period, backoff, backoff_max, stable, start, stop;
    int64_t cancel_timeout, orphan_timeout;
    int64_t step_timeout, run_timeout; /* defaults where a plan says nothing */
    uint32_t restart_intensity;
    uint32_t max_workers; /* of one kind at a time */
    uint32_t max_clients;
};

/* The built-in defaults of every time and limit; paths empty. */
void spec_defaults(struct spec *spec);

/* Copies `spec` into a sealed memfd. Returns the descriptor, or a negative errno. */
int spec_seal(const struct spec *spec);

/* Maps a sealed specification read-only for the life of the process. Refuses an unsealed, shorter or foreign one. */
int spec_map(int fd, const struct spec **out);

/* A sealed memfd of any bytes, for documents handed from process to process. Returns the descriptor. */
int memfd_seal(const char *name, const void *bytes, size_t n);
/* Reads a sealed memfd of at most `max` bytes; *out is malloc'ed, NUL-terminated, the caller's. -EPERM when it is not
 * sealed against writing and shrinking (its maker could change it under us), -EMSGSIZE. */
int memfd_read(int fd, size_t max, char **out, size_t *n);

#endif
