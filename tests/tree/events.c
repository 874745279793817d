/* The log, read through the gateway while the tree is up and by soma-eventlog when it is down; and requests to the
 * door. */
#include "tests/tree/tree.h"

#include <string.h>

#define CALL_MS 10000

/* ---- requests ---- */

/* While a gateway is being restarted, a connection waits in the backlog; one that was lost is replaced. */
struct rpc *tree_rpc(struct tree *t) {
    if (t->rpc.fd < 0)
        WAIT(rpc_open(t->runtime, &t->rpc) == 0, "connect to %s", t->runtime);
    return &t->rpc;
}

void tree_rpc_close(struct tree *t) {
    rpc_close(&t->rpc);
}

static int call(struct tree *t, const char *method, json_t *params, json_t **out) {
    int64_t until = now_ms() + slack_ms(CALL_MS);
    int r = -ECONNRESET;
    while (r == -ECONNRESET && now_ms() < until) {
        r = rpc_call(tree_rpc(t), method, json_incref(params), slack_ms(CALL_MS), out);
        if (r == -ECONNRESET)
            tree_rpc_close(t);
    }
    json_decref(params);
    return r;
}

json_t *tree_call(struct tree *t, const char *method, json_t *params) {
    json_t *out = NULL;
    int r = call(t, method, params, &out);
    auto_free char *text = r == 1 ? json_dumps(out, JSON_COMPACT) : NULL;
    CHECK(r == 0, "%s: %d %s", method, r, text ? text : "");
    return out;
}

json_t *tree_refused(struct tree *t, const char *method, json_t *params) {
    json_t *out = NULL;
    int r = call(t, method, params, &out);
    CHECK(r == 1, "%s was not refused: %d", method, r);
    return out;
}

const char *rpc_error(const json_t *error) {
    const char *name = json_str(json_object_get(error, "data"), "name");
    return name ? name : "";
}

void tree_start_run(struct tree *t, const char *plan, bool detached, char out[32]) {
    json_t *parsed = NULL;
    CHECK(json_parse(plan, strlen(plan), JSON_TEXT_MAX, &parsed) == 0, "%s", plan);
    auto_json json_t *answer = tree_call(t, "run.start", json_pack("{s:o, s:b}", "plan", parsed, "detached", detached));
    (void)snprintf(out, 32, "%s", json_str(answer, "run"));
}

/* ---- records ---- */

static json_t *read_online(struct tree *t, const char *by, const char *key, int64_t after) {
    json_t *all = json_array();
    for (;;) {
        json_t *params = json_pack("{s:s, s:I}", "by", by, "after", (json_int_t)after);
        if (strcmp(by, "all") != 0)
            (void)json_object_set_new(params, "key", json_string(key));
        auto_json json_t *answer = NULL;
        int r = call(t, "events", params, &answer);
        CHECK(r >= 0, "events: %d", r);
        if (r == 1) /* the log knows nothing of it yet */
            CHECK(strcmp(rpc_error(answer), "E_NO_SUCH_RUN") == 0, "%s", rpc_error(answer));
        if (r == 1)
            return all;
        (void)json_array_extend(all, json_object_get(answer, "events"));
        after = json_i64(answer, "next", after);
        if (!json_flag(answer, "more", false))
            return all;
    }
}

static json_t *read_offline(struct tree *t, const char *by, const char *key) {
    static struct client c;
    static char text[8 << 20];
    json_t *all = json_array();
    const char *words[] = {tree_program("soma-eventlog"), "--read", t->state, "--by", by, "--key", key, NULL};
    if (strcmp(by, "all") == 0)
        words[3] = NULL;
    client_exec(t, &c, words);
    int keep = dup(c.out);
    CHECK(client_end(t, &c) == 0, "soma-eventlog --read: %d %s", c.code, c.stderr_);
    ssize_t n = pread(keep, text, sizeof text - 1, 0);
    (void)close(keep);
    CHECK(n >= 0 && n < (ssize_t)sizeof text - 1);
    text[n] = 0;
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *record = NULL;
        CHECK(json_parse(line, strlen(line), JSON_TEXT_MAX, &record) == 0, "%s", line);
        (void)json_array_append_new(all, record);
    }
    return all;
}

json_t *tree_events(struct tree *t, const char *by, const char *key) {
    return t->pid ? read_online(t, by, key, 0) : read_offline(t, by, key);
}

json_t *tree_events_after(struct tree *t, int64_t after) {
    return read_online(t, "all", NULL, after);
}

size_t events_count(const json_t *events, const char *type) {
    size_t i, n = 0;
    const json_t *record;
    json_array_foreach(events, i, record) n += strcmp(json_str(record, "type"), type) == 0;
    return n;
}

const json_t *events_find(const json_t *events, const char *type) {
    size_t i;
    const json_t *record;
    json_array_foreach(events, i, record) if (strcmp(json_str(record, "type"), type) == 0) return record;
    return NULL;
}

bool tree_logged(struct tree *t, const char *by, const char *key, const char *type) {
    auto_json json_t *events = tree_events(t, by, key);
    return events_find(events, type) != NULL;
}

static bool is_end(const char *type, const char *prefix) {
    static const char *const ends[] = {"completed", "failed", "timeout", "cancelled", "rejected", "in_doubt"};
    size_t n = strlen(prefix);
    if (strncmp(type, prefix, n) != 0 || type[n] != '.')
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(type + n + 1, ends[i]) == 0)
            return true;
    return false;
}

const json_t *events_end(const json_t *events, const char *prefix) {
    size_t i;
    const json_t *record, *end = NULL;
    json_array_foreach(events, i, record) {
        if (!is_end(json_str(record, "type"), prefix))
            continue;
        CHECK(!end, "two ends: %s and %s", json_str(end, "type"), json_str(record, "type"));
        end = record;
    }
    return end;
}

static json_t *end_now(struct tree *t, const char *kind, const char *id) {
    auto_json json_t *events = tree_events(t, kind, id);
    return json_incref((json_t *)(uintptr_t)events_end(events, kind));
}

json_t *tree_end_of(struct tree *t, const char *kind, const char *id) {
    json_t *end = NULL;
    WAIT((end = end_now(t, kind, id)), "the end of %s %s", kind, id);
    return end;
}
