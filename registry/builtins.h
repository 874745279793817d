/* The manifests of the tools that come with soma. They are JSON texts like anybody's and pass through manifest_tool().
 */
#ifndef SOMA_REGISTRY_BUILTINS_H
#define SOMA_REGISTRY_BUILTINS_H

#include <jansson.h>
#include <stddef.h>

/* The text of built-in `i`, static; NULL from the count on. */
const char *builtins_text(size_t i);

/* The manifest of the built-in with this name, as written: a new reference in *out. Returns 0, -ENOENT, or what
 * json_parse() returns. */
int builtins_manifest(const char *name, json_t **out);

#endif
