#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/actor/fakes.h"

#include <signal.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "tests/kit/peers.h"

static json_t *parse_span(struct json_span span) {
    json_t *j = NULL;
    if (span.p && json_parse(span.p, span.n, JSON_TEXT_MAX, &j) < 0)
        fail_msg("%s", err_text());
    return j;
}

static void push(json_t *list, json_t *value) {
    assert_int_equal(json_array_append_new(list, value), 0);
}

/* ---- workers of llmcalls and runs ---- */

static void worker_down(struct fake_worker *w, const char *reason, int signal) {
    if (!w->monitor)
        return;
    struct msg_down down = {.id = w->id, .reason = reason, .generation = 1, .signal = signal};
    assert_int_equal(chan_send(w->monitor, MSG_DOWN, &down), 0);
    chan_close_after_flush(w->monitor);
    chan_close(w->link);
    w->link = w->monitor = NULL;
}

static void say(struct fake_worker *w, const char *text) {
    assert_int_equal(chan_send(w->link, MSG_LLM_REPLY, &(struct msg_llm_reply){.message = SPAN(text)}), 0);
    worker_down(w, "exited", 0);
}

static void fails(struct fake_worker *w, const char *text) {
    if (w->role == ROLE_LLMCALL) {
        struct msg_llm_failed failed = {.error = text, .message = "it did not work"};
        assert_int_equal(chan_send(w->link, MSG_LLM_FAILED, &failed), 0);
    } else {
        struct msg_run_done done = {.run = w->id, .status = "failed", .error = SPAN(text)};
        assert_int_equal(chan_send(w->link, MSG_RUN_DONE, &done), 0);
    }
    worker_down(w, "exited", 0);
}

static void run_says(struct fake_worker *w, enum verb verb, const char *text) {
    if (verb == REJECTS) {
        struct msg_run_rejected rejected = {.run = w->id, .error = text, .why = "/steps: no"};
        assert_int_equal(chan_send(w->link, MSG_RUN_REJECTED, &rejected), 0);
    } else {
        struct msg_run_done done = {.run = w->id, .status = "completed", .outputs = SPAN(text)};
        assert_int_equal(chan_send(w->link, MSG_RUN_DONE, &done), 0);
    }
    worker_down(w, "exited", 0);
}

static void play(struct fake_worker *w) {
    struct fakes *f = w->fakes;
    if (f->at == f->n_script)
        fail_msg("the script has no line %zu", f->at);
    struct line line = f->script[f->at++];
    w->verb = line.verb;
    if (w->role == ROLE_RUN && line.verb != REJECTS)
        assert_int_equal(chan_send(w->link, MSG_RUN_ACCEPTED, &(struct msg_run_accepted){.run = w->id, .seq = 1}), 0);
    switch (line.verb) {
    case SAY:
        say(w, line.text);
        break;
    case FAILS:
        fails(w, line.text);
        break;
    case OUTPUTS:
    case REJECTS:
        run_says(w, line.verb, line.text);
        break;
    case CRASHES:
        worker_down(w, "signalled", SIGKILL);
        break;
    case GARBAGE:
        assert_int_equal(chan_send_text(w->link, "{\"msg\":\"hello\",\"id\":", 20, NULL, 0), 0);
        break;
    case HANGS:
    case DEAF:
        break;
    }
}

static void cancelled(struct fake_worker *w, const char *reason) {
    push(w->fakes->cancels, json_string(reason));
    if (w->verb == DEAF)
        return;
    if (w->role == ROLE_LLMCALL) {
        fails(w, "cancelled");
        return;
    }
    static const char error[] = "{\"name\":\"cancelled\",\"message\":\"as told\"}";
    struct msg_run_done done = {.run = w->id, .status = "cancelled", .error = SPAN(error)};
    assert_int_equal(chan_send(w->link, MSG_RUN_DONE, &done), 0);
    worker_down(w, "exited", 0);
}

static int on_worker_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct fake_worker *w = arg;
    struct msg m;
    assert_int_equal(msg_decode(text, n, &m), 0);
    if (m.type == MSG_LLM_REQUEST) {
        push(w->fakes->requests, json_pack("{s:o, s:o*}", "messages", parse_span(m.llm_request.messages), "tools",
                                           parse_span(m.llm_request.tools)));
        play(w);
    } else if (m.type == MSG_RUN_START) {
        int fds[MSG_FDS_MAX];
        assert_int_equal(chan_take_fds(c, fds), 1);
        (void)fd_close(fds[0]);
        push(w->fakes->plans, parse_span(m.run_start.plan));
        play(w);
    } else if (m.type == MSG_CANCEL) {
        cancelled(w, m.cancel.reason);
    } else {
        fail_msg("a worker is told %s", msg_name(m.type));
    }
    return 0;
}

static void on_worker_close(void *arg, struct chan *c, int reason) {
    struct fake_worker *w = arg;
    w->link = NULL;
}

static const struct chan_ops worker_ops = {on_worker_frame, on_worker_close};

static void on_monitor_close(void *arg, struct chan *c, int reason) {
    struct fake_worker *w = arg;
    w->monitor = NULL;
}

static int on_monitor_frame(void *arg, struct chan *c, char *text, size_t n) {
    fail_msg("an owner speaks on a monitor");
    return 0;
}

static const struct chan_ops monitor_ops = {on_monitor_frame, on_monitor_close};

static struct chan *open_chan(struct fakes *f, int fd, enum chan_kind kind, const struct chan_ops *ops, void *arg) {
    struct chan_config config = {
        .loop = f->loop, .fd = fd, .kind = kind, .peer = {.role = f->role->id}, .ops = ops, .arg = arg};
    struct chan *c = chan_new(&config);
    assert_non_null(c);
    return c;
}

static struct fake_worker *worker_new(struct fakes *f, const char *id, enum role_id role, int monitor) {
    assert_true(f->n_workers < FAKE_WORKERS);
    struct fake_worker *w = &f->workers[f->n_workers++];
    *w = (struct fake_worker){.fakes = f, .role = role, .verb = HANGS};
    (void)snprintf(w->id, sizeof w->id, "%s", id);
    w->monitor = open_chan(f, monitor, CHAN_STREAM, &monitor_ops, w);
    return w;
}

/* ---- the kinds ---- */

static void on_spawn(struct fakes *f, enum role_id role, const struct msg_spawn *spawn, const int *fds, unsigned n) {
    assert_int_equal(n, role == ROLE_RUN ? 3 : 2);
    assert_string_equal(spawn->role, role_name(role));
    struct fake_worker *w = worker_new(f, spawn->id, role, fds[1]);
    w->link = open_chan(f, fds[0], CHAN_STREAM, &worker_ops, w);
    if (n == 3)
        (void)fd_close(fds[2]);
    f->helloed++;
    assert_int_equal(chan_send(w->link, MSG_HELLO, &(struct msg_hello){.id = w->id, .pid = 1, .generation = 1}), 0);
}

static void on_kill(struct fakes *f, struct chan *c, const char *id) {
    push(f->kills, json_string(id));
    int64_t count = 0;
    for (size_t i = 0; i < f->n_workers; i++)
        if (strcmp(f->workers[i].id, id) == 0 && f->workers[i].monitor) {
            worker_down(&f->workers[i], "signalled", SIGKILL);
            count++;
        }
    assert_int_equal(chan_send(c, MSG_KILLED, &(struct msg_killed){.id = id, .count = count}), 0);
}

static int on_kind_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct fakes *f = arg;
    struct msg m;
    int fds[MSG_FDS_MAX];
    assert_int_equal(msg_decode(text, n, &m), 0);
    unsigned n_fds = chan_take_fds(c, fds);
    enum role_id role = c == f->runs ? ROLE_RUN : ROLE_LLMCALL;
    if (m.type == MSG_SPAWN) {
        on_spawn(f, role, &m.spawn, fds, n_fds);
    } else if (m.type == MSG_KILL) {
        on_kill(f, c, m.kill.id);
    } else if (m.type == MSG_ATTACH) {
        assert_int_equal(n_fds, 1);
        (void)worker_new(f, m.attach.id, role, fds[0]);
        push(f->attached, json_string(m.attach.id));
    } else {
        fail_msg("a supervisor is told %s", msg_name(m.type));
    }
    return 0;
}

/* ---- the log ---- */

static void on_append(struct fakes *f, struct chan *c, const struct msg_append *m) {
    if (f->refuse && strcmp(f->refuse, m->type) == 0) {
        assert_true(m->ref > 0);
        f->refuse = NULL;
        struct msg_refused refused = {.ref = m->ref, .error = "log_full", .why = "the disk is full; make room"};
        assert_int_equal(chan_send(c, MSG_REFUSED, &refused), 0);
        return;
    }
    push(f->events, json_pack("{s:s, s:s*, s:s*, s:s*, s:o}", "type", m->type, "task", m->task, "call", m->call, "corr",
                              m->corr, "data", parse_span(m->data)));
    int64_t seq = ++f->seq;
    assert_true(m->ref > 0 || !m->barrier);
    if (m->ref)
        assert_int_equal(chan_send(c, MSG_ACCEPTED, &(struct msg_accepted){.ref = m->ref, .seq = seq}), 0);
    if (f->hold && strcmp(f->hold, m->type) == 0)
        f->held = m->ref;
    else if (m->barrier)
        assert_int_equal(chan_send(c, MSG_DURABLE, &(struct msg_durable){.ref = m->ref, .seq = seq}), 0);
}

void fakes_release(struct fakes *f) {
    assert_true(f->held > 0);
    assert_int_equal(chan_send(f->log, MSG_DURABLE, &(struct msg_durable){.ref = f->held, .seq = f->seq}), 0);
    f->held = 0;
}

static int on_log_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct fakes *f = arg;
    struct msg m;
    assert_int_equal(msg_decode(text, n, &m), 0);
    if (m.type == MSG_APPEND) {
        on_append(f, c, &m.append);
    } else if (m.type == MSG_QUERY) {
        struct msg_page page = {.ref = m.query.ref, .events = SPAN(f->history ? f->history : "[]")};
        assert_int_equal(chan_send(c, MSG_PAGE, &page), 0);
    } else {
        fail_msg("the log is told %s", msg_name(m.type));
    }
    return 0;
}

/* ---- the registry ---- */

static int on_registry_frame(void *arg, struct chan *c, char *text, size_t n) {
    struct fakes *f = arg;
    struct msg m;
    assert_int_equal(msg_decode(text, n, &m), 0);
    const char *document = m.type == MSG_ACTOR_GET ? f->definition : m.type == MSG_CATALOG ? f->catalog : "[]";
    int64_t ref = m.type == MSG_ACTOR_GET ? m.actor_get.ref : m.type == MSG_CATALOG ? m.catalog.ref : m.grants.ref;
    auto_close int fd = memfd_seal("document", document, strlen(document));
    assert_true(fd >= 0);
    struct msg_document answer = {.ref = ref, .generation = 1, .bytes = (int64_t)strlen(document)};
    assert_int_equal(chan_send_fds(c, MSG_DOCUMENT, &answer, &fd, 1), 0);
    return 0;
}

/* ---- client and owner ---- */

static json_t *spoken(const struct msg *m) {
    const char *msg = msg_name(m->type);
    switch (m->type) {
    case MSG_TASK_ACCEPTED:
        return json_pack("{s:s, s:s}", "msg", msg, "task", m->task_accepted.task);
    case MSG_TASK_DONE:
        return json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s*}", "msg", msg, "task", m->task_done.task, "status",
                         m->task_done.status, "reply", m->task_done.reply, "error", m->task_done.error, "why",
                         m->task_done.why);
    case MSG_RUN_ACCEPTED:
        return json_pack("{s:s, s:s}", "msg", msg, "run", m->run_accepted.run);
    case MSG_RUN_REJECTED:
        return json_pack("{s:s, s:s, s:s}", "msg", msg, "run", m->run_rejected.run, "error", m->run_rejected.error);
    case MSG_RUN_DONE:
        return json_pack("{s:s, s:s, s:s, s:o*, s:o*}", "msg", msg, "run", m->run_done.run, "status",
                         m->run_done.status, "outputs", parse_span(m->run_done.outputs), "error",
                         parse_span(m->run_done.error));
    default:
        return NULL;
    }
}

static int on_spoken(void *arg, struct chan *c, char *text, size_t n) {
    struct fakes *f = arg;
    struct msg m;
    assert_int_equal(msg_decode(text, n, &m), 0);
    json_t *what = spoken(&m);
    if (what)
        push(f->said, what);
    else
        assert_int_equal(m.type, MSG_HELLO);
    return 0;
}

static void on_gone(void *arg, struct chan *c, int reason) {
    struct fakes *f = arg;
    struct chan **all[] = {&f->link, &f->client, &f->log, &f->registry, &f->llmcalls, &f->runs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i] == c)
            *all[i] = NULL;
}

static const struct chan_ops spoken_ops = {on_spoken, on_gone}, log_ops = {on_log_frame, on_gone},
                             registry_ops = {on_registry_frame, on_gone}, kind_ops = {on_kind_frame, on_gone};

void fakes_connect(struct fakes *f) {
    int pair[2];
    assert_int_equal(chan_pair(CHAN_STREAM, pair), 0);
    f->client = open_chan(f, pair[0], CHAN_STREAM, &spoken_ops, f);
    struct msg_introduce introduce = {.role = "gateway"};
    assert_int_equal(chan_send_fds(f->link, MSG_INTRODUCE, &introduce, &pair[1], 1), 0);
    (void)fd_close(pair[1]);
}

/* ---- the child ---- */

void fakes_init(struct fakes *f, const struct role *role, const char *id) {
    *f = (struct fakes){.role = role, .id = id};
    spec_defaults(&f->spec);
    json_t **lists[] = {&f->events, &f->requests, &f->plans, &f->said, &f->kills, &f->cancels, &f->attached};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        *lists[i] = json_array();
        assert_non_null(*lists[i]);
    }
    f->loop = loop_new(3);
    assert_non_null(f->loop);
}

void fakes_start(struct fakes *f) {
    struct kit_slot slots[] = {
        {.slot = SLOT_LINK}, {.slot = SLOT_LOG}, {.slot = SLOT_REGISTRY}, {.slot = SLOT_LLMCALLS}, {.slot = SLOT_RUNS}};
    int ours[5];
    struct worker_start start = {.role = f->role->id,
                                 .generation = f->recover ? 2 : 1,
                                 .owner = {.role = f->role->id == ROLE_SESSION ? ROLE_GATEWAY : ROLE_ACTORS},
                                 .owner_known = true,
                                 .recover = f->recover,
                                 .spec = &f->spec,
                                 .wires = M(EVENTLOG) | M(REGISTRY) | M(LLMCALLS) | M(RUNS)};
    (void)snprintf(start.id, sizeof start.id, "%s", f->id);
    (void)snprintf(start.actor, sizeof start.actor, "%s", f->id);
    for (int i = 0; i < 5; i++)
        ours[i] = peer_pair(i < 2 ? CHAN_STREAM : CHAN_SEQPACKET, &slots[i].fd);
    (void)alarm((unsigned)(kit_ms(KIT_WAIT_MS) / 1000)); /* for the whole test: the loop has no deadline of its own */
    f->pid = kit_worker(f->role, &start, slots, 5);
    for (int i = 0; i < 5; i++)
        (void)fd_close(slots[i].fd);
    f->link = open_chan(f, ours[0], CHAN_STREAM, &spoken_ops, f);
    f->log = open_chan(f, ours[1], CHAN_STREAM, &log_ops, f);
    f->registry = open_chan(f, ours[2], CHAN_SEQPACKET, &registry_ops, f);
    f->llmcalls = open_chan(f, ours[3], CHAN_SEQPACKET, &kind_ops, f);
    f->runs = open_chan(f, ours[4], CHAN_SEQPACKET, &kind_ops, f);
}

/* Serves until the child has closed everything, which its end does. */
int fakes_reap(struct fakes *f) {
    while (f->log)
        (void)loop_turn(f->loop, -1);
    int status = kit_ended(f->pid);
    struct chan *all[] = {f->link, f->client, f->registry, f->llmcalls, f->runs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        chan_close(all[i]);
    for (size_t i = 0; i < f->n_workers; i++) {
        chan_close(f->workers[i].link);
        chan_close(f->workers[i].monitor);
    }
    json_t *lists[] = {f->events, f->requests, f->plans, f->said, f->kills, f->cancels, f->attached};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        json_decref(lists[i]);
    loop_free(f->loop);
    (void)alarm(0);
    return status;
}

int fakes_end(struct fakes *f) {
    chan_close(f->link);
    f->link = NULL;
    return fakes_reap(f);
}

int fakes_term(struct fakes *f) {
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    return fakes_reap(f);
}

/* ---- waiting and looking ---- */

void fakes_until(struct fakes *f, const json_t *list, size_t n) {
    while (json_array_size(list) < n) {
        if (!f->log)
            fail_msg("the worker ended early; events: %s", fakes_trail(f));
        (void)loop_turn(f->loop, -1);
    }
}

void fakes_until_event(struct fakes *f, const char *type) {
    while (!fakes_event(f, type, 0))
        fakes_until(f, f->events, json_array_size(f->events) + 1);
}

const char *fakes_trail(const struct fakes *f) {
    static char trail[4096];
    size_t i, at = 0;
    const json_t *event;
    trail[0] = '\0';
    json_array_foreach(f->events, i, event) {
        int n = snprintf(trail + at, sizeof trail - at, "%s%s", at ? " " : "", json_str(event, "type"));
        at += (size_t)n;
        assert_true(at < sizeof trail);
    }
    return trail;
}

const json_t *fakes_hear(struct fakes *f, const char *msg) {
    for (;;) {
        fakes_until(f, f->said, f->heard + 1);
        const json_t *said = json_array_get(f->said, f->heard++);
        if (strcmp(json_str(said, "msg"), msg) == 0)
            return said;
    }
}

const json_t *fakes_event(const struct fakes *f, const char *type, size_t n) {
    size_t i;
    const json_t *event;
    json_array_foreach(f->events, i, event) {
        if (strcmp(json_str(event, "type"), type) == 0 && n-- == 0)
            return event;
    }
    return NULL;
}
