/* A real gateway in a child process, with this test playing root, the event log, the registry and every supervisor at
 * the other ends of its links, and clients at its socket. */
#ifndef SOMA_TESTS_GATEWAY_FIXTURE_H
#define SOMA_TESTS_GATEWAY_FIXTURE_H

#include "tests/kit/peers.h"

#define WAIT_MS kit_ms(KIT_WAIT_MS)

struct fixture {
    pid_t pid;
    int control, wire[ROLE__COUNT];
    char dir[64], path[96];
    struct msg msg; /* the last message received; its descriptors are the test's */
};

/* The defaults that most tests want; change them before fixture_start(). */
void fixture_spec(struct spec *spec);
void fixture_start(struct fixture *f, const struct spec *spec, unsigned generation);
/* SIGTERM; the gateway must end with 0. */
void fixture_stop(struct fixture *f);

static inline void put_msg(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    peer_put_fds(fd, type, body, fds, n_fds);
}
/* The next message at `fd` (a link or an endpoint), which must be of that type. */
static inline const struct msg *want_msg(struct fixture *f, int fd, enum msg_type type) {
    f->msg = *peer_get(fd, type);
    return &f->msg;
}
static inline bool readable(int fd, int64_t ms) {
    return peer_readable(fd, ms);
}

int client_connect(const struct fixture *f);
void client_put(int fd, const char *text);
void client_put_bytes(int fd, const void *bytes, size_t n);
/* The next frame of a client as JSON, the caller's; NULL = end of file. */
json_t *client_get(int fd);
/* Asserts that the next frame answers `id` with a result (a new reference), or with this error. */
json_t *want_result(int fd, int id);
void want_error(int fd, int id, const char *name, int exit_code, const char *why);
/* One whole round trip over another connection: all that was sent before has been dealt with. */
void barrier(struct fixture *f);

#endif
