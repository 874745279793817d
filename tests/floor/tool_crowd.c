/* The tool that thing-cancel cancels: `tool-crowd N` is N processes that sleep until they are killed. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    unsigned long n = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    if (n < 1 || n > 1000)
        return 2;
    for (unsigned long i = 1; i < n; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0)
            break;
    }
    for (;;)
        pause();
}
