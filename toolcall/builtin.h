/* The built-in tools: functions of this program, each run in a process of its own like any other tool. They read and
 * write files only below granted folders, by openat2(2) with RESOLVE_BENEATH, so a wrong path is the kernel's refusal
 * and not a string comparison of ours. */
#ifndef SOMA_TOOLCALL_BUILTIN_H
#define SOMA_TOOLCALL_BUILTIN_H

#include "toolcall/tool.h"

#include <stdbool.h>

bool builtin_known(const char *name);

/* Runs one built-in. `args` is an object that has passed the tool's schema (types are checked again); `max_bytes`
 * bounds the encoded result. Returns 0 with a new reference in *out, or 1 with `failure` filled. May block as long as
 * its work takes, `fail` does not return at all in the modes crash and hang. Changes no state of the process. */
int builtin_run(const char *name, const json_t *args, const struct tool_roots *roots, size_t max_bytes, json_t **out,
                struct tool_failure *failure);

#endif
