/* The LLM call: a worker that asks a provider once and ends. */
#ifndef SOMA_LLMCALL_LLMCALL_H
#define SOMA_LLMCALL_LLMCALL_H

#include "common/role.h"

extern const struct role llmcall_role;

#endif
