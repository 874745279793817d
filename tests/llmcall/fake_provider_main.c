/* The fake provider as a program, for tests of a live tree:
 *
 *   fake-provider --mode MODE [--port N] [--delay-ms N] [--record FILE]
 *
 * It prints its port as one line, is ready then, and serves until it is killed. */
#include "tests/llmcall/fake_provider.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static int usage(void) {
    (void)fprintf(stderr, "usage: fake-provider --mode MODE [--port N] [--delay-ms N] [--record FILE]\n");
#define X(id, name, doc) (void)fprintf(stderr, "  %-14s %s\n", name, doc);
    FAKE_MODES(X)
#undef X
    return 2;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"mode", required_argument, NULL, 'm'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"delay-ms", required_argument, NULL, 'd'},
                                            {"record", required_argument, NULL, 'r'},
                                            {0}};
    struct fake fake = {.mode = FAKE__COUNT, .delay_ms = 1000, .record_fd = -1, .asked_fd = -1};
    int port = 0, mode;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'm' && (mode = fake_mode_by_name(optarg)) >= 0)
            fake.mode = (enum fake_mode)mode;
        else if (c == 'p')
            port = atoi(optarg);
        else if (c == 'd')
            fake.delay_ms = atoi(optarg);
        else if (c != 'r')
            return usage();
        else if ((fake.record_fd = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0) {
            perror(optarg);
            return 1;
        }
    }
    if (fake.mode == FAKE__COUNT || optind != argc)
        return usage();
    int listen_fd = fake_listen(port, &port);
    if (listen_fd < 0) {
        perror("listen");
        return 1;
    }
    if (printf("%d\n", port) < 0 || fflush(stdout) != 0)
        return 1;
    fake_serve(listen_fd, &fake);
}
