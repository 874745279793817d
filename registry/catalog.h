/* The catalogue: every definition of one kind that is in force, by name. It is filled from the built-ins and from
 * folders of *.json files, and read again from those folders at any time. What is wrong with a file is a problem to
 * report, never a reason to stop: the file is named and skipped, and if an earlier state of the same file was good,
 * that stays in force. */
#ifndef SOMA_REGISTRY_CATALOG_H
#define SOMA_REGISTRY_CATALOG_H

#include <jansson.h>
#include <stddef.h>

#define CATALOG_PROBLEMS_MAX 256u       /* kept; the last one then says that there are more */
#define CATALOG_BYTES_MAX (768u * 1024) /* of all definitions as one text, which every reader can still parse */
#define CATALOG_NODES_MAX 60000u        /* values and keys in it */

enum catalog_kind { CATALOG_TOOLS, CATALOG_ACTORS };
struct catalog;

int catalog_new(enum catalog_kind kind, struct catalog **out);
void catalog_free(struct catalog *c);

/* Adds soma's own tools; their names are reserved from then on. Call it before the first load. Returns 0, or the
 * failure of a built-in manifest, which is a defect of ours and ends the start. */
int catalog_add_builtins(struct catalog *c);

/* Reads the `n` folders anew: regular files *.json that others cannot write, no symbolic links, sorted by name; of two
 * files with one name in them the first wins; a file or a folder that is gone takes its definitions along; a folder
 * that is there and cannot be read or believed keeps those that were read from it before. The problems are those of
 * this reading. Returns 0, also with problems; -ENOMEM, and then everything is as it was. Blocks on the disk. */
int catalog_load(struct catalog *c, const char *const *dirs, size_t n);

/* Reads one file as catalog_load() would, and leaves the catalogue alone. Returns 0 with a new reference in *normal;
 * -ENOENT (or -ENOTDIR) when there is no such file, else a negative errno with what is wrong in err_text(). */
int catalog_read_file(const struct catalog *c, const char *path, json_t **normal);

/* The normalised definition, borrowed until the next load; NULL when there is none. */
const json_t *catalog_find(const struct catalog *c, const char *name);
size_t catalog_count(const struct catalog *c);

/* JSON texts, arrays sorted by name, malloc'ed and the caller's; `n` is the length. `allow` is an array of names, NULL
 * for all; names in it that do not exist are passed over. The first has what a model may see (name, description,
 * input_schema) and is for tools only, the second name and restart type and is for actors only (else -EINVAL); the
 * third whole normalised definitions. */
int catalog_model_text(const struct catalog *c, const json_t *allow, char **text, size_t *n);
int catalog_restart_text(const struct catalog *c, char **text, size_t *n);
int catalog_full_text(const struct catalog *c, const json_t *allow, char **text, size_t *n);

/* [{"file", "why"}], borrowed until the next load. Both are fit for a terminal; "file" is a whole path. */
const json_t *catalog_problems(const struct catalog *c);

#endif
