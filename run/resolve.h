/* What travels between steps: references {"$from": step, "at": pointer} inside arguments, which stand for (a part of)
 * the output of an earlier step, and limits that keep every value small and shallow enough to travel on in frames,
 * events and pages of events. */
#ifndef SOMA_RUN_RESOLVE_H
#define SOMA_RUN_RESOLVE_H

#include "common/json.h"

/* A value may travel inside six more levels (an event inside a page inside an answer) and still be within
 * SCAN_DEPTH_MAX, and beside other members within SCAN_NODES_MAX. */
#define VALUE_DEPTH_MAX 48u
#define VALUE_NODES_MAX 60000u /* values and keys */

/* 0 and the number of values and keys in *nodes, or -EMSGSIZE naming the limit. */
int value_measure(const json_t *value, size_t *nodes);

/* What a step's name means at the place where it is referred to. */
enum step_place { STEP_UNKNOWN, STEP_EARLIER, STEP_NOT_EARLIER };
typedef enum step_place (*step_lookup)(void *arg, const char *step);

/* Checks every reference below `args` (at `place`) for its form and its step. Sets *any when there is one. Returns 0,
 * or -EINVAL with "PLACE: what is wrong and what would be right". */
int refs_check(json_t *args, struct json_place *place, step_lookup lookup, void *arg, bool *any);

/* Puts outputs ({step: value}) in the place of references. *out is a new reference that shares values with both.
 * Returns 0; -EINVAL with "PLACE: why" when an output has nothing at the pointer; -ENOMEM. */
int refs_resolve(json_t *args, json_t *outputs, const char *base, json_t **out);

#endif
