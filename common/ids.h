/* Identifiers: a letter, a dash and 26 characters of Crockford's base 32 (the ULID alphabet): 48 bits of wall clock in
 * milliseconds, then 80 random bits from getrandom(2); monotonic within a process. "r-" run, "c-" call, "a-" actor,
 * "s-" session, "t-" task. */
#ifndef SOMA_COMMON_IDS_H
#define SOMA_COMMON_IDS_H

#include <stdbool.h>
#include <stddef.h>

#define ID_LEN 28u            /* characters */
#define ID_SIZE (ID_LEN + 1u) /* bytes with the terminator */
#define NAME_MAX_LEN 63u      /* characters of an actor's, a tool's or a step's name */
#define NAME_SIZE (NAME_MAX_LEN + 1u)

/* Makes a new id of the given letter. Never fails: getrandom(2) does not, once the kernel is up. */
void id_make(char letter, char out[ID_SIZE]);

/* Whether `text` is an id of that letter ('\0' = any letter of the five). */
bool id_valid(const char *text, char letter);

/* Names people choose: [A-Za-z0-9][A-Za-z0-9_.-]{0,62}. Safe in titles, log stamps and JSON without escaping. */
bool name_valid(const char *text);

#endif
