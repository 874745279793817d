/* Two passes: the raw lines (length, continuation, duplicates) with file and line in every refusal, then inih, whose
 * handler looks each key up in one table. To add a key: a row in `keys` and a line in soma.conf(5). */
#include "supervisor/config.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/scan.h"

#include <ctype.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#define KEYS_SEEN_MAX 256u
#define CONFIG_SECTION_MAX 50u /* bytes of a section's name and its bracket: inih's MAX_SECTION */

struct reading {
    const char *path;
    char dir[SPEC_PATH];
    struct spec *spec;
    int line; /* of the refusal */
    char why[ERR_TEXT_MAX];
};

typedef int (*parse_fn)(struct reading *r, const char *value, void *at);

static int refuse(struct reading *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct reading *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

/* ---- values ---- */

static int parse_bool(struct reading *r, const char *value, void *at) {
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (int i = 0; i < 4; i++)
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            *(bool *)at = strcmp(value, yes[i]) == 0;
            return 0;
        }
    return refuse(r, "expected yes or no");
}

static int parse_ms(struct reading *r, const char *value, void *at) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    for (int i = 0; i < 4 && end != value && isdigit((unsigned char)*value); i++)
        if (strcmp(end, units[i].unit) == 0 && !errno && n <= INT64_C(2592000000) / units[i].ms) {
            *(int64_t *)at = n * units[i].ms;
            return 0;
        }
    return refuse(r, "expected a duration: digits and one of ms, s, m, h, at most 30 days");
}

static int parse_u32(struct reading *r, const char *value, void *at) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (errno || end == value || *end || !isdigit((unsigned char)*value) || n > UINT32_MAX)
        return refuse(r, "expected a whole number");
    *(uint32_t *)at = (uint32_t)n;
    return 0;
}

static int put_path(struct reading *r, const char *value, size_t n, char *out) {
    int len = *value == '/' ? snprintf(out, SPEC_PATH, "%.*s", (int)n, value)
                            : snprintf(out, SPEC_PATH, "%s/%.*s", r->dir, (int)n, value);
    if (n == 0 || len >= (int)SPEC_PATH)
        return refuse(r, "expected a path of at most %u bytes", SPEC_PATH - 1);
    while (len > 1 && out[len - 1] == '/')
        out[--len] = 0;
    return 0;
}

static int parse_path(struct reading *r, const char *value, void *at) {
    return put_path(r, value, strlen(value), at);
}

static int parse_paths(struct reading *r, const char *value, char (*list)[SPEC_PATH], uint32_t *n, uint32_t most) {
    for (*n = 0; *value;) {
        size_t len = strcspn(value, " \t");
        if (*n == most)
            return refuse(r, "more than %u folders", most);
        if (put_path(r, value, len, list[*n]) < 0)
            return -EINVAL;
        ++*n;
        value += len;
        value += strspn(value, " \t");
    }
    return 0;
}

static int parse_read(struct reading *r, const char *value, void *at) {
    return parse_paths(r, value, r->spec->read_roots, &r->spec->n_read_roots, SPEC_ROOTS_MAX);
}
static int parse_write(struct reading *r, const char *value, void *at) {
    return parse_paths(r, value, r->spec->write_roots, &r->spec->n_write_roots, SPEC_ROOTS_MAX);
}
static int parse_tools(struct reading *r, const char *value, void *at) {
    return parse_paths(r, value, r->spec->tool_dirs, &r->spec->n_tool_dirs, SPEC_DIRS_MAX);
}
static int parse_actors(struct reading *r, const char *value, void *at) {
    return parse_paths(r, value, r->spec->actor_dirs, &r->spec->n_actor_dirs, SPEC_DIRS_MAX);
}

static int parse_uid(struct reading *r, const char *value, void *at) {
    uint32_t id = 0;
    if (parse_u32(r, value, &id) < 0)
        return -EINVAL;
    if (id == 0 || id == 65534 || id == UINT32_MAX)
        return refuse(r, "tools run neither as root nor as nobody: choose a uid of their own");
    r->spec->tool_uid = r->spec->tool_gid = id;
    return 0;
}

static int parse_kind(struct reading *r, const char *value, void *at) {
    if (strcmp(value, "script") == 0)
        *(enum provider_kind *)at = PROVIDER_SCRIPT;
    else if (strcmp(value, "openai") == 0)
        *(enum provider_kind *)at = PROVIDER_OPENAI;
    else
        return refuse(r, "expected script or openai");
    return 0;
}

static int parse_text(struct reading *r, const char *value, void *at) {
    if (strlen(value) >= 128)
        return refuse(r, "longer than 127 bytes");
    (void)snprintf(at, 128, "%s", value);
    return 0;
}

static int parse_url(struct reading *r, const char *value, void *at) {
    if (strncmp(value, "https://", 8) != 0 && strncmp(value, "http://", 7) != 0)
        return refuse(r, "expected an http:// or https:// URL");
    (void)snprintf(at, SPEC_PATH, "%s", value);
    return 0;
}

/* ---- keys ---- */

struct key {
    const char *section, *name;
    parse_fn parse;
    size_t offset; /* in struct spec, or in struct spec_provider */
    int64_t least; /* of a number or a duration */
};

#define AT(field) offsetof(struct spec, field)
static const struct key keys[] = {
    {"soma", "state", parse_path, AT(state_dir), 0},
    {"soma", "runtime", parse_path, AT(runtime_dir), 0},
    {"soma", "debug", parse_bool, AT(debug), 0},
    {"supervisor", "restart_intensity", parse_u32, AT(restart_intensity), 0},
    {"supervisor", "restart_period", parse_ms, AT(restart_period), 1},
    {"supervisor", "backoff", parse_ms, AT(backoff), 0},
    {"supervisor", "backoff_max", parse_ms, AT(backoff_max), 0},
    {"supervisor", "stable", parse_ms, AT(stable), 0},
    {"supervisor", "start_timeout", parse_ms, AT(start), 1},
    {"supervisor", "stop_timeout", parse_ms, AT(stop), 1},
    {"limits", "cancel_timeout", parse_ms, AT(cancel_timeout), 1},
    {"limits", "orphan_timeout", parse_ms, AT(orphan_timeout), 0},
    {"limits", "step_timeout", parse_ms, AT(step_timeout), 1},
    {"limits", "run_timeout", parse_ms, AT(run_timeout), 1},
    {"limits", "max_workers", parse_u32, AT(max_workers), 1},
    {"limits", "max_clients", parse_u32, AT(max_clients), 1},
    {"tools", "dir", parse_tools, 0, 0},
    {"tools", "uid", parse_uid, 0, 0},
    {"actors", "dir", parse_actors, 0, 0},
    {"policy", "read", parse_read, 0, 0},
    {"policy", "write", parse_write, 0, 0},
};
#undef AT

#define AT(field) offsetof(struct spec_provider, field)
static const struct key provider_keys[] = {
    {"provider", "kind", parse_kind, AT(kind), 0},        {"provider", "script", parse_path, AT(path), 0},
    {"provider", "url", parse_url, AT(url), 0},           {"provider", "key_file", parse_path, AT(key_file), 0},
    {"provider", "ca_file", parse_path, AT(ca_file), 0},  {"provider", "model", parse_text, AT(model), 0},
    {"provider", "timeout", parse_ms, AT(timeout_ms), 1},
};
#undef AT

static int set(struct reading *r, const struct key *key, const char *value, void *base) {
    void *at = (char *)base + key->offset;
    if (!*value && key->parse != parse_read && key->parse != parse_write)
        return refuse(r, "%s: no value", key->name);
    char why[ERR_TEXT_MAX];
    if (key->parse(r, value, at) < 0) {
        (void)snprintf(why, sizeof why, "%s", r->why);
        return refuse(r, "[%s] %s: %.400s", key->section, key->name, why);
    }
    int64_t n = key->parse == parse_ms    ? *(int64_t *)at
                : key->parse == parse_u32 ? (int64_t) * (uint32_t *)at
                                          : key->least;
    if (n < key->least)
        return refuse(r, "[%s] %s: at least %lld", key->section, key->name, (long long)key->least);
    return 0;
}

/* The provider that `[provider "NAME"]` names, made when new. */
static struct spec_provider *provider(struct reading *r, const char *section) {
    char name[NAME_SIZE + 16];
    size_t n = strlen(section);
    if (n < sizeof "provider \"\"" || n >= sizeof name || section[n - 1] != '"')
        return NULL;
    (void)snprintf(name, sizeof name, "%.*s", (int)(n - sizeof "provider \""), section + sizeof "provider \"" - 1);
    if (!name_valid(name))
        return NULL;
    struct spec *spec = r->spec;
    for (uint32_t i = 0; i < spec->n_providers; i++)
        if (strcmp(spec->providers[i].name, name) == 0)
            return &spec->providers[i];
    if (spec->n_providers == SPEC_PROVIDERS_MAX)
        return NULL;
    struct spec_provider *p = &spec->providers[spec->n_providers++];
    *p = (struct spec_provider){.timeout_ms = 120000};
    (void)snprintf(p->name, sizeof p->name, "%.63s", name);
    return p;
}

static int on_provider(struct reading *r, const char *section, const char *name, const char *value) {
    struct spec_provider *p = provider(r, section);
    if (!p)
        return refuse(r, "[%.80s]: expected [provider \"NAME\"] with letters, digits, '.', '_' or '-'; at most %u",
                      section, SPEC_PROVIDERS_MAX);
    for (size_t i = 0; i < sizeof provider_keys / sizeof *provider_keys; i++)
        if (strcmp(provider_keys[i].name, name) == 0)
            return set(r, &provider_keys[i], value, p);
    return refuse(r, "[provider] has no key \"%.60s\"", name);
}

/* inih's handler: 1 = go on. */
static int on_pair(void *arg, const char *section, const char *name, const char *value) {
    struct reading *r = arg;
    bool known = false;
    if (r->why[0]) /* inih goes on behind the first refusal, but reports that one's line */
        return 0;
    if (strncmp(section, "provider \"", 10) == 0)
        return on_provider(r, section, name, value) == 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i].section, section) != 0)
            continue;
        known = true;
        if (strcmp(keys[i].name, name) == 0)
            return set(r, &keys[i], value, r->spec) == 0;
    }
    if (known)
        (void)refuse(r, "[%s] has no key \"%.60s\"", section, name);
    else
        (void)refuse(r, "unknown section [%.60s]; see soma.conf(5)", section);
    return 0;
}

/* ---- raw lines ---- */

struct seen {
    char text[2 * CONFIG_LINE_MAX];
    int line;
};

static int check_duplicate(struct reading *r, struct seen *seen, size_t *n, const char *section, const char *line) {
    size_t len = strcspn(line, "=:");
    while (len && isspace((unsigned char)line[len - 1]))
        len--;
    struct seen *now = &seen[*n];
    (void)snprintf(now->text, sizeof now->text, "%s\n%.*s", section, (int)len, line);
    now->line = r->line;
    for (size_t i = 0; i < *n; i++)
        if (strcmp(seen[i].text, now->text) == 0)
            return refuse(r, "duplicate key \"%.*s\", first set in line %d; keep one", (int)(len > 60 ? 60 : len), line,
                          seen[i].line);
    if (++*n == KEYS_SEEN_MAX)
        return refuse(r, "more than %u keys", KEYS_SEEN_MAX - 1);
    return 0;
}

static int check_line(struct reading *r, struct seen *seen, size_t *n, char *section, const char *line) {
    size_t len = strlen(line);
    if (len > CONFIG_LINE_MAX)
        return refuse(r, "line of %zu bytes, %u are allowed; shorten it", len, CONFIG_LINE_MAX);
    const char *at = line + strspn(line, " \t\r");
    if (!*at || *at == ';' || *at == '#')
        return 0;
    if (at != line)
        return refuse(r, "a line that begins with a space would continue the one before; write it on one line");
    if (*line == '[') {
        size_t end = strcspn(line, "]"), rest = line[end] ? strspn(line + end + 1, " \t\r") : 0;
        if (!line[end] || line[end + 1 + rest]) /* inih would ignore what stands behind */
            return refuse(r, "expected `[section]` and nothing more on the line");
        if (end > CONFIG_SECTION_MAX) /* inih would cut it */
            return refuse(r, "section name of %zu bytes, %u are allowed", end - 1, CONFIG_SECTION_MAX - 1);
        (void)snprintf(section, CONFIG_LINE_MAX + 1, "%.*s", (int)end, line);
        return 0;
    }
    if (strstr(line, " ;") || strstr(line, "\t;"))
        return refuse(r, "a comment behind a value would be cut off silently; write it on a line of its own");
    if (!strpbrk(line, "=:"))
        return refuse(r, "expected `key = value` or `[section]`");
    return check_duplicate(r, seen, n, section, line);
}

static int check_lines(struct reading *r, char *text) {
    static struct seen seen[KEYS_SEEN_MAX];
    size_t n = 0;
    char section[CONFIG_LINE_MAX + 1] = "";
    r->line = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next = 0;
        r->line++;
        int e = check_line(r, seen, &n, section, line);
        if (next)
            *next++ = '\n';
        if (e < 0)
            return e;
    }
    return 0;
}

/* ---- the file ---- */

static int read_file(const char *path, char **out) {
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_raise(-errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_BYTES_MAX)
        return err_raise(-EINVAL, "%s: not a regular file of at most %u bytes", path, CONFIG_BYTES_MAX);
    auto_free char *text = calloc(1, (size_t)st.st_size + 1);
    if (!text)
        return err_raise(-ENOMEM, "%s", path);
    ssize_t n = read(fd, text, (size_t)st.st_size);
    if (n < 0)
        return err_raise(-errno, "%s: %s", path, strerror(errno));
    if (!scan_utf8(text, (size_t)n))
        return err_raise(-EINVAL, "%s: not UTF-8 text", path);
    *out = take_ptr(&text);
    return 0;
}

static int check_providers(struct reading *r) {
    for (uint32_t i = 0; i < r->spec->n_providers; i++) {
        const struct spec_provider *p = &r->spec->providers[i];
        if (p->kind == PROVIDER_SCRIPT && !p->path[0])
            return refuse(r, "[provider \"%s\"] of kind script needs script=FILE", p->name);
        if (p->kind == PROVIDER_OPENAI && !p->url[0])
            return refuse(r, "[provider \"%s\"] of kind openai needs url=URL", p->name);
    }
    if (r->spec->backoff_max < r->spec->backoff)
        return refuse(r, "[supervisor] backoff_max is below backoff");
    if (r->spec->restart_intensity > 32)
        return refuse(r, "[supervisor] restart_intensity: at most 32");
    return 0;
}

int config_load(const char *path, struct spec *spec) {
    auto_free char *text = NULL;
    int e = read_file(path, &text);
    if (e < 0)
        return err_up(e);
    auto_free struct spec *copy = malloc(sizeof *copy);
    if (!copy)
        return err_raise(-ENOMEM, "configuration");
    *copy = *spec;
    struct reading r = {.path = path, .spec = copy};
    auto_free char *real = realpath(path, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    if (!real || (size_t)(slash - real) >= sizeof r.dir)
        return err_raise(-EINVAL, "%s: path too long", path);
    (void)snprintf(r.dir, sizeof r.dir, "%.*s", (int)(slash - real), real);
    (void)snprintf(copy->config_path, sizeof copy->config_path, "%s", real);
    e = check_lines(&r, text);
    if (e == 0) {
        int line = ini_parse_string(text, on_pair, &r);
        r.line = line > 0 ? line : 0;
        e = line == 0 ? check_providers(&r) : -EINVAL;
    }
    if (e < 0 && r.line)
        return err_raise(-EINVAL, "%s:%d: %s", path, r.line, r.why[0] ? r.why : "not an INI line");
    if (e < 0)
        return err_raise(-EINVAL, "%s: %s", path, r.why);
    *spec = *copy;
    return 0;
}

/* ---- places ---- */

static int put(char out[SPEC_PATH], const char *fmt, const char *a) {
    int n = snprintf(out, SPEC_PATH, fmt, a);
    return n < (int)SPEC_PATH ? 0 : err_raise(-ENAMETOOLONG, "path of more than %u bytes", SPEC_PATH - 1);
}

int config_find(const char *given, char out[SPEC_PATH]) {
    const char *named = given ? given : getenv("SOMA_CONFIG");
    if (named && *named)
        return put(out, "%s", named);
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int r = 1;
    if (xdg && *xdg == '/')
        r = put(out, "%s/soma/soma.conf", xdg);
    else if (home && *home == '/')
        r = put(out, "%s/.config/soma/soma.conf", home);
    if (r < 0 || (r == 0 && access(out, F_OK) == 0))
        return r;
    (void)put(out, "%s", "/etc/soma/soma.conf");
    if (access(out, F_OK) == 0)
        return 0;
    out[0] = 0;
    return 1;
}

static int place_state(struct spec *spec) {
    const char *given = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (given && *given == '/')
        return put(spec->state_dir, "%s", given);
    if (geteuid() == 0)
        return put(spec->state_dir, "%s", "/var/lib/soma");
    if (xdg && *xdg == '/')
        return put(spec->state_dir, "%s/soma", xdg);
    if (home && *home == '/')
        return put(spec->state_dir, "%s/.local/state/soma", home);
    return err_raise(-ENOENT, "no place for the state folder: HOME is not set; set [soma] state= or $STATE_DIRECTORY");
}

static int place_runtime(struct spec *spec) {
    const char *given = getenv("RUNTIME_DIRECTORY"), *xdg = getenv("XDG_RUNTIME_DIR");
    char uid[32];
    if (given && *given == '/')
        return put(spec->runtime_dir, "%s", given);
    if (geteuid() == 0)
        return put(spec->runtime_dir, "%s", "/run/soma");
    if (xdg && *xdg == '/')
        return put(spec->runtime_dir, "%s/soma", xdg);
    (void)snprintf(uid, sizeof uid, "%u", geteuid());
    return put(spec->runtime_dir, "/tmp/soma-%s", uid);
}

int config_places(struct spec *spec) {
    int r = spec->state_dir[0] ? 0 : place_state(spec);
    if (r == 0 && !spec->runtime_dir[0])
        r = place_runtime(spec);
    return r < 0 ? r : put(spec->socket_path, "%s/soma.sock", spec->runtime_dir);
}

int config_make_parents(const char *path) {
    char part[SPEC_PATH];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_raise(-errno, "make %s: %s", part, strerror(errno));
    }
    return 0;
}
