/* A command, not a role: it holds no links and reads one file. Texts of a refusal begin with their place, "/effect: …";
 * people get them as they are, programs get the two apart. */
#include "registry/check.h"

#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "registry/catalog.h"

enum { EXIT_GOOD = 0, EXIT_UNWRITTEN = 1, EXIT_REFUSED = 2, EXIT_MISSING = 3, EXIT_FAULT = 7 };

struct check {
    const char *file;
    char shown[PATH_MAX]; /* `file`, fit for a terminal and for JSON */
    bool actor, json;
};

static const char *kind_of(const struct check *check) {
    return check->actor ? "actor" : "tool";
}

/* Bytes from an argument: whatever is no plain ASCII might steer a terminal or be no UTF-8. */
static void show_file(struct check *check) {
    (void)snprintf(check->shown, sizeof check->shown, "%s", check->file);
    for (char *c = check->shown; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
}

static bool put_line(FILE *to, const json_t *object) {
    auto_free char *text = NULL;
    size_t n;
    return json_text(object, JSON_TEXT_MAX, &text, &n) == 0 && fprintf(to, "%s\n", text) > 0 && fflush(to) == 0;
}

static int say_good(const struct check *check, const json_t *normal) {
    const char *name = json_str(normal, "name");
    bool done = false;
    if (check->json) {
        auto_json json_t *said =
            json_pack("{s:b, s:s, s:s, s:s}", "ok", 1, "kind", kind_of(check), "file", check->shown, "name", name);
        done = put_line(stdout, said);
    } else {
        done = printf("ok %s\n", name) > 0 && fflush(stdout) == 0;
    }
    return done ? EXIT_GOOD : EXIT_UNWRITTEN;
}

/* Cuts "/place: why" at its colon. A key that holds ": " itself cuts its own pointer short; nothing is lost. */
static const char *split_place(char *text) {
    char *colon = text[0] == '/' ? strstr(text, ": ") : NULL;
    if (!colon)
        return text;
    *colon = '\0';
    return colon + 2;
}

static int say_bad(const struct check *check, int status, const char *fix) {
    char text[ERR_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%s", err_text());
    text[json_utf8_floor(text, strlen(text))] = '\0';
    if (!check->json) {
        (void)fprintf(stderr, "%s: no valid %s definition: %s; fix: %s\n", check->shown, kind_of(check), text, fix);
        return status;
    }
    const char *why = split_place(text);
    auto_json json_t *said =
        json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:i}", "ok", 0, "kind", kind_of(check), "file", check->shown, "where",
                  why == text ? "" : text, "why", why, "fix", fix, "exit", status);
    return put_line(stderr, said) ? status : EXIT_UNWRITTEN;
}

static int outcome(const struct check *check, int r) {
    switch (r) {
    case -ENOENT:
    case -ENOTDIR:
        return say_bad(check, EXIT_MISSING, "name a file that exists");
    case -ENOMEM:
        return say_bad(check, EXIT_FAULT, "try again with more memory");
    default:
        return say_bad(check, EXIT_REFUSED,
                       check->actor ? "mend the file; docs/actor.schema.json has every key"
                                    : "mend the file; docs/tool.schema.json has every key");
    }
}

static int check_file(const struct check *check) {
    struct catalog *c = NULL;
    auto_json json_t *normal = NULL;
    int r = catalog_new(check->actor ? CATALOG_ACTORS : CATALOG_TOOLS, &c);
    if (r == 0 && !check->actor)
        r = catalog_add_builtins(c);
    if (r == 0)
        r = catalog_read_file(c, check->file, &normal);
    catalog_free(c);
    return r < 0 ? outcome(check, r) : say_good(check, normal);
}

int check_main(int argc, char **argv) {
    static const struct option options[] = {{"check", required_argument, NULL, 'c'},
                                            {"actor", no_argument, NULL, 'a'},
                                            {"json", no_argument, NULL, 'j'},
                                            {0}};
    struct check check = {0};
    bool usable = true;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'c')
            check.file = optarg;
        check.actor = check.actor || o == 'a';
        check.json = check.json || o == 'j';
        usable = usable && o != '?';
    }
    if (!usable || !check.file || optind != argc) {
        (void)fputs("usage: soma-registry --check FILE [--actor] [--json]\n", stderr);
        return EXIT_REFUSED;
    }
    json_init();
    show_file(&check);
    return check_file(&check);
}
