#include "tests/gateway/fixture.h"

#include "common/cleanup.h"
#include "gateway/gateway.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

static const enum role_id wires[] = {ROLE_EVENTLOG, ROLE_REGISTRY, ROLE_TOOLCALLS,
                                     ROLE_LLMCALLS, ROLE_RUNS,     ROLE_ACTORS};
#define N_WIRES (sizeof wires / sizeof *wires)

void fixture_spec(struct spec *spec) {
    spec_defaults(spec);
    spec->cancel_timeout = 60000; /* nothing here is to be hurried by a timer */
    (void)snprintf(spec->state_dir, sizeof spec->state_dir, "/state\xff");
}

/* ---- the gateway ---- */

static int listen_at(struct fixture *f) {
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/soma-gateway-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chmod(f->dir, 0755), 0);
    (void)snprintf(f->path, sizeof f->path, "%s/sock", f->dir);
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, f->path, strlen(f->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    assert_int_equal(chmod(f->path, 0666), 0); /* the gateway's own check is what is tested */
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int be_gateway(void) {
    return kit_serve(&gateway_role);
}

void fixture_start(struct fixture *f, const struct spec *spec, unsigned generation) {
    *f = (struct fixture){.pid = 0};
    auto_close int listening = listen_at(f);
    f->pid = kit_static(be_gateway, &f->control);
    for (size_t i = 0; i < N_WIRES; i++)
        f->wire[wires[i]] = peer_wire(f->control, wires[i]);
    peer_begin(f->control, spec, generation, listening);
    (void)peer_get(f->control, MSG_READY);
}

void fixture_stop(struct fixture *f) {
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    assert_int_equal(kit_ended(f->pid), 0);
    (void)close(f->control);
    for (size_t i = 0; i < N_WIRES; i++)
        (void)close(f->wire[wires[i]]);
    (void)unlink(f->path);
    (void)rmdir(f->dir);
}

/* ---- clients ---- */

int client_connect(const struct fixture *f) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, f->path, strlen(f->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    return fd;
}

void client_put_bytes(int fd, const void *bytes, size_t n) {
    peer_put_bytes(fd, bytes, n, NULL, 0);
}

void client_put(int fd, const char *text) {
    peer_put_text(fd, text, strlen(text), NULL, 0);
}

json_t *client_get(int fd) {
    return peer_json(fd);
}

json_t *want_result(int fd, int id) {
    auto_json json_t *frame = client_get(fd);
    assert_non_null(frame);
    if (json_i64(frame, "id", -1) != id || !json_object_get(frame, "result")) {
        char *text = json_dumps(frame, 0);
        print_error("%s\n", text);
        free(text);
        fail_msg("a result for %d was wanted", id);
    }
    return json_incref(json_object_get(frame, "result"));
}

void want_error(int fd, int id, const char *name, int exit_code, const char *why) {
    auto_json json_t *frame = client_get(fd);
    assert_non_null(frame);
    json_t *data = json_at(frame, "/error/data");
    assert_non_null(data);
    assert_string_equal(json_str(data, "name"), name);
    assert_int_equal(json_i64(frame, "id", -1), id);
    assert_int_equal(json_i64(data, "exit", -1), exit_code);
    if (!strstr(json_str(data, "why"), why))
        fail_msg("\"%s\" does not say \"%s\"", json_str(data, "why"), why);
}

void barrier(struct fixture *f) {
    auto_close int fd = client_connect(f);
    client_put(fd, "{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"head\"}");
    int64_t ref = want_msg(f, f->wire[ROLE_EVENTLOG], MSG_HEAD)->head.ref;
    struct msg_head_is head = {.ref = ref, .seq = 5, .hash = "ab"};
    put_msg(f->wire[ROLE_EVENTLOG], MSG_HEAD_IS, &head, NULL, 0);
    auto_json json_t *result = want_result(fd, 77);
    assert_int_equal(json_i64(result, "seq", 0), 5);
    assert_string_equal(json_str(result, "hash"), "ab");
}
