/* A tool manifest, in three steps: every key by itself (the table), what the keys say together (one action; input,
 * placeholders and schema agree; effect and profile agree), and the defaults. Nothing here opens a file or looks
 * whether the program exists: a manifest is valid or not whatever the machine looks like today. */
#include "registry/manifest.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/schema.h"
#include "registry/builtins.h"
#include "registry/fields.h"
#include "registry/sandbox.h"

/* --- each key by itself ---------------------------------------------------------------------------------------- */

static int read_description(struct fields *f, const char *key, const json_t *value) {
    size_t points = 0;
    int r = field_is_string(f, value);
    if (r < 0)
        return err_up(r);
    for (const char *c = json_string_value(value); *c; c++)
        points += ((unsigned char)*c & 0xc0) != 0x80;
    if (points < 1 || points > MANIFEST_DESCRIPTION_MAX)
        return field_refuse(f, "expected 1 to %u characters, got %zu", MANIFEST_DESCRIPTION_MAX, points);
    return field_copy(f, key, value);
}

/* The schema's own complaints carry places inside the schema; ours goes before them. */
static int read_schema(struct fields *f, const char *key, const json_t *value) {
    char said[ERR_TEXT_MAX];
    if (!json_is_object(value))
        return field_refuse(f, "expected a JSON Schema object, got %s", field_type(value));
    int r = schema_check(value);
    if (r == -EINVAL) {
        (void)snprintf(said, sizeof said, "%s", err_text());
        return err_raise(-EINVAL, "%s%s%s", f->place.text, said[0] == '/' ? "" : ": ", said);
    }
    const char *type = json_str(value, "type");
    if (r == 0 && (!type || strcmp(type, "object") != 0))
        return field_refuse_at(f, "type", "expected \"object\": the arguments of a tool are an object");
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

static int read_effect(struct fields *f, const char *key, const json_t *value) {
    static const char *const names[] = {"pure", "reader", "state"};
    int r = field_is_one_of(f, value, names, 3);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

static int check_argument(struct fields *f, const char *text) {
    (void)f, (void)text; /* length and NUL are checked for every list of strings */
    return 0;
}

static int read_command(struct fields *f, const char *key, const json_t *value) {
    int r = field_each_string(f, value, check_argument);
    if (r < 0)
        return err_up(r);
    const char *program = json_string_value(json_array_get(value, 0));
    if (!program)
        return field_refuse(f, "an empty command starts nothing; name the program first");
    if (program[0] != '/')
        return field_refuse_at(f, "0", "expected the absolute path of a program; there is no search path and no shell");
    return field_copy(f, key, value);
}

static int read_input(struct fields *f, const char *key, const json_t *value) {
    static const char *const names[] = {"argv", "stdin"};
    static const struct field table[] = {{"stdin", true, field_copy}};
    if (!json_is_object(value)) {
        int r = json_is_string(value) ? field_is_one_of(f, value, names, 2)
                                      : field_refuse(f, "expected \"argv\", \"stdin\" or {\"stdin\": \"{property}\"}");
        return r < 0 ? err_up(r) : field_copy(f, key, value);
    }
    auto_json json_t *own = json_object();
    struct fields inner = {.place = f->place, .normal = own};
    int r = own ? fields_read(&inner, value, table, 1) : err_raise(-ENOMEM, "definition: out of memory");
    return r < 0 ? err_up(r) : fields_put(f, key, json_incref(own));
}

static int read_output(struct fields *f, const char *key, const json_t *value) {
    static const char *const names[] = {"text", "json"};
    int r = field_is_one_of(f, value, names, 2);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

/* To add a key to tool manifests, start here; the order is that of the normalised object. */
static const struct field tool_table[] = {
    {"name", true, field_name},       {"description", true, read_description}, {"input_schema", true, read_schema},
    {"effect", true, read_effect},    {"idempotent", false, field_boolean},    {"timeout", false, field_timeout},
    {"command", false, read_command}, {"builtin", false, field_name},          {"input", false, read_input},
    {"output", false, read_output},   {"sandbox", false, field_copy}, /* read once the effect is known; not part of the
                                                                         normalised object */
};

/* --- placeholders ---------------------------------------------------------------------------------------------- */

/* Gives the property that a whole element "{property}" names; false when the element has no such form, which is that of
 * the tool call's argv too. "{}" and "{print $1}" are what they look like: text for the program. */
static bool placeholder(const char *element, char name[128]) {
    size_t n = strlen(element);
    if (n < 3 || n - 2 >= 128 || element[0] != '{' || element[n - 1] != '}')
        return false;
    (void)snprintf(name, 128, "%.*s", (int)(n - 2), element + 1);
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == n - 2;
}

static bool scalar_type(const char *type) {
    static const char *const names[] = {"string", "integer", "boolean", "number"};
    for (size_t i = 0; type && i < sizeof names / sizeof *names; i++)
        if (strcmp(type, names[i]) == 0)
            return true;
    return false;
}

/* Does the property, or every type of its list, have a form on a command line? */
static bool scalar_property(const json_t *property) {
    const json_t *type = json_object_get(property, "type");
    size_t i;
    json_t *one;
    json_array_foreach(type, i, one) {
        if (!scalar_type(json_string_value(one)))
            return false;
    }
    return json_array_size(type) > 0 || scalar_type(json_string_value(type));
}

/* "--path={path}" would reach the program as those very bytes: nearly always a mistake, so it is named. */
static int check_embedded(struct fields *f, const char *element, const json_t *properties) {
    const char *name;
    json_t *property;
    char form[300];
    json_object_foreach(field_mutable(properties), name, property) {
        if ((size_t)snprintf(form, sizeof form, "{%s}", name) < sizeof form && strstr(element, form))
            return field_refuse(
                f, "a placeholder is a whole element, as in [\"--path\", \"{path}\"], and its name at most "
                   "127 letters, digits, '_' and '-'");
    }
    return 0;
}

static int check_element(struct fields *f, const char *element, const json_t *properties) {
    char name[128];
    if (!placeholder(element, name))
        return check_embedded(f, element, properties);
    const json_t *property = json_object_get(properties, name);
    if (!property)
        return field_refuse(f, "placeholder for a property that input_schema does not declare");
    if (!scalar_property(property))
        return field_refuse(f, "placeholder for a property that is not declared with type string, integer, number or "
                               "boolean; objects and arrays travel by stdin");
    return 0;
}

static int check_command(struct fields *f, const json_t *command, const json_t *properties) {
    size_t i;
    json_t *element;
    int r = 0;
    json_place_push(&f->place, "command");
    json_array_foreach(command, i, element) {
        json_place_index(&f->place, i);
        r = check_element(f, json_string_value(element), properties);
        json_place_pop(&f->place);
        if (r < 0)
            break;
    }
    json_place_pop(&f->place);
    return err_up(r);
}

/* The place is at /input. */
static int check_stdin(struct fields *f, const json_t *what, const json_t *properties) {
    char name[128];
    int r = field_is_string(f, what);
    if (r < 0)
        return err_up(r);
    if (!placeholder(json_string_value(what), name))
        return field_refuse_at(f, "stdin", "expected \"{property}\", the one string argument to send");
    const char *type = json_str(json_object_get(properties, name), "type");
    if (!type || strcmp(type, "string") != 0)
        return field_refuse_at(f, "stdin", "expected a property that input_schema declares with type string");
    return 0;
}

/* --- what the keys say together -------------------------------------------------------------------------------- */

/* A required argument that goes nowhere means that manifest and program disagree. */
static int check_unused(struct fields *f, const json_t *command, const json_t *input, const json_t *schema) {
    const char *piped = json_str(input, "stdin");
    size_t i, e;
    json_t *name, *element;
    char form[300];
    if (json_is_string(input) && strcmp(json_string_value(input), "stdin") == 0)
        return 0;
    json_array_foreach(json_object_get(schema, "required"), i, name) {
        (void)snprintf(form, sizeof form, "{%s}", json_string_value(name));
        bool used = piped && strcmp(piped, form) == 0;
        json_array_foreach(command, e, element) {
            used = used || strcmp(json_string_value(element), form) == 0;
        }
        if (!used)
            return field_refuse_at(f, "input",
                                   "required argument %zu of input_schema never reaches the program; use it "
                                   "as a placeholder in command, or choose \"stdin\"",
                                   i);
    }
    return 0;
}

static int check_program(struct fields *f, const json_t *command) {
    const json_t *input = json_object_get(f->normal, "input"), *schema = json_object_get(f->normal, "input_schema");
    const json_t *properties = json_object_get(schema, "properties");
    if (!input)
        return field_refuse_at(f, "input", "required with command: \"argv\", \"stdin\" or {\"stdin\": \"{property}\"}");
    int r = check_command(f, command, properties);
    if (r == 0 && json_is_object(input)) {
        json_place_push(&f->place, "input");
        r = check_stdin(f, json_object_get(input, "stdin"), properties);
        json_place_pop(&f->place);
    }
    return r < 0 ? err_up(r) : check_unused(f, command, input, schema);
}

/* An alias may describe and limit a built-in in its own words, but not promise more than the built-in keeps. */
static int check_builtin(struct fields *f, const char *name) {
    auto_json json_t *original = NULL;
    if (json_object_get(f->normal, "input"))
        return field_refuse_at(f, "input", "belongs to command; a built-in takes its arguments as they are");
    if (json_str(f->normal, "output") && strcmp(json_str(f->normal, "output"), "json") != 0)
        return field_refuse_at(f, "output", "a built-in answers JSON; leave it out or say \"json\"");
    int r = builtins_manifest(name, &original);
    if (r == -ENOENT)
        return field_refuse_at(f, "builtin", "there is no such built-in; a program of your own is a command");
    if (r < 0)
        return err_up(r);
    const char *effect = json_str(original, "effect");
    if (strcmp(effect, json_str(f->normal, "effect")) != 0)
        return field_refuse_at(f, "effect", "this built-in has effect %s; say so", effect);
    if (!json_flag(original, "idempotent", false) && json_flag(f->normal, "idempotent", false))
        return field_refuse_at(f, "idempotent", "this built-in is not safe to repeat; say false or leave it out");
    return 0;
}

static int check_action(struct fields *f) {
    const json_t *command = json_object_get(f->normal, "command");
    const char *builtin = json_str(f->normal, "builtin");
    if (!command && !builtin)
        return field_refuse_at(f, "command", "required, but missing: what to start (or builtin: which of soma's own)");
    if (command && builtin)
        return field_refuse_at(f, "builtin", "a tool is a command or a built-in, not both; remove one");
    return command ? check_program(f, command) : check_builtin(f, builtin);
}

static int check_profile(struct fields *f) {
    auto_json json_t *original = NULL;
    const char *builtin = json_str(f->normal, "builtin");
    int r = builtin ? builtins_manifest(builtin, &original) : 0;
    if (r < 0 || !builtin)
        return err_up(r);
    const char *profile = json_str(json_object_get(original, "sandbox"), "profile");
    if (strcmp(profile, json_str(f->normal, "profile")) == 0)
        return 0;
    json_place_push(&f->place, "sandbox");
    r = field_refuse_at(f, "profile", "this built-in runs under profile %s; say so or leave it out", profile);
    json_place_pop(&f->place);
    return err_up(r);
}

/* --- defaults -------------------------------------------------------------------------------------------------- */

static int put_defaults(struct fields *f, int64_t timeout_ms) {
    bool repeatable = strcmp(json_str(f->normal, "effect"), "state") != 0;
    const char *output = json_str(f->normal, "builtin") ? "json" : "text";
    int r = 0;
    if (!json_object_get(f->normal, "idempotent"))
        r = fields_put(f, "idempotent", json_boolean(repeatable));
    if (r == 0 && !json_object_get(f->normal, "timeout_ms"))
        r = fields_put(f, "timeout_ms", json_integer(timeout_ms));
    if (r == 0 && !json_object_get(f->normal, "output"))
        r = fields_put(f, "output", json_string(output));
    return err_up(r);
}

/* Members in one order, whatever was a default: two readings of one manifest give the same bytes. */
static int put_in_order(const json_t *from, json_t **out) {
    static const char *const order[] = {"name",    "description", "input_schema", "effect", "idempotent", "timeout_ms",
                                        "command", "builtin",     "input",        "output", "profile",    "available",
                                        "read",    "write",       "net",          "env",    "limits"};
    auto_json json_t *sorted = json_object();
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        json_t *member = json_object_get(from, order[i]);
        if (member && json_object_set(sorted, order[i], member) < 0)
            return err_raise(-ENOMEM, "definition: out of memory");
    }
    *out = sorted ? json_incref(sorted) : NULL;
    return sorted ? 0 : err_raise(-ENOMEM, "definition: out of memory");
}

int manifest_tool(const json_t *doc, json_t **normal) {
    auto_json json_t *built = json_object();
    struct fields f = {.normal = built};
    int64_t timeout_ms = 0;
    int r = built ? 0 : err_raise(-ENOMEM, "definition: out of memory");
    if (r == 0)
        r = fields_read(&f, doc, tool_table, sizeof tool_table / sizeof *tool_table);
    if (r == 0)
        r = check_action(&f);
    if (r == 0)
        r = sandbox_read(&f, json_object_get(doc, "sandbox"), json_str(built, "effect"), &timeout_ms);
    if (r == 0)
        r = check_profile(&f);
    if (r == 0)
        r = put_defaults(&f, timeout_ms);
    return r < 0 ? err_up(r) : put_in_order(built, normal);
}
