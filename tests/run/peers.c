#include "tests/run/peers.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "run/run.h"

#include <linux/sockios.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MANIFEST(name, schema, effect, idempotent)                                                                     \
    "{\"name\":\"" name "\",\"description\":\"\",\"input_schema\":" schema ",\"effect\":\"" effect                     \
    "\",\"idempotent\":" idempotent ",\"timeout_ms\":10000,\"builtin\":\"" name                                        \
    "\",\"output\":\"json\",\"profile\":\"pure\",\"env\":{},\"limits\":{}}"

static const char grants[] =
    "{\"generation\":1,\"tools\":[" MANIFEST("echo", "{\"type\":\"object\"}", "pure", "true") "," MANIFEST(
        "text", "{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\"}},\"required\":[\"t\"]}", "pure",
        "true") "," MANIFEST("write", "{\"type\":\"object\"}", "state", "false") "]}";

/* ---- the worker ---- */

void peers_init(struct peers *peers) {
    *peers = (struct peers){.owner = -1, .log = -1, .calls = -1};
    spec_defaults(&peers->spec);
}

void peers_launch(struct peers *peers, bool recover, bool owned) {
    struct kit_slot slots[] = {{.slot = SLOT_LINK}, {.slot = SLOT_LOG}, {.slot = SLOT_TOOLCALLS}};
    peers->owner = peer_pair(CHAN_STREAM, &slots[0].fd);
    peers->log = peer_pair(CHAN_STREAM, &slots[1].fd);
    peers->calls = peer_pair(CHAN_SEQPACKET, &slots[2].fd);
    peers->start = (struct worker_start){.role = ROLE_RUN,
                                         .id = RUN_ID,
                                         .generation = 1,
                                         .owner = {.role = ROLE_SESSION, .actor = SESSION_ID},
                                         .owner_known = owned,
                                         .actor = SESSION_ID,
                                         .recover = recover,
                                         .spec = &peers->spec,
                                         .wires = M(EVENTLOG) | M(TOOLCALLS)};
    peers->pid = kit_worker(&run_role, &peers->start, slots, 3);
    for (int i = 0; i < 3; i++)
        (void)fd_close(slots[i].fd);
    if (owned)
        assert_string_equal(peer_get(peers->owner, MSG_HELLO)->hello.id, RUN_ID);
}

void peers_ended(struct peers *peers, int code) {
    pid_t pid = peers->pid;
    peers->pid = 0;
    assert_int_equal(kit_ended(pid), code);
    peer_end(peers->owner);
    peer_end(peers->log);
    peer_end(peers->calls);
}

void peers_deinit(struct peers *peers) {
    if (peers->pid > 0) {
        (void)kill(peers->pid, SIGKILL);
        (void)waitpid(peers->pid, NULL, 0);
        peers->pid = 0;
    }
    peers->owner = fd_close(peers->owner);
    peers->log = fd_close(peers->log);
    peers->calls = fd_close(peers->calls);
}

/* ---- silence ---- */

static char process_state(pid_t pid) {
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    auto_file FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    const char *end = strrchr(text, ')');
    return end ? end[2] : '?';
}

static bool taken(int fd) {
    int unread = 0;
    return fd < 0 || (ioctl(fd, SIOCOUTQ, &unread) == 0 && unread == 0);
}

void expect_silence(struct peers *peers, int fd) {
    int64_t due = now_ms() + kit_ms(KIT_WAIT_MS);
    while (!taken(fd) || !taken(peers->owner) || !taken(peers->log) || !taken(peers->calls) ||
           process_state(peers->pid) != 'S') {
        assert_true(now_ms() < due);
        (void)sched_yield();
    }
    if (peer_readable(fd, 0)) {
        size_t n;
        const char *text = peer_text(fd, &n);
        fail_msg("too early: %s", text ? text : "end of file");
    }
}

/* ---- the owner ---- */

void start_plan_with(struct peers *peers, const char *plan, const char *document, bool detached) {
    auto_close int fd = memfd_seal("grants", document, strlen(document));
    assert_true(fd >= 0);
    struct msg_run_start start = {.plan = SPAN(plan), .detached = detached, .corr = "corr-1"};
    peer_put_fds(peers->owner, MSG_RUN_START, &start, &fd, 1);
}

void start_plan(struct peers *peers, const char *plan, bool detached) {
    start_plan_with(peers, plan, grants, detached);
}

static void same_json(struct json_span got, const char *wanted) {
    auto_json json_t *a = NULL, *b = NULL;
    assert_int_equal(json_parse(wanted, strlen(wanted), JSON_TEXT_MAX, &b), 0);
    if (!got.p || json_parse(got.p, got.n, JSON_TEXT_MAX, &a) < 0 || !json_equal(a, b))
        fail_msg("%.*s\nwanted %s", got.p ? (int)got.n : 7, got.p ? got.p : "nothing", wanted);
}

void expect_accepted(struct peers *peers) {
    struct msg *m = peer_get(peers->owner, MSG_RUN_ACCEPTED);
    assert_string_equal(m->run_accepted.run, RUN_ID);
    assert_int_equal(m->run_accepted.seq, 1);
}

void expect_done(struct peers *peers, const char *status, const char *json) {
    struct msg *m = peer_get(peers->owner, MSG_RUN_DONE);
    bool completed = strcmp(status, "completed") == 0;
    assert_string_equal(m->run_done.run, RUN_ID);
    assert_string_equal(m->run_done.status, status);
    same_json(completed ? m->run_done.outputs : m->run_done.error, json);
    assert_null(completed ? m->run_done.error.p : m->run_done.outputs.p);
}

/* ---- the log ---- */

struct msg *get_event(struct peers *peers, const char *type) {
    struct msg *m = peer_get(peers->log, MSG_APPEND);
    if (strcmp(m->append.type, type) != 0)
        fail_msg("%s came, %s was wanted: %.*s", m->append.type, type, (int)m->append.data.n, m->append.data.p);
    (void)snprintf(peers->corr, sizeof peers->corr, "%s", m->append.corr ? m->append.corr : "");
    if (m->append.ref)
        peers->ref = m->append.ref;
    return m;
}

void expect_event(struct peers *peers, const char *type, bool barrier, const char *data) {
    struct msg *m = get_event(peers, type);
    if (m->append.barrier != barrier)
        fail_msg("%s: barrier %d", type, m->append.barrier);
    if (data)
        same_json(m->append.data, data);
    peers->seq++;
    if (m->append.ref)
        peer_put(peers->log, MSG_ACCEPTED, &(struct msg_accepted){.ref = m->append.ref, .seq = peers->seq});
}

void expect_events(struct peers *peers, const char *types) {
    char copy[200], *rest = NULL;
    (void)snprintf(copy, sizeof copy, "%s", types);
    for (char *type = strtok_r(copy, " ", &rest); type; type = strtok_r(NULL, " ", &rest))
        expect_event(peers, type, false, NULL);
}

void durable(struct peers *peers) {
    peer_put(peers->log, MSG_DURABLE, &(struct msg_durable){.ref = peers->ref, .seq = peers->seq});
}

void refuse(struct peers *peers, int64_t ref, const char *error) {
    peer_put(peers->log, MSG_REFUSED, &(struct msg_refused){.ref = ref, .error = error, .why = "the log said no"});
}

void expect_start(struct peers *peers, bool first_safe, struct call *call) {
    expect_event(peers, "run.accepted", first_safe, NULL);
    int64_t accept_ref = peers->ref;
    expect_events(peers, "run.started step.started");
    expect_event(peers, "tool.started", !first_safe, NULL);
    expect_spawn(peers, call);
    if (first_safe) { /* the barrier in flight is that of run.accepted */
        peer_put(peers->log, MSG_DURABLE, &(struct msg_durable){.ref = accept_ref, .seq = 1});
        expect_accepted(peers);
    }
}

/* ---- calls ---- */

void expect_spawn(struct peers *peers, struct call *call) {
    struct msg *m = peer_get(peers->calls, MSG_SPAWN);
    assert_int_equal(m->n_fds, 2);
    assert_string_equal(m->spawn.role, "toolcall");
    assert_string_equal(m->spawn.profile, "pure");
    assert_true(id_valid(m->spawn.id, 'c'));
    *call = (struct call){m->fds[0], m->fds[1], {0}};
    (void)snprintf(call->id, sizeof call->id, "%s", m->spawn.id);
}

void call_hello(struct call *call) {
    peer_put(call->link, MSG_HELLO, &(struct msg_hello){.id = call->id, .pid = 4711, .generation = 1});
}

void expect_call(struct call *call, const char *tool, const char *args) {
    struct msg *m = peer_get(call->link, MSG_CALL);
    assert_string_equal(m->call.tool, tool);
    assert_string_equal(m->call.corr, "corr-1");
    if (args)
        same_json(m->call.args, args);
}

void call_ok(struct call *call, const char *value) {
    struct msg_call_done done = {.ok = true, .value = SPAN(value), .wall_ms = 1};
    peer_put(call->link, MSG_CALL_DONE, &done);
}

void call_fails(struct call *call, const char *failure, const char *text) {
    peer_put(call->link, MSG_CALL_DONE, &(struct msg_call_done){.failure = failure, .message = text});
}

void call_down(struct call *call, const char *reason, int number) {
    bool signalled = strcmp(reason, "signalled") == 0;
    struct msg_down down = {.id = call->id,
                            .reason = reason,
                            .signal = signalled ? number : 0,
                            .code = signalled ? 0 : number,
                            .why = strcmp(reason, "refused") == 0 ? "too many" : NULL};
    call->link = fd_close(call->link);
    peer_put(call->monitor, MSG_DOWN, &down);
    call->monitor = fd_close(call->monitor);
}

void expect_cancel(struct call *call) {
    (void)peer_get(call->link, MSG_CANCEL);
}

void expect_kill(struct peers *peers, const char *id) {
    struct msg *m = peer_get(peers->calls, MSG_KILL);
    assert_string_equal(m->kill.id, id);
}

void call_serve(struct call *call, const char *tool, const char *args, const char *value) {
    call_hello(call);
    expect_call(call, tool, args);
    call_ok(call, value);
}

void expect_end(struct peers *peers, const char *status, const char *data) {
    char type[32];
    (void)snprintf(type, sizeof type, "run.%s", status);
    expect_event(peers, type, true, data);
    expect_silence(peers, peers->owner);
    durable(peers);
}
