/* What a tool may do, as its manifest says it. A profile is a row of `profiles[]`: what it can be granted and what it
 * may use up. A manifest names a profile, adds grants that the profile knows (a grant it does not know is a
 * contradiction and refused), and may set limits of its own. An absent list is an empty list, and an empty list grants
 * nothing. */
#include "registry/sandbox.h"

#include <assert.h>
#include <string.h>

#include "registry/manifest.h"

#define KIB INT64_C(1024)
#define MIB (INT64_C(1024) * KIB)
#define GIB (INT64_C(1024) * MIB)

/* To change what a profile gets by default, start here. file_bytes is the size of one file: for the profiles without a
 * granted folder it bounds the private /tmp. */
static const struct profile {
    const char *name;
    bool reads, writes, net, available;
    int64_t timeout_ms, memory_bytes, output_bytes, processes, file_bytes;
} profiles[] = {
    {.name = "pure",
     .available = true,
     .timeout_ms = 10000,
     .memory_bytes = 256 * MIB,
     .output_bytes = 1 * MIB,
     .processes = 8,
     .file_bytes = 1 * MIB},
    {.name = "reader",
     .reads = true,
     .available = true,
     .timeout_ms = 60000,
     .memory_bytes = 512 * MIB,
     .output_bytes = 1 * MIB,
     .processes = 64,
     .file_bytes = 16 * MIB},
    {.name = "writer",
     .reads = true,
     .writes = true,
     .available = true,
     .timeout_ms = 600000,
     .memory_bytes = 2 * GIB,
     .output_bytes = 4 * MIB,
     .processes = 256,
     .file_bytes = 1 * GIB},
    {.name = "net",
     .reads = true,
     .writes = true,
     .net = true,
     .timeout_ms = 120000,
     .memory_bytes = 512 * MIB,
     .output_bytes = 4 * MIB,
     .processes = 64,
     .file_bytes = 16 * MIB},
};
#define PROFILES (sizeof profiles / sizeof *profiles)

static const struct limit {
    const char *key;
    int64_t min, max;
} limits[] = {
    {"memory_bytes", 1 * MIB, 1024 * GIB}, {"cpu_ms", 1, INT64_C(30) * 24 * 3600 * 1000},
    {"output_bytes", 1, 16 * MIB},         {"processes", 1, 32768},
    {"file_bytes", 0, 1024 * GIB},
};

static const struct profile *profile_find(const char *name) {
    for (size_t i = 0; i < PROFILES; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

static int read_profile(struct fields *f, const char *key, const json_t *value) {
    const char *names[PROFILES];
    for (size_t i = 0; i < PROFILES; i++)
        names[i] = profiles[i].name;
    int r = field_is_one_of(f, value, names, PROFILES);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

/* Absolute and without "." , ".." or empty parts: what is granted must be what is read here. */
static int check_folder(struct fields *f, const char *path) {
    if (path[0] != '/')
        return field_refuse(f, "expected an absolute path; relative ones depend on who starts the tool");
    for (const char *part = path + 1; path[1]; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return field_refuse(f, "a path without empty, \".\" or \"..\" parts and without a final '/' is needed");
        part += n;
        if (*part == '\0')
            break;
    }
    return 0;
}

static int read_folders(struct fields *f, const char *key, const json_t *value) {
    int r = field_each_string(f, value, check_folder);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

static bool port_valid(const char *text) {
    size_t n = strspn(text, "0123456789");
    unsigned long port = 0;
    for (size_t i = 0; i < n && n <= 5; i++)
        port = port * 10 + (unsigned long)(text[i] - '0');
    return text[n] == '\0' && text[0] != '0' && port >= 1 && port <= 65535;
}

static int check_host(struct fields *f, const char *text) {
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.");
    if (n == 0 || n > 253 || text[n] != ':' || text[0] == '-' || text[0] == '.' || !port_valid(text + n + 1))
        return field_refuse(
            f, "expected \"host:port\", the host in small letters, digits, '-' and '.', without wildcards");
    return 0;
}

static int read_net(struct fields *f, const char *key, const json_t *value) {
    int r = field_each_string(f, value, check_host);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

static int check_variable(struct fields *f, const char *name, const json_t *value) {
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    if (n == 0 || n > 128 || name[n] != '\0' || (name[0] >= '0' && name[0] <= '9'))
        return field_refuse(f, "not a variable name: letters, digits and '_', no digit first, at most 128");
    if (strncmp(name, "SOMA_", 5) == 0)
        return field_refuse(f, "names that begin with SOMA_ are set by the runtime; choose another");
    int r = field_is_string(f, value);
    if (r == 0 && json_string_length(value) > FIELD_TEXT_MAX)
        return field_refuse(f, "longer than %u bytes", FIELD_TEXT_MAX);
    return err_up(r);
}

static int read_env(struct fields *f, const char *key, const json_t *value) {
    const char *name;
    json_t *one;
    if (!json_is_object(value))
        return field_refuse(f, "expected an object of strings, got %s", field_type(value));
    if (json_object_size(value) > MANIFEST_ENV_MAX)
        return field_refuse(f, "more than %u variables", MANIFEST_ENV_MAX);
    json_object_foreach(field_mutable(value), name, one) {
        json_place_push(&f->place, name);
        int r = check_variable(f, name, one);
        json_place_pop(&f->place);
        if (r < 0)
            return err_up(r);
    }
    return field_copy(f, key, value);
}

static int read_limit(struct fields *f, const char *key, const json_t *value) {
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (strcmp(limits[i].key, key) != 0)
            continue;
        if (!json_is_integer(value))
            return field_refuse(f, "expected integer, got %s", field_type(value));
        if (json_integer_value(value) < limits[i].min || json_integer_value(value) > limits[i].max)
            return field_refuse(f, "expected %lld to %lld", (long long)limits[i].min, (long long)limits[i].max);
        return field_copy(f, key, value);
    }
    return err_raise(-EINVAL, "limit %s is in no table", key);
}

static int read_limits(struct fields *f, const char *key, const json_t *value) {
    static const struct field table[] = {
        {"memory_bytes", false, read_limit}, {"cpu_ms", false, read_limit},     {"output_bytes", false, read_limit},
        {"processes", false, read_limit},    {"file_bytes", false, read_limit},
    };
    json_t *outer = f->normal;
    auto_json json_t *own = json_object();
    f->normal = own;
    int r = own ? fields_read(f, value, table, sizeof table / sizeof *table) : err_raise(-ENOMEM, "out of memory");
    f->normal = outer;
    return r < 0 ? err_up(r) : fields_put(f, key, json_incref(own));
}

/* --- as a whole ------------------------------------------------------------------------------------------------ */

/* Least privilege that serves the effect. */
static const char *default_profile(const char *effect) {
    return strcmp(effect, "state") == 0 ? "writer" : effect;
}

static int check_grant(struct fields *f, const json_t *given, const char *key, bool known, const char *profile) {
    if (known || json_array_size(json_object_get(given, key)) == 0)
        return 0;
    return field_refuse_at(f, key, "profile %s cannot be granted this; leave it out or choose another profile",
                           profile);
}

/* The place is at the sandbox. */
static int check_contradictions(struct fields *f, const json_t *given, const struct profile *p, const char *effect) {
    bool state = strcmp(effect, "state") == 0;
    if (strcmp(p->name, "writer") == 0 && !state)
        return field_refuse_at(f, "profile", "effect %s promises to write nothing; choose profile %s, or effect state",
                               effect, effect);
    if (p->net && strcmp(effect, "pure") == 0)
        return field_refuse_at(f, "profile",
                               "effect pure promises to reach nothing outside; choose profile pure, or "
                               "effect reader or state");
    if (!state && json_array_size(json_object_get(given, "write")) > 0)
        return field_refuse_at(f, "write", "effect %s promises to write nothing; leave it out, or declare effect state",
                               effect);
    int r = check_grant(f, given, "read", p->reads, p->name);
    if (r == 0)
        r = check_grant(f, given, "write", p->writes, p->name);
    return r < 0 ? err_up(r) : check_grant(f, given, "net", p->net, p->name);
}

static int put_list(struct fields *f, const json_t *given, const char *key, json_t *empty) {
    json_t *list = json_object_get(given, key);
    auto_json json_t *spare = empty;
    return fields_put(f, key, json_incref(list ? list : spare));
}

static int put_limits(struct fields *f, const json_t *given, const struct profile *p) {
    auto_json json_t *all = json_pack("{s:I, s:I, s:I, s:I}", "memory_bytes", (json_int_t)p->memory_bytes,
                                      "output_bytes", (json_int_t)p->output_bytes, "processes",
                                      (json_int_t)p->processes, "file_bytes", (json_int_t)p->file_bytes);
    json_t *own = json_object_get(given, "limits");
    if (!all || (own && json_object_update(all, own) < 0))
        return err_raise(-ENOMEM, "definition: out of memory");
    return fields_put(f, "limits", json_incref(all));
}

static int put_all(struct fields *f, const json_t *given, const struct profile *p) {
    int r = fields_put(f, "profile", json_string(p->name));
    if (r == 0)
        r = fields_put(f, "available", json_boolean(p->available));
    if (r == 0)
        r = put_list(f, given, "read", json_array());
    if (r == 0)
        r = put_list(f, given, "write", json_array());
    if (r == 0)
        r = put_list(f, given, "net", json_array());
    if (r == 0)
        r = put_list(f, given, "env", json_object());
    return r < 0 ? err_up(r) : put_limits(f, given, p);
}

int sandbox_read(struct fields *f, const json_t *sandbox, const char *effect, int64_t *timeout_ms) {
    static const struct field table[] = {
        {"profile", false, read_profile}, {"read", false, read_folders}, {"write", false, read_folders},
        {"net", false, read_net},         {"env", false, read_env},      {"limits", false, read_limits},
    };
    auto_json json_t *given = json_object();
    struct fields inner = {.place = f->place, .normal = given};
    int r = given ? 0 : err_raise(-ENOMEM, "definition: out of memory");
    json_place_push(&inner.place, "sandbox");
    if (r == 0 && sandbox)
        r = fields_read(&inner, sandbox, table, sizeof table / sizeof *table);
    if (r < 0)
        return err_up(r);
    const char *name = json_str(given, "profile");
    const struct profile *p = profile_find(name ? name : default_profile(effect));
    assert(p);
    r = check_contradictions(&inner, given, p, effect);
    if (r == 0)
        r = put_all(f, given, p);
    if (r == 0)
        *timeout_ms = p->timeout_ms;
    return err_up(r);
}
