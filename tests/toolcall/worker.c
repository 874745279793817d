/* The worker is forked by hand, since it is PID 1 of a namespace; the rest is the kit's. */
#include "tests/toolcall/worker.h"

#include "common/cleanup.h"
#include "tests/kit/peers.h"
#include "tests/toolcall/scope.h"
#include "toolcall/toolcall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void worker_spec(struct spec *spec) {
    spec_defaults(spec);
    spec->magic = SPEC_MAGIC;
    spec->size = sizeof *spec;
    spec->privileged = geteuid() == 0;
    spec->tool_uid = TOOL_UID;
    spec->tool_gid = TOOL_UID;
}

int worker_grants(const char *tools) {
    auto_free char *text = NULL;
    int n = asprintf(&text, "{\"generation\":1,\"tools\":[%s]}", tools);
    assert_true(n > 0);
    int fd = memfd_seal("grants", text, (size_t)n);
    assert_true(fd >= 0);
    return fd;
}

/* ---- the child ---- */

struct body {
    const struct worker_plan *plan;
    int link, log;
};

static int body(const void *arg) {
    const struct body *b = arg;
    const struct worker_plan *plan = b->plan;
    const struct kit_slot slots[] = {
        {b->link, SLOT_LINK},
        {b->log, SLOT_LOG},
        {plan->grants, SLOT_GRANTS},
        {plan->read_root, SLOT_ROOTS},
        {plan->write_root, SLOT_ROOTS + (plan->read_root >= 0)},
    };
    struct worker_start start = {.role = ROLE_TOOLCALL,
                                 .id = CALL_ID,
                                 .generation = 1,
                                 .owner = {.role = ROLE_RUN},
                                 .owner_known = true,
                                 .spec = plan->spec,
                                 .wires = M(EVENTLOG),
                                 .has_grants = plan->grants >= 0,
                                 .n_read_roots = plan->read_root >= 0,
                                 .n_write_roots = plan->write_root >= 0};
    (void)snprintf(start.profile, sizeof start.profile, "%s", plan->profile);
    return kit_be_worker(&toolcall_role, &start, slots, sizeof slots / sizeof *slots);
}

/* ---- the test's side ---- */

void worker_start(struct worker *w, const struct worker_plan *plan) {
    struct body b = {.plan = plan};
    *w = (struct worker){.owner = peer_pair(CHAN_STREAM, &b.link), .log = peer_pair(CHAN_STREAM, &b.log)};
    w->pid = scope_fork(body, &b, false);
    assert_true(w->pid > 0);
    (void)fd_close(b.link);
    (void)fd_close(b.log);
    auto_json json_t *hello = peer_json(w->owner);
    assert_string_equal(json_str(hello, "msg"), "hello");
    assert_string_equal(json_str(hello, "id"), CALL_ID);
    w->host_pid = (pid_t)json_i64(hello, "pid", 0);
}

void worker_call(struct worker *w, const char *tool, const char *args, const char *more) {
    peer_putf(w->owner,
              "{\"msg\":\"call\",\"tool\":\"%s\",\"step\":\"one\",\"args\":%s,\"corr\":\"corr-7\",\"task\":\"" TASK_ID
              "\"%s%s}",
              tool, args, strstr(more, "timeout_ms") ? "" : ",\"timeout_ms\":60000", more);
}

json_t *worker_event(struct worker *w) {
    json_t *event = peer_json(w->log);
    assert_non_null(event);
    assert_string_equal(json_str(event, "msg"), "append");
    assert_string_equal(json_str(event, "step"), "one");
    assert_string_equal(json_str(event, "task"), TASK_ID);
    assert_string_equal(json_str(event, "corr"), "corr-7");
    assert_null(json_object_get(event, "call")); /* the log stamps it from the channel */
    assert_false(json_flag(event, "barrier", false));
    assert_true(json_i64(event, "ref", 0) > 0);
    return event;
}

void worker_accept(struct worker *w, const json_t *event) {
    peer_putf(w->log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":12}", (long long)json_i64(event, "ref", 0));
}

json_t *worker_answer(struct worker *w) {
    json_t *done = peer_json(w->owner);
    assert_non_null(done);
    assert_string_equal(json_str(done, "msg"), "call_done");
    return done;
}

int worker_end(struct worker *w) {
    int status = kit_ended(w->pid);
    w->owner = fd_close(w->owner);
    w->log = fd_close(w->log);
    return status;
}
