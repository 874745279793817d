/* soma-registry --check FILE [--actor] [--json]: would this file be taken? */
#ifndef SOMA_REGISTRY_CHECK_H
#define SOMA_REGISTRY_CHECK_H

/* Reads one definition exactly as the loader does (only the folder is not judged) and says the outcome in one line, or
 * with --json as one object {"ok", "kind", "file", …}: "name" on stdout when it is good; else "where" (a JSON Pointer,
 * perhaps ""), "why", "fix" and "exit" on stderr. Returns the exit status: 0 good, 1 the outcome could not be written,
 * 2 refused or wrong usage, 3 no such file, 7 no memory. */
int check_main(int argc, char **argv);

#endif
