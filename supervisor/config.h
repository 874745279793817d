/* soma.conf: INI in the manner of systemd units, read by inih behind a check of the raw lines, because inih cuts long
 * lines and joins continuations silently. Every key is a row of one table (config.c); soma.conf(5) lists them. */
#ifndef SOMA_SUPERVISOR_CONFIG_H
#define SOMA_SUPERVISOR_CONFIG_H

#include "common/spec.h"

#define CONFIG_LINE_MAX 198u /* bytes of a line, its end excluded */
#define CONFIG_BYTES_MAX 65536u

/* Reads `path` over the defaults already in `spec`. Relative paths in it are below the file's folder. Returns 0, or
 * -EINVAL / -errno with err_text() = "FILE:LINE: what; what to do". `spec` is untouched on failure. */
int config_load(const char *path, struct spec *spec);

/* Which file to read: `given`, else $SOMA_CONFIG, else $XDG_CONFIG_HOME/soma/soma.conf, else /etc/soma/soma.conf.
 * A given or named file must exist; 1 = there is none, defaults apply. */
int config_find(const char *given, char out[SPEC_PATH]);

/* Fills state_dir, runtime_dir and socket_path where the configuration left them empty: $STATE_DIRECTORY,
 * $RUNTIME_DIRECTORY, else root's /var/lib/soma and /run/soma, else the XDG places, else /tmp/soma-UID. */
int config_places(struct spec *spec);

/* Makes the folders above `path` that are missing, mode 0755 less the umask. -errno names the one. */
int config_make_parents(const char *path);

#endif
