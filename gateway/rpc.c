/* A request is refused at the first thing that is wrong with it, and the refusal says where. */
#include "gateway/rpc.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/scan.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    const char *name;
    int code, exit;
    const char *what, *fix;
} errors[RPC__COUNT] = {
#define X(id, label, number, status, text, todo)                                                                       \
    [RPC_##id] = {.name = label, .code = number, .exit = status, .what = text, .fix = todo},
    RPC_ERRORS(X)
#undef X
};

void rpc_request_deinit(struct rpc_request *req) {
    json_decref(req->frame);
    *req = RPC_REQUEST_NULL;
}

int rpc_fault_set(struct rpc_fault *fault, enum rpc_error error, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(fault->why, sizeof fault->why, fmt, args);
    va_end(args);
    fault->error = error;
    if (n >= (int)sizeof fault->why)
        fault->why[json_utf8_floor(fault->why, sizeof fault->why - 1)] = '\0';
    if (!scan_utf8(fault->why, strlen(fault->why))) /* a path in an error text may be any bytes */
        for (char *p = fault->why; *p; p++)
            *p = (unsigned char)*p < 0x80 ? *p : '?';
    return -EINVAL;
}

/* ---- requests ---- */

static int read_id(const json_t *id, struct rpc_request *out, struct rpc_fault *fault) {
    if (!id)
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "/id: missing; notifications are not served");
    auto_buf struct buf b = BUF_NULL(RPC_ID_MAX);
    if (json_is_integer(id))
        (void)buf_printf(&b, "%lld", (long long)json_integer_value(id));
    else if (json_is_string(id))
        (void)buf_json_strn(&b, json_string_value(id), json_string_length(id));
    else
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "/id: expected integer or string");
    if (buf_failed(&b))
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "/id: longer than %u bytes", RPC_ID_MAX);
    memcpy(out->id, b.p, b.n);
    out->id[b.n] = '\0';
    return 0;
}

static int check_members(json_t *frame, struct rpc_fault *fault) {
    static const char *const known[] = {"jsonrpc", "id", "method", "params"};
    const char *key;
    json_t *value;
    json_object_foreach(frame, key, value) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], key) != 0)
            i++;
        if (i == sizeof known / sizeof *known) {
            struct json_place place = {0};
            json_place_push(&place, key);
            return rpc_fault_set(fault, RPC_BAD_REQUEST, "%s: unknown member", place.text);
        }
    }
    return 0;
}

static int read_request(json_t *frame, struct rpc_request *out, struct rpc_fault *fault) {
    if (json_is_array(frame))
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "batches are not served");
    if (!json_is_object(frame))
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "expected one object");
    int r = read_id(json_object_get(frame, "id"), out, fault);
    if (r < 0)
        return err_up(r);
    const char *version = json_str(frame, "jsonrpc");
    if (!version || strcmp(version, "2.0") != 0)
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "/jsonrpc: expected \"2.0\"");
    out->method = json_str(frame, "method");
    if (!out->method)
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "/method: expected string");
    out->params = json_object_get(frame, "params");
    if (out->params && !json_is_object(out->params))
        return rpc_fault_set(fault, RPC_BAD_REQUEST, "/params: expected object");
    return check_members(frame, fault);
}

int rpc_parse(const char *text, size_t n, struct rpc_request *out, struct rpc_fault *fault) {
    *out = RPC_REQUEST_NULL;
    if (json_parse(text, n, JSON_TEXT_MAX, &out->frame) < 0) {
        (void)rpc_fault_set(fault, RPC_PARSE, "%s", err_text());
        return -EPROTO;
    }
    return read_request(out->frame, out, fault);
}

/* ---- parameters ---- */

static const char *type_name(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_NULL:
        return "null";
    default:
        return "boolean";
    }
}

static bool is_choice(const char *choices, const char *word) {
    size_t n = strlen(word);
    for (const char *p = choices; *p; p += strcspn(p, " "), p += *p == ' ')
        if (n && strcspn(p, " ") == n && memcmp(p, word, n) == 0)
            return true;
    return false;
}

static int check_range(const struct rpc_param *row, const json_t *v, struct rpc_fault *fault) {
    if (row->type == RPC_INT && (json_integer_value(v) < row->least || json_integer_value(v) > row->most))
        return rpc_fault_set(fault, RPC_BAD_PARAMS, "/params/%s: expected integer from %lld to %lld, got %lld",
                             row->name, (long long)row->least, (long long)row->most, (long long)json_integer_value(v));
    if (row->type != RPC_STR)
        return 0;
    size_t n = json_string_length(v);
    if (n < (size_t)row->least || n > (size_t)row->most)
        return rpc_fault_set(fault, RPC_BAD_PARAMS, "/params/%s: expected %lld to %lld bytes, got %zu", row->name,
                             (long long)row->least, (long long)row->most, n);
    if (row->choices && !is_choice(row->choices, json_string_value(v)))
        return rpc_fault_set(fault, RPC_BAD_PARAMS, "/params/%s: expected one of: %s", row->name, row->choices);
    return 0;
}

static int check_param(const struct rpc_param *row, const json_t *v, struct rpc_fault *fault) {
    static const char *const names[] = {
        [RPC_STR] = "string", [RPC_INT] = "integer", [RPC_BOOL] = "boolean", [RPC_OBJECT] = "object"};
    if (!v)
        return row->required ? rpc_fault_set(fault, RPC_BAD_PARAMS, "/params/%s: missing", row->name) : 0;
    if (strcmp(names[row->type], type_name(v)) != 0)
        return rpc_fault_set(fault, RPC_BAD_PARAMS, "/params/%s: expected %s, got %s", row->name, names[row->type],
                             type_name(v));
    return check_range(row, v, fault);
}

int rpc_check_params(const struct rpc_param *rows, size_t n_rows, json_t *params, struct rpc_fault *fault) {
    const char *key;
    json_t *value;
    json_object_foreach(params, key, value) {
        size_t i = 0;
        while (i < n_rows && strcmp(rows[i].name, key) != 0)
            i++;
        if (i < n_rows)
            continue;
        struct json_place place = {.text = "/params"};
        json_place_push(&place, key);
        return rpc_fault_set(fault, RPC_BAD_PARAMS, "%s: unknown parameter", place.text);
    }
    for (size_t i = 0; i < n_rows; i++) {
        int r = check_param(&rows[i], json_object_get(params, rows[i].name), fault);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

/* ---- answers ---- */

int rpc_put_result(struct buf *out, const char *id, struct json_span result) {
    (void)buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":", id);
    (void)buf_add(out, result.p, result.n);
    return buf_addz(out, "}");
}

int rpc_put_error(struct buf *out, const char *id, const struct rpc_fault *fault) {
    (void)buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,\"message\":", id,
                     errors[fault->error].code);
    (void)buf_json_str(out, errors[fault->error].what);
    (void)buf_addz(out, ",\"data\":{\"name\":");
    (void)buf_json_str(out, errors[fault->error].name);
    (void)buf_addz(out, ",\"why\":");
    (void)buf_json_str(out, fault->why);
    (void)buf_addz(out, ",\"fix\":");
    (void)buf_json_str(out, errors[fault->error].fix);
    return buf_printf(out, ",\"exit\":%d}}}", errors[fault->error].exit);
}
