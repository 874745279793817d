/* Tables: frames and what is said about them. */
#include "gateway/record.h"
#include "gateway/rpc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LEN(a) (sizeof(a) / sizeof *(a))
#define FRAME(text) text, sizeof(text) - 1

static const struct {
    const char *text;
    size_t n;
    int wanted; /* of rpc_parse */
    enum rpc_error error;
    const char *why; /* substring */
    const char *id;
} frames[] = {
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}"), 0, 0, "", "1"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":-9223372036854775808,\"method\":\"x\",\"params\":{}}"), 0, 0, "",
     "-9223372036854775808"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":\"a\\\"b\\u00e9\",\"method\":\"x\"}"), 0, 0, "", "\"a\\\"b\xc3\xa9\""},
    /* malformed: the connection ends */
    {FRAME(""), -EPROTO, RPC_PARSE, "line 1", "null"},
    {FRAME("hello"), -EPROTO, RPC_PARSE, "line 1", "null"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1"), -EPROTO, RPC_PARSE, "line 1", "null"},
    {FRAME("{\"id\":1,\"id\":2}"), -EPROTO, RPC_PARSE, "duplicate", "null"},
    {FRAME("{\"id\":\"\xff\"}"), -EPROTO, RPC_PARSE, "decode byte", "null"},
    {FRAME("{\"id\":1}\0"), -EPROTO, RPC_PARSE, "line 1", "null"},
    {FRAME("{} {}"), -EPROTO, RPC_PARSE, "line 1", "null"},
    /* refused: the connection goes on */
    {FRAME("[]"), -EINVAL, RPC_BAD_REQUEST, "batches", "null"},
    {FRAME("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}]"), -EINVAL, RPC_BAD_REQUEST, "batches", "null"},
    {FRAME("7"), -EINVAL, RPC_BAD_REQUEST, "one object", "null"},
    {FRAME("{}"), -EINVAL, RPC_BAD_REQUEST, "/id: missing", "null"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"method\":\"hello\"}"), -EINVAL, RPC_BAD_REQUEST, "notifications", "null"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"hello\"}"), -EINVAL, RPC_BAD_REQUEST, "/id: expected",
     "null"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"hello\"}"), -EINVAL, RPC_BAD_REQUEST, "/id: expected", "null"},
    {FRAME("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"hello\"}"), -EINVAL, RPC_BAD_REQUEST, "/jsonrpc", "1"},
    {FRAME("{\"id\":\"k\",\"method\":\"hello\"}"), -EINVAL, RPC_BAD_REQUEST, "/jsonrpc", "\"k\""},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1}"), -EINVAL, RPC_BAD_REQUEST, "/method", "1"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}"), -EINVAL, RPC_BAD_REQUEST, "/method", "1"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":[]}"), -EINVAL, RPC_BAD_REQUEST, "/params", "1"},
    {FRAME("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"a/b\":1}"), -EINVAL, RPC_BAD_REQUEST, "/a~1b: unknown",
     "1"},
};

static void test_frames(void **state) {
    for (size_t i = 0; i < LEN(frames); i++) {
        struct rpc_request req;
        struct rpc_fault fault = {0};
        int r = rpc_parse(frames[i].text, frames[i].n, &req, &fault);
        if (r != frames[i].wanted || strcmp(req.id, frames[i].id) != 0)
            fail_msg("%s: %d id %s (%s)", frames[i].text, r, req.id, fault.why);
        if (r < 0 && (fault.error != frames[i].error || !strstr(fault.why, frames[i].why)))
            fail_msg("%s: error %d: %s", frames[i].text, (int)fault.error, fault.why);
        rpc_request_deinit(&req);
        rpc_request_deinit(&req);
    }
}

static void test_long_id(void **state) {
    for (size_t n = RPC_ID_MAX - 2; n <= RPC_ID_MAX - 1; n++) { /* with its quotes it just fits, and does not */
        char text[512], id[RPC_ID_MAX + 1] = {0};
        memset(id, 'x', n);
        int len = snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"method\":\"m\"}", id);
        struct rpc_request req;
        struct rpc_fault fault;
        assert_int_equal(rpc_parse(text, (size_t)len, &req, &fault), n == RPC_ID_MAX - 2 ? 0 : -EINVAL);
        rpc_request_deinit(&req);
    }
}

static const struct rpc_param rows[] = {
    {"plan", RPC_OBJECT, true},
    {"by", RPC_STR, false, 1, 8, "all run"},
    {"limit", RPC_INT, false, 0, 1000},
    {"deep", RPC_BOOL, false},
};
static const struct {
    const char *params;
    const char *why; /* "" = accepted */
} params[] = {
    {"{\"plan\":{}}", ""},
    {"{\"plan\":{},\"by\":\"run\",\"limit\":1000,\"deep\":true}", ""},
    {"{}", "/params/plan: missing"},
    {"{\"plan\":[]}", "/params/plan: expected object, got array"},
    {"{\"plan\":null}", "/params/plan: expected object, got null"},
    {"{\"plan\":{},\"limit\":1001}", "/params/limit: expected integer from 0 to 1000, got 1001"},
    {"{\"plan\":{},\"limit\":-1}", "/params/limit: expected integer"},
    {"{\"plan\":{},\"limit\":1.0}", "/params/limit: expected integer, got number"},
    {"{\"plan\":{},\"by\":\"\"}", "/params/by: expected 1 to 8 bytes"},
    {"{\"plan\":{},\"by\":\"everything\"}", "/params/by: expected 1 to 8 bytes"},
    {"{\"plan\":{},\"by\":\"ru\"}", "/params/by: expected one of"},
    {"{\"plan\":{},\"by\":\"all run\"}", "/params/by: expected one of"},
    {"{\"plan\":{},\"deep\":1}", "/params/deep: expected boolean, got integer"},
    {"{\"plan\":{},\"x/~y\":1}", "/params/x~1~0y: unknown parameter"},
};

static void test_params(void **state) {
    for (size_t i = 0; i < LEN(params); i++) {
        json_t *obj = NULL;
        struct rpc_fault fault = {0};
        assert_int_equal(json_parse(params[i].params, strlen(params[i].params), JSON_TEXT_MAX, &obj), 0);
        int r = rpc_check_params(rows, LEN(rows), obj, &fault);
        if (r != (*params[i].why ? -EINVAL : 0) || !strstr(fault.why, params[i].why))
            fail_msg("%s: %d %s", params[i].params, r, fault.why);
        json_decref(obj);
    }
    struct rpc_fault fault = {0};
    assert_int_equal(rpc_check_params(rows, LEN(rows), NULL, &fault), -EINVAL); /* none at all */
    assert_int_equal(rpc_check_params(NULL, 0, NULL, &fault), 0);
}

static void test_answers(void **state) {
    struct buf b = BUF_NULL(4096);
    assert_int_equal(rpc_put_result(&b, "7", SPAN("{\"a\":1}")), 0);
    assert_int_equal(b.n, strlen("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":1}}"));
    assert_memory_equal(b.p, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":1}}", b.n);
    for (int e = 0; e < RPC__COUNT; e++) {
        struct rpc_fault fault;
        json_t *frame = NULL;
        b.n = 0;
        /* a cut character and stray bytes become something that is UTF-8 */
        assert_int_equal(rpc_fault_set(&fault, (enum rpc_error)e, "\xc3\xa9 \"quoted\" %s", e % 2 ? "\xff" : ""),
                         -EINVAL);
        assert_int_equal(rpc_put_error(&b, "\"id\"", &fault), 0);
        assert_int_equal(json_parse(b.p, b.n, JSON_TEXT_MAX, &frame), 0);
        assert_in_range(json_i64(json_at(frame, "/error/data"), "exit", 0), 2, 7);
        assert_true(json_i64(json_at(frame, "/error"), "code", 0) <= -32000);
        assert_int_equal(strncmp(json_str(json_at(frame, "/error/data"), "name"), "E_", 2), 0);
        assert_true(strlen(json_str(json_at(frame, "/error/data"), "fix")) > 0);
        json_decref(frame);
    }
    buf_deinit(&b);
}

static int collect(void *arg, const struct record *rec) {
    char *all = arg;
    size_t n = strlen(all);
    (void)snprintf(all + n, 512 - n, "%lld %s %s %s %d;", (long long)rec->seq, rec->type, rec->run, rec->owner,
                   rec->detached);
    return strcmp(rec->type, "stop") == 0;
}

static void test_records(void **state) {
    static const struct {
        const char *page, *wanted;
        int r;
    } cases[] = {
        {"[]", "", 0},
        {"[{\"seq\":1,\"type\":\"run.accepted\",\"run\":\"r-1\",\"data\":{\"plan\":{\"owner\":\"x\"},\"owner\":\"s-1\","
         "\"detached\":true}}]",
         "1 run.accepted r-1 s-1 1;", 0},
        {"[{\"seq\":1,\"type\":\"a\",\"data\":{\"t\":\"}]\\\"{\",\"owner\":\"s-2\"}},{\"seq\":2,\"type\":\"b\"}]",
         "1 a   0;2 b   0;", 0},
        {"[{\"seq\":1,\"type\":\"stop\"},{\"seq\":2,\"type\":\"b\"}]", "1 stop   0;", 1},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char all[512] = "";
        assert_int_equal(record_each(SPAN(cases[i].page), collect, all), cases[i].r);
        assert_string_equal(all, cases[i].wanted);
    }
    assert_string_equal(record_run_end("run.cancelled"), "cancelled");
    assert_null(record_run_end("run.started"));
    assert_null(record_run_end("task.completed"));
    assert_string_equal(record_task_end("task.completed"), "completed");
    assert_null(record_task_end("task.accepted"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),  cmocka_unit_test(test_long_id), cmocka_unit_test(test_params),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
