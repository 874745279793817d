/* What all commands of `soma` share: the one table of them, what was given on the command line, and how to end. Data
 * goes to stdout, talk to stderr, the exit code says how it went.
 *
 * To add a command: a row in command.c, a function cmd_NAME() here, a paragraph in soma.1 (tests/cli/test_manual.c
 * compares them). To add an option: a line in OPTIONS below and in the rows that take it. */
#ifndef SOMA_CLI_CLI_H
#define SOMA_CLI_CLI_H

#include "cli/places.h"
#include "cli/rpc.h"

#include <stdbool.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_CREDENTIALS = 4,
    EXIT_NO_SUPERVISOR = 5,
    EXIT_DENIED = 6,
    EXIT_RUNTIME = 7,
    EXIT_TIMEOUT = 124,
    EXIT_INTERRUPTED = 130,
    EXIT_TERMINATED = 143
};

/* id, long name, letter (0 = none), argument (NULL = none), help */
#define OPTIONS(X)                                                                                                     \
    X(CONFIG, "config", 0, "FILE", "use this configuration file")                                                      \
    X(JSON, "json", 0, NULL, "print data and errors as JSON")                                                          \
    X(HELP, "help", 'h', NULL, "say what the command does")                                                            \
    X(ACTOR, "actor", 0, "ACTOR", "only events of this actor")                                                         \
    X(AFTER, "after", 0, "SEQ", "only events after this number")                                                       \
    X(DETACH, "detach", 'd', NULL, "do not wait; the run goes on without this client")                                 \
    X(FOLLOW, "follow", 'f', NULL, "go on as new events come")                                                         \
    X(LINES, "lines", 'n', "N", "only the last N events")                                                              \
    X(RUN, "run", 0, "RUN", "only events of this run")                                                                 \
    X(TIMEOUT, "timeout", 0, "TIME", "end the run after TIME (500ms, 30s, 5m, 1h), whatever the plan says")            \
    X(TREE, "tree", 0, NULL, "draw who is below whom")

enum option_id {
#define X(id, name, letter, arg, help) OPT_##id,
    OPTIONS(X)
#undef X
        OPT__COUNT
};
#define O(id) (1u << OPT_##id)
#define O_EVERYWHERE (O(CONFIG) | O(JSON) | O(HELP))

struct option_def {
    const char *name;
    char letter;
    const char *arg, *help;
};
extern const struct option_def cli_options[OPT__COUNT];

struct cli {
    bool json;
    struct places places;
    const char *value[OPT__COUNT]; /* as given; "" for a given option without argument; NULL = not given */
    const char *rest[4];           /* positional arguments */
    int n_rest;
};

struct command {
    const char *name; /* one word, or two as in "log head" */
    const char *args; /* positional arguments, for people */
    const char *summary;
    unsigned options; /* beside O_EVERYWHERE */
    int min, max;     /* positional arguments */
    int (*run)(struct cli *cli);
};
extern const struct command cli_commands[];
extern const unsigned cli_n_commands;

/* The whole program; returns the exit code. */
int cli_main(int argc, char **argv);

/* The command name nearest to `word`, or NULL when none is near. */
const char *cli_nearest(const char *word);

/* --- ending with an error -------------------------------------------------------------------------------------- */

/* What went wrong: what, why, and what to do (NULL = left out). */
struct failure {
    const char *name; /* E_... */
    int exit;
    const char *what, *why, *fix;
};

/* Says so on stderr, as text or as one JSON object, and returns the exit code. */
int fail(const struct cli *cli, const struct failure *f);

/* The same for an error object of the gateway. */
int fail_refused(const struct cli *cli, const json_t *error);

/* For a negative outcome of rpc_*(): nobody there, lost, timeout; the why is err_text(). */
int fail_rpc(const struct cli *cli, int code);

/* Wrong use of the command line. */
int fail_usage(const struct cli *cli, const char *why, const char *fix);

/* Out of memory or something as unexpected; the why is err_text(). */
int fail_internal(const struct cli *cli, const char *what);

/* --- data on stdout -------------------------------------------------------------------------------------------- */

/* One JSON value and a newline; control characters in it are escaped when stdout is a terminal. */
int put_json(const struct cli *cli, const json_t *value);
/* The bytes as they are; on a terminal with control characters escaped. Ends in a newline. */
int put_text(const struct cli *cli, const char *text, size_t n);
/* What has already been escaped. EXIT_DONE, or the failure of writing (a full disk). */
int put_buf(const struct cli *cli, const struct buf *text);

/* --- the commands ---------------------------------------------------------------------------------------------- */

int cmd_ask(struct cli *cli);
int cmd_cancel(struct cli *cli);
int cmd_doctor(struct cli *cli);
int cmd_help(struct cli *cli);
int cmd_log(struct cli *cli);
int cmd_log_head(struct cli *cli);
int cmd_log_verify(struct cli *cli);
int cmd_ps(struct cli *cli);
int cmd_run(struct cli *cli);
int cmd_show(struct cli *cli);
int cmd_stop(struct cli *cli);
int cmd_tool_check(struct cli *cli);
int cmd_tool_list(struct cli *cli);
int cmd_trace(struct cli *cli);
int cmd_up(struct cli *cli);
int cmd_version(struct cli *cli);

#endif
