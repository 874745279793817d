/* Finding soma's own programs. They are found by the place of the running program and by nothing else: an environment
 * variable that named another somad would be a way to run foreign code under soma's name. */
#ifndef SOMA_CLI_EXE_H
#define SOMA_CLI_EXE_H

#include <limits.h>

/* Looks beside the running program (DIR/NAME), in the build tree (DIR/../ROOM/NAME) and in the installation
 * (DIR/../libexec/soma/NAME). Returns 0, or -ENOENT with a text that says where it looked. */
int exe_find(const char *name, char out[PATH_MAX]);

/* The same for a program that lies in `dir`. */
int exe_find_from(const char *dir, const char *name, char out[PATH_MAX]);

#endif
