/* The program is a library with this door in front, so that its tests can go in by others. */
#include "cli/cli.h"

int main(int argc, char **argv) {
    return cli_main(argc, argv);
}
