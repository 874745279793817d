/* The client's end of the door, in process, against a scripted gateway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/rpc.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "tests/cli/fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

static void socket_path(const struct place *p, char out[4352]) {
    (void)snprintf(out, 4352, "%s/soma.sock", p->dir);
}

static void test_call(void **state) {
    static const struct line script[] = {
        {"hello", NULL, "\"result\":{\"protocol\":1}", 0},
        {"events", "\"key\":\"r-1\"",
         "\"error\":{\"code\":-32000,\"message\":\"no\",\"data\":{\"name\":\"E_NO_SUCH_RUN\",\"exit\":3}}", 0},
    };
    for (int deep = 0; deep <= 4; deep += 4) { /* also by a path that sun_path does not take */
        struct place p;
        char path[4352];
        auto_json json_t *result = NULL, *error = NULL, *none = NULL;
        auto_rpc struct rpc rpc = RPC_NULL;
        assert_int_equal(place_make(&p, deep), 0);
        assert_int_equal(place_listen(&p), 0);
        socket_path(&p, path);
        assert_true(deep == 0 || strlen(path) > 107);
        pid_t gateway = gateway_start(&p, script, 2, 0);
        assert_int_equal(rpc_open(path, &rpc), 0);
        assert_int_equal(rpc_call(&rpc, "hello", NULL, 10000, &result), 0);
        assert_int_equal(json_i64(result, "protocol", 0), 1);
        assert_int_equal(rpc_call(&rpc, "events", json_pack("{s:s}", "key", "r-1"), 10000, &error), RPC_REFUSED);
        assert_string_equal(json_str(json_object_get(error, "data"), "name"), "E_NO_SUCH_RUN");
        assert_int_equal(gateway_end(gateway), 0);
        assert_int_equal(rpc_call(&rpc, "ps", NULL, 10000, &none), -ECONNRESET);
        assert_null(none);
        place_remove(&p);
    }
}

static void test_nobody(void **state) {
    struct place p;
    char path[4352];
    struct rpc rpc = RPC_NULL;
    assert_int_equal(place_make(&p, 0), 0);
    socket_path(&p, path);
    assert_int_equal(rpc_open(path, &rpc), -ENOENT);
    assert_int_equal(place_listen(&p), 0);
    p.listener = fd_close(p.listener); /* the stale socket stays behind */
    assert_int_equal(rpc_open(path, &rpc), -ECONNREFUSED);
    place_remove(&p);
}

/* --- what a gateway may send, byte for byte ---------------------------------------------------------------------- */

static void frame(int fd, uint32_t length, const char *text) {
    uint32_t n = htonl(length);
    assert_int_equal(send(fd, &n, sizeof n, 0), sizeof n);
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void pair(struct rpc *rpc, int *peer) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *rpc = RPC_NULL;
    rpc->fd = fds[0];
    rpc->inbox = json_array();
    *peer = fds[1];
}

static void test_out_of_order(void **state) {
    static const char second[] = "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"n\":2}}";
    static const char first[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"n\":1}}";
    auto_rpc struct rpc rpc = RPC_NULL;
    auto_close int peer = -1;
    auto_json json_t *a = NULL, *b = NULL, *c = NULL;
    int64_t one, two;
    pair(&rpc, &peer);
    assert_int_equal(rpc_send(&rpc, "events", NULL, &one), 0);
    assert_int_equal(rpc_send(&rpc, "run.cancel", NULL, &two), 0);
    frame(peer, sizeof second - 1, second);
    frame(peer, sizeof first - 1, first);
    assert_int_equal(rpc_wait(&rpc, one, 10000, &a), 0);
    assert_int_equal(json_i64(a, "n", 0), 1);
    assert_int_equal(rpc_poll(&rpc, two, &b), 0);
    assert_int_equal(json_i64(b, "n", 0), 2);
    assert_int_equal(rpc_poll(&rpc, two, &c), -EAGAIN);
    assert_int_equal(rpc_wait(&rpc, two, 1, &c), -ETIMEDOUT);
}

/* In two pieces, with the length torn apart. */
static void test_torn_frame(void **state) {
    static const char text[] = "{\"id\":1,\"result\":true}";
    auto_rpc struct rpc rpc = RPC_NULL;
    auto_close int peer = -1;
    auto_json json_t *a = NULL, *b = NULL;
    char bytes[64];
    uint32_t n = htonl(sizeof text - 1);
    memcpy(bytes, &n, 4);
    memcpy(bytes + 4, text, sizeof text - 1);
    pair(&rpc, &peer);
    assert_int_equal(send(peer, bytes, 3, 0), 3);
    assert_int_equal(rpc_wait(&rpc, 1, 1, &a), -ETIMEDOUT);
    assert_int_equal(send(peer, bytes + 3, sizeof text, 0), sizeof text);
    assert_int_equal(rpc_wait(&rpc, 1, 10000, &b), 0);
    assert_true(json_is_true(b));
}

static void test_bad_frames(void **state) {
    static const struct {
        uint32_t length; /* 0 = that of the text */
        const char *text;
        int code;
    } cases[] = {
        {0x7fffffff, "", -EPROTO},
        {0, "{", -EPROTO},
        {0, "[1]", -EPROTO},
        {0, "{\"id\":1,\"id\":1,\"result\":1}", -EPROTO},
        {0, "{\"id\":1}", -EPROTO},
        {100, "{\"id\":1,\"result\":1}", -ECONNRESET}, /* ends within the frame */
        {0, "{\"id\":null,\"error\":{\"code\":-32700,\"message\":\"bad\"}}", RPC_REFUSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_rpc struct rpc rpc = RPC_NULL;
        auto_close int peer = -1;
        auto_json json_t *answer = NULL;
        pair(&rpc, &peer);
        frame(peer, cases[i].length ? cases[i].length : (uint32_t)strlen(cases[i].text), cases[i].text);
        peer = fd_close(peer);
        assert_int_equal(rpc_wait(&rpc, 1, 10000, &answer), cases[i].code);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),       cmocka_unit_test(test_nobody),     cmocka_unit_test(test_out_of_order),
        cmocka_unit_test(test_torn_frame), cmocka_unit_test(test_bad_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
