/* Messages as structs, made from common/msg.def. A frame's body is one JSON object whose "msg" is the message's name;
 * unknown and missing members, wrong types and values beyond their limits are refused. */
#ifndef SOMA_COMMON_MSG_H
#define SOMA_COMMON_MSG_H

#include "common/buf.h"
#include "common/roles.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSG_FDS_MAX 3u

/* Text of one JSON value inside a larger text; not terminated. */
struct json_span {
    const char *p;
    size_t n;
};
#define SPAN(text) ((struct json_span){(text), strlen(text)})

#define F_STR(name, max, need, doc) const char *name;
#define F_INT(name, min, max, need, doc) int64_t name;
#define F_BOOL(name, doc) bool name;
#define F_JSON(name, max, need, doc) struct json_span name;
#define MSG_BEGIN(ID, name, from, to, fds_min, fds_max, doc) struct msg_##name {
#define MSG_END(ID)                                                                                                    \
    char end_; /* a message may have no field */                                                                       \
    }                                                                                                                  \
    ;
#include "common/msg.def"
#undef MSG_BEGIN
#undef MSG_END
#undef F_STR
#undef F_INT
#undef F_BOOL
#undef F_JSON

#define F_STR(...)
#define F_INT(...)
#define F_BOOL(...)
#define F_JSON(...)
#define MSG_END(ID)
enum msg_type {
#define MSG_BEGIN(ID, ...) MSG_##ID,
#include "common/msg.def"
#undef MSG_BEGIN
    MSG__COUNT
};

struct msg {
    enum msg_type type;
    union {
#define MSG_BEGIN(ID, name, ...) struct msg_##name name;
#include "common/msg.def"
#undef MSG_BEGIN
    };
    unsigned n_fds;
    int fds[MSG_FDS_MAX]; /* a handler takes with take_fd(); what is left is closed after it */
};
#undef MSG_END
#undef F_STR
#undef F_INT
#undef F_BOOL
#undef F_JSON

enum field_type { FIELD_STR, FIELD_INT, FIELD_BOOL, FIELD_JSON };

struct field_info {
    const char *name;
    enum field_type type;
    bool required;
    size_t offset; /* in the message's struct */
    size_t max_bytes;
    int64_t min, max;
    const char *doc;
};

struct msg_info {
    const char *name;
    uint32_t from, to; /* sets of roles */
    unsigned fds_min, fds_max;
    const char *doc;
    const struct field_info *(*fields)(void); /* rows, ended by one without a name */
};

/* The catalogue row of a type. */
const struct msg_info *msg_info(enum msg_type type);
const char *msg_name(enum msg_type type);

/* Appends the JSON text of a message. `body` is the message's struct. Checks required members, limits and the syntax
 * that the limits depend on; -EINVAL names the member (a mistake of the caller's), -EMSGSIZE the buffer's ceiling. */
int msg_encode(enum msg_type type, const void *body, struct buf *out);

/* Decodes `n` bytes in place: strings of the result point into `text`, which must outlive it. Everything is hostile
 * until this returns 0; -EPROTO or -EMSGSIZE with a text otherwise. Descriptors are not its business. */
int msg_decode(char *text, size_t n, struct msg *out);

/* Whether `from` may send this to `to`: 0 or -EPERM. */
int msg_allowed(enum msg_type type, enum role_id from, enum role_id to);

#endif
