/* What the kit hears is kept as it came. */
#include "tests/llmcall/worker.h"

#include "common/cleanup.h"
#include "llmcall/llmcall.h"
#include "tests/kit/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void worker_start(struct worker *w, const struct spec *spec, int secret) {
    struct kit_slot slots[] = {{.slot = SLOT_LINK}, {.slot = SLOT_LOG}, {secret, SLOT_SECRET}};
    *w = (struct worker){.owner = peer_pair(CHAN_STREAM, &slots[0].fd), .log = peer_pair(CHAN_STREAM, &slots[1].fd)};
    struct worker_start start = {.role = ROLE_LLMCALL,
                                 .id = CALL_ID,
                                 .generation = 1,
                                 .owner = {.role = ROLE_ACTOR, .actor = "assistant"},
                                 .owner_known = true,
                                 .actor = "assistant",
                                 .spec = spec,
                                 .wires = M(EVENTLOG),
                                 .has_secret = secret >= 0};
    (void)snprintf(start.profile, sizeof start.profile, "%s", spec->providers[0].name);
    w->pid = kit_worker(&llmcall_role, &start, slots, 3);
    (void)fd_close(slots[0].fd);
    (void)fd_close(slots[1].fd);
    auto_json json_t *hello = worker_hear(w, w->owner);
    assert_string_equal(json_str(hello, "msg"), "hello");
    assert_string_equal(json_str(hello, "id"), CALL_ID);
}

static void remember(struct worker *w, const char *text, size_t n) {
    char *grown = realloc(w->heard, w->heard_n + n + 1);
    assert_non_null(grown);
    memcpy(grown + w->heard_n, text, n);
    w->heard = grown;
    w->heard_n += n;
    w->heard[w->heard_n] = '\0';
}

json_t *worker_hear(struct worker *w, int fd) {
    size_t n;
    json_t *frame = NULL;
    const char *text = peer_text(fd, &n);
    if (!text)
        return NULL;
    remember(w, text, n);
    assert_int_equal(json_parse(text, n, FRAME_MAX, &frame), 0);
    return frame;
}

void worker_ask(struct worker *w, const char *messages, int64_t timeout_ms) {
    peer_putf(w->owner,
              "{\"msg\":\"llm_request\",\"model\":\"fake-1\",\"messages\":%s,\"tools\":[{\"type\":\"function\","
              "\"function\":{\"name\":\"wc\",\"parameters\":{}}}],\"timeout_ms\":%lld,\"task\":\"" TASK_ID
              "\",\"corr\":\"corr-7\"}",
              messages, (long long)timeout_ms);
}

json_t *worker_journal(struct worker *w) {
    json_t *event = worker_hear(w, w->log);
    assert_non_null(event);
    assert_string_equal(json_str(event, "msg"), "append");
    assert_string_equal(json_str(event, "task"), TASK_ID);
    assert_string_equal(json_str(event, "corr"), "corr-7");
    assert_null(json_object_get(event, "barrier"));
    peer_putf(w->log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":12}", (long long)json_i64(event, "ref", 0));
    return event;
}

void worker_shut(int *fd) {
    *fd = fd_close(*fd);
}

int worker_end(struct worker *w) {
    int status = kit_ended(w->pid);
    worker_shut(&w->owner);
    worker_shut(&w->log);
    free(w->heard);
    w->heard = NULL;
    return status;
}
