/* The event log's process: the one that opens the log. Three files, one struct, no threads:
 *
 *   eventlog.c   links: who is introduced, who owns a run id, what ends; one turn of the loop, the end of the process
 *   writer.c     append -> accepted -> one commit for all that wait -> durable
 *   rights.c     which role may say what (pure tables)
 *   query.c      pages, waiting queries, the head, open runs
 *   offline.c    the same file read without a supervisor (`--read`)
 *
 * One turn: everything that is ready is read, each append gets its number at once; when the turn ends and a barrier is
 * among them, one commit takes all. What arrives during its sync waits in the sockets and is the next turn's. */
#ifndef SOMA_EVENTLOG_EVENTLOG_H
#define SOMA_EVENTLOG_EVENTLOG_H

#include "common/role.h"

extern const struct role eventlog_role;

/* main() of `soma-eventlog --read DIR …`: prints records, one per line, under the log's lock. 0 done, 2 usage, 3 no
 * such log or run, 7 the log is in use or damaged. */
int offline_main(int argc, char **argv);

#endif
