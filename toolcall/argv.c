/* Three lists are built: arguments, environment, input. The manifest has been checked by the registry; what is checked
 * again here is everything that would change which program runs or how its arguments are cut. */
#include "toolcall/argv.h"

#include "common/cleanup.h"
#include "common/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ELEMENT_MAX (128u * 1024u) /* MAX_ARG_STRLEN of execve(2), terminator included */
#define INPUT_MAX JSON_TEXT_MAX

struct build {
    const json_t *manifest, *args;
    struct tool_failure *failure;
};

static int no_memory(const struct build *b) {
    return tool_fail(b->failure, TOOL_TOOL_ERROR, "the command could not be built: out of memory");
}

static int bad_manifest(const struct build *b, const char *why) {
    return tool_fail(b->failure, TOOL_NOT_EXECUTABLE, "the manifest cannot be run: %s", why);
}

/* "{name}" as a whole element; copies the name. */
static bool placeholder(const char *element, char name[128]) {
    size_t n = strlen(element);
    if (n < 3 || n - 2 >= 128 || element[0] != '{' || element[n - 1] != '}')
        return false;
    for (size_t i = 1; i < n - 1; i++)
        if (!isalnum((unsigned char)element[i]) && element[i] != '_' && element[i] != '-')
            return false;
    memcpy(name, element + 1, n - 2);
    name[n - 2] = '\0';
    return true;
}

/* The fewest digits that read back as the same number. */
static char *real_text(double value) {
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return strdup(text);
}

static char *integer_text(json_int_t value) {
    char text[32];
    (void)snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, value);
    return strdup(text);
}

/* One argument as an element. *out stays NULL for one that is absent. */
static int argument_text(const struct build *b, const char *name, char **out) {
    json_t *value = json_object_get(b->args, name);
    char *text;
    if (!value)
        return 0;
    if (json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value))
            return tool_fail(b->failure, TOOL_INVALID_ARGS, "argument %.64s: contains a NUL character", name);
        if (json_string_length(value) >= ELEMENT_MAX)
            return tool_fail(b->failure, TOOL_INVALID_ARGS, "argument %.64s: longer than %u bytes", name,
                             ELEMENT_MAX - 1);
        text = strdup(json_string_value(value));
    } else if (json_is_integer(value)) {
        text = integer_text(json_integer_value(value));
    } else if (json_is_real(value)) {
        text = real_text(json_real_value(value));
    } else if (json_is_boolean(value)) {
        text = strdup(json_is_true(value) ? "true" : "false");
    } else {
        return tool_fail(b->failure, TOOL_INVALID_ARGS, "argument %.64s: cannot stand on a command line", name);
    }
    *out = text;
    return text ? 0 : no_memory(b);
}

static void list_free(char **list) {
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

static int build_element(const struct build *b, const json_t *element, char **out) {
    const char *text = json_string_value(element);
    char name[128];
    if (!text)
        return bad_manifest(b, "command must be an array of strings");
    if (placeholder(text, name))
        return argument_text(b, name, out);
    *out = strdup(text);
    return *out ? 0 : no_memory(b);
}

/* `list` has room for every element and the end. An element whose argument is absent is left out. */
static int fill_argv(const struct build *b, const json_t *command, char **list) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(command); i++) {
        if (build_element(b, json_array_get(command, i), &list[n]) != 0)
            return 1;
        n += list[n] != NULL;
    }
    return 0;
}

static int build_argv(const struct build *b, char ***out) {
    const json_t *command = json_object_get(b->manifest, "command");
    const char *program = json_string_value(json_array_get(command, 0));
    /* An absolute path: neither a search path nor an argument may choose the program. */
    if (!program || program[0] != '/')
        return bad_manifest(b, "command must begin with an absolute path");
    char **list = calloc(json_array_size(command) + 1, sizeof *list);
    if (!list)
        return no_memory(b);
    if (fill_argv(b, command, list) != 0) {
        list_free(list);
        return 1;
    }
    *out = list;
    return 0;
}

static bool variable_name(const char *name) {
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_')
            return false;
    return true;
}

/* Sets NAME=value in a list with room for it; a later one replaces an earlier one of the same name. */
static int set_variable(const struct build *b, char **list, const char *name, const char *value) {
    size_t i = 0, n = strlen(name);
    while (list[i] && (strncmp(list[i], name, n) != 0 || list[i][n] != '='))
        i++;
    char *text = NULL;
    if (asprintf(&text, "%s=%s", name, value) < 0)
        return no_memory(b);
    free(list[i]);
    list[i] = text;
    return 0;
}

static int fill_env(const struct build *b, const char *key, char **list) {
    static const char *const base[][2] = {{"PATH", "/usr/bin:/bin"}, {"LANG", "C.UTF-8"}, {"HOME", "/"}};
    for (size_t i = 0; i < sizeof base / sizeof base[0]; i++)
        if (set_variable(b, list, base[i][0], base[i][1]) != 0)
            return 1;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(b->manifest, "env"), name, value) {
        const char *text = json_string_value(value);
        if (!variable_name(name) || !text || strlen(text) != json_string_length(value))
            return bad_manifest(b, "env must map names of variables to strings");
        if (set_variable(b, list, name, text) != 0)
            return 1;
    }
    return key ? set_variable(b, list, "SOMA_IDEMPOTENCY_KEY", key) : 0;
}

static int build_env(const struct build *b, const char *key, char ***out) {
    char **list = calloc(json_object_size(json_object_get(b->manifest, "env")) + 5, sizeof *list);
    if (!list)
        return no_memory(b);
    if (fill_env(b, key, list) != 0) {
        list_free(list);
        return 1;
    }
    *out = list;
    return 0;
}

/* The raw bytes of one string argument; an absent one is empty input. */
static int raw_input(const struct build *b, const char *element, struct argv *out) {
    char name[128];
    if (!element || !placeholder(element, name))
        return bad_manifest(b, "input.stdin must be one placeholder");
    const json_t *value = json_object_get(b->args, name);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return tool_fail(b->failure, TOOL_INVALID_ARGS, "argument %.64s: a string is needed for stdin", name);
    out->input_n = json_string_length(value);
    out->input = malloc(out->input_n + 1);
    if (!out->input)
        return no_memory(b);
    memcpy(out->input, json_string_value(value), out->input_n + 1);
    return 0;
}

static int build_input(const struct build *b, struct argv *out) {
    const json_t *input = json_object_get(b->manifest, "input");
    const char *mode = json_string_value(input);
    if (json_is_object(input))
        return raw_input(b, json_string_value(json_object_get(input, "stdin")), out);
    if (!input || (mode && strcmp(mode, "argv") == 0))
        return 0;
    if (!mode || strcmp(mode, "stdin") != 0)
        return bad_manifest(b, "input must be argv, stdin or {\"stdin\": placeholder}");
    int r = json_text(b->args, INPUT_MAX, &out->input, &out->input_n);
    if (r == -EMSGSIZE)
        return tool_fail(b->failure, TOOL_INVALID_ARGS, "the arguments are larger than %u bytes", INPUT_MAX);
    return r < 0 ? no_memory(b) : 0;
}

static int build_output(const struct build *b, struct argv *out) {
    const json_t *output = json_object_get(b->manifest, "output");
    const char *mode = output ? json_string_value(output) : "text";
    out->json_output = mode && strcmp(mode, "json") == 0;
    return out->json_output || (mode && strcmp(mode, "text") == 0) ? 0 : bad_manifest(b, "output must be text or json");
}

int argv_build(const json_t *manifest, const json_t *args, const char *key, struct argv *out,
               struct tool_failure *failure) {
    struct build b = {manifest, args, failure};
    struct argv built = ARGV_NULL;
    if (build_argv(&b, &built.argv) != 0 || build_env(&b, key, &built.envp) != 0 || build_input(&b, &built) != 0 ||
        build_output(&b, &built) != 0) {
        argv_deinit(&built);
        return 1;
    }
    *out = built;
    return 0;
}

void argv_deinit(struct argv *argv) {
    if (!argv)
        return;
    list_free(argv->argv);
    list_free(argv->envp);
    free(argv->input);
    *argv = ARGV_NULL;
}

struct tool_limits argv_limits(const json_t *manifest) {
    const json_t *limits = json_object_get(manifest, "limits");
    struct tool_limits out = {0};
    const struct {
        const char *key;
        uint64_t *field;
    } rows[] = {
        {"memory_bytes", &out.memory_bytes}, {"cpu_ms", &out.cpu_ms},         {"output_bytes", &out.output_bytes},
        {"processes", &out.processes},       {"file_bytes", &out.file_bytes},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = json_i64(limits, rows[i].key, 0);
        *rows[i].field = value > 0 ? (uint64_t)value : 0;
    }
    return out;
}
