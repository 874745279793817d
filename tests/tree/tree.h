/* A live tree under test: the real somad in a temporary folder, the real soma as its client, and a view from outside
 * that believes /proc and the log, nobody's word.
 *
 * A case is a function that CHECKs; the first failed CHECK prints what the tree looked like and ends the case's
 * process. Each case runs in a process of its own, which is the subreaper of all it starts: nothing can escape it, and
 * whatever is left when it ends is a failure. To write one: tree_init(), write files, tree_up(), do things, WAIT for
 * what must come (never for time), tree_check_end(). */
#ifndef SOMA_TESTS_TREE_TREE_H
#define SOMA_TESTS_TREE_TREE_H

#include "common/cleanup.h"
#include "common/json.h"
#include "common/loop.h"
#include "tests/tree/proc.h"
#include "tests/tree/rpc.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PATH_SIZE 4096u
#define TREE_WAIT_MS 10000 /* for what takes milliseconds unless something is wrong */

/* ---- cases ---- */

struct tree_case {
    const char *name;
    void (*body)(void);
    bool as_user; /* under root: as an ordinary user, whose tree lives in a user namespace */
    bool root_only;
    const void *arg; /* for bodies that serve many rows: tree_case_now->arg */
};
extern const struct tree_case *tree_case_now;
/* main() of a test program: `PROGRAM [--list] [NAME...]`, names as glob(7) patterns; 0 when all passed, 77 when all
 * were skipped. */
int tree_main(int argc, char **argv, const struct tree_case *cases, size_t n);

/* Ends the case with a failure, after telling what the tree looks like. */
void tree_failed(const char *file, int line, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));
#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            tree_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__);                                              \
    } while (0)

/* Milliseconds times SOMA_TEST_SLACK. */
int64_t slack_ms(int64_t ms);
void poll_pause(void); /* between two looks of a WAIT */
/* Looks until the condition holds, TREE_WAIT_MS at most. */
#define WAIT(condition, ...) WAIT_MS(TREE_WAIT_MS, condition, __VA_ARGS__)
#define WAIT_MS(ms, condition, ...)                                                                                    \
    do {                                                                                                               \
        int64_t until_ = now_ms() + slack_ms(ms);                                                                      \
        while (!(condition)) {                                                                                         \
            if (now_ms() > until_)                                                                                     \
                tree_failed(__FILE__, __LINE__, "never " #condition, " " __VA_ARGS__);                                 \
            poll_pause();                                                                                              \
        }                                                                                                              \
    } while (0)

/* Looks for a while: the condition holds every time. Only for what must not happen while something is frozen. */
#define HOLDS(ms, condition, ...)                                                                                      \
    do {                                                                                                               \
        for (int64_t until_ = now_ms() + (ms); now_ms() < until_; poll_pause())                                        \
            CHECK(condition, __VA_ARGS__);                                                                             \
    } while (0)

/* ---- the tree ---- */

struct tree {
    char dir[PATH_SIZE - 256]; /* all below is in it */
    char state[PATH_SIZE], runtime[PATH_SIZE], conf[PATH_SIZE];
    pid_t pid; /* of the launcher, our child; 0 = down */
    struct proc launcher;
    struct rpc rpc;
    int status;   /* wait status of the last launcher */
    int baseline; /* our descriptors before it all */
};

/* Makes the folder with state, runtime, tools, actors, read, write and marks (which tools may write), a soma.conf that
 * names them with quick restarts, and the tools of tools.h. The tree is the case's only one and `t` is static. */
void tree_init(struct tree *t);
void tree_write(struct tree *t, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
char *tree_path(struct tree *t, const char *name); /* absolute; one of eight static buffers */
bool tree_has(struct tree *t, const char *name);
size_t tree_lines(struct tree *t, const char *name); /* of a file; 0 when there is none */

/* Starts somad and waits until it says ready. */
void tree_up(struct tree *t);
/* The same without waiting for readiness; extra words go to somad. The read end of its ready pipe. */
int tree_launch(struct tree *t, const char *const extra[]);
/* Waits for the launcher's end, at most TREE_WAIT_MS; its exit code, or 128 + signal. */
int tree_wait(struct tree *t);
/* SIGTERM to the launcher and tree_wait(). */
int tree_down(struct tree *t);
/* Stops the tree if it runs, orderly; then nothing may be left: no process, no zombie, no descriptor of ours, no
 * socket, and a log that verifies without a gap. Removes the folder, unless SOMA_TEST_KEEP is set. */
void tree_check_end(struct tree *t);
/* Only the log, of a tree that is down. */
void tree_check_log(struct tree *t);
/* Only the processes: nothing below this process is alive, TREE_WAIT_MS at most. */
void tree_check_empty(struct tree *t);

/* ---- its processes ---- */

/* Role names as in titles; "launcher", "root", "eventlog" …, "tool" for what runs below a tool call. `id` NULL = any.
 * False when there is none. */
bool tree_find(struct tree *t, const char *role, const char *id, struct proc *out);
bool tree_find_state(struct tree *t, const char *role, const char *id, const char *state, struct proc *out);
size_t tree_count(struct tree *t, const char *role);
/* Waits for it; with a state also until it rests there, asleep. */
struct proc tree_await(struct tree *t, const char *role, const char *id);
struct proc tree_await_state(struct tree *t, const char *role, const char *id, const char *state);
void tree_all(struct tree *t, struct proc_list *out);
/* The words of a title: role and id (the name for an actor); empty where there is none. */
void title_role(const char *title, char role[32]);
void title_id(const char *title, char id[80]);
bool title_state(const char *title, const char *state); /* its last word, or one of the last two */

void proc_signal(struct proc p, int signo); /* a dead one is a failure of the test */
void proc_freeze(struct proc p);            /* SIGSTOP, and waits until it stands */
void proc_thaw(struct proc p);
/* SIGKILL, and waits until it is dead. */
void proc_kill(struct proc p);

/* With the event log frozen before a run is asked for: waits for the run's process, freezes it, and lets the log go on
 * until run.accepted is on disk. Then the run stands exactly there. */
struct proc tree_hold_accepted(struct tree *t, char id[32]);
/* Everything alive below a process, itself first. */
void tree_below(struct proc p, struct proc_list *out);
size_t list_alive(const struct proc_list *list);

/* ---- the log ---- */

/* The records after number `after`, by the gateway. */
json_t *tree_events_after(struct tree *t, int64_t after);
/* Records, by the gateway, or by soma-eventlog when the tree is down; `by` is "all", "run", "actor", "task" or "corr".
 */
json_t *tree_events(struct tree *t, const char *by, const char *key);
size_t events_count(const json_t *events, const char *type);
const json_t *events_find(const json_t *events, const char *type); /* borrowed; the first */
bool tree_logged(struct tree *t, const char *by, const char *key, const char *type);
/* The last record of a run or task that ends it; NULL. Fails when there are two. */
const json_t *events_end(const json_t *events, const char *prefix);

/* ---- requests ---- */

/* The tree's connection to the door, opened when needed; waits while a gateway is being restarted. */
struct rpc *tree_rpc(struct tree *t);
void tree_rpc_close(struct tree *t);
/* Result of a call that must succeed. */
json_t *tree_call(struct tree *t, const char *method, json_t *params);
/* Error of a call that must be refused. */
json_t *tree_refused(struct tree *t, const char *method, json_t *params);
const char *rpc_error(const json_t *error); /* its E_ name, or "" */
/* Starts a run over the door; its id into out (a char[32]). */
void tree_start_run(struct tree *t, const char *plan, bool detached, char out[32]);
/* Waits for the terminal event of a run or task; the record. */
json_t *tree_end_of(struct tree *t, const char *kind, const char *id);

/* ---- client programs ---- */

struct client {
    pid_t pid;
    struct proc proc;
    int out, err; /* memory files */
    int code;     /* exit code, or 128 + signal; -1 = not ended */
    char stdout_[65536], stderr_[16384];
};
/* Starts `soma` with these words, ended by NULL. */
void client_start(struct tree *t, struct client *c, const char *const words[]);
/* Starts any program, with its full path first. */
void client_exec(struct tree *t, struct client *c, const char *const words[]);
/* Waits for it, at most TREE_WAIT_MS, and collects; returns the code. */
int client_end(struct tree *t, struct client *c);
bool client_ended(struct client *c); /* looks, does not wait */
int soma(struct tree *t, struct client *c, const char *const words[]);
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SOMA(t, c, ...) soma((t), (c), WORDS(__VA_ARGS__))

/* The build under test, where this process may enter it. */
extern const char *tree_build;
/* Path of a program of it: "somad", "soma", "soma-eventlog". */
const char *tree_program(const char *name);

#endif
