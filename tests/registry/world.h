/* The real soma-registry, begun by a root that is this test: a control link, a log, two folders of definitions, and
 * peers introduced at will. Everything here fails the test by itself. */
#ifndef SOMA_TESTS_REGISTRY_WORLD_H
#define SOMA_TESTS_REGISTRY_WORLD_H

#include "tests/kit/peers.h"

struct world {
    pid_t pid;
    int control, log;
    char tools[64], actors[64];
};

/* Folders with two tools (alpha, beta) and two actors (reviewer may alpha and echo, idler nothing). */
void world_open(struct world *w);
/* Starts the program and waits until it is ready. `extra_dir`, perhaps NULL, is one more folder of tools. */
void world_start(struct world *w, const char *extra_dir);
/* Asks it to end, and wants 0. */
void world_close(struct world *w);

void put_file(const char *dir, const char *file, const char *text);
void drop_file(const char *dir, const char *file);
void put_tool(const struct world *w, const char *file, const char *name, const char *description);

/* A new peer, introduced over `by` (w->control, or an endpoint of actors); returns its end. */
int peer(const struct world *w, int by, const char *role, const char *actor);

/* Asks and wants a document: its text parsed (free it), after checking that it is sealed and as long as announced. */
json_t *ask(int fd, enum msg_type type, int64_t *generation);
/* Asks and wants a refusal of that name. */
void ask_refused(int fd, enum msg_type type, const char *error);
/* Asks for a document and gives the number of its file, which tells one document from another. */
ino_t ask_inode(int fd, enum msg_type type);

/* The next system.catalog in the log: "generation tools actors problems". */
void expect_catalog_event(const struct world *w, const char *wanted);

unsigned open_fds(pid_t pid);

#endif
