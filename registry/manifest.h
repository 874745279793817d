/* Definitions of tools and actors: from the JSON a person wrote to a normalised object in which everything has been
 * checked and every default is filled in. The normalised object is what travels between processes; nobody behind the
 * registry reads a definition file or knows a default.
 *
 * A tool, normalised (members in this order):
 *   name, description, input_schema    as written
 *   effect                             "pure" | "reader" | "state"
 *   idempotent                         boolean; default: true for pure and reader, false for state
 *   timeout_ms                         integer; default: the profile's
 *   command | builtin                  array of strings with "{property}" placeholders | name of a built-in
 *   input                              "argv" | "stdin" | {"stdin": "{property}"}; absent for a built-in
 *   output                             "text" | "json"; default: "text" for a command, always "json" for a built-in
 *   profile                            "pure" | "reader" | "writer" | "net"; default: by effect pure, reader, writer
 *   available                          false for profile net, which this version cannot give: calls answer
 *                                      sandbox_unavailable
 *   read, write                        arrays of absolute folders; default: none
 *   net                                array of "host:port"; default: none
 *   env                                object of strings
 *   limits                             memory_bytes, output_bytes, processes, file_bytes; cpu_ms only when written
 *
 * An actor, normalised: name, description, provider, model, system (strings; "" when not given), tools (array of names;
 * absent means none), budget {llm_calls, steps, timeout_ms}, restart "permanent" | "transient" | "temporary". */
#ifndef SOMA_REGISTRY_MANIFEST_H
#define SOMA_REGISTRY_MANIFEST_H

#include <jansson.h>

#define MANIFEST_DESCRIPTION_MAX 1024u /* code points */
#define MANIFEST_ENV_MAX 64u           /* variables */

#define ACTOR_LLM_CALLS_DEFAULT 16
#define ACTOR_STEPS_DEFAULT 64
#define ACTOR_TIMEOUT_DEFAULT_MS 300000
#define ACTOR_BUDGET_MAX 1000000 /* LLM calls or steps of one task */

/* Each returns 0 with a new reference in *normal; -EINVAL with "PLACE: what is wrong and what would be right" in
 * err_text(), PLACE a JSON Pointer; or -ENOMEM. `doc` is not changed, parts of it are shared with *normal. */
int manifest_tool(const json_t *doc, json_t **normal);
int manifest_actor(const json_t *doc, json_t **normal);

#endif
