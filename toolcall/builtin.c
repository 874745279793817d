/* The table of built-ins and the plain ones among them. To add a built-in, write its function, add a row here and a
 * manifest in the registry's list: the schema there is the contract, the checks here are the second look. */
#include "toolcall/builtin.h"

#include "common/cleanup.h"
#include "common/json.h"
#include "toolcall/builtin_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_MAX_MS (24 * 3600 * 1000)

int arg_text(const struct builtin_call *call, const char *key, bool required, const char **text, size_t *n) {
    json_t *value = json_object_get(call->args, key);
    if (!value && !required) {
        *text = NULL;
        *n = 0;
        return 0;
    }
    if (!json_is_string(value))
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument %s: a string is needed", key);
    *text = json_string_value(value);
    *n = json_string_length(value);
    if (memchr(*text, '\0', *n)) /* nobody downstream may see a shorter string than the policy did */
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument %s: contains a NUL character", key);
    return 0;
}

int arg_number(const struct builtin_call *call, const char *key, int64_t min, int64_t max, int64_t *number) {
    json_t *value = json_object_get(call->args, key);
    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return tool_fail(call->failure, TOOL_INVALID_ARGS,
                         "argument %s: an integer from %" PRId64 " to %" PRId64 " is needed", key, min, max);
    *number = json_integer_value(value);
    return 0;
}

int arg_flag(const struct builtin_call *call, const char *key, bool *flag) {
    json_t *value = json_object_get(call->args, key);
    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument %s: true or false is needed", key);
    *flag = json_is_true(value);
    return 0;
}

int builtin_done(const struct builtin_call *call, json_t *value, json_t **out) {
    if (!value)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "the result could not be built: out of memory");
    *out = value;
    return 0;
}

static int echo(const struct builtin_call *call, json_t **out) {
    return builtin_done(call, json_deep_copy(call->args), out);
}

static int sleep_ms(const struct builtin_call *call, json_t **out) {
    int64_t ms = -1;
    if (arg_number(call, "ms", 0, SLEEP_MAX_MS, &ms) != 0)
        return 1;
    if (ms < 0)
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument ms: missing");
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    int error;
    while ((error = clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left)) == EINTR)
        ;
    if (error != 0)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "sleep: %s", strerror(error));
    return builtin_done(call, json_pack("{s:I}", "slept_ms", (json_int_t)ms), out);
}

/* The tool that goes wrong on demand: people try their limits and restart policies with it. */
static int fail(const struct builtin_call *call, json_t **out) {
    (void)out;
    const char *mode, *message;
    size_t n;
    if (arg_text(call, "mode", false, &mode, &n) != 0 || arg_text(call, "message", false, &message, &n) != 0)
        return 1;
    if (!mode || strcmp(mode, "error") == 0)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "%s", message ? message : "failed as asked");
    if (strcmp(mode, "crash") == 0)
        abort();
    if (strcmp(mode, "hang") == 0)
        for (;;)
            (void)pause();
    return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument mode: error, crash or hang is needed");
}

static const struct builtin {
    const char *name;
    int (*run)(const struct builtin_call *call, json_t **out);
} table[] = {
    {"echo", echo},
    {"fail", fail},
    {"file_list", builtin_file_list},
    {"file_read", builtin_file_read},
    {"file_write", builtin_file_write},
    {"sleep", sleep_ms},
    {"text_grep", builtin_text_grep},
    {"text_head", builtin_text_head},
};

static const struct builtin *find(const char *name) {
    for (size_t i = 0; name && i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

bool builtin_known(const char *name) {
    return find(name) != NULL;
}

/* Functions cut their result to fit; what cannot be cut (echo) is refused here. */
static int check_size(const struct builtin_call *call, const json_t *value) {
    auto_free char *text = NULL;
    size_t n;
    int r = json_text(value, call->max_bytes, &text, &n);
    if (r == -EMSGSIZE)
        return tool_fail(call->failure, TOOL_OUTPUT_LIMIT, "the result is larger than %zu bytes", call->max_bytes);
    if (r < 0)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "the result could not be encoded: %s", strerror(-r));
    return 0;
}

int builtin_run(const char *name, const json_t *args, const struct tool_roots *roots, size_t max_bytes, json_t **out,
                struct tool_failure *failure) {
    static const struct tool_roots none;
    const struct builtin *builtin = find(name);
    if (!builtin)
        return tool_fail(failure, TOOL_NOT_FOUND, "there is no built-in named %.64s", name ? name : "(none)");
    if (!json_is_object(args))
        return tool_fail(failure, TOOL_INVALID_ARGS, "the arguments must be an object");
    struct builtin_call call = {
        .args = args,
        .roots = roots ? roots : &none,
        .max_bytes = max_bytes < TOOL_VALUE_MAX ? max_bytes : TOOL_VALUE_MAX,
        .failure = failure,
    };
    auto_json json_t *value = NULL;
    if (builtin->run(&call, &value) != 0 || check_size(&call, value) != 0)
        return 1;
    *out = take_ptr(&value);
    return 0;
}
