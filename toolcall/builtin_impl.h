/* Shared by the files of the built-ins, and by nobody else. */
#ifndef SOMA_TOOLCALL_BUILTIN_IMPL_H
#define SOMA_TOOLCALL_BUILTIN_IMPL_H

#include "toolcall/tool.h"

#include <stdbool.h>

/* One call under way. A function that takes it returns 0, or 1 with the failure filled. */
struct builtin_call {
    const json_t *args;
    const struct tool_roots *roots;
    size_t max_bytes; /* of the encoded result */
    struct tool_failure *failure;
};

/* Arguments. A missing optional text is NULL; a missing optional number or flag leaves the fallback. */
int arg_text(const struct builtin_call *call, const char *key, bool required, const char **text, size_t *n);
int arg_number(const struct builtin_call *call, const char *key, int64_t min, int64_t max, int64_t *number);
int arg_flag(const struct builtin_call *call, const char *key, bool *flag);

/* Results. Takes what it is given: a `value` that could not be made (NULL) is out of memory. */
int builtin_done(const struct builtin_call *call, json_t *value, json_t **out);

/* Files (builtin_path.c). Opens `path` below one of the roots: a relative path below the first root that has it, an
 * absolute one below the root whose path is its longest prefix. */
int path_open(const struct builtin_call *call, const struct tool_root *roots, size_t n_roots, const char *path,
              int flags, int *fd);
/* Opens `name` below `dir`; never leaves it, never follows a magic link. Returns a descriptor or a negative errno. */
int path_open_at(int dir, const char *name, int flags, unsigned mode, bool follow_links);
/* Names the failure for an errno met at `path`. */
int path_failure(const struct builtin_call *call, const char *path, int error);

int builtin_file_read(const struct builtin_call *call, json_t **out);
int builtin_file_list(const struct builtin_call *call, json_t **out);
int builtin_file_write(const struct builtin_call *call, json_t **out);
int builtin_text_grep(const struct builtin_call *call, json_t **out);
int builtin_text_head(const struct builtin_call *call, json_t **out);

#endif
