/* tools and actors: documents of the registry, which come as sealed memfds. Their members are passed on as text. */
#include "gateway/methods.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/scan.h"
#include "gateway/request.h"

#include <string.h>

#define DOCUMENT_MAX (16u << 20)

/* A document's text, checked; *out is malloc'ed. */
static int read_document(struct msg *m, char **out, size_t *n) {
    auto_free char *text = NULL;
    size_t size;
    int r = memfd_read(m->fds[0], DOCUMENT_MAX, &text, &size);
    if (r == 0)
        r = scan_check(text, size, SCAN_OBJECT);
    if (r < 0)
        return err_up(r);
    *out = take_ptr(&text);
    *n = size;
    return 0;
}

struct wanted {
    const char *key;
    struct json_span found;
};

static int take_member(void *arg, const char *key, size_t key_n, struct scan_value *v) {
    struct wanted *want = arg;
    if (strlen(want->key) != key_n || memcmp(want->key, key, key_n) != 0 || v->type != SCAN_ARRAY)
        return 0;
    want->found = (struct json_span){v->text, v->n};
    return 1;
}

static struct json_span array_of(char *text, size_t n, const char *key) {
    struct wanted want = {.key = key, .found = SPAN("[]")};
    (void)scan_members(text, n, take_member, &want);
    return want.found;
}

/* ---- tools ---- */

struct tools {
    char *text[2]; /* catalogue, problems */
    size_t n[2];
    int64_t generation;
};

static void tools_release(void *state) {
    struct tools *tools = state;
    free(tools->text[0]);
    free(tools->text[1]);
}

static void on_tools(struct request *req, enum role_id from, struct msg *m, size_t which) {
    struct tools *tools = req->state;
    if (read_document(m, &tools->text[which], &tools->n[which]) < 0) {
        request_fail(req, RPC_RUNTIME, "a document of the registry: %s", err_text());
        return;
    }
    if (which == 0)
        tools->generation = m->document.generation;
    if (!tools->text[0] || !tools->text[1])
        return;
    struct json_span list = array_of(tools->text[0], tools->n[0], "tools");
    struct json_span problems = array_of(tools->text[1], tools->n[1], "problems");
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    (void)buf_addz(&b, "{\"tools\":");
    (void)buf_add(&b, list.p, list.n);
    (void)buf_addz(&b, ",\"problems\":");
    (void)buf_add(&b, problems.p, problems.n);
    (void)buf_printf(&b, ",\"generation\":%lld}", (long long)tools->generation);
    request_answer(req, &b);
}

void method_tools(struct request *req) {
    if (!request_state(req, sizeof(struct tools), tools_release))
        return;
    struct msg_catalog catalog = {.ref = role_ref(req->gw->ctx)};
    if (!request_ask(req, ROLE_REGISTRY, MSG_CATALOG, &catalog, catalog.ref, on_tools, 0))
        return;
    struct msg_problems problems = {.ref = role_ref(req->gw->ctx)};
    (void)request_ask(req, ROLE_REGISTRY, MSG_PROBLEMS, &problems, problems.ref, on_tools, 1);
}

/* ---- actors ---- */

struct actors {
    json_t *rows;
    size_t waiting;
};

static void actors_release(void *state) {
    json_decref(((struct actors *)state)->rows);
}

static void actors_answer(struct request *req) {
    struct actors *actors = req->state;
    auto_free char *text = NULL;
    size_t n;
    if (json_text(actors->rows, FRAME_MAX, &text, &n) < 0) {
        request_fail(req, RPC_RUNTIME, "%s", err_text());
        return;
    }
    auto_buf struct buf b = BUF_NULL(FRAME_MAX);
    (void)buf_addz(&b, "{\"actors\":");
    (void)buf_add(&b, text, n);
    (void)buf_addz(&b, "}");
    request_answer(req, &b);
}

static void on_name(struct request *req, enum role_id from, struct msg *m, size_t i) {
    struct actors *actors = req->state;
    json_t *row = json_array_get(actors->rows, i);
    bool kept = json_object_set_new(row, "up", json_boolean(m->name_is.id != NULL)) == 0;
    if (m->name_is.id)
        kept = json_object_set_new(row, "id", json_string(m->name_is.id)) == 0 && kept;
    if (!kept)
        request_fail(req, RPC_CAPACITY, "out of memory");
    else if (--actors->waiting == 0)
        actors_answer(req);
}

static void on_declared(struct request *req, enum role_id from, struct msg *m, size_t arg) {
    struct actors *actors = req->state;
    auto_free char *text = NULL;
    auto_json json_t *document = NULL;
    size_t n;
    if (read_document(m, &text, &n) < 0 || json_parse(text, n, JSON_TEXT_MAX, &document) < 0 ||
        !json_is_array(json_object_get(document, "actors"))) {
        request_fail(req, RPC_RUNTIME, "the registry's list of actors: %s", err_text());
        return;
    }
    actors->rows = json_incref(json_object_get(document, "actors"));
    actors->waiting = json_array_size(actors->rows);
    if (actors->waiting == 0) {
        actors_answer(req);
        return;
    }
    for (size_t i = 0; i < json_array_size(actors->rows); i++) {
        struct msg_whereis whereis = {.ref = role_ref(req->gw->ctx),
                                      .name = json_str(json_array_get(actors->rows, i), "name")};
        if (!request_ask(req, ROLE_REGISTRY, MSG_WHEREIS, &whereis, whereis.ref, on_name, i))
            return;
    }
}

void method_actors(struct request *req) {
    if (!request_state(req, sizeof(struct actors), actors_release))
        return;
    struct msg_actors_declared declared = {.ref = role_ref(req->gw->ctx)};
    (void)request_ask(req, ROLE_REGISTRY, MSG_ACTORS_DECLARED, &declared, declared.ref, on_declared, 0);
}
