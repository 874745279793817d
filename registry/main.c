/* Two ways in: as a child of root, and by hand to check a file. */
#include <signal.h>
#include <string.h>

#include "registry/check.h"
#include "registry/registry.h"

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--check") == 0)
        return check_main(argc, argv);
    /* A reload asked for before begin waits until there is something to reload; unblocked it would end the process. */
    sigset_t hup;
    (void)sigemptyset(&hup);
    (void)sigaddset(&hup, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &hup, NULL);
    return role_main(&registry_role, argc, argv);
}
