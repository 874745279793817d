/* Who may say what. The log believes nothing that a frame says about its sender: run, actor, call and pid come from the
 * link's identity, and a member that names one of them is taken only from a role that rightly speaks about others.
 * To let a role write a new type of event, add a row to `types`. */
#include "eventlog/internal.h"

#include "common/err.h"
#include "common/scan.h"

#include <string.h>

/* A record is read again inside a page, and that inside a client's answer: both must stay within the scanner's limits.
 */
#define DATA_DEPTH_MAX (SCAN_DEPTH_MAX - 8u)
#define DATA_NODES_MAX (SCAN_NODES_MAX - 2000u)

#define M_CALLS (M(TOOLCALL) | M(LLMCALL))
#define M_SPOKESMEN (M_SUPERVISORS | M(ROOT) | M(REGISTRY) | M(GATEWAY)) /* report about others */
#define M_ASKERS (M(ACTOR) | M(SESSION))

/* A name that ends in a dot stands for all types that begin with it. */
static const struct {
    const char *type;
    uint32_t from;
} types[] = {
    {"actor.", M_ASKERS},
    {"approval.", M(ACTOR) | M(GATEWAY)},
    {"budget.", M(ACTOR)},
    {"llm.cancelled", M(LLMCALL)},
    {"llm.failed", M(LLMCALL)},
    {"llm.retrying", M(LLMCALL)},
    {"llm.started", M(ACTOR)},
    {"llm.succeeded", M(LLMCALL)},
    {"llm.timeout", M(LLMCALL)},
    {"policy.", M_ASKERS},
    {"process.", M(ROOT) | M_SUPERVISORS},
    {"proposal.", M(ACTOR)},
    {"run.", M(RUN)},
    {"step.", M(RUN)},
    {"system.", M(ROOT) | M(REGISTRY)},
    {"task.", M(ACTOR)},
    {"tool.denied", M(TOOLCALL)},
    {"tool.failed", M(TOOLCALL)},
    {"tool.killed", M(RUN)},
    {"tool.started", M(RUN)},
    {"tool.succeeded", M(TOOLCALL)},
};

static bool fits_row(const char *row, const char *type) {
    size_t n = strlen(row);
    return row[n - 1] == '.' ? strncmp(row, type, n) == 0 : strcmp(row, type) == 0;
}

static bool may_write(enum role_id role, const char *type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].from & UINT32_C(1) << role && fits_row(types[i].type, type))
            return true;
    return false;
}

/* [a-z]+(\.[a-z_]+)+ */
static bool type_valid(const char *type) {
    size_t n = strspn(type, "abcdefghijklmnopqrstuvwxyz");
    if (n == 0 || type[n] != '.')
        return false;
    while (type[n] == '.') {
        size_t word = strspn(type + n + 1, "abcdefghijklmnopqrstuvwxyz_");
        if (word == 0)
            return false;
        n += 1 + word;
    }
    return type[n] == '\0';
}

static bool run_id(const char *text) {
    return id_valid(text, 'r');
}
static bool call_id(const char *text) {
    return id_valid(text, 'c');
}
static bool task_id(const char *text) {
    return id_valid(text, 't');
}

static const struct stamp {
    const char *name;
    size_t offset; /* in struct msg_append */
    uint32_t from;
    bool (*valid)(const char *text);
} stamps[] = {
    {"run", offsetof(struct msg_append, run), M_SPOKESMEN, run_id},
    {"call", offsetof(struct msg_append, call), M_SPOKESMEN | M(RUN) | M_ASKERS, call_id},
    {"step", offsetof(struct msg_append, step), M(RUN) | M_CALLS, name_valid},
    {"task", offsetof(struct msg_append, task), M(RUN) | M_ASKERS | M_CALLS, task_id},
    {"corr", offsetof(struct msg_append, corr), M(RUN) | M_ASKERS | M_CALLS, name_valid},
};

static const char *judge_stamps(const struct peer *peer, const struct msg_append *event) {
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        const char *text;
        memcpy(&text, (const char *)event + stamps[i].offset, sizeof text);
        if (!text)
            continue;
        if (!(stamps[i].from & UINT32_C(1) << peer->role)) {
            (void)err_raise(-EPERM, "a %s may not set %s: the log knows it from the link", role_name(peer->role),
                            stamps[i].name);
            return "denied";
        }
        if (!stamps[i].valid(text)) {
            (void)err_raise(-EPROTO,
                            "%s is no %s: ids are a letter, a dash and 26 characters, names are "
                            "[A-Za-z0-9][A-Za-z0-9_.-]*",
                            stamps[i].name, stamps[i].name);
            return "bad_event";
        }
    }
    return NULL;
}

const char *rights_judge(const struct peer *peer, const struct msg_append *event) {
    if (!type_valid(event->type)) {
        (void)err_raise(-EPROTO, "the type of an event is words of a-z and _ with dots between them");
        return "bad_event";
    }
    if (event->data.n < 2 || event->data.p[0] != '{') { /* the codec has checked the rest of it */
        (void)err_raise(-EPROTO, "data of %s is not an object", event->type);
        return "bad_event";
    }
    if (!may_write(peer->role, event->type)) {
        (void)err_raise(-EPERM, "a %s may not write %s", role_name(peer->role), event->type);
        return "denied";
    }
    struct scan_cost cost = scan_cost(event->data.p, event->data.n);
    if (cost.depth > DATA_DEPTH_MAX || cost.nodes > DATA_NODES_MAX) {
        (void)err_raise(-EMSGSIZE, "data of %s: at most %u levels and %u values can be told again", event->type,
                        DATA_DEPTH_MAX, DATA_NODES_MAX);
        return "too_large";
    }
    return judge_stamps(peer, event);
}

bool rights_identity(const struct peer *peer) {
    bool valid = (!peer->run[0] || run_id(peer->run)) && (!peer->call[0] || call_id(peer->call)) &&
                 (!peer->actor[0] || name_valid(peer->actor));
    switch (peer->role) {
    case ROLE_RUN:
        return valid && peer->run[0];
    case ROLE_TOOLCALL:
    case ROLE_LLMCALL:
        return valid && peer->call[0];
    case ROLE_ACTOR:
    case ROLE_SESSION:
        return valid && peer->actor[0];
    default:
        return valid;
    }
}

bool rights_ask(const struct peer *peer, enum store_index by, const char *key) {
    switch (peer->role) {
    case ROLE_GATEWAY:
        return true;
    case ROLE_RUN:
        return by == STORE_BY_RUN && strcmp(key, peer->run) == 0;
    case ROLE_ACTOR:
    case ROLE_SESSION:
        return by == STORE_BY_ACTOR && strcmp(key, peer->actor) == 0;
    default:
        return false;
    }
}
