/* The client seen from outside: a folder with places of its own, the built program run in it with a clean environment,
 * and a gateway that follows a script. Nothing here asserts; forked children end by exit status. */
#ifndef SOMA_TESTS_CLI_FIXTURE_H
#define SOMA_TESTS_CLI_FIXTURE_H

#include <stddef.h>
#include <sys/types.h>

#define OUT_MAX 65536u

struct place {
    char dir[4096]; /* made by place_make(): runtime folder, and root of a copied program */
    int listener;   /* -1 until listen_at() */
};

/* `deep` makes the path of the folder longer than a socket's address takes. */
int place_make(struct place *p, int deep);
void place_remove(struct place *p);
/* Listens at soma.sock in the folder. */
int place_listen(struct place *p);
/* Copies the built program to DIR/cli/soma and writes an executable script to DIR/`path`. */
int place_install(struct place *p, const char *path, const char *script);

struct outcome {
    int code; /* exit status, or 128 + signal */
    char out[OUT_MAX], err[OUT_MAX];
};

/* Starts `program` (NULL = the built one) with its places in `p`; arguments end with NULL. The pid, or -errno. */
struct running {
    pid_t pid;
    int out, err;
};
int program_start(const struct place *p, const char *program, const char *const args[], struct running *r);
/* Collects what it wrote and waits for it. */
int program_end(struct running *r, struct outcome *o);
int program_run(const struct place *p, const char *program, const char *const args[], struct outcome *o);

/* One line of a gateway's script: the request expected, and what comes back. */
struct line {
    const char *method;
    const char *has;    /* the request's text contains this; NULL = anything */
    const char *answer; /* member of the answer: "result":... or "error":...; NULL = none */
    int signal;         /* sent to `victim` before the answer; 0 = none */
};

/* Forks a gateway that serves one connection of the listener along the script, then ends with 0 (the connection
 * closes); with the number of the line (from 1) that was not met. */
pid_t gateway_start(const struct place *p, const struct line *script, size_t n, pid_t victim);
/* Its exit status. */
int gateway_end(pid_t pid);

#endif
