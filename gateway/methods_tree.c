/* hello, ps, stop: what root and the supervisors know. */
#include "gateway/methods.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/scan.h"
#include "gateway/request.h"

#include <string.h>

#define PS_MAX (FRAME_MAX - 4096u) /* bytes of the rows of one answer */

/* ---- ps ---- */

static const enum role_id sources[] = {ROLE_ROOT, ROLE_TOOLCALLS, ROLE_LLMCALLS, ROLE_RUNS, ROLE_ACTORS};
#define N_SOURCES (sizeof sources / sizeof *sources)

struct ps {
    json_t *rows[N_SOURCES]; /* arrays */
    size_t waiting;          /* sources that have not told everything */
};

static void ps_release(void *state) {
    struct ps *ps = state;
    for (size_t i = 0; i < N_SOURCES; i++)
        json_decref(ps->rows[i]);
}

static int64_t pid_of(const json_t *rows, enum role_id role) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *name = json_str(row, "role");
        if (name && strcmp(name, role_name(role)) == 0)
            return json_i64(row, "pid", 0);
    }
    return 0;
}

/* Who is above a row that does not say so itself. */
static int64_t parent_of(const struct ps *ps, size_t source, const json_t *row) {
    const char *role = json_str(row, "role");
    if (source > 0)
        return pid_of(ps->rows[0], sources[source]);
    if (role && strcmp(role, role_name(ROLE_LAUNCHER)) == 0)
        return 0;
    if (role && strcmp(role, role_name(ROLE_ROOT)) == 0)
        return pid_of(ps->rows[0], ROLE_LAUNCHER);
    return pid_of(ps->rows[0], ROLE_ROOT);
}

static int put_row(const struct ps *ps, size_t source, json_t *row, struct buf *out) {
    if (!json_object_get(row, "parent") &&
        json_object_set_new(row, "parent", json_integer(parent_of(ps, source, row))) < 0)
        return -ENOMEM;
    auto_free char *text = NULL;
    size_t n;
    int r = json_text(row, FRAME_MAX, &text, &n);
    if (r < 0)
        return err_up(r);
    if (out->n + n + 1 > PS_MAX)
        return 1;
    if (out->p[out->n - 1] != '[')
        (void)buf_addz(out, ",");
    return buf_add(out, text, n);
}

static void ps_finish(struct request *req) {
    struct ps *ps = req->state;
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    (void)buf_addz(&b, "{\"processes\":[");
    int r = 0;
    for (size_t s = 0; s < N_SOURCES && r == 0 && !buf_failed(&b); s++)
        for (size_t i = 0; i < json_array_size(ps->rows[s]) && r == 0; i++)
            r = put_row(ps, s, json_array_get(ps->rows[s], i), &b);
    if (r < 0) {
        request_fail(req, RPC_RUNTIME, "%s", err_text());
        return;
    }
    (void)buf_addz(&b, r ? "],\"truncated\":true}" : "],\"truncated\":false}");
    request_answer(req, &b);
}

static void on_rows(struct request *req, enum role_id from, struct msg *m, size_t source) {
    struct ps *ps = req->state;
    auto_json json_t *rows = NULL;
    if (json_parse(m->listing.children.p, m->listing.children.n, JSON_TEXT_MAX, &rows) < 0 || !json_is_array(rows) ||
        json_array_extend(ps->rows[source], rows) < 0) {
        request_fail(req, RPC_RUNTIME, "%s: its listing cannot be read", role_name(from));
        return;
    }
    const char *last = json_str(json_array_get(rows, json_array_size(rows) - 1), "id");
    if (m->listing.more && last) {
        struct msg_list list = {.after = last};
        (void)request_ask(req, from, MSG_LIST, &list, 0, on_rows, source);
        return;
    }
    if (--ps->waiting == 0)
        ps_finish(req);
}

void method_ps(struct request *req) {
    struct ps *ps = request_state(req, sizeof *ps, ps_release);
    if (!ps)
        return;
    ps->waiting = N_SOURCES;
    for (size_t i = 0; i < N_SOURCES; i++)
        ps->rows[i] = json_array();
    for (size_t i = 0; i < N_SOURCES; i++)
        if (!request_ask(req, sources[i], MSG_LIST, &(struct msg_list){0}, 0, on_rows, i))
            return;
}

/* ---- hello ---- */

static void put_path(struct buf *b, const char *path) {
    if (scan_utf8(path, strlen(path))) {
        (void)buf_json_str(b, path);
        return;
    }
    char shown[SPEC_PATH];
    (void)snprintf(shown, sizeof shown, "%s", path);
    for (char *p = shown; *p; p++)
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    (void)buf_json_str(b, shown);
}

static void answer_hello(struct request *req) {
    const struct spec *spec = req->gw->ctx->spec;
    auto_buf struct buf b = BUF_NULL(16384);
    (void)buf_printf(&b, "{\"version\":\"%s\",\"protocol\":1,\"launcher\":%lld,\"short_lived\":%s,\"state_dir\":",
                     SOMA_VERSION, (long long)req->gw->launcher, spec->short_lived ? "true" : "false");
    put_path(&b, spec->state_dir);
    (void)buf_addz(&b, "}");
    request_answer(req, &b);
}

static void on_root_rows(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    auto_json json_t *rows = NULL;
    if (json_parse(m->listing.children.p, m->listing.children.n, JSON_TEXT_MAX, &rows) < 0) {
        request_fail(req, RPC_RUNTIME, "root: its listing cannot be read");
        return;
    }
    req->gw->launcher = pid_of(rows, ROLE_LAUNCHER);
    answer_hello(req);
}

/* The launcher outlives every gateway: its pid is asked for once. */
void method_hello(struct request *req) {
    if (req->gw->launcher)
        answer_hello(req);
    else
        (void)request_ask(req, ROLE_ROOT, MSG_LIST, &(struct msg_list){0}, 0, on_root_rows, 0);
}

/* ---- stop ---- */

void method_stop(struct request *req) {
    if (chan_send(req->gw->ctx->control, MSG_STOP_TREE, &(struct msg_stop_tree){0}) < 0) {
        request_fail(req, RPC_RUNTIME, "root cannot be asked: %s", err_text());
        return;
    }
    auto_buf struct buf b = BUF_NULL(64);
    (void)buf_addz(&b, "{\"stopping\":true}");
    request_answer(req, &b);
}
