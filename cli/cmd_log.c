/* `soma log`: records as lines. With --json each line is the record itself. */
#include "cli/event.h"
#include "cli/records.h"
#include "cli/text.h"

#include "common/err.h"

#include <string.h>

#define TAIL_MAX 1000 /* events of one tail; what the gateway answers at once */
#define DATA_MAX 160  /* bytes of an event's data on a line for people */

struct printing {
    const struct cli *cli;
    int64_t last; /* number of the last record printed */
    char day[16];
};

static int print_line(struct printing *p, const json_t *record) {
    auto_buf struct buf line = BUF_NULL(TEXT_MAX), who = BUF_NULL(1024);
    char when[40];
    const char *type = json_str(record, "type");
    event_clock(json_i64(record, "ts", 0), 1, when);
    if (strncmp(when, p->day, 10) != 0) {
        (void)snprintf(p->day, sizeof p->day, "%.10s", when);
        (void)buf_printf(&line, "-- %s\n", p->day);
    }
    (void)buf_printf(&line, "%6lld  %s  ", (long long)p->last, when + 11);
    auto_buf struct buf name = BUF_NULL(1024);
    (void)text_escape(&name, TEXT_LINE, type ? type : "?", type ? strlen(type) : 1);
    (void)buf_printf(&line, "%-18.*s  ", (int)name.n, name.p);
    event_subject(record, &who);
    (void)buf_printf(&line, "%.*s%s", (int)who.n, who.p ? who.p : "", who.n ? "  " : "");
    event_data(record, DATA_MAX, &line);
    (void)buf_addz(&line, "\n");
    return put_buf(p->cli, &line);
}

static int print_record(void *arg, json_t *record) {
    struct printing *p = arg;
    p->last = json_i64(record, "seq", p->last);
    return p->cli->json ? put_json(p->cli, record) : print_line(p, record);
}

static int number(const struct cli *cli, enum option_id option, int64_t fallback, int64_t least, int64_t most,
                  int64_t *out) {
    const char *text = cli->value[option];
    char *end, why[128];
    *out = fallback;
    if (!text)
        return EXIT_DONE;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && errno == 0 && *out >= least && *out <= most)
        return EXIT_DONE;
    (void)snprintf(why, sizeof why, "--%s %.40s is no number from %lld to %lld", cli_options[option].name, text,
                   (long long)least, (long long)most);
    return fail_usage(cli, why, NULL);
}

static int query_of(const struct cli *cli, struct query *q) {
    const char *run = cli->value[OPT_RUN], *actor = cli->value[OPT_ACTOR];
    if (run && actor)
        return fail_usage(cli, "--run and --actor exclude each other", "ask for one of them");
    if (cli->value[OPT_LINES] && cli->value[OPT_AFTER])
        return fail_usage(cli, "--lines and --after exclude each other", "ask for one of them");
    *q = (struct query){.by = run ? "run" : actor ? "actor" : "all", .key = run ? run : actor};
    int r = number(cli, OPT_AFTER, 0, 0, INT64_MAX, &q->after);
    /* Who follows wants the present; who looks wants everything. */
    return r != EXIT_DONE ? r
                          : number(cli, OPT_LINES, cli->value[OPT_FOLLOW] && !q->after ? 10 : 0, 1, TAIL_MAX, &q->tail);
}

int cmd_log(struct cli *cli) {
    struct printing p = {.cli = cli};
    auto_session struct session s = SESSION_NULL;
    struct query q;
    int r = query_of(cli, &q);
    if (r == EXIT_DONE && cli->value[OPT_FOLLOW])
        r = session_need(cli, &s);
    if (r != EXIT_DONE)
        return r;
    r = records_each(cli, &q, print_record, &p, &s);
    if (r != EXIT_DONE || !cli->value[OPT_FOLLOW])
        return r;
    q.after = p.last > q.after ? p.last : q.after;
    q.tail = 0;
    return records_follow(cli, &s, &q, print_record, &p);
}

/* --- the head of the chain ------------------------------------------------------------------------------------- */

static int print_head(void *arg, json_t *head) {
    const struct cli *cli = arg;
    char line[128];
    const char *hash = json_str(head, "hash");
    if (cli->json)
        return put_json(cli, head);
    int n = snprintf(line, sizeof line, "%lld %.64s", (long long)json_i64(head, "seq", 0), hash ? hash : "");
    return put_text(cli, line, (size_t)n);
}

static int head(struct cli *cli, bool verify) {
    auto_session struct session s = SESSION_NULL;
    auto_json json_t *answer = NULL;
    const char *args[] = {verify ? "--verify" : "--head", NULL};
    bool done;
    int r = records_reach(cli, &s, args, print_head, cli, &done);
    if (r != EXIT_DONE || done)
        return r;
    /* Verifying reads the whole log: as long as it takes. */
    r = session_call(cli, &s, "head", json_pack("{s:b}", "verify", verify), verify ? -1 : SESSION_CALL_MS, &answer);
    return r != EXIT_DONE ? r : print_head(cli, answer);
}

int cmd_log_head(struct cli *cli) {
    return head(cli, false);
}

int cmd_log_verify(struct cli *cli) {
    int r = head(cli, true);
    if (r == EXIT_DONE && !cli->json)
        (void)fprintf(stderr, "soma: the log is whole; compare the line above with a head kept elsewhere\n");
    return r;
}
