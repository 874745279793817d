/* Two programs that must be the same executable, since it alone links LMDB: the event log of a tree, started by somad,
 * and a reader for the time when no tree runs. */
#include "eventlog/eventlog.h"

#include <string.h>

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--read") == 0)
        return offline_main(argc - 1, argv + 1);
    return role_main(&eventlog_role, argc, argv);
}
