/* Shared by the files of exec, and by nobody else. */
#ifndef SOMA_TOOLCALL_EXEC_IMPL_H
#define SOMA_TOOLCALL_EXEC_IMPL_H

#include "toolcall/exec.h"

#define EXEC_ENVELOPE 512u /* bytes around the result of a built-in: see exec_outcome() */

/* Keys of that envelope: {"value":…}, or {"failure":name,"message":text}. */
#define EXEC_KEY_VALUE "value"
#define EXEC_KEY_FAILURE "failure"
#define EXEC_KEY_MESSAGE "message"

/* What the inner process writes to its status pipe when it could not start the tool. */
enum exec_step { EXEC_STEP_SETUP = 1, EXEC_STEP_EXEC };
struct exec_setup_report {
    int step, error;
};

/* The inner process, from fork to execve or to the end of a built-in (exec_child.c). */
struct exec_child {
    const struct exec_spec *spec;
    int in, out, err, status;
    bool memory_sampled;
};
_Noreturn void exec_child_run(const struct exec_child *child);

/* Turns what is known of a call in the state done into value or failure (exec_outcome.c). */
void exec_outcome(struct exec *x, struct exec_result *out);

/* Resident bytes (anonymous and shared memory, not file cache) of every process below PID 1 of this namespace, seen
 * through the procfs `proc`, a directory descriptor (exec_memory.c). Returns 0 or a negative errno. */
int exec_memory(int proc, uint64_t *bytes);
/* Opens /proc if it shows this process. Returns a descriptor or a negative errno. */
int exec_memory_open(void);

/* Drives a call that is being ended until it is done (exec_drive.c). Blocks. */
void exec_finish_blocking(struct exec *x);
int64_t exec_now_ms(void);

#endif
