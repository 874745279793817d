/* What this call may run: the sealed document of normalised manifests (registry/manifest.h) that came with the run's
 * endpoint. The run holds a copy too, but what it says about it counts for nothing here: tool, profile and schema are
 * taken from this one. */
#ifndef SOMA_TOOLCALL_GRANTS_H
#define SOMA_TOOLCALL_GRANTS_H

#include "toolcall/tool.h"

#define GRANTS_MAX (4u << 20) /* bytes of the document; the JSON wrapper's own ceiling is lower */

/* Reads the sealed memfd `fd` (borrowed). Returns 0 with a new reference, or 1 with `failure` filled: denied. */
int grants_read(int fd, json_t **doc, struct tool_failure *failure);

/* The manifest of the tool, borrowed from `doc`, when it is granted and fits the profile that this scope was made with.
 * Returns 0, or 1 with `failure` filled: denied, or sandbox_unavailable for what this version cannot contain. */
int grants_tool(const json_t *doc, const char *tool, const char *profile, const json_t **manifest,
                struct tool_failure *failure);

/* The arguments as an object that fits the manifest's schema: a new reference. Returns 0, or 1: invalid_args. */
int grants_args(const json_t *manifest, const char *text, size_t n, json_t **args, struct tool_failure *failure);

#endif
