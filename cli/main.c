/* The program is a library with this door in front, so that its tests can go in by others. */
#include "cli/cli.h"

#include "common/cleanup.h"

int main(int argc, char **argv) {
    stdio_keep();
    return cli_main(argc, argv);
}
