/* The API key. It lives in pages of its own that are locked in memory and left out of dumps, from the file's descriptor
 * to the end of the request, and nowhere else in soma: not in an error text, an event, an argument, the environment. */
#ifndef SOMA_LLMCALL_KEY_H
#define SOMA_LLMCALL_KEY_H

#include <stddef.h>

#define KEY_FILE_MAX 4096u /* bytes of the file */

struct key {
    char *header; /* "Authorization: Bearer KEY"; NULL = none */
    char *text;   /* the key alone, inside it */
};
#define KEY_NULL ((struct key){0})

/* Reads the key from a descriptor, which stays the caller's. The file must be a regular one, ours, closed to group and
 * others, at most KEY_FILE_MAX bytes; one line of printable ASCII without spaces, quote and backslash. -EACCES with
 * err_text() saying what to do, -EIO, -ENOMEM. Does not quote the content. */
int key_read(int fd, struct key *out);

/* Wipes and releases it; accepts KEY_NULL and a second call. */
void key_wipe(struct key *key);

#endif
