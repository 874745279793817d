/* A tool call: PID 1 of a namespace of its own, between the run that asked, the event log and one tool. It gives up
 * every right before it looks at the call, takes the tool from the sealed grants and from nowhere else, and ends. */
#ifndef SOMA_TOOLCALL_TOOLCALL_H
#define SOMA_TOOLCALL_TOOLCALL_H

#include "common/role.h"

/* For role_worker() in a fork of the supervisor, as PID 1 of a PID namespace. Slots: SLOT_LINK, SLOT_LOG, SLOT_GRANTS
 * if start->has_grants, and from SLOT_ROOTS on the read roots, then the write roots, that start counts. Exit status 0:
 * the call has ended as it should; 1: it has not been journalled, or there was none. */
extern const struct role toolcall_role;

#endif
