/* Everything around one worker of kind `actors`: the worker runs in a forked child with its real loop and channels, and
 * this side plays the event log, the registry, llmcalls, runs, its owner and a client. What the fake model and the fake
 * runs do is a script: one line for each request in the order in which they come. */
#ifndef SOMA_TESTS_ACTOR_FAKES_H
#define SOMA_TESTS_ACTOR_FAKES_H

#include "common/json.h"
#include "common/role.h"

enum verb {
    SAY,     /* model: the assistant message `text` */
    FAILS,   /* model: llm_failed{error `text`}; run: run_done{failed, error `text`} */
    OUTPUTS, /* run: run_done{completed, outputs `text`} */
    REJECTS, /* run: run_rejected{error `text`} */
    CRASHES, /* dies without a word */
    GARBAGE, /* a frame that is none; lives until it is killed */
    HANGS,   /* until cancelled, and says so */
    DEAF,    /* until killed */
};

struct line {
    enum verb verb;
    const char *text;
};

struct fake_worker {
    struct fakes *fakes;
    char id[ID_SIZE];
    enum role_id role;
    enum verb verb;
    struct chan *link, *monitor;
};

#define FAKE_WORKERS 256u

struct fakes {
    /* set before fakes_start() */
    const struct role *role;
    const char *id;
    bool recover;
    const char *definition, *catalog; /* documents of an actor */
    const char *history;              /* array of records that every query answers with */
    const struct line *script;
    size_t n_script, at;
    const char *refuse, *hold; /* event type that the log refuses; whose `durable` waits for fakes_release() */
    struct spec spec;

    /* seen so far */
    json_t *events;   /* {type, task?, call?, data} */
    json_t *requests; /* of llm_request: {messages, tools?} */
    json_t *plans;
    json_t *said; /* to the client or owner: {msg, ...} */
    json_t *kills, *cancels, *attached;
    size_t helloed, heard;

    pid_t pid;
    struct loop *loop;
    struct chan *link, *client, *log, *registry, *llmcalls, *runs;
    int64_t held, seq;
    struct fake_worker workers[FAKE_WORKERS];
    size_t n_workers;
};

void fakes_init(struct fakes *f, const struct role *role, const char *id);
void fakes_start(struct fakes *f);
/* Closes the owner's link, waits for the child and returns its exit status, or 256 + the signal; everything is freed.
 */
int fakes_end(struct fakes *f);
/* The same after SIGTERM. */
int fakes_term(struct fakes *f);
/* Waits for its end without doing anything to it. */
int fakes_reap(struct fakes *f);

/* A new client's channel (of an actor). */
void fakes_connect(struct fakes *f);
void fakes_release(struct fakes *f);

/* Turns the loop until so much was seen; without it an alarm ends the test program. */
void fakes_until(struct fakes *f, const json_t *list, size_t n);
void fakes_until_event(struct fakes *f, const char *type);

/* The types of all events, joined by blanks. */
const char *fakes_trail(const struct fakes *f);
/* The next unheard message of that name; those before it are passed over. Waits for it. */
const json_t *fakes_hear(struct fakes *f, const char *msg);
/* The n-th event of that type, from 0; NULL. */
const json_t *fakes_event(const struct fakes *f, const char *type, size_t n);

#endif
