/* Think of generations. Loading builds a new list of entries beside the one in force: the built-ins, then every file in
 * order; an entry of a file that fails now is carried over from the old generation when that file had a good one. At
 * the end the lists change places. So a failure half-way (no memory) changes nothing, and nobody ever sees a catalogue
 * that is half old and half new.
 *
 * A generation has a size that any reader can take as one text, and a definition that does not fit any more is a
 * problem like any other: one file too many must not silence the rest. */
#include "registry/catalog.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "registry/builtins.h"
#include "registry/fields.h"
#include "registry/files.h"
#include "registry/manifest.h"

/* Entries by name: {"file": its path, or null for a built-in, "normal": definition}. Objects of jansson keep memory and
 * lookup out of this file. */
struct generation {
    json_t *entries, *problems;
    size_t bytes, nodes; /* of all entries as one text */
};

struct catalog {
    enum catalog_kind kind;
    struct generation now;
};

static int no_memory(void) {
    return err_raise(-ENOMEM, "catalogue: out of memory");
}

static int generation_init(struct generation *g) {
    *g = (struct generation){.entries = json_object(), .problems = json_array()};
    return g->entries && g->problems ? 0 : no_memory();
}

static void generation_deinit(struct generation *g) {
    json_decref(g->entries);
    json_decref(g->problems);
    *g = (struct generation){0};
}

int catalog_new(enum catalog_kind kind, struct catalog **out) {
    struct catalog *c = calloc(1, sizeof *c);
    if (!c)
        return no_memory();
    c->kind = kind;
    int r = generation_init(&c->now);
    if (r < 0) {
        catalog_free(c);
        return err_up(r);
    }
    *out = c;
    return 0;
}

void catalog_free(struct catalog *c) {
    if (!c)
        return;
    generation_deinit(&c->now);
    free(c);
}

/* --- entries --------------------------------------------------------------------------------------------------- */

/* Values and keys, as json_parse() counts them. */
static size_t count_nodes(const json_t *value) {
    size_t nodes = 1, i;
    const char *key;
    json_t *sub;
    json_array_foreach(value, i, sub) {
        nodes += count_nodes(sub);
    }
    json_object_foreach(field_mutable(value), key, sub) {
        nodes += 1 + count_nodes(sub);
    }
    return nodes;
}

/* -E2BIG when the definition does not fit any more. */
static int put_entry(struct generation *g, const char *name, json_t *entry) {
    const json_t *normal = json_object_get(entry, "normal");
    size_t bytes = json_dumpb(normal, NULL, 0, JSON_COMPACT) + 1, nodes = count_nodes(normal);
    if (g->bytes + bytes > CATALOG_BYTES_MAX || g->nodes + nodes > CATALOG_NODES_MAX)
        return err_raise(-E2BIG, "all definitions together would be above %u bytes or %u values; make some smaller",
                         CATALOG_BYTES_MAX, CATALOG_NODES_MAX);
    if (json_object_set(g->entries, name, entry) < 0)
        return no_memory();
    g->bytes += bytes;
    g->nodes += nodes;
    return 0;
}

/* `file` NULL stands for a built-in. */
static int put_new(struct generation *g, const char *file, json_t *normal) {
    auto_json json_t *entry = json_pack("{s:s?, s:O}", "file", file, "normal", normal);
    return entry ? put_entry(g, json_str(normal, "name"), entry) : no_memory();
}

static int normalise(enum catalog_kind kind, const char *text, size_t n, json_t **normal) {
    auto_json json_t *doc = NULL;
    int r = json_parse(text, n, JSON_TEXT_MAX, &doc);
    if (r < 0)
        return err_up(r);
    return kind == CATALOG_TOOLS ? manifest_tool(doc, normal) : manifest_actor(doc, normal);
}

int catalog_add_builtins(struct catalog *c) {
    if (c->kind != CATALOG_TOOLS)
        return err_raise(-EINVAL, "only a catalogue of tools has built-ins");
    for (size_t i = 0; builtins_text(i); i++) {
        auto_json json_t *normal = NULL;
        int r = normalise(c->kind, builtins_text(i), strlen(builtins_text(i)), &normal);
        if (r == 0)
            r = put_new(&c->now, NULL, normal);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

/* A new generation begins with the built-ins of the old. */
static int copy_builtins(const struct catalog *c, struct generation *next) {
    const char *name;
    json_t *entry;
    json_object_foreach(c->now.entries, name, entry) {
        if (!json_is_null(json_object_get(entry, "file")))
            continue;
        int r = put_entry(next, name, entry);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

/* --- problems -------------------------------------------------------------------------------------------------- */

static int add_problem(struct generation *g, const char *file, const char *why) {
    size_t count = json_array_size(g->problems);
    if (count >= CATALOG_PROBLEMS_MAX)
        return 0;
    if (count == CATALOG_PROBLEMS_MAX - 1) {
        file = "";
        why = "more problems than are kept; mend these first";
    }
    json_t *text = json_stringn(why, json_utf8_floor(why, strlen(why)));
    return json_array_append_new(g->problems, json_pack("{s:s, s:o}", "file", file, "why", text)) < 0 ? no_memory() : 0;
}

/* --- what stays from the old generation ------------------------------------------------------------------------ */

/* `all`: `path` is a folder and every file directly in it is meant. */
static bool comes_from(const json_t *entry, const char *path, bool all) {
    const char *file = json_str(entry, "file");
    size_t n = strlen(path);
    if (!file || strncmp(file, path, n) != 0)
        return false;
    return all ? file[n] == '/' && !strchr(file + n + 1, '/') : file[n] == '\0';
}

/* What was good in a file, or in a folder, unless its name is taken by now. */
static int carry_over(const struct catalog *c, struct generation *next, const char *path, bool all) {
    const char *name;
    json_t *entry;
    json_object_foreach(c->now.entries, name, entry) {
        if (!comes_from(entry, path, all) || json_object_get(next->entries, name))
            continue;
        int r = put_entry(next, name, entry);
        if (r == -E2BIG)
            r = add_problem(next, json_str(entry, "file"), err_text());
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

/* --- loading --------------------------------------------------------------------------------------------------- */

static int check_name_free(const json_t *entries, const char *name) {
    const json_t *taken = json_object_get(entries, name);
    if (!taken)
        return 0;
    if (json_is_null(json_object_get(taken, "file")))
        return err_raise(-EEXIST, "/name: %s is a built-in's name and reserved; choose another", name);
    return err_raise(-EEXIST, "/name: %s is taken, choose another; it is defined by %s", name, json_str(taken, "file"));
}

/* `shown` is the name for people. */
static int read_definition(enum catalog_kind kind, int dirfd, const char *name, char shown[NAME_MAX + 1],
                           json_t **normal) {
    auto_free char *text = NULL;
    size_t n;
    if (!file_name_show(name, shown, NAME_MAX + 1))
        return err_raise(-EINVAL, "the file's name is not plain ASCII; rename it");
    int r = file_read(dirfd, name, &text, &n);
    return r < 0 ? err_up(r) : normalise(kind, text, n, normal);
}

static int load_file(const struct catalog *c, const char *dir, int dirfd, const char *name, struct generation *next) {
    auto_json json_t *normal = NULL;
    char shown[NAME_MAX + 1], path[PATH_MAX];
    int r = read_definition(c->kind, dirfd, name, shown, &normal);
    (void)snprintf(path, sizeof path, "%s/%s", dir, shown);
    if (r == 0)
        r = check_name_free(next->entries, json_str(normal, "name"));
    if (r == 0)
        r = put_new(next, path, normal);
    if (r == 0 || r == -ENOMEM)
        return err_up(r);
    r = add_problem(next, path, err_text());
    return r < 0 ? err_up(r) : carry_over(c, next, path, false);
}

/* A folder that is gone took its files along; one that is there and useless is a replacement that failed. */
static int folder_failed(const struct catalog *c, const char *dir, int failure, struct generation *next) {
    char shown[PATH_MAX];
    (void)file_name_show(dir, shown, sizeof shown);
    if (failure == -ENOMEM)
        return err_up(failure);
    int r = add_problem(next, failure == -EINVAL ? shown : dir, err_text());
    if (r < 0 || failure == -ENOENT || failure == -ENOTDIR)
        return err_up(r);
    return carry_over(c, next, dir, true);
}

static int load_folder(const struct catalog *c, const char *dir, struct generation *next) {
    auto_close int fd = -1;
    auto_file_names struct file_names *names = NULL;
    int r = folder_open(dir, &fd);
    if (r == 0)
        r = folder_list(fd, &names);
    if (r < 0)
        return folder_failed(c, dir, r, next);
    for (size_t i = 0; r == 0 && i < names->n; i++)
        r = load_file(c, dir, fd, names->list[i], next);
    if (r == 0 && names->more)
        r = add_problem(next, dir, "more files than are read; the rest is skipped");
    return err_up(r);
}

int catalog_load(struct catalog *c, const char *const *dirs, size_t n) {
    __attribute__((cleanup(generation_deinit))) struct generation next;
    int r = generation_init(&next);
    if (r == 0)
        r = copy_builtins(c, &next);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = load_folder(c, dirs[i], &next);
    if (r < 0)
        return err_up(r);
    struct generation old = c->now;
    c->now = next;
    next = old;
    return 0;
}

int catalog_read_file(const struct catalog *c, const char *path, json_t **normal) {
    auto_json json_t *read = NULL;
    char shown[NAME_MAX + 1], dir[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (slash && snprintf(dir, sizeof dir, "%.*s", (int)(slash - path) + 1, path) >= (int)sizeof dir)
        return err_raise(-ENAMETOOLONG, "the path is too long");
    auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_raise(-errno, "the folder cannot be opened: %s", strerror(errno));
    if (faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return err_raise(-ENOENT, "no such file");
    if (!file_name_wanted(name))
        return err_raise(-EINVAL, "only files NAME.json are read, and no hidden ones; rename it");
    int r = read_definition(c->kind, fd, name, shown, &read);
    if (r == 0)
        r = check_name_free(c->now.entries, json_str(read, "name"));
    if (r < 0)
        return err_up(r);
    *normal = take_ptr(&read);
    return 0;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

const json_t *catalog_find(const struct catalog *c, const char *name) {
    return json_object_get(json_object_get(c->now.entries, name), "normal");
}

size_t catalog_count(const struct catalog *c) {
    return json_object_size(c->now.entries);
}

const json_t *catalog_problems(const struct catalog *c) {
    return c->now.problems;
}

static bool allowed(const json_t *allow, const char *name) {
    size_t i;
    json_t *one;
    json_array_foreach(allow, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), name) == 0)
            return true;
    }
    return allow == NULL;
}

/* The half of a tool that a model may see: no program, no effect, no grant. */
static json_t *model_half(json_t *normal) {
    return json_pack("{s:O, s:O, s:O}", "name", json_object_get(normal, "name"), "description",
                     json_object_get(normal, "description"), "input_schema", json_object_get(normal, "input_schema"));
}

static json_t *restart_half(json_t *normal) {
    return json_pack("{s:O, s:O}", "name", json_object_get(normal, "name"), "restart",
                     json_object_get(normal, "restart"));
}

static json_t *whole(json_t *normal) {
    return json_incref(normal);
}

/* Names sort by bytes: they are ASCII. */
static int by_name(const void *x, const void *y) {
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static int sorted_text(const struct catalog *c, const json_t *allow, json_t *(*view)(json_t *), char **text,
                       size_t *n) {
    auto_json json_t *all = json_array();
    auto_free const char **names = calloc(catalog_count(c) + 1, sizeof *names);
    const char *name;
    json_t *entry;
    size_t count = 0;
    if (!all || !names)
        return no_memory();
    json_object_foreach(c->now.entries, name, entry) {
        if (allowed(allow, name))
            names[count++] = name;
    }
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(all, view(field_mutable(catalog_find(c, names[i])))) < 0)
            return no_memory();
    return err_up(json_text(all, JSON_TEXT_MAX, text, n));
}

int catalog_model_text(const struct catalog *c, const json_t *allow, char **text, size_t *n) {
    if (c->kind != CATALOG_TOOLS)
        return err_raise(-EINVAL, "only tools have a half for models");
    return sorted_text(c, allow, model_half, text, n);
}

int catalog_restart_text(const struct catalog *c, char **text, size_t *n) {
    if (c->kind != CATALOG_ACTORS)
        return err_raise(-EINVAL, "only actors have a restart type");
    return sorted_text(c, NULL, restart_half, text, n);
}

int catalog_full_text(const struct catalog *c, const json_t *allow, char **text, size_t *n) {
    return sorted_text(c, allow, whole, text, n);
}
