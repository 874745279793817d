/* Processes as seen from outside, in the host's /proc. A process is a pid and its start time: a pid alone may be
 * somebody else's by the time it is looked at. Alive means: exists, the same start time, neither zombie nor dead. */
#ifndef SOMA_TESTS_TREE_PROC_H
#define SOMA_TESTS_TREE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROC_TITLE_MAX 256u
#define PROC_LIST_MAX 512u

struct proc {
    pid_t pid;
    unsigned long long start; /* clock ticks since boot, field 22 of /proc/PID/stat */
};

struct proc_info {
    struct proc id;
    pid_t parent;
    char state;                 /* as in /proc/PID/stat */
    char title[PROC_TITLE_MAX]; /* the command line, words separated by spaces; cut */
};

struct proc_list {
    size_t n;
    struct proc_info at[PROC_LIST_MAX];
};

/* What `pid` is now; false when there is no such process. A zombie is reported with an empty title. */
bool proc_read(pid_t pid, struct proc_info *out);

/* The identity of `pid`, {0, 0} when there is none. */
struct proc proc_of(pid_t pid);
bool proc_alive(struct proc p);
bool proc_same(struct proc a, struct proc b);
/* Stopped by a signal, all of it. */
bool proc_stopped(struct proc p);
/* Asleep: what it began before it changed its title is done. */
bool proc_rests(struct proc p);

/* Adds all living descendants of `pid` (zombies too when `zombies`), parents before children. What is born or dies
 * meanwhile may be in or out. */
void proc_below(pid_t pid, bool zombies, struct proc_list *out);

/* The same from a scan of the whole of /proc: slower, and misses nobody who stays. */
void proc_below_all(pid_t pid, bool zombies, struct proc_list *out);

/* Open descriptors of this process. */
int proc_fds(void);

#endif
