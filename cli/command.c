/* One table says which commands there are; parsing, --help, the nearest name for a misspelt one and the check of the
 * manual page all read it. */
#include "cli/cli.h"

#include "common/err.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>

#define X(id, name, letter, arg, help) [OPT_##id] = {name, letter, arg, help},
const struct option_def cli_options[OPT__COUNT] = {OPTIONS(X)};
#undef X

const struct command cli_commands[] = {
    {"up", "", "start the supervisor in the foreground", 0, 0, 0, cmd_up},
    {"run", "PLAN|-", "run a plan and print its outputs", O(DETACH) | O(TIMEOUT), 1, 1, cmd_run},
    {"ask", "ACTOR TEXT", "ask an actor and print its answer", 0, 2, 2, cmd_ask},
    {"ps", "", "list the live processes", O(TREE), 0, 0, cmd_ps},
    {"show", "RUN|TASK", "show one run or task on one screen", 0, 1, 1, cmd_show},
    {"trace", "RUN|TASK|CORR", "show every event of one piece of work on a time line", 0, 1, 1, cmd_trace},
    {"log", "", "print events", O(RUN) | O(ACTOR) | O(LINES) | O(FOLLOW) | O(AFTER), 0, 0, cmd_log},
    {"log head", "", "print number and hash of the last event, to be kept elsewhere", 0, 0, 0, cmd_log_head},
    {"log verify", "", "prove that no event was altered, removed or inserted", 0, 0, 0, cmd_log_verify},
    {"cancel", "RUN", "end a run and everything under it", 0, 1, 1, cmd_cancel},
    {"tool list", "", "list the tools", 0, 0, 0, cmd_tool_list},
    {"tool check", "FILE", "check a tool's manifest", 0, 1, 1, cmd_tool_check},
    {"doctor", "", "check this machine, the configuration and the supervisor", 0, 0, 0, cmd_doctor},
    {"stop", "", "stop the supervisor and everything under it", 0, 0, 0, cmd_stop},
    {"version", "", "print the version", 0, 0, 0, cmd_version},
    {"help", "[COMMAND]", "say what there is, or what a command does", 0, 0, 2, cmd_help},
};
const unsigned cli_n_commands = sizeof cli_commands / sizeof *cli_commands;

/* --- finding a command ----------------------------------------------------------------------------------------- */

/* "log head" before "log"; *words says how many arguments the name took. */
static const struct command *find(const char *first, const char *second, int *words) {
    char both[64] = "";
    if (second)
        (void)snprintf(both, sizeof both, "%s %s", first, second);
    const struct command *one = NULL;
    for (unsigned i = 0; i < cli_n_commands; i++) {
        const char *name = cli_commands[i].name;
        *words = 2;
        if (both[0] && strcmp(name, both) == 0)
            return &cli_commands[i];
        if (strcmp(name, first) == 0)
            one = &cli_commands[i];
    }
    *words = 1;
    return one;
}

#define WORD_MAX 31u

static unsigned least_of(unsigned a, unsigned b, unsigned c) {
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* How many letters to change, add, drop or swap with their neighbour (optimal string alignment); long words are far. */
static unsigned distance(const char *a, const char *b) {
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    size_t m = strlen(a), n = strlen(b);
    if (m > WORD_MAX || n > WORD_MAX)
        return WORD_MAX;
    for (unsigned i = 0; i <= m; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= n; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= m; i++)
        for (size_t j = 1; j <= n; j++) {
            d[i][j] = least_of(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    return d[m][n];
}

const char *cli_nearest(const char *word) {
    const char *nearest = NULL;
    unsigned least = strlen(word) > 3 ? 3 : 2; /* more than two letters off (one, for short words) is another word */
    for (unsigned i = 0; i < cli_n_commands; i++) {
        unsigned far = distance(word, cli_commands[i].name);
        if (far < least) {
            least = far;
            nearest = cli_commands[i].name;
        }
    }
    return nearest;
}

static int unknown(const struct cli *cli, const char *first, const char *second) {
    char why[256], fix[128] = "`soma help` lists the commands", both[64];
    (void)snprintf(both, sizeof both, "%s%s%s", first, second ? " " : "", second ? second : "");
    size_t n = strlen(first);
    const char *near = cli_nearest(first);
    if (!near && second)
        near = cli_nearest(both);
    for (unsigned i = 0; i < cli_n_commands && !near; i++)
        if (strncmp(cli_commands[i].name, first, n) == 0 && cli_commands[i].name[n] == ' ')
            near = cli_commands[i].name;
    (void)snprintf(why, sizeof why, "there is no command `%s`", near && strchr(near, ' ') ? both : first);
    if (near)
        (void)snprintf(fix, sizeof fix, "did you mean `soma %s`? `soma help` lists the commands", near);
    return fail_usage(cli, why, fix);
}

/* --- help ------------------------------------------------------------------------------------------------------ */

static void help_options(struct buf *out, unsigned set) {
    for (unsigned i = 0; i < OPT__COUNT; i++) {
        const struct option_def *o = &cli_options[i];
        char left[64], letter[8] = "    ";
        if (!(set & (1u << i)))
            continue;
        if (o->letter)
            (void)snprintf(letter, sizeof letter, "-%c, ", o->letter);
        (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        (void)buf_printf(out, "  %-22s %s\n", left, o->help);
    }
}

static int help_command(const struct cli *cli, const struct command *c) {
    auto_buf struct buf out = BUF_NULL(64 << 10);
    (void)buf_printf(&out, "usage: soma %s%s%s%s\n\n%s\n\n", c->name, c->options ? " [OPTIONS]" : "",
                     *c->args ? " " : "", c->args, c->summary);
    help_options(&out, c->options | O_EVERYWHERE);
    return put_buf(cli, &out);
}

static int help_all(const struct cli *cli) {
    auto_buf struct buf out = BUF_NULL(64 << 10);
    (void)buf_addz(&out, "usage: soma COMMAND [OPTIONS] [ARGUMENTS]\n\nsoma runs agents on this machine as a tree of "
                         "processes.\n\n");
    for (unsigned i = 0; i < cli_n_commands; i++) {
        char left[64];
        (void)snprintf(left, sizeof left, "%s %s", cli_commands[i].name, cli_commands[i].args);
        (void)buf_printf(&out, "  %-22s %s\n", left, cli_commands[i].summary);
    }
    (void)buf_addz(&out, "\n");
    help_options(&out, O_EVERYWHERE);
    (void)buf_addz(&out, "\n`soma help COMMAND` says more; soma(1) says everything, exit codes too.\n");
    return put_buf(cli, &out);
}

int cmd_help(struct cli *cli) {
    int words;
    if (cli->n_rest == 0)
        return help_all(cli);
    const struct command *c = find(cli->rest[0], cli->rest[1], &words);
    return c && words == cli->n_rest ? help_command(cli, c) : unknown(cli, cli->rest[0], cli->rest[1]);
}

int cmd_version(struct cli *cli) {
    auto_json json_t *data = json_pack("{s:s}", "version", SOMA_VERSION);
    if (cli->json)
        return put_json(cli, data);
    return put_text(cli, "soma " SOMA_VERSION, strlen("soma " SOMA_VERSION));
}

/* --- parsing --------------------------------------------------------------------------------------------------- */

#define LONG_BASE 256 /* val of the long options; letters are below */

struct parser {
    struct option longs[OPT__COUNT + 1];
    char letters[2 * OPT__COUNT + 4];
};

/* '+' stops at the first argument that is no option (before the command), ':' leaves the talking to us. */
static void parser_init(struct parser *p, unsigned set, bool stop) {
    size_t n = 0, at = 0;
    *p = (struct parser){0};
    if (stop)
        p->letters[at++] = '+';
    p->letters[at++] = ':';
    for (unsigned i = 0; i < OPT__COUNT; i++) {
        const struct option_def *o = &cli_options[i];
        if (!(set & (1u << i)))
            continue;
        p->longs[n++] = (struct option){o->name, o->arg ? required_argument : no_argument, NULL, LONG_BASE + (int)i};
        if (!o->letter)
            continue;
        p->letters[at++] = o->letter;
        if (o->arg)
            p->letters[at++] = ':';
    }
}

static enum option_id option_of(int value) {
    if (value >= LONG_BASE)
        return (enum option_id)(value - LONG_BASE);
    unsigned i = 0;
    while (i < OPT__COUNT && cli_options[i].letter != value)
        i++;
    return (enum option_id)i;
}

static int bad_option(const struct cli *cli, int value, const char *given, const struct command *c) {
    char why[256], fix[128];
    (void)snprintf(why, sizeof why, value == ':' ? "%s needs an argument" : "unknown or ambiguous option %s", given);
    (void)snprintf(fix, sizeof fix, "`soma help%s%s` lists the options", c ? " " : "", c ? c->name : "");
    return fail_usage(cli, why, fix);
}

/* Takes the options of `set` out of argv; what remains begins at optind. 0, or an exit code. */
static int parse(struct cli *cli, int argc, char **argv, unsigned set, const struct command *c) {
    struct parser p;
    parser_init(&p, set, !c);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    int value;
    while ((value = getopt_long(argc, argv, p.letters, p.longs, NULL)) != -1) {
        if (value == ':' || value == '?') {
            char letter[] = {'-', (char)optopt, '\0'};
            bool is_letter = optopt > 0 && optopt < LONG_BASE;
            return bad_option(cli, value, is_letter ? letter : argv[optind - 1], c);
        }
        cli->value[option_of(value)] = optarg ? optarg : "";
    }
    return 0;
}

/* Errors before and during parsing shall already be in the right shape. */
static bool json_wanted(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static int wrong_count(const struct cli *cli, const struct command *c, const char *extra) {
    char why[192], fix[128], both[64];
    (void)snprintf(both, sizeof both, "%s %s", c->name, extra ? extra : "");
    const char *near = extra && c->max == 0 ? cli_nearest(both) : NULL;
    (void)snprintf(why, sizeof why, extra ? "`soma %s` takes no argument `%.64s`" : "`soma %s` needs %s", c->name,
                   extra ? extra : c->args);
    if (near && strcmp(near, c->name) != 0)
        (void)snprintf(fix, sizeof fix, "did you mean `soma %s`?", near);
    else
        (void)snprintf(fix, sizeof fix, "usage: soma %s%s%s", c->name, *c->args ? " " : "", c->args);
    return fail_usage(cli, why, fix);
}

/* Commands that talk about soma itself work wherever they are, also with a broken configuration: doctor names it. */
static bool needs_places(const struct command *c) {
    return c->run != cmd_help && c->run != cmd_version && c->run != cmd_tool_check && c->run != cmd_doctor;
}

static int places(struct cli *cli, const struct command *c) {
    if (!needs_places(c) || places_resolve(cli->value[OPT_CONFIG], &cli->places) == 0)
        return 0;
    return fail(cli, &(struct failure){"E_CONFIG", EXIT_USAGE, "the configuration cannot be used", err_text(),
                                       "correct the file, or name another with --config"});
}

static int run_command(struct cli *cli, const struct command *c, int argc, char **argv) {
    int r = parse(cli, argc, argv, c->options | O_EVERYWHERE, c);
    if (r != 0)
        return r;
    if (cli->value[OPT_HELP])
        return help_command(cli, c);
    int n = argc - optind;
    if (n < c->min || n > c->max)
        return wrong_count(cli, c, n > c->max ? argv[optind + c->max] : NULL);
    for (int i = 0; i < n; i++)
        cli->rest[i] = argv[optind + i];
    cli->n_rest = n;
    r = places(cli, c);
    return r != 0 ? r : c->run(cli);
}

int cli_main(int argc, char **argv) {
    struct cli cli = {.json = json_wanted(argc, argv)};
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error of writing, said in the usual way */
    json_init();
    int r = parse(&cli, argc, argv, O_EVERYWHERE, NULL), words = 0;
    if (r != 0)
        return r;
    int at = optind;
    if (at >= argc)
        return cli.value[OPT_HELP] ? help_all(&cli)
                                   : fail_usage(&cli, "no command was given", "`soma help` lists them");
    const char *second = at + 1 < argc ? argv[at + 1] : NULL;
    const struct command *c = find(argv[at], second, &words);
    if (!c)
        return unknown(&cli, argv[at], second);
    return run_command(&cli, c, argc - at - words + 1, argv + at + words - 1);
}
