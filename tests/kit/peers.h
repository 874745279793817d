/* The other end of a link or endpoint, played by the test as a conversation: plain sockets and frames by hand, so that
 * a fault in common/chan.c cannot hide itself. What must come and does not, within KIT_WAIT_MS, fails the test by name.
 *
 * A message and its strings live until the next message is heard, a text until the next frame; the descriptors of a
 * message are the test's, and block. */
#ifndef SOMA_TESTS_KIT_PEERS_H
#define SOMA_TESTS_KIT_PEERS_H

#include "common/chan.h"
#include "common/json.h"
#include "common/spec.h"
#include "tests/kit/process.h"

/* A pair of sockets: returns this side's end, which blocks. */
int peer_pair(enum chan_kind kind, int *theirs);

/* ---- the fake root of a static child ---- */

/* Gives the child its wire to that role; returns the role's end. */
int peer_wire(int control, enum role_id to);
/* The specification, and the descriptor that this child alone holds (-1: none). All stay the caller's. */
void peer_begin(int control, const struct spec *spec, uint32_t generation, int extra_fd);

/* ---- speaking ---- */

void peer_put(int fd, enum msg_type type, const void *body);
void peer_put_fds(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds);
/* Any text as one frame; any bytes as they are. */
void peer_put_text(int fd, const char *text, size_t n, const int *fds, unsigned n_fds);
void peer_putf(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void peer_put_bytes(int fd, const void *bytes, size_t n, const int *fds, unsigned n_fds);

/* ---- hearing ---- */

bool peer_readable(int fd, int64_t ms);
/* The text of the next frame, terminated; NULL at the end of the channel. Half a frame fails the test. */
const char *peer_text(int fd, size_t *n);
/* The next message, checked against the catalogue; NULL at the end. */
struct msg *peer_hear(int fd);
/* The next message, which must be of this type. */
struct msg *peer_get(int fd, enum msg_type type);
/* The next frame as JSON: a new reference; NULL at the end. */
json_t *peer_json(int fd);
/* Nothing more comes but the end of the channel; fd -1: it is closed already. */
void peer_end(int fd);

#endif
