/* Where definitions come from: folders that only trusted people can write, and plain *.json files in them. What a file
 * says is not looked at here. */
#ifndef SOMA_REGISTRY_FILES_H
#define SOMA_REGISTRY_FILES_H

#include <stdbool.h>
#include <stddef.h>

#define FOLDER_FILES_MAX 1024u        /* files of one folder */
#define FILE_BYTES_MAX (256u * 1024u) /* of one file */

/* Opens a folder whose definitions may be believed: it belongs to this user or to root, and nobody else can write it.
 * Returns 0 with a descriptor that is the caller's; -EPERM for one that is not trusted, -EINVAL for a path that cannot
 * be shown, else open(2)'s; the text says what to do. */
int folder_open(const char *path, int *out);

struct file_names {
    char *list[FOLDER_FILES_MAX];
    size_t n;
    bool more; /* than fit */
};

/* The names of the files that are read (*.json, not hidden), sorted by bytes; free with file_names_free(), which
 * accepts NULL. Returns 0 or a negative errno. */
int folder_list(int dirfd, struct file_names **out);
void file_names_free(struct file_names **names);
#define auto_file_names __attribute__((cleanup(file_names_free)))

/* Is a file of this name read at all? */
bool file_name_wanted(const char *name);

/* Copies a file's name for people and JSON; what is not printable ASCII becomes '?'. Returns whether nothing did. */
bool file_name_show(const char *name, char *shown, size_t size);

/* Reads a whole regular file that others cannot write; no symbolic link. *text is malloc'ed and the caller's. Returns
 * 0, -EMSGSIZE above FILE_BYTES_MAX, or a negative errno with a text that says what is wrong with it. */
int file_read(int dirfd, const char *name, char **text, size_t *n);

#endif
