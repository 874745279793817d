/* One record of the log as a line for people. */
#ifndef SOMA_CLI_EVENT_H
#define SOMA_CLI_EVENT_H

#include "common/buf.h"

#include <jansson.h>
#include <stdint.h>

/* Local wall clock of a record's `ts` (ns), "09:01:02.123", or with the date before it. */
void event_clock(int64_t ts_ns, int with_date, char out[40]);

/* Whom the event is about: step or call or task, run and actor, shortened; "" when it says nothing. Escaped. */
void event_subject(const json_t *record, struct buf *out);

/* Its data as compact JSON, escaped and cut at `max` bytes; "{}" is left out. */
void event_data(const json_t *record, size_t max, struct buf *out);

#endif
