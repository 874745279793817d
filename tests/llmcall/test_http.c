/* The whole worker, forked as in the tree, between a real HTTP server and an owner and a log played by the test: what
 * every kind of answer becomes, how it ends at any moment, and that the key goes to the provider and nowhere else. */
#include "common/cleanup.h"
#include "tests/kit/peers.h"
#include "tests/llmcall/fake_provider.h"
#include "tests/llmcall/worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "sk-test-4f9a7c1e22d84b"
#define MESSAGES "[{\"role\":\"user\",\"content\":\"caf\xc3\xa9?\"}]"

/* ---- the server and the configuration ---- */

struct provider {
    pid_t pid;
    int record, asked; /* what it was sent; a byte per request */
};

static struct provider provider_start(enum fake_mode mode, int delay_ms, struct spec *spec) {
    struct provider p = {.record = memfd_create("record", MFD_CLOEXEC)};
    int asked[2], port = 0, listen_fd = fake_listen(0, &port);
    assert_true(p.record >= 0 && listen_fd >= 0 && pipe(asked) == 0);
    struct fake fake = {.mode = mode, .delay_ms = delay_ms, .record_fd = p.record, .asked_fd = asked[1]};
    p.asked = asked[0];
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
            _exit(99);
        fake_serve(listen_fd, &fake);
    }
    (void)close(listen_fd);
    (void)close(asked[1]);
    spec_defaults(spec);
    spec->n_providers = 1;
    struct spec_provider *c = &spec->providers[0];
    *c = (struct spec_provider){.name = "fake", .kind = PROVIDER_OPENAI, .timeout_ms = 60000};
    (void)snprintf(c->url, sizeof c->url, "http://127.0.0.1:%d/v1/", port);
    (void)snprintf(c->key_file, sizeof c->key_file, "/etc/soma/key");
    return p;
}

/* Blocks until a request has arrived there. */
static void provider_asked(const struct provider *p) {
    char c;
    assert_int_equal(read(p->asked, &c, 1), 1);
}

static char *provider_record(const struct provider *p) {
    struct stat st;
    assert_int_equal(fstat(p->record, &st), 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(pread(p->record, text, (size_t)st.st_size, 0), st.st_size);
    return text;
}

/* The processes of its connections die with it and come to us, a subreaper. */
static void provider_end(struct provider *p) {
    assert_int_equal(kill(p->pid, SIGKILL), 0);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    (void)close(p->record);
    (void)close(p->asked);
}

static int key_file(const char *text, mode_t mode) {
    char path[] = "/tmp/llmcall-key-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    return fd;
}

/* ---- what every answer becomes ---- */

struct answer_case {
    enum fake_mode mode;
    const char *error; /* NULL: a reply */
    const char *want;  /* content of the message, or part of the text */
    int status;
};

static const struct answer_case answers[] = {
    {FAKE_OK, NULL, "Hello from the fake provider.", 0},
    {FAKE_PIECES, NULL, "Hello from the fake provider.", 0},
    {FAKE_SLOW, NULL, "Hello from the fake provider.", 0},
    {FAKE_TOOL_CALLS, NULL, NULL, 0},
    {FAKE_ECHO_KEY, NULL, "You sent Bearer **********************", 0},
    {FAKE_S401, "credentials", "HTTP 401: Incorrect API key: Bearer **********************", 401},
    {FAKE_S429, "http_status", "HTTP 429: Rate limit reached", 429},
    {FAKE_S500, "http_status", "HTTP 500: <h1>out of  [31morder</h1>", 500},
    {FAKE_REDIRECT, "http_status", "redirects, which is not followed", 302},
    {FAKE_TRUNCATED, "bad_reply", "fake: ", 0},
    {FAKE_CUT_CHUNK, "bad_reply", "fake: ", 0},
    {FAKE_SHORT_LENGTH, "bad_reply", "not JSON", 0},
    {FAKE_BAD_JSON, "bad_reply", "not JSON", 0},
    {FAKE_NOT_HTTP, "bad_reply", "fake: ", 0},
    {FAKE_EMPTY, "connect", "fake: ", 0},
    {FAKE_HUGE, "too_large", "fake: ", 0},
    {FAKE_HUGE_CHUNKED, "too_large", "longer than 4194304 bytes", 0},
};

static void check_reply(const struct answer_case *c, json_t *event, json_t *told) {
    json_t *data = json_object_get(event, "data"), *message = json_object_get(told, "message");
    assert_string_equal(json_str(event, "type"), "llm.succeeded");
    assert_string_equal(json_str(told, "msg"), "llm_reply");
    assert_true(json_equal(message, json_object_get(data, "message")));
    assert_string_equal(json_str(message, "role"), "assistant");
    assert_string_equal(json_str(told, "finish"), json_str(data, "finish"));
    if (c->want)
        assert_string_equal(json_str(message, "content"), c->want);
    else
        assert_string_equal(json_string_value(json_at(message, "/tool_calls/0/function/arguments")),
                            "{\"path\":\"README.md\"}");
    if (c->mode == FAKE_OK)
        assert_int_equal(json_integer_value(json_at(told, "/usage/total_tokens")), 18);
}

static void check_failed(const struct answer_case *c, json_t *event, json_t *told) {
    json_t *data = json_object_get(event, "data");
    assert_string_equal(json_str(event, "type"), "llm.failed");
    assert_string_equal(json_str(told, "msg"), "llm_failed");
    if (strcmp(json_str(told, "error"), c->error) != 0 || !strstr(json_str(told, "message"), c->want))
        fail_msg("%s: %s: %s", fake_mode_name(c->mode), json_str(told, "error"), json_str(told, "message"));
    assert_string_equal(json_str(data, "error"), c->error);
    assert_string_equal(json_str(data, "message"), json_str(told, "message"));
    assert_int_equal(json_i64(told, "status", 0), c->status);
    assert_int_equal(json_i64(data, "status", 0), c->status);
}

/* The key arrived in its header and is in nothing that the worker said. */
static void check_key(const struct provider *p, const struct worker *w) {
    auto_free char *record = provider_record(p);
    assert_non_null(strstr(record, "\r\nAuthorization: Bearer " KEY "\r\n"));
    assert_null(memmem(w->heard, w->heard_n, KEY, strlen(KEY)));
}

static void check_answer(const struct answer_case *c) {
    struct spec spec;
    struct worker w;
    struct provider p = provider_start(c->mode, 300, &spec);
    auto_close int secret = key_file(KEY "\n", 0600);
    print_message("%s\n", fake_mode_name(c->mode));
    worker_start(&w, &spec, secret);
    worker_ask(&w, MESSAGES, 30000);
    auto_json json_t *event = worker_journal(&w);
    auto_json json_t *told = worker_hear(&w, w.owner);
    (c->error ? check_failed : check_reply)(c, event, told);
    assert_true(json_i64(json_object_get(event, "data"), "wall_ms", -1) >= (c->mode == FAKE_SLOW ? 300 : 0));
    assert_null(worker_hear(&w, w.owner));
    assert_null(worker_hear(&w, w.log));
    check_key(&p, &w);
    assert_int_equal(worker_end(&w), 0);
    provider_end(&p);
}

static void every_answer(void **state) {
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        check_answer(&answers[i]);
}

static void request_as_sent(void **state) {
    struct spec spec;
    struct worker w;
    struct provider p = provider_start(FAKE_OK, 0, &spec);
    spec.providers[0].key_file[0] = '\0';
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1/", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1/", 1), 0);
    worker_start(&w, &spec, -1);
    worker_ask(&w, MESSAGES, 30000);
    json_decref(worker_journal(&w));
    assert_int_equal(worker_end(&w), 0);
    auto_free char *record = provider_record(&p);
    char *body = strstr(record, "\r\n\r\n");
    assert_non_null(body);
    assert_ptr_equal(strstr(record, "POST /v1/chat/completions HTTP/1.1\r\n"), record);
    assert_non_null(strstr(record, "\r\nContent-Type: application/json\r\n"));
    assert_null(strstr(record, "Expect:"));
    assert_null(strstr(record, "Authorization:")); /* a local server may want no key */
    assert_string_equal(body + 4,
                        "{\"model\":\"fake-1\",\"messages\":" MESSAGES
                        ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"wc\",\"parameters\":{}}}],"
                        "\"stream\":false}");
    assert_int_equal(unsetenv("http_proxy") + unsetenv("ALL_PROXY"), 0);
    provider_end(&p);
}

/* ---- what goes wrong before anything is sent ---- */

struct config_case {
    const char *name, *key;
    mode_t mode;     /* of the key file; 0 = there is none */
    const char *url; /* "=" the fake's, "TLS" the same with https */
    const char *error, *want;
};

static const struct config_case configs[] = {
    {"open to others", KEY, 0644, "=", "credentials", "chmod 600"},
    {"two lines", KEY "\n" KEY, 0600, "=", "credentials", "no key"},
    {"cannot be opened", NULL, 0, "=", "credentials", "cannot be opened"},
    {"plain http", KEY, 0600, "http://api.example/v1", "config", "use https"},
    {"plain http to a look-alike", KEY, 0600, "http://127.0.0.1.example/v1", "config", "use https"},
    {"a password in the url", KEY, 0600, "https://u:p@api.example/v1", "config", "key_file"},
    {"a query", KEY, 0600, "https://api.example/v1?k=v", "config", "query"},
    {"another scheme", KEY, 0600, "file:///etc", "config", "neither https nor http"},
    {"no url", KEY, 0600, "", "config", "URL"},
    {"nobody listens", KEY, 0600, "http://127.0.0.1:1/v1", "connect", "fake: "},
    {"no TLS there", KEY, 0600, "TLS", "connect", "fake: "},
};

static void check_config(const struct config_case *c) {
    struct spec spec;
    struct worker w;
    struct provider p = provider_start(FAKE_OK, 0, &spec);
    auto_close int secret = c->mode ? key_file(c->key, c->mode) : -1;
    char *url = spec.providers[0].url;
    int port = atoi(strrchr(url, ':') + 1);
    print_message("%s\n", c->name);
    if (strcmp(c->url, "TLS") == 0)
        (void)snprintf(url, SPEC_PATH, "https://127.0.0.1:%d", port);
    else if (*c->url != '=')
        (void)snprintf(url, SPEC_PATH, "%s", c->url);
    worker_start(&w, &spec, secret);
    worker_ask(&w, MESSAGES, 30000);
    json_decref(worker_journal(&w));
    auto_json json_t *told = worker_hear(&w, w.owner);
    if (strcmp(json_str(told, "error"), c->error) != 0 || !strstr(json_str(told, "message"), c->want))
        fail_msg("%s: %s: %s", c->name, json_str(told, "error"), json_str(told, "message"));
    assert_null(memmem(w.heard, w.heard_n, KEY, strlen(KEY)));
    assert_int_equal(worker_end(&w), 0);
    provider_end(&p);
}

static void configuration(void **state) {
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
        check_config(&configs[i]);
}

/* ---- endings ---- */

struct ending {
    struct spec spec;
    struct provider p;
    struct worker w;
    int secret;
};

/* A worker whose provider has the request and does not answer. */
static void ending_init(struct ending *e, enum fake_mode mode, int64_t timeout_ms) {
    e->p = provider_start(mode, 500, &e->spec);
    e->secret = key_file(KEY, 0600);
    worker_start(&e->w, &e->spec, e->secret);
    worker_ask(&e->w, MESSAGES, timeout_ms);
    provider_asked(&e->p);
}

static void ending_check(struct ending *e, int status) {
    assert_null(memmem(e->w.heard, e->w.heard_n, KEY, strlen(KEY)));
    assert_int_equal(worker_end(&e->w), status);
    provider_end(&e->p);
    (void)close(e->secret);
}

static void expect_failure(struct ending *e, const char *error, const char *part) {
    auto_json json_t *event = worker_journal(&e->w);
    auto_json json_t *told = worker_hear(&e->w, e->w.owner);
    assert_string_equal(json_str(event, "type"), "llm.failed");
    assert_string_equal(json_str(json_object_get(event, "data"), "error"), error);
    assert_string_equal(json_str(told, "error"), error);
    assert_non_null(strstr(json_str(told, "message"), part));
    assert_null(worker_hear(&e->w, e->w.owner));
}

static void cancel(void **state) {
    static const enum fake_mode modes[] = {FAKE_HANG, FAKE_DRIP, FAKE_SLOW};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct ending e;
        ending_init(&e, modes[i], 3600000);
        peer_putf(e.w.owner, "{\"msg\":\"cancel\",\"reason\":\"client_gone\"}");
        expect_failure(&e, "cancelled", "client_gone");
        ending_check(&e, 0);
    }
}

/* Before there is a request; then no task is known to stamp the event with. */
static void cancel_before_the_request(void **state) {
    struct ending e = {.secret = key_file(KEY, 0600)};
    e.p = provider_start(FAKE_OK, 0, &e.spec);
    worker_start(&e.w, &e.spec, e.secret);
    peer_putf(e.w.owner, "{\"msg\":\"cancel\"}");
    auto_json json_t *event = worker_hear(&e.w, e.w.log);
    assert_string_equal(json_str(event, "type"), "llm.failed");
    assert_null(json_object_get(event, "task"));
    peer_putf(e.w.log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":1}", (long long)json_i64(event, "ref", 0));
    auto_json json_t *told = worker_hear(&e.w, e.w.owner);
    assert_string_equal(json_str(told, "error"), "cancelled");
    ending_check(&e, 0);
}

static void sigterm(void **state) {
    struct ending e;
    ending_init(&e, FAKE_HANG, 3600000);
    assert_int_equal(kill(e.w.pid, SIGTERM), 0);
    expect_failure(&e, "cancelled", "supervisor");
    ending_check(&e, 0);
}

static void deadline(void **state) {
    static const enum fake_mode modes[] = {FAKE_HANG, FAKE_DRIP};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct ending e;
        ending_init(&e, modes[i], 1500);
        expect_failure(&e, "timeout", "1500 ms");
        ending_check(&e, 0);
    }
}

/* The provider's own timeout is a ceiling. */
static void configured_deadline(void **state) {
    struct ending e = {.secret = key_file(KEY, 0600)};
    e.p = provider_start(FAKE_HANG, 0, &e.spec);
    e.spec.providers[0].timeout_ms = 700;
    worker_start(&e.w, &e.spec, e.secret);
    worker_ask(&e.w, MESSAGES, 3600000);
    expect_failure(&e, "timeout", "700 ms");
    ending_check(&e, 0);
}

/* A lost owner is no cancel: the result is journalled, then the call ends. */
static void owner_gone(void **state) {
    struct ending e;
    ending_init(&e, FAKE_SLOW, 30000);
    worker_shut(&e.w.owner);
    auto_json json_t *event = worker_journal(&e.w);
    assert_string_equal(json_str(event, "type"), "llm.succeeded");
    assert_null(worker_hear(&e.w, e.w.log));
    ending_check(&e, 0);
}

static void owner_gone_before_the_request(void **state) {
    struct ending e = {.secret = key_file(KEY, 0600)};
    e.p = provider_start(FAKE_OK, 0, &e.spec);
    worker_start(&e.w, &e.spec, e.secret);
    worker_shut(&e.w.owner);
    assert_null(worker_hear(&e.w, e.w.log));
    ending_check(&e, 0);
}

/* Without a log nothing is told: the owner reads the end of the link and no frame. */
static void log_gone(void **state) {
    struct ending e;
    ending_init(&e, FAKE_SLOW, 30000);
    worker_shut(&e.w.log);
    assert_null(worker_hear(&e.w, e.w.owner));
    ending_check(&e, 1);
}

static void log_gone_while_reporting(void **state) {
    struct ending e;
    ending_init(&e, FAKE_OK, 30000);
    json_decref(worker_hear(&e.w, e.w.log));
    worker_shut(&e.w.log);
    assert_null(worker_hear(&e.w, e.w.owner));
    ending_check(&e, 1);
}

static void log_refuses(void **state) {
    struct ending e;
    ending_init(&e, FAKE_OK, 30000);
    auto_json json_t *event = worker_hear(&e.w, e.w.log);
    peer_putf(e.w.log, "{\"msg\":\"refused\",\"ref\":%lld,\"error\":\"log_full\",\"why\":\"the disk is full\"}",
              (long long)json_i64(event, "ref", 0));
    auto_json json_t *told = worker_hear(&e.w, e.w.owner);
    assert_string_equal(json_str(told, "msg"), "llm_failed");
    assert_string_equal(json_str(told, "error"), "log_refused");
    assert_non_null(strstr(json_str(told, "message"), "(log_full): the disk is full"));
    ending_check(&e, 0);
}

/* Nothing reaches the owner before the log has accepted: a cancel that comes in between is answered by the result. */
static void told_after_accepted(void **state) {
    struct ending e;
    ending_init(&e, FAKE_OK, 30000);
    auto_json json_t *event = worker_hear(&e.w, e.w.log);
    peer_putf(e.w.owner, "{\"msg\":\"cancel\"}");
    char c;
    assert_int_equal(recv(e.w.owner, &c, 1, MSG_DONTWAIT), -1);
    peer_putf(e.w.log, "{\"msg\":\"accepted\",\"ref\":%lld,\"seq\":9}", (long long)json_i64(event, "ref", 0));
    auto_json json_t *told = worker_hear(&e.w, e.w.owner);
    assert_string_equal(json_str(told, "msg"), "llm_reply");
    ending_check(&e, 0);
}

/* ---- the scripted provider through the same door ---- */

static void script_spec(struct spec *spec) {
    spec_defaults(spec);
    spec->n_providers = 1;
    spec->providers[0] = (struct spec_provider){.name = "script", .kind = PROVIDER_SCRIPT, .path = "script.json"};
}

static void scripted(void **state) {
    struct spec spec;
    struct worker w;
    auto_close int file = key_file("{\"replies\":[{\"content\":\"hi\",\"delay_ms\":20}]}", 0644);
    script_spec(&spec);
    worker_start(&w, &spec, file);
    worker_ask(&w, MESSAGES, 30000);
    auto_json json_t *event = worker_journal(&w);
    auto_json json_t *told = worker_hear(&w, w.owner);
    assert_string_equal(json_str(json_object_get(told, "message"), "content"), "hi");
    assert_string_equal(json_str(event, "type"), "llm.succeeded");
    assert_int_equal(worker_end(&w), 0);
}

/* An answer larger than a socket's buffer arrives whole: the worker stays until the last byte is out. */
static void large_answer(void **state) {
    struct spec spec;
    struct worker w;
    auto_free char *script = malloc(300000);
    assert_non_null(script);
    char *p = stpcpy(script, "{\"replies\":[{\"content\":\"");
    memset(p, 'x', 261000);
    (void)strcpy(p + 261000, "\"}]}");
    auto_close int file = key_file(script, 0600);
    script_spec(&spec);
    worker_start(&w, &spec, file);
    worker_ask(&w, MESSAGES, 30000);
    json_decref(worker_journal(&w));
    auto_json json_t *told = worker_hear(&w, w.owner);
    assert_int_equal(strlen(json_str(json_object_get(told, "message"), "content")), 261000);
    assert_int_equal(worker_end(&w), 0);
}

static void script_missing_and_cancelled(void **state) {
    struct ending e = {.secret = key_file("{\"replies\":[{\"content\":\"late\",\"delay_ms\":3600000}]}", 0600)};
    script_spec(&e.spec);
    worker_start(&e.w, &e.spec, -1);
    worker_ask(&e.w, MESSAGES, 30000);
    expect_failure(&e, "config", "script.json cannot be opened");
    assert_int_equal(worker_end(&e.w), 0);
    worker_start(&e.w, &e.spec, e.secret);
    worker_ask(&e.w, MESSAGES, 3600000);
    peer_putf(e.w.owner, "{\"msg\":\"cancel\"}");
    expect_failure(&e, "cancelled", "no reason");
    assert_int_equal(worker_end(&e.w), 0);
    (void)close(e.secret);
}

/* ---- all of them ---- */

/* A test ends with the descriptors and children it began with. One that failed in its middle does not, and the next
 * would wait for its children: that ends the program, and with it everything it started. */
static int after(void **state) {
    if (kit_left(state) == 0)
        return 0;
    (void)fflush(NULL);
    _exit(1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_count, after)

int main(void) {
    (void)alarm(300); /* a worker that never ends must end the test, not hang it */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return 77;
    const struct CMUnitTest tests[] = {
        TEST(every_answer),
        TEST(request_as_sent),
        TEST(configuration),
        TEST(cancel),
        TEST(cancel_before_the_request),
        TEST(sigterm),
        TEST(deadline),
        TEST(configured_deadline),
        TEST(owner_gone),
        TEST(owner_gone_before_the_request),
        TEST(log_gone),
        TEST(log_gone_while_reporting),
        TEST(log_refuses),
        TEST(told_after_accepted),
        TEST(scripted),
        TEST(large_answer),
        TEST(script_missing_and_cancelled),
    };
    return cmocka_run_group_tests_name("llmcall-http", tests, NULL, NULL);
}
