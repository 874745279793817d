/* The worker of a run: executes one plan, step by step, each tool in a process of its own. */
#ifndef SOMA_RUN_RUN_H
#define SOMA_RUN_RUN_H

#include "common/role.h"

extern const struct role run_role;

#endif
