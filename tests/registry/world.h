/* The real soma-registry, begun by a root that is this test: a control link, a log, two folders of definitions, and
 * peers introduced at will. Everything here fails the test by itself. */
#ifndef SOMA_TESTS_REGISTRY_WORLD_H
#define SOMA_TESTS_REGISTRY_WORLD_H

#include <jansson.h>
#include <sys/types.h>

#include "common/chan.h"
#include "common/msg.h"

#define WAIT_MS 20000 /* for what must come; nothing waits this long when all is well */

struct world {
    pid_t pid;
    int control, log;
    char tools[64], actors[64];
};

struct heard {
    struct msg m;
    char text[FRAME_MAX]; /* the message points into it */
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

void tell(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds);
/* The next message; -1 when the channel has ended. What came with it is in m.fds. */
int hear(int fd, struct heard *out);
void hear_type(int fd, enum msg_type wanted, struct heard *out);

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
