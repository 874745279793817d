/* Where soma keeps its things: configuration file, state folder, runtime folder, socket. supervisor/config.h answers,
 * for the client and for somad alike, so that both look in the same place; here the answer is made whole, and the
 * runtime folder, which may lie in /tmp, is looked at before it is trusted.
 *
 *   config    --config | $SOMA_CONFIG | $XDG_CONFIG_HOME/soma/soma.conf (~/.config) | /etc/soma/soma.conf | none
 *   state     [soma] state= | $STATE_DIRECTORY | root: /var/lib/soma | ${XDG_STATE_HOME:-~/.local/state}/soma
 *   runtime   [soma] runtime= | $RUNTIME_DIRECTORY | root: /run/soma | $XDG_RUNTIME_DIR/soma | /tmp/soma-UID
 *
 * ./soma.conf is not read: a checkout could define tools by it. */
#ifndef SOMA_CLI_PLACES_H
#define SOMA_CLI_PLACES_H

#include "common/spec.h"

struct places {
    char config[SPEC_PATH]; /* "" = no file, defaults */
    char state_dir[SPEC_PATH];
    char runtime_dir[SPEC_PATH];
    char socket[SPEC_PATH];
};

/* Fills `out` from `config` (NULL = not given), the environment and the configuration file, which is checked as a
 * whole. Creates nothing. Returns -ENOENT or -EACCES when a file that was asked for by name cannot be read, -EINVAL
 * with "FILE:LINE: what" for a broken one, -ENAMETOOLONG, -ENOENT when nothing says where state belongs. */
int places_resolve(const char *config, struct places *out);

/* Checks that the runtime folder is a folder of this user, no link and closed to others. Returns 0, -ENOENT when there
 * is none, or -EPERM with a text that says what is wrong. */
int places_check_runtime(const struct places *places);

/* Makes the runtime folder (0700; its parent must exist) unless it is there, and checks it. */
int places_make_runtime(const struct places *places);

#endif
