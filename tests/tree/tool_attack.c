/* A tool that wants out; what it tries is its argument. Each attempt says what came of it, so that one that never
 * happened cannot look like one that was withstood:
 *
 *   memory   takes its keeper's descriptors away, so that nobody can measure it, then fills shared memory
 *   ipc      makes a System V segment and leaves it behind
 *   signals  orders its keeper to stop, and waits until the keeper has read that */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

#define FILL_BYTES ((size_t)96 << 20)
#define SEGMENT_BYTES 1234567u /* found again by its size */

static int memory(void) {
    const struct rlimit none = {0, 0};
    if (prlimit(1, RLIMIT_NOFILE, &none, NULL) < 0)
        return perror("prlimit"), 1;
    char *all = mmap(NULL, FILL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return perror("mmap"), 1;
    memset(all, 1, FILL_BYTES);
    for (;;)
        pause();
}

static int ipc(void) {
    int id = shmget(IPC_PRIVATE, SEGMENT_BYTES, IPC_CREAT | 0600);
    if (id < 0)
        return perror("shmget"), 1;
    puts("made");
    return 0;
}

/* What waits for the keeper in all its threads and as a process; -1 = not to be seen. The procfs may be that of an
 * outer namespace, where the keeper has another number: /proc/self/stat tells it. */
static int pending(void) {
    char line[512], path[64];
    int parent = 0, any = -1;
    FILE *f = fopen("/proc/self/stat", "re");
    int n = f ? fscanf(f, "%*d (%*[^)]) %*c %d", &parent) : 0;
    if (f)
        (void)fclose(f);
    (void)snprintf(path, sizeof path, "/proc/%d/status", parent);
    f = n == 1 ? fopen(path, "re") : NULL;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "SigPnd:", 7) == 0 || strncmp(line, "ShdPnd:", 7) == 0)
            any = (any > 0) | (strtoull(line + 7, NULL, 16) != 0);
    if (f)
        (void)fclose(f);
    return any;
}

static int signals(void) {
    static const int orders[] = {SIGTERM, SIGUSR2, SIGQUIT, SIGUSR1};
    const struct timespec moment = {.tv_nsec = 1000000};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (kill(1, orders[i]) < 0)
            return perror("kill"), 1;
    int left;
    while ((left = pending()) > 0)
        (void)nanosleep(&moment, NULL);
    if (left < 0)
        return fputs("the keeper is not to be seen\n", stderr), 1;
    puts("survived");
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*attempt)(void);
    } attempts[] = {{"memory", memory}, {"ipc", ipc}, {"signals", signals}};
    for (size_t i = 0; argc == 2 && i < sizeof attempts / sizeof *attempts; i++)
        if (strcmp(argv[1], attempts[i].name) == 0)
            return attempts[i].attempt();
    return 2;
}
