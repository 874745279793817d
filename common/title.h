/* Process titles: what `ps f` shows. "soma: role id state" over the argument area, the role alone in comm. ASCII, never
 * user data: role names, ids, state names and counts only. */
#ifndef SOMA_COMMON_TITLE_H
#define SOMA_COMMON_TITLE_H

#define TITLE_PAD 200 /* bytes that whoever execs a role adds as a last argument to make room */
#define TITLE_PAD_TEXT                                                                                                 \
    "                                                                                                    "             \
    "                                                                                                    "

/* Remembers the argument area. Call first in main(); copies nothing, so read argv before the first title_set(). */
void title_init(int argc, char **argv);

/* Sets the title; cut to the room there is. */
void title_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* This process's pid as people outside see it: the target of /proc/self, while procfs is that of the host. */
int host_pid(void);

#endif
