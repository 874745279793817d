/* What the measuring floors have in common. A floor is the cheapest honest program that does the same necessary work as
 * a part of soma (the same bytes to disk, the same JSON, the same processes) and nothing else; `bench` runs it beside
 * the part, in the same minute, and judges the ratio. A floor must therefore never get slower by a convenience, nor do
 * less than what it stands for.
 *
 * Every program here takes the same options and prints, per round, one line on stdout:
 *
 *   {"row":"durable_event_1","unit":"us","samples":[231.40,229.87]}
 *
 * The programs that measure soma itself print the same lines; to write one, start from struct floor_program.
 * jansson is called directly here, not through common/json.h: the checks of that door belong to what is measured. */
#ifndef SOMA_TESTS_FLOOR_FLOOR_H
#define SOMA_TESTS_FLOOR_FLOOR_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FLOOR_EVENT_BYTES 250u  /* one event as its sender writes it, without the frame's length */
#define FLOOR_FRAME_MAX 1024u   /* bytes of JSON in one frame; events and acknowledgements are far below */
#define FLOOR_WIDTH_MAX 1000u   /* producers or processes */
#define FLOOR_COUNT_MAX 1000000 /* rounds or iterations */

struct floor_options {
    unsigned rounds;     /* lines to print */
    unsigned iterations; /* operations per round (and per producer) */
    unsigned width;      /* producers, processes: what the program calls it */
    const char *state;   /* an existing directory; a fresh one is made inside and removed afterwards */
};

struct floor_program {
    const char *name, *summary;
    const char *width_name, *width_help; /* NULL: the program has no width */
    unsigned width_min;
    int needs_state; /* --state must be given */
    struct floor_options defaults;
    int (*run)(const struct floor_options *options); /* 0 or negative errno with err_text() */
};

/* Reads the options, runs, reports; returns main()'s value: 0 done, 1 failed, 2 usage. */
int floor_main(const struct floor_program *program, int argc, char **argv);

double floor_now_us(void); /* CLOCK_MONOTONIC */

/* Prints one line as above and flushes it: later forks must not inherit it. */
int floor_print(const char *row, const char *unit, const double *samples, size_t n);

/* Makes a fresh directory inside `state`; *path is malloc'ed, the caller's. floor_dir_remove() deletes it and all that
 * is in it, is quiet about NULL, and frees nothing. */
int floor_dir_make(const char *state, char **path);
void floor_dir_remove(const char *path);

/* Path of a file of this build, from our own place BUILD/tests/floor/PROGRAM; NULL = of the build folder. */
int floor_built(const char *name, char path[PATH_MAX]);

/* Makes `dir` a place for a tree of soma's: soma.conf, which names state and runtime folders below `dir`, so that no
 * real log or socket is ever touched, and empty folders `tools` and `actors`. *conf is malloc'ed, the caller's. */
int floor_place_make(const char *dir, char **conf);

/* Writes the text of event `n` of sender `who`: exactly FLOOR_EVENT_BYTES of JSON, no terminator. */
void floor_event(char text[FLOOR_EVENT_BYTES], unsigned who, uint64_t n);

/* One frame, whole, on a blocking stream socket: 4 bytes big-endian length, then the text. Both sides take turns, so
 * that at most one frame is ever under way in each direction; more is -EPROTO. floor_recv() returns the length in *n;
 * -ECONNRESET when the other end is closed between frames. */
int floor_send(int fd, const char *text, size_t n);
int floor_recv(int fd, char text[FLOOR_FRAME_MAX], size_t *n);

/* Keeps this process and its later children on the processor it is on. For a message between two processes that work in
 * turns: whether they share a processor is the scheduler's choice, changes from minute to minute, and costs more (the
 * waking of an idle processor) than all that is to be compared. */
int floor_stay(void);

/* Waits for child `pid`; -ECHILD unless it exits with 0. */
int floor_reap(pid_t pid, const char *what);

#endif
