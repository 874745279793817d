/* The arguments are one contiguous area of memory that the kernel shows in /proc/PID/cmdline (proc(5)); it is
 * overwritten and padded with NUL. The environment behind it is left alone. */
#include "common/title.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct {
    char *start;
    size_t room;
} area;

void title_init(int argc, char **argv) {
    if (argc < 1)
        return;
    char *end = argv[0];
    for (int i = 0; i < argc && argv[i] == end; i++)
        end = argv[i] + strlen(argv[i]) + 1;
    area.start = argv[0];
    area.room = (size_t)(end - argv[0]);
}

void title_set(const char *fmt, ...) {
    char text[TITLE_PAD];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    char comm[16] = "soma:";
    (void)snprintf(comm + 5, sizeof comm - 5, "%.*s", (int)strcspn(text, " "), text);
    (void)prctl(PR_SET_NAME, comm);
    if (area.room < sizeof "soma: ")
        return;
    (void)snprintf(area.start, area.room, "soma: %s", text);
    size_t used = strlen(area.start);
    memset(area.start + used, 0, area.room - used);
}

int host_pid(void) {
    char target[16];
    ssize_t n = readlink("/proc/self", target, sizeof target - 1);
    if (n <= 0)
        return getpid();
    target[n] = 0;
    return atoi(target);
}
