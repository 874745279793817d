/* Pages are asked for until there are no more; the cursor is the number of the last record seen. */
#include "cli/records.h"

#include "cli/interrupt.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/loop.h"

#include <string.h>

#define PAGE 200
#define REACH_MS 10000 /* for a tree that is on its way up or down */

static json_t *params_of(const struct query *q, int64_t wait_ms) {
    json_t *p = json_pack("{s:s, s:I, s:i, s:I}", "by", q->by, "after", (json_int_t)q->after, "limit", PAGE, "wait_ms",
                          (json_int_t)wait_ms);
    if (p && q->key)
        (void)json_object_set_new(p, "key", json_string(q->key));
    if (p && q->tail)
        (void)json_object_set_new(p, "tail", json_integer(q->tail));
    return p;
}

/* One page; moves the cursor. *more tells whether to go on. */
static int page(const struct cli *cli, struct session *s, struct query *q, int64_t wait_ms, record_fn each, void *arg,
                bool *more) {
    auto_json json_t *answer = NULL;
    int r = session_call(cli, s, "events", params_of(q, wait_ms), (int)wait_ms + SESSION_CALL_MS, &answer);
    if (r != EXIT_DONE)
        return r;
    size_t i;
    json_t *record;
    json_array_foreach(json_object_get(answer, "events"), i, record) {
        r = each(arg, record);
        if (r != EXIT_DONE)
            return r;
        q->after = json_i64(record, "seq", q->after);
    }
    /* A tail is one page, whatever the gateway's limit for it; what follows it is asked for by cursor. */
    *more = json_flag(answer, "more", false) && !q->tail;
    q->tail = 0;
    return EXIT_DONE;
}

static int online(const struct cli *cli, struct session *s, const struct query *q, record_fn each, void *arg) {
    struct query at = *q;
    bool more = true;
    int r = EXIT_DONE;
    while (r == EXIT_DONE && more)
        r = page(cli, s, &at, 0, each, arg, &more);
    return r;
}

int records_follow(const struct cli *cli, struct session *live, const struct query *q, record_fn each, void *arg) {
    struct query at = *q;
    bool more;
    int r = EXIT_DONE;
    while (r == EXIT_DONE)
        r = page(cli, live, &at, 30000, each, arg, &more);
    return r;
}

/* The arguments that make the log's reader answer the query. */
struct arguments {
    const char *list[10];
    char after[24], tail[24];
};

static void arguments_of(const struct query *q, struct arguments *a) {
    size_t n = 0;
    (void)snprintf(a->after, sizeof a->after, "%lld", (long long)q->after);
    (void)snprintf(a->tail, sizeof a->tail, "%lld", (long long)q->tail);
    const char *pairs[][2] = {{"--by", q->by},
                              {"--key", q->key},
                              {"--after", q->after ? a->after : NULL},
                              {"--tail", q->tail ? a->tail : NULL}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!pairs[i][1])
            continue;
        a->list[n++] = pairs[i][0];
        a->list[n++] = pairs[i][1];
    }
    a->list[n] = NULL;
}

int records_reach(const struct cli *cli, struct session *s, const char *const args[], record_fn each, void *arg,
                  bool *done) {
    int64_t until = now_ms() + REACH_MS;
    for (int64_t pause = 5;; pause = pause < 100 ? pause * 2 : pause) {
        int r = s->rpc.fd >= 0 ? 0 : session_open(cli, s);
        *done = r == -ENOENT || r == -ECONNREFUSED;
        if (!*done && r != -ECONNRESET)
            return r < 0 ? fail_rpc(cli, r) : EXIT_DONE;
        r = *done ? records_offline(cli, args, each, arg) : -EBUSY;
        if (r != -EBUSY)
            return r;
        if (now_ms() > until)
            return fail(cli, &(struct failure){"E_LOG", EXIT_RUNTIME, "the log cannot be read",
                                               "somebody holds the state folder and does not answer",
                                               "look for left-over processes with `ps f`"});
        (void)interrupt_poll(-1, 0, pause); /* interrupted is no reason to stop: ^C ends the program itself here */
    }
}

int records_each(const struct cli *cli, const struct query *q, record_fn each, void *arg, struct session *live) {
    auto_session struct session own = SESSION_NULL;
    struct session *s = live ? live : &own;
    struct arguments a;
    bool done;
    arguments_of(q, &a);
    int r = records_reach(cli, s, a.list, each, arg, &done);
    return r != EXIT_DONE || done ? r : online(cli, s, q, each, arg);
}

/* --- everything of one id -------------------------------------------------------------------------------------- */

static int collect(void *arg, json_t *record) {
    json_t *all = arg;
    (void)json_array_append(all, record);
    return EXIT_DONE;
}

static int by_seq(const void *a, const void *b) {
    int64_t x = json_i64(*(json_t *const *)a, "seq", 0), y = json_i64(*(json_t *const *)b, "seq", 0);
    return (x > y) - (x < y);
}

/* In order of number, each once. */
static json_t *sorted(const json_t *all) {
    size_t n = json_array_size(all), i;
    auto_free json_t **list = calloc(n ? n : 1, sizeof(json_t *));
    auto_json json_t *out = json_array();
    json_t *record;
    if (!list || !out)
        return NULL;
    json_array_foreach(all, i, record) list[i] = record;
    qsort(list, n, sizeof *list, by_seq);
    for (i = 0; i < n; i++)
        if (i == 0 || by_seq(&list[i - 1], &list[i]) != 0)
            (void)json_array_append(out, list[i]);
    return json_incref(out);
}

/* A task's own events name the runs it led to. */
static int add_runs(const struct cli *cli, struct session *s, json_t *all) {
    size_t n = json_array_size(all);
    for (size_t i = 0; i < n; i++) {
        const json_t *record = json_array_get(all, i);
        const char *type = json_str(record, "type");
        const char *run = json_str(json_object_get(record, "data"), "run");
        if (!type || strcmp(type, "proposal.executed") != 0 || !run)
            continue;
        struct query q = {.by = "run", .key = run};
        int r = records_each(cli, &q, collect, all, s);
        if (r != EXIT_DONE)
            return r;
    }
    return EXIT_DONE;
}

static int nothing(const struct cli *cli, const char *by, const char *id) {
    char what[256];
    (void)snprintf(what, sizeof what, "the log knows no %s %s", strcmp(by, "corr") == 0 ? "correlation id" : by, id);
    return fail(cli, &(struct failure){"E_NOT_FOUND", EXIT_NOT_FOUND, what, "no event carries it",
                                       "`soma log -n 20` shows recent work, `soma ps` what is alive"});
}

int records_of(const struct cli *cli, const char *id, json_t **out) {
    const char *by = strncmp(id, "r-", 2) == 0 ? "run" : strncmp(id, "t-", 2) == 0 ? "task" : "corr";
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *all = json_array();
    struct query q = {.by = by, .key = id};
    int r = records_each(cli, &q, collect, all, &s);
    if (r == EXIT_DONE && json_array_size(all) == 0)
        r = nothing(cli, by, id);
    if (r == EXIT_DONE && strcmp(by, "task") == 0)
        r = add_runs(cli, &s, all);
    if (r != EXIT_DONE)
        return r;
    *out = sorted(all);
    return *out ? EXIT_DONE : fail_internal(cli, "out of memory");
}
