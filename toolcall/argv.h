/* From a manifest and arguments to what execve(2) takes. There is no shell anywhere: an argument becomes one whole
 * element of argv or the bytes of stdin, whatever characters it holds. A string that begins with '-' is still an option
 * to most programs: manifests put "--" before placeholders. */
#ifndef SOMA_TOOLCALL_ARGV_H
#define SOMA_TOOLCALL_ARGV_H

#include "toolcall/tool.h"

#include <stdbool.h>

struct argv {
    char **argv, **envp; /* NULL-terminated, owned */
    char *input;         /* bytes for stdin, owned; NULL when there are none */
    size_t input_n;
    bool json_output;
};
#define ARGV_NULL ((struct argv){0})

/* Builds the command of a normalised manifest: `command`, `input`, `output`, `env`. `args` is the object that passed
 * the schema. `key`, or NULL, becomes SOMA_IDEMPOTENCY_KEY. Returns 0, or 1 with `failure` filled and *out untouched.
 */
int argv_build(const json_t *manifest, const json_t *args, const char *key, struct argv *out,
               struct tool_failure *failure);
void argv_deinit(struct argv *argv);

/* The manifest's `limits`; what is missing is 0. */
struct tool_limits argv_limits(const json_t *manifest);

#endif
