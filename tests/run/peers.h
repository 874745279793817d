/* A run's worker in a process of its own, and everybody it talks to played by the test: its owner, the event log, the
 * supervisor of tool calls and the calls. Every wait is for a frame, an end of file or an exit, under one deadline. */
#ifndef SOMA_TESTS_RUN_PEERS_H
#define SOMA_TESTS_RUN_PEERS_H

#include "tests/kit/peers.h"

#define RUN_ID "r-01JD0000000000000000000000"
#define SESSION_ID "s-01JD0000000000000000000000"

struct peers {
    pid_t pid;
    int owner, log, calls;
    struct spec spec;
    struct worker_start start;
    int64_t seq, ref; /* of the last event that wanted a reply */
    char corr[64];    /* of the last event */
};

/* A call as toolcalls and its process hold it. */
struct call {
    int link, monitor;
    char id[NAME_SIZE];
};

/* The worker under way; peers->spec may be changed before. */
void peers_init(struct peers *peers);
void peers_launch(struct peers *peers, bool recover, bool owned);
/* The worker must have ended with this status and nothing unread on any channel. Ends the test's side. */
void peers_ended(struct peers *peers, int code);
void peers_deinit(struct peers *peers); /* after a failed test too */

/* Waits until the worker has taken everything sent to it and sleeps; then nothing may be waiting on `fd`. */
void expect_silence(struct peers *peers, int fd);

/* The owner's side: sends the plan with the standard grants. */
void start_plan(struct peers *peers, const char *plan, bool detached);
void start_plan_with(struct peers *peers, const char *plan, const char *grants, bool detached);

/* The log's side. Reads one event, checks type and barrier and that `data` is this JSON (NULL = do not look), and
 * answers accepted when a reply is wanted. */
void expect_event(struct peers *peers, const char *type, bool barrier, const char *data);
/* The same for several relaxed ones, between blanks. */
void expect_events(struct peers *peers, const char *types);
/* The last event that wanted a reply, and all before it, are on disk. */
void durable(struct peers *peers);
void refuse(struct peers *peers, int64_t ref, const char *error);
/* Without answering. */
struct msg *get_event(struct peers *peers, const char *type);

/* The first events of every run, up to and with the first call's request. `first_safe`: run.accepted is a barrier. */
void expect_start(struct peers *peers, bool first_safe, struct call *call);

/* Toolcalls' side, and the call's. */
void expect_spawn(struct peers *peers, struct call *call);
void call_hello(struct call *call);
void expect_call(struct call *call, const char *tool, const char *args);
void call_ok(struct call *call, const char *value);
void call_fails(struct call *call, const char *failure, const char *message);
/* The link ends, then `down`. */
void call_down(struct call *call, const char *reason, int number);
void expect_cancel(struct call *call);
void expect_kill(struct peers *peers, const char *id);
/* hello, call, answer. */
void call_serve(struct call *call, const char *tool, const char *args, const char *value);

/* The owner's view of the end; `json` = outputs or error. */
void expect_accepted(struct peers *peers);
void expect_done(struct peers *peers, const char *status, const char *json);
/* Terminal event with this data, durable, run_done, exit 0. */
void expect_end(struct peers *peers, const char *status, const char *data);

#endif
