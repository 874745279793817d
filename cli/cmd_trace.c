/* `soma trace`: every event in order, and for what lasts a bar on a common time line.
 *
 *   +0.0 ms  [====================]  run.accepted    r-..                44 ms
 *   +1.2 ms  [  =====             ]  tool.started    r-.. read c-..      12 ms  {"tool":"file_read",...}
 *   +13 ms   [       |            ]  tool.succeeded  r-.. read c-..             {"wall_ms":11}  */
#include "cli/event.h"
#include "cli/records.h"
#include "cli/text.h"

#include "common/cleanup.h"

#include <string.h>

#define BAR 30u      /* columns of the time line */
#define DATA_MAX 100 /* bytes of an event's data on its line */

struct line {
    int64_t from_ns, all_ns;
};

/* The part before the dot, and which member names the one of its kind. */
static const char *names(const char *type, size_t *n) {
    static const char *const kinds[][2] = {{"run", "run"},  {"step", "step"}, {"tool", "call"},
                                           {"llm", "call"}, {"task", "task"}, {"actor", "actor"}};
    *n = strcspn(type, ".");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i][0]) == *n && strncmp(kinds[i][0], type, *n) == 0)
            return kinds[i][1];
    return NULL;
}

static bool same(const json_t *a, const json_t *b, const char *member) {
    const char *x = json_str(a, member), *y = json_str(b, member);
    return x == y || (x && y && strcmp(x, y) == 0);
}

/* run.started lies inside what run.accepted began. */
static bool begins(const char *type) {
    return strcmp(type, "run.accepted") == 0 || strcmp(type, "task.accepted") == 0 ||
           (strcmp(type, "run.started") != 0 && strstr(type, ".started"));
}

/* The time at which what record `at` begins is over; -1 when it is no beginning, 0 when it is not over. */
static int64_t end_of(const json_t *records, size_t at) {
    const json_t *record = json_array_get(records, at);
    const char *type = json_str(record, "type");
    size_t n = 0;
    const char *member = type && begins(type) ? names(type, &n) : NULL;
    if (!member)
        return -1;
    for (size_t i = at + 1; i < json_array_size(records); i++) {
        const json_t *later = json_array_get(records, i);
        const char *other = json_str(later, "type");
        if (other && strncmp(other, type, n + 1) == 0 && strcmp(other, "run.started") != 0 &&
            same(record, later, member) && same(record, later, "run"))
            return json_i64(later, "ts", 0);
    }
    return 0;
}

static size_t column(const struct line *l, int64_t ns) {
    int64_t at = l->all_ns > 0 ? (ns - l->from_ns) * (int64_t)(BAR - 1) / l->all_ns : 0;
    return at < 0 ? 0 : at < (int64_t)BAR ? (size_t)at : BAR - 1;
}

static void draw(const struct line *l, int64_t from, int64_t to, char out[BAR + 3]) {
    memset(out, ' ', BAR + 2);
    out[0] = '[';
    out[BAR + 1] = ']';
    out[BAR + 2] = '\0';
    size_t a = column(l, from), b = column(l, to > from ? to : from);
    memset(out + 1 + a, to < 0 ? '|' : '=', to < 0 ? 1 : b - a + 1);
}

static void add_row(struct text_table *t, const struct line *l, const json_t *records, size_t at) {
    const json_t *record = json_array_get(records, at);
    char when[16], lasted[16] = "", bar[BAR + 3];
    int64_t ts = json_i64(record, "ts", 0), end = end_of(records, at);
    auto_buf struct buf who = BUF_NULL(1024), data = BUF_NULL(TEXT_MAX);
    text_duration((ts - l->from_ns) / 1000, when);
    if (end > 0)
        text_duration((end - ts) / 1000, lasted);
    draw(l, ts, end == 0 ? l->from_ns + l->all_ns : end, bar);
    event_subject(record, &who);
    event_data(record, DATA_MAX, &data);
    text_table_addf(t, "+%s", when);
    text_table_add(t, bar);
    text_table_add(t, json_str(record, "type"));
    text_table_addf(t, "%.*s", (int)who.n, who.p ? who.p : "");
    text_table_add(t, end == 0 ? "..." : lasted);
    text_table_addf(t, "%.*s", (int)data.n, data.p ? data.p : "");
}

int cmd_trace(struct cli *cli) {
    auto_json json_t *records = NULL;
    auto_buf struct buf out = BUF_NULL(8 * TEXT_MAX);
    auto_table struct text_table t = {.columns = 6, .right = 1u << 0 | 1u << 4};
    int r = records_of(cli, cli->rest[0], &records);
    if (r != EXIT_DONE)
        return r;
    if (cli->json)
        return put_json(cli, records);
    size_t n = json_array_size(records);
    struct line l = {.from_ns = json_i64(json_array_get(records, 0), "ts", 0)};
    l.all_ns = json_i64(json_array_get(records, n - 1), "ts", 0) - l.from_ns;
    for (size_t i = 0; i < n; i++)
        add_row(&t, &l, records, i);
    (void)text_table_print(&t, &out);
    return put_buf(cli, &out);
}
