/* The built program from outside, without a supervisor: exit codes, error texts, the manual page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h" /* before cmocka.h, which makes a macro of fail() */
#include "common/cleanup.h"

#include <cmocka.h>

#include "tests/cli/fixture.h"

#define ARGS 6

static const struct {
    const char *args[ARGS];
    int code;
    const char *out, *err; /* parts of what is written; NULL = nothing at all */
} cases[] = {
    {{NULL}, 2, NULL, "no command was given"},
    {{"help"}, 0, "trace RUN|TASK|CORR", NULL},
    {{"--help"}, 0, "usage: soma COMMAND", NULL},
    {{"help", "log", "head"}, 0, "usage: soma log head", NULL},
    {{"help", "nothing"}, 2, NULL, "there is no command `nothing`"},
    {{"run", "--help"}, 0, "--timeout TIME", NULL},
    {{"version"}, 0, "soma " SOMA_VERSION, NULL},
    {{"--json", "version"}, 0, "{\"version\":\"" SOMA_VERSION "\"}\n", NULL},
    {{"lgo"}, 2, NULL, "did you mean `soma log`?"},
    {{"cancle", "r-1"}, 2, NULL, "did you mean `soma cancel`?"},
    {{"log", "heda"}, 2, NULL, "did you mean `soma log head`?"},
    {{"tool", "chck", "f"}, 2, NULL, "did you mean `soma tool check`?"},
    {{"tool"}, 2, NULL, "did you mean `soma tool list`?"},
    {{"frobnicate"}, 2, NULL, "there is no command `frobnicate`"},
    {{"--bogus", "ps"}, 2, NULL, "unknown or ambiguous option --bogus"},
    {{"ps", "-z"}, 2, NULL, "unknown or ambiguous option -z"},
    {{"ps", "--detach"}, 2, NULL, "--detach"},
    {{"log", "-n"}, 2, NULL, "-n needs an argument"},
    {{"log", "-n", "0"}, 2, NULL, "is no number from 1 to 1000"},
    {{"log", "--after", "-3"}, 2, NULL, "is no number"},
    {{"log", "--run", "r-1", "--actor", "a"}, 2, NULL, "exclude each other"},
    {{"log", "-n", "1001"}, 2, NULL, "is no number from 1 to 1000"},
    {{"log", "-n", "1", "--after", "1"}, 2, NULL, "exclude each other"},
    {{"run"}, 2, NULL, "`soma run` needs PLAN|-"},
    {{"ask", "actor"}, 2, NULL, "`soma ask` needs ACTOR TEXT"},
    {{"ps", "extra"}, 2, NULL, "takes no argument `extra`"},
    {{"show", "x-1"}, 2, NULL, "r-..."},
    {{"run", "/nonexistent/plan"}, 2, NULL, "No such file"},
    {{"run", "-"}, 2, NULL, "line 1, column 0"},
    {{"run", "--timeout", "5", "@plan"}, 2, NULL, "--timeout 5"},
    {{"--config", "/nonexistent.conf", "ps"}, 2, NULL, "E_CONFIG"},
    {{"ps"}, 5, NULL, "E_NO_SUPERVISOR, exit 5"},
    {{"ps", "--json"}, 5, NULL, "{\"error\":{\"code\":\"E_NO_SUPERVISOR\""},
    {{"ps", "--", "-x", "--json"}, 2, NULL, "soma: wrong usage"},
    {{"cancel", "r-1"}, 5, NULL, "soma up"},
    {{"tool", "list"}, 5, NULL, "E_NO_SUPERVISOR"},
    {{"stop"}, 5, NULL, "E_NO_SUPERVISOR"},
    {{"log", "-f"}, 5, NULL, "E_NO_SUPERVISOR"},
    {{"run", "--detach", "@plan"}, 5, NULL, "start one with `soma up`"},
};

static void test_table(void **state) {
    static struct outcome o;
    struct place p;
    char plan[4352];
    assert_int_equal(place_make(&p, 0), 0);
    (void)snprintf(plan, sizeof plan, "%s/plan.json", p.dir);
    FILE *f = fopen(plan, "we");
    assert_non_null(f);
    assert_true(fputs("{\"steps\":[]}", f) >= 0);
    assert_int_equal(fclose(f), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *args[ARGS + 1] = {NULL};
        for (size_t k = 0; k < ARGS && cases[i].args[k]; k++)
            args[k] = strcmp(cases[i].args[k], "@plan") == 0 ? plan : cases[i].args[k];
        assert_int_equal(program_run(&p, NULL, args, &o), 0);
        if (o.code != cases[i].code || (cases[i].err && !strstr(o.err, cases[i].err)))
            print_error("case %zu (%s): %d %s\n", i, args[0], o.code, o.err);
        assert_int_equal(o.code, cases[i].code);
        assert_true(cases[i].out ? strstr(o.out, cases[i].out) != NULL : *o.out == '\0');
        assert_true(cases[i].err ? strstr(o.err, cases[i].err) != NULL : *o.err == '\0');
    }
    place_remove(&p);
}

/* An error with --json is one object and nothing else. */
static void test_json_error(void **state) {
    static struct outcome o;
    struct place p;
    auto_json json_t *error = NULL;
    assert_int_equal(place_make(&p, 0), 0);
    assert_int_equal(program_run(&p, NULL, (const char *const[]){"show", "--json", "\033[2J", NULL}, &o), 0);
    assert_int_equal(json_parse(o.err, strlen(o.err) - 1, OUT_MAX, &error), 0);
    assert_int_equal(json_i64(json_object_get(error, "error"), "exit", 0), 2);
    assert_int_equal(o.code, 2);
    place_remove(&p);
}

/* Every check is named; no check that passes asks for anything. */
static void test_doctor(void **state) {
    static struct outcome o;
    struct place p;
    auto_json json_t *all = NULL;
    size_t i;
    json_t *check;
    assert_int_equal(place_make(&p, 0), 0);
    assert_int_equal(program_run(&p, NULL, (const char *const[]){"doctor", "--json", NULL}, &o), 0);
    assert_int_equal(json_parse(o.out, strlen(o.out) - 1, OUT_MAX, &all), 0);
    assert_int_equal(o.code, json_flag(all, "ok", false) ? 0 : 1);
    bool failed = false, honest = false;
    json_array_foreach(json_object_get(all, "checks"), i, check) {
        const char *level = json_str(check, "level");
        failed = failed || strcmp(level, "fail") == 0;
        honest = honest || strstr(json_str(check, "text"), "NOT yet contained");
        if (strcmp(level, "ok") == 0)
            assert_true(json_is_null(json_object_get(check, "fix")));
        if (strcmp(level, "fail") == 0)
            assert_non_null(json_str(check, "fix"));
    }
    assert_true(i >= 14);
    assert_true(honest);
    assert_int_equal(failed, !json_flag(all, "ok", false));
    assert_int_equal(program_run(&p, NULL, (const char *const[]){"doctor", "--config", "/nonexistent", NULL}, &o), 0);
    assert_int_equal(o.code, 1);
    assert_non_null(strstr(o.out, "fail  configuration"));
    place_remove(&p);
}

static void test_unwritable_output(void **state) {
    static struct outcome o;
    struct place p;
    assert_int_equal(place_make(&p, 0), 0);
    const char *const args[] = {"-c", "exec \"$0\" version >/dev/full", SOMA_BINARY, NULL};
    assert_int_equal(program_run(&p, "/bin/sh", args, &o), 0);
    assert_int_equal(o.code, 1);
    assert_non_null(strstr(o.err, "No space left"));
    place_remove(&p);
}

/* --- the manual page -------------------------------------------------------------------------------------------- */

/* Whether the page has `word` as a whole one, on a line that begins with `macro` (NULL = any). */
static bool page_has(const char *page, const char *macro, const char *word) {
    size_t n = strlen(word);
    for (const char *at = page; (at = strstr(at, word)); at++) {
        const char *line = at;
        while (line > page && line[-1] != '\n')
            line--;
        if ((!macro || strncmp(line, macro, strlen(macro)) == 0) && at[-1] == ' ' && strchr(" \n", at[n]))
            return true;
    }
    return false;
}

static void test_manual(void **state) {
    static char page[65536];
    auto_file FILE *f = fopen(SOMA_MANUAL, "re");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    for (unsigned i = 0; i < cli_n_commands; i++) {
        if (!page_has(page, ".It Cm ", cli_commands[i].name))
            print_error("soma.1 lacks the command %s\n", cli_commands[i].name);
        assert_true(page_has(page, ".It Cm ", cli_commands[i].name));
    }
    for (unsigned i = 0; i < OPT__COUNT; i++) {
        char name[32], letter[2] = {cli_options[i].letter, '\0'};
        (void)snprintf(name, sizeof name, "-%s", cli_options[i].name);
        if (!page_has(page, NULL, name))
            print_error("soma.1 lacks the option %s\n", name);
        assert_true(page_has(page, NULL, name));
        assert_true(!*letter || page_has(page, NULL, letter));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),  cmocka_unit_test(test_json_error),        cmocka_unit_test(test_doctor),
        cmocka_unit_test(test_manual), cmocka_unit_test(test_unwritable_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
