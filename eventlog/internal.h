/* What the files of the process share. Nobody outside this folder includes it. */
#ifndef SOMA_EVENTLOG_INTERNAL_H
#define SOMA_EVENTLOG_INTERNAL_H

#include "common/role.h"
#include "eventlog/store.h"

#include <sys/queue.h>

#define CLAIM_BUCKETS 1024u
#define QUERIES_MAX 256u        /* of one link, waiting: as many as [limits] max_clients has by default */
#define PAGE_BYTES (900u << 10) /* of records in one page */
#define PAGE_EVENTS 200u        /* when the query names no limit */
#define RELAXED_MS 2            /* an event without a barrier waits at most this long for one */

/* What the log knows of the run that a link is. */
enum run_life { LIFE_UNKNOWN, LIFE_FRESH, LIFE_BEGUN, LIFE_OVER };

struct link {
    TAILQ_ENTRY(link) in;
    struct chan *chan;
    struct link *claim_next; /* in its bucket, while `owner` */
    bool owner;              /* of its run id */
    bool intruder;           /* the run id had a live owner when this link was introduced */
    bool doomed;             /* cannot be told anything any more: ended when the turn ends */
    bool drained;            /* while stopping: everything it had sent was read */
    bool scolded;            /* a refusal that no reply could carry was logged */
    enum run_life life;
    unsigned n_queries; /* waiting */
    uint64_t turn;      /* in which it was served last */
};
TAILQ_HEAD(links, link);

/* An event that is accepted and not durable: who hears of it. */
struct waiting {
    struct link *link; /* NULL: the link has ended */
    int64_t ref;       /* 0: wants no reply */
    uint64_t seq;
    bool barrier;
    enum run_life life; /* that its run has with it; LIFE_UNKNOWN: unchanged */
    char run[ID_SIZE];  /* when `life` says so */
};

struct query;
TAILQ_HEAD(queries, query);

struct eventlog {
    struct role_ctx *ctx;
    struct store *store;
    struct links links;
    struct link *claims[CLAIM_BUCKETS];
    uint64_t turn; /* number of the present one */
    bool stopping, any_doomed;
    /* writer */
    struct waiting *waiting;
    size_t n_waiting, cap_waiting;
    bool barrier;   /* one is among them */
    uint64_t fresh; /* query_bit() of everything among them */
    unsigned n_served, n_looks;
    struct loop_timer relaxed, look_again, title;
    /* query */
    struct queries queries;
    unsigned n_stalled;
};

/* eventlog.c */

static inline struct link *link_of(const struct chan *c) {
    return chan_user(c);
}
/* Sends; a link that cannot take it is doomed. */
void link_tell(struct eventlog *log, struct link *link, enum msg_type type, const void *body);
/* refused{ref,error,err_text()}; without a ref, a warning on stderr, once per link. */
void link_refuse(struct eventlog *log, struct link *link, int64_t ref, const char *error);
/* Notes that a frame of this link was taken in the present turn. */
void link_served(struct eventlog *log, struct link *link);
/* The refusal's name for a failure of the store. */
const char *error_name(int r);

/* writer.c */

int on_append(void *self, struct chan *from, struct msg *m);
/* Makes everything accepted durable and says so; a failure is said to those it concerns. Ends the process when the
 * store is beyond use. */
void writer_commit(struct eventlog *log);
/* End of a turn: commits when a barrier waits and everything that was ready has been read. */
void writer_turn(struct eventlog *log);
void writer_forget(struct eventlog *log, const struct link *link);
void writer_deinit(struct eventlog *log);

/* rights.c. NULL, or "denied" or "bad_event" with err_text(). */
const char *rights_judge(const struct peer *peer, const struct msg_append *event);
/* Whether an identity has what its role needs and nothing that cannot be a stamp. */
bool rights_identity(const struct peer *peer);
/* Whether this peer may ask that; `by` and `key` of the query. */
bool rights_ask(const struct peer *peer, enum store_index by, const char *key);

/* query.c */

int on_query(void *self, struct chan *from, struct msg *m);
int on_head(void *self, struct chan *from, struct msg *m);
int on_open_runs(void *self, struct chan *from, struct msg *m);
/* One of 64 bits that (index, key) hashes to: an event whose bits miss a waiting query's bit cannot answer it. */
uint64_t query_bit(enum store_index index, const char *key);
void queries_wake(struct eventlog *log, uint64_t fresh);
void queries_turn(struct eventlog *log);
void queries_forget(struct eventlog *log, const struct link *link); /* NULL: all */

#endif
