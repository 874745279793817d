/* What is told of an ended call: the same facts as an event for the log and as an answer for the run. */
#ifndef SOMA_TOOLCALL_REPORT_H
#define SOMA_TOOLCALL_REPORT_H

#include "common/msg.h"
#include "toolcall/exec.h"

/* Fills `result` for a call that ended before any tool ran. */
void report_refusal(struct exec_result *result, const struct tool_failure *failure);
/* Words the end of a cancelled call. `reason` may be NULL. */
void report_cancelled(struct exec_result *result, const char *reason);

struct report {
    char *value, *data; /* the output; the event's `data`; JSON texts, owned */
    size_t value_n, data_n;
};

/* Writes both texts. An output that turns out too large or cannot be written becomes a failure of *result first.
 * Returns 0 or -ENOMEM. */
int report_write(struct exec_result *result, const char *tool, struct report *out);
void report_deinit(struct report *report);

const char *report_event(const struct exec_result *result);
/* The answer; its texts are borrowed from both. */
struct msg_call_done report_answer(const struct exec_result *result, const struct report *report);

#endif
