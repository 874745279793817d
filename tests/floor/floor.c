/* Options, output, frames and scratch directories of the floors. Nothing here is inside a measured stretch but
 * floor_now_us(), floor_send() and floor_recv(). */
#include "tests/floor/floor.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- options --- */

static int usage(const struct floor_program *program) {
    printf("usage: %s [OPTION]...\n%s\n\n", program->name, program->summary);
    printf("  --rounds N      lines of samples to print (%u)\n", program->defaults.rounds);
    printf("  --iterations N  operations per round (%u)\n", program->defaults.iterations);
    if (program->width_name)
        printf("  --%s N%*s  %s (%u)\n", program->width_name, (int)(10 - strlen(program->width_name)), "",
               program->width_help, program->defaults.width);
    if (program->needs_state)
        printf("  --state DIR     existing directory, on the disk to be measured\n");
    printf("  --help\n");
    return 0;
}

static int take_count(const struct floor_program *program, const char *option, unsigned min, unsigned max,
                      unsigned *out) {
    char *end;
    errno = 0;
    long value = strtol(optarg, &end, 10);
    if (errno || end == optarg || *end || value < (long)min || value > (long)max) {
        fprintf(stderr, "%s: --%s %s: give a number from %u to %u\n", program->name, option, optarg, min, max);
        return -EINVAL;
    }
    *out = (unsigned)value;
    return 0;
}

enum { OPT_ROUNDS = 1, OPT_ITERATIONS, OPT_STATE, OPT_HELP, OPT_WIDTH };

/* 0; -EINVAL, already explained; 1 after --help. */
static int take_options(const struct floor_program *program, int argc, char **argv, struct floor_options *options) {
    const struct option table[] = {
        {"rounds", required_argument, NULL, OPT_ROUNDS},
        {"iterations", required_argument, NULL, OPT_ITERATIONS},
        {"state", required_argument, NULL, OPT_STATE},
        {"help", no_argument, NULL, OPT_HELP},
        {program->width_name, required_argument, NULL, OPT_WIDTH}, /* without a name this row ends the table */
        {0},
    };
    int r = 0;
    for (int option; !r && (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == OPT_ROUNDS)
            r = take_count(program, "rounds", 1, FLOOR_COUNT_MAX, &options->rounds);
        else if (option == OPT_ITERATIONS)
            r = take_count(program, "iterations", 1, FLOOR_COUNT_MAX, &options->iterations);
        else if (option == OPT_WIDTH)
            r = take_count(program, program->width_name, program->width_min, FLOOR_WIDTH_MAX, &options->width);
        else if (option == OPT_STATE)
            options->state = optarg;
        else
            r = option == OPT_HELP ? 1 : -EINVAL;
    }
    if (!r && optind < argc) {
        fprintf(stderr, "%s: unexpected argument '%s'\n", program->name, argv[optind]);
        r = -EINVAL;
    }
    if (!r && program->needs_state && !options->state) {
        fprintf(stderr, "%s: --state DIR is missing\n", program->name);
        r = -EINVAL;
    }
    return r;
}

int floor_main(const struct floor_program *program, int argc, char **argv) {
    struct floor_options options = program->defaults;
    int r = take_options(program, argc, argv, &options);
    if (r > 0)
        return usage(program);
    if (r < 0) {
        fprintf(stderr, "%s: --help lists the options\n", program->name);
        return 2;
    }
    r = program->run(&options);
    if (r < 0) {
        fprintf(stderr, "%s: %s: %s (%s)\n", program->name, err_text(), strerror(-r), err_place());
        return 1;
    }
    return 0;
}

/* --- time and output --- */

double floor_now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int floor_print(const char *row, const char *unit, const double *samples, size_t n) {
    printf("{\"row\":\"%s\",\"unit\":\"%s\",\"samples\":[", row, unit);
    for (size_t i = 0; i < n; i++)
        printf("%s%.2f", i ? "," : "", samples[i]);
    printf("]}\n");
    if (fflush(stdout) || ferror(stdout))
        return err_raise(-EIO, "write samples");
    return 0;
}

/* --- scratch directories --- */

int floor_dir_make(const char *state, char **path) {
    auto_free char *made = NULL;
    if (asprintf(&made, "%s/floor-XXXXXX", state) < 0) {
        made = NULL; /* asprintf leaves it undefined */
        return err_raise(-ENOMEM, "name a directory");
    }
    if (!mkdtemp(made))
        return err_raise(-errno, "make a directory in %s", state);
    *path = take_ptr(&made);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void floor_dir_remove(const char *path) {
    if (path && nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0)
        fprintf(stderr, "leftover directory %s: %s\n", path, strerror(errno));
}

/* --- places --- */

int floor_built(const char *name, char path[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (n < 0)
        return err_raise(-errno, "read /proc/self/exe");
    path[n] = 0;
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return err_raise(-ENOENT, "not in a build folder");
        *slash = 0;
    }
    size_t used = strlen(path), room = PATH_MAX - used;
    if (name && snprintf(path + used, room, "/%s", name) >= (int)room)
        return err_raise(-ENAMETOOLONG, "path of %s", name);
    return 0;
}

static int make_folder(const char *dir, const char *name) {
    auto_free char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return err_raise(-ENOMEM, "room for a path");
    }
    return mkdir(path, 0700) < 0 ? err_raise(-errno, "make %s", path) : 0;
}

int floor_place_make(const char *dir, char **conf) {
    auto_free char *path = NULL;
    int r = make_folder(dir, "tools");
    if (!r)
        r = make_folder(dir, "actors");
    if (r)
        return err_up(r);
    if (asprintf(&path, "%s/soma.conf", dir) < 0) {
        path = NULL;
        return err_raise(-ENOMEM, "room for a path");
    }
    auto_file FILE *file = fopen(path, "we"); /* paths in it are relative to its folder */
    if (!file ||
        fputs("[soma]\nstate = state\nruntime = run\n[tools]\ndir = tools\n[actors]\ndir = actors\n", file) < 0 ||
        fflush(file))
        return err_raise(-EIO, "write %s", path);
    *conf = take_ptr(&path);
    return 0;
}

/* --- events and frames --- */

void floor_event(char text[FLOOR_EVENT_BYTES], unsigned who, uint64_t n) {
    static const char tail[] = "\"}}}";
    int used =
        snprintf(text, FLOOR_EVENT_BYTES,
                 "{\"type\":\"tool.started\",\"step\":\"read\",\"call\":\"c-01J%023llu\",\"corr\":\"t-01J%023u\","
                 "\"data\":{\"tool\":\"file_read\",\"safe\":true,\"args\":{\"max_bytes\":65536,\"path\":\"",
                 (unsigned long long)n, who);
    size_t pad_end = FLOOR_EVENT_BYTES - (sizeof tail - 1);
    memset(text + used, 'p', pad_end - (size_t)used);
    memcpy(text + pad_end, tail, sizeof tail - 1);
}

int floor_send(int fd, const char *text, size_t n) {
    uint32_t length = htonl((uint32_t)n);
    struct iovec parts[2] = {{&length, sizeof length}, {(void *)(uintptr_t)text, n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0)
        return err_raise(-errno, "send a frame");
    /* A blocking stream socket takes a frame this small whole, or waits. */
    if ((size_t)sent != sizeof length + n)
        return err_raise(-EIO, "a frame of %zu bytes was cut at %zd", n, sent);
    return 0;
}

int floor_recv(int fd, char text[FLOOR_FRAME_MAX], size_t *n) {
    char buffer[sizeof(uint32_t) + FLOOR_FRAME_MAX];
    uint32_t length = 0;
    size_t have = 0;
    while (have < sizeof length || have < sizeof length + length) {
        ssize_t got = recv(fd, buffer + have, sizeof buffer - have, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_raise(got ? -errno : have ? -EPROTO : -ECONNRESET, "receive a frame, %zu bytes in", have);
        have += (size_t)got;
        if (have >= sizeof length) {
            memcpy(&length, buffer, sizeof length);
            length = ntohl(length);
            if (length > FLOOR_FRAME_MAX || have > sizeof length + length)
                return err_raise(-EPROTO, "a frame of %u bytes in %zu", length, have);
        }
    }
    memcpy(text, buffer + sizeof length, length);
    *n = length;
    return 0;
}

int floor_stay(void) {
    cpu_set_t one;
    int cpu = sched_getcpu();
    CPU_ZERO(&one);
    if (cpu >= 0)
        CPU_SET((size_t)cpu, &one);
    if (cpu < 0 || sched_setaffinity(0, sizeof one, &one) < 0)
        return err_raise(-errno, "stay on one processor");
    return 0;
}

int floor_reap(pid_t pid, const char *what) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_raise(-errno, "wait for the %s", what);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return err_raise(-ECHILD, "the %s ended with wait status %#x", what, (unsigned)status);
    return 0;
}
