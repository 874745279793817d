/* What became of a run or a task, folded from its events: the data behind `soma show`. */
#ifndef SOMA_CLI_VIEW_H
#define SOMA_CLI_VIEW_H

#include <jansson.h>

/* {"run","status","plan","actor","corr","started_ns","duration_us"?,"steps":[{"id","tool","status","duration_us"?,
 * "output"?,"error"?}],"outputs"?,"error"?}; a new reference, NULL for want of memory. */
json_t *view_run(const json_t *records, const char *run);

/* {"task","status","actor","corr","started_ns","duration_us"?,"llm_calls","runs":[view of a run],"reply"?,"error"?} */
json_t *view_task(const json_t *records, const char *task);

#endif
