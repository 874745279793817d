/* The pure half of the OpenAI-compatible provider: the request's bytes, and what replies mean, hostile ones above all.
 */
#include "common/err.h"
#include "common/scan.h"
#include "llmcall/key.h"
#include "llmcall/openai.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "sk-0123456789abcdef"

static void request_bytes(void **state) {
    static const struct {
        const char *messages, *tools, *want;
    } cases[] = {
        {"[]", NULL, "{\"model\":\"m\\\"1\",\"messages\":[],\"stream\":false}"},
        {"[1]", "[ ]", "{\"model\":\"m\\\"1\",\"messages\":[1],\"stream\":false}"},
        {"[]", "[{\"a\":1}]", "{\"model\":\"m\\\"1\",\"messages\":[],\"tools\":[{\"a\":1}],\"stream\":false}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_buf struct buf b = BUF_NULL(OPENAI_BODY_MAX);
        struct json_span tools = cases[i].tools ? SPAN(cases[i].tools) : (struct json_span){0};
        assert_int_equal(openai_request("m\"1", SPAN(cases[i].messages), tools, &b), 0);
        assert_int_equal(b.n, strlen(cases[i].want));
        assert_memory_equal(b.p, cases[i].want, b.n);
    }
    auto_buf struct buf small = BUF_NULL(20);
    assert_int_equal(openai_request("m", SPAN("[]"), (struct json_span){0}, &small), -EMSGSIZE);
}

struct reply_case {
    const char *name;
    long status;
    const char *body;
    const char *error, *want; /* error NULL: `want` is the message, else part of the text */
    const char *usage;
};

#define CHOICE(message, more) "{\"choices\":[{\"message\":" message more "}]}"
#define STOP ",\"finish_reason\":\"stop\""
#define CALL(id, args) "{" id "\"type\":\"function\",\"function\":{\"name\":\"wc\",\"arguments\":" args "}}"
#define MADE(id, args) "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"wc\",\"arguments\":" args "}}"
#define CALLS(calls) "{\"content\":null,\"tool_calls\":[" calls "]}"
#define MADE_CALLS(calls) "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" calls "]}"
static const struct reply_case replies[] = {
    {"plain", 200,
     "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\","
     "\"reasoning_content\":\"no\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,"
     "\"completion_tokens\":4,\"total_tokens\":7,\"details\":{\"cached\":1}}}",
     NULL, "{\"role\":\"assistant\",\"content\":\"hi\"}",
     "{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}"},
    {"empty content", 200, CHOICE("{\"content\":\"\"}", STOP), NULL, "{\"role\":\"assistant\",\"content\":\"\"}", NULL},
    {"another role", 200, CHOICE("{\"role\":\"system\",\"content\":\"a\"}", STOP), NULL,
     "{\"role\":\"assistant\",\"content\":\"a\"}", NULL},
    {"refusal", 200, CHOICE("{\"content\":null,\"refusal\":\"no\"}", STOP), NULL,
     "{\"role\":\"assistant\",\"content\":\"no\"}", NULL},
    {"odd usage", 200,
     "{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":"
     "{\"prompt_tokens\":-5,\"completion_tokens\":\"many\",\"total_tokens\":2}}",
     NULL, "{\"role\":\"assistant\",\"content\":\"a\"}", "{\"total_tokens\":2}"},
    {"call, finish says stop", 200, CHOICE(CALLS(CALL("\"id\":\"c1\",", "\"{}\"")), STOP), NULL,
     MADE_CALLS(MADE("c1", "\"{}\"")), NULL},
    {"ids missing, empty, doubled", 200,
     CHOICE(CALLS(CALL("", "\"{}\"") "," CALL("\"id\":\"\",", "\"1\"") "," CALL("\"id\":\"c\",", "\"\"") "," CALL(
                "\"id\":\"c\",", "\"{cut\"")),
            STOP),
     NULL, MADE_CALLS(MADE("M_1", "\"{}\"") "," MADE("M_2", "\"1\"") "," MADE("c", "\"\"") "," MADE("M_4", "\"{cut\"")),
     NULL},
    {"an id that looks minted", 200, CHOICE(CALLS(CALL("\"id\":\"M_2\",", "\"\"") "," CALL("", "\"\"")), STOP), NULL,
     MADE_CALLS(MADE("M_2", "\"\"") "," MADE("M_3", "\"\"")), NULL},
    {"arguments as object, null, missing", 200,
     CHOICE(CALLS(CALL("\"id\":\"a\",", "{\"k\":1}") "," CALL("\"id\":\"b\",",
                                                              "null") ","
                                                                      "{\"id\":\"d\",\"function\":{\"name\":\"wc\"}}"),
            STOP),
     NULL, MADE_CALLS(MADE("a", "\"{\\\"k\\\":1}\"") "," MADE("b", "\"\"") "," MADE("d", "\"\"")), NULL},
    {"calls null", 200, CHOICE("{\"content\":\"a\",\"tool_calls\":null}", STOP), NULL,
     "{\"role\":\"assistant\",\"content\":\"a\"}", NULL},
    {"calls empty", 200, CHOICE("{\"content\":\"a\",\"tool_calls\":[]}", STOP), NULL,
     "{\"role\":\"assistant\",\"content\":\"a\"}", NULL},
    {"the key in content", 200, CHOICE("{\"content\":\"<" SECRET ">\"}", STOP), NULL,
     "{\"role\":\"assistant\",\"content\":\"<*******************>\"}", NULL},
    {"the key with escapes", 200, CHOICE("{\"content\":\"\\u0073k-0123456789abcde\\u0066\"}", STOP), NULL,
     "{\"role\":\"assistant\",\"content\":\"*******************\"}", NULL},
    {"the key in arguments", 200, CHOICE(CALLS(CALL("\"id\":\"a\",", "{\"k\":\"\\u0073k-0123456789abcdef\"}")), STOP),
     NULL, MADE_CALLS(MADE("a", "\"{\\\"k\\\":\\\"*******************\\\"}\"")), NULL},

    {"no body", 200, "", "bad_reply", "not JSON", NULL},
    {"no JSON", 200, "<html>", "bad_reply", "not JSON", NULL},
    {"cut", 200, "{\"choices\":[{\"mess", "bad_reply", "not JSON", NULL},
    {"two values", 200, "{}{}", "bad_reply", "not JSON", NULL},
    {"same key twice", 200, "{\"choices\":[],\"choices\":[]}", "bad_reply", "not JSON", NULL},
    {"not UTF-8", 200, "{\"a\":\"\xff\"}", "bad_reply", "not JSON", NULL},
    {"NUL in text", 200, CHOICE("{\"content\":\"a\\u0000b\"}", STOP), "bad_reply", "not JSON", NULL},
    {"number beyond int64", 200, "{\"created\":99999999999999999999}", "bad_reply", "not JSON", NULL},
    {"an array", 200, "[]", "bad_reply", "choices[0]", NULL},
    {"null", 200, "null", "bad_reply", "choices[0]", NULL},
    {"no choice", 200, "{\"choices\":[]}", "bad_reply", "choices[0]", NULL},
    {"choices are an object", 200, "{\"choices\":{\"0\":1}}", "bad_reply", "choices[0]", NULL},
    {"message is text", 200, CHOICE("\"hi\"", STOP), "bad_reply", "choices[0]", NULL},
    {"empty message", 200, CHOICE("{}", STOP), "bad_reply", "neither content nor tool calls", NULL},
    {"content is parts", 200, CHOICE("{\"content\":[{\"text\":\"a\"}]}", STOP), "bad_reply", "not text", NULL},
    {"no finish", 200, CHOICE("{\"content\":\"a\"}", ""), "bad_reply", "finish_reason", NULL},
    {"finish null", 200, CHOICE("{\"content\":\"a\"}", ",\"finish_reason\":null"), "bad_reply", "finish_reason", NULL},
    {"finish too long", 200, CHOICE("{\"content\":\"a\"}", ",\"finish_reason\":\"012345678901234567890123456789012\""),
     "bad_reply", "finish_reason", NULL},
    {"calls are an object", 200, CHOICE("{\"tool_calls\":{\"a\":1}}", STOP), "bad_reply", "tool_calls", NULL},
    {"calls are text", 200, CHOICE("{\"tool_calls\":\"x\"}", STOP), "bad_reply", "tool_calls", NULL},
    {"call is text", 200, CHOICE(CALLS("\"x\""), STOP), "bad_reply", "names no function", NULL},
    {"call without name", 200, CHOICE(CALLS("{\"function\":{}}"), STOP), "bad_reply", "names no function", NULL},
    {"call of another type", 200, CHOICE(CALLS("{\"type\":\"custom\",\"function\":{\"name\":\"a\"}}"), STOP),
     "bad_reply", "names no function", NULL},
    {"arguments are a number", 200, CHOICE(CALLS(CALL("", "7")), STOP), "bad_reply", "arguments", NULL},
    {"an error in a 200", 200, "{\"error\":{\"message\":\"overloaded\"}}", "bad_reply", "overloaded", NULL},

    {"401", 401, "{\"error\":{\"message\":\"Incorrect API key\"}}", "credentials", "HTTP 401: Incorrect API key", NULL},
    {"403 without words", 403, "", "credentials", "HTTP 403", NULL},
    {"the key in an error", 401, "{\"error\":{\"message\":\"bad key \\u0073k-0123456789abcdef!\"}}", "credentials",
     "bad key *******************!", NULL},
    {"429", 429, "{\"error\":{\"message\":\"slow down\"}}", "http_status", "HTTP 429: slow down", NULL},
    {"error is text", 400, "{\"error\":\"model not found\"}", "http_status", "HTTP 400: model not found", NULL},
    {"detail", 422, "{\"detail\":\"no\"}", "http_status", "HTTP 422: no", NULL},
    {"in an array", 400, "[{\"error\":{\"message\":\"deep\"}}]", "http_status", "HTTP 400: deep", NULL},
    {"500 with HTML", 500, "<h1>oops</h1>", "http_status", "HTTP 500: <h1>oops</h1>", NULL},
    {"terminal escapes", 500, "{\"error\":\"\\u001b[31mred\\u0007\\u009b1m\\n\"}", "http_status",
     "HTTP 500:  [31mred   1m ", NULL},
    {"bytes that are no text", 502, "\x80\xfe\x1b", "http_status", "HTTP 502: ?? ", NULL},
    {"redirect", 302, "", "http_status", "not followed", NULL},
    {"204", 204, "", "http_status", "HTTP 204", NULL},
    {"0", 0, "", "http_status", "HTTP 0", NULL},
};

static void check_reply(const struct reply_case *c) {
    struct outcome out = OUTCOME_NULL;
    char body[2048];
    assert_true(strlen(c->body) < sizeof body);
    (void)strcpy(body, c->body);
    openai_reply(c->status, body, strlen(body), SECRET, "M", &out);
    if (out.ok != (c->error == NULL))
        fail_msg("%s: ok %d, %s %s", c->name, out.ok, out.error, out.text);
    if (out.ok) {
        assert_string_equal(out.message, c->want);
        assert_string_equal(out.usage ? out.usage : "", c->usage ? c->usage : "");
        assert_string_equal(out.finish, "stop");
        assert_int_equal(scan_check(out.message, out.message_n, SCAN_OBJECT), 0);
    } else if (strcmp(out.error, c->error) != 0 || !strstr(out.text, c->want))
        fail_msg("%s: %s: %s", c->name, out.error, out.text);
    assert_int_equal(out.status, c->status == 200 ? 0 : c->status);
    assert_null(strstr(out.text, SECRET));
    outcome_deinit(&out);
}

static void reply(void **state) {
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++)
        check_reply(&replies[i]);
}

/* Every cut of a good reply is a named failure, and every byte of it may be wrong. */
static void cut_and_broken(void **state) {
    static const char good[] = CHOICE(CALLS(CALL("\"id\":\"a\",", "\"{}\"")), STOP);
    struct outcome out = OUTCOME_NULL;
    for (size_t n = 0; n < sizeof good - 1; n++) {
        char body[sizeof good];
        memcpy(body, good, sizeof good);
        openai_reply(200, body, n, NULL, "M", &out);
        assert_false(out.ok);
        assert_string_equal(out.error, "bad_reply");
        body[n] ^= 0x5a;
        openai_reply(200, body, sizeof good - 1, NULL, "M", &out);
        assert_true(out.ok ? out.message != NULL : *out.error && *out.text);
    }
    outcome_deinit(&out);
}

/* A long error text is cut on a whole character, and the key that the cut would have halved is gone. */
static void long_error(void **state) {
    struct outcome out = OUTCOME_NULL;
    for (size_t pad = 300; pad < 420; pad++) {
        char body[1024];
        (void)snprintf(body, sizeof body, "{\"error\":\"%0*d\\u0073k-0123456789abcdef\xe2\x82\xac\xe2\x82\xac\"}",
                       (int)pad, 0);
        openai_reply(500, body, strlen(body), SECRET, "M", &out);
        assert_true(strlen(out.text) <= OUTCOME_TEXT_MAX);
        assert_true(scan_utf8(out.text, strlen(out.text)));
        assert_null(strstr(out.text, "k-0"));
    }
    outcome_deinit(&out);
}

static void large(void **state) {
    struct outcome out = OUTCOME_NULL;
    static char body[OUTCOME_MESSAGE_MAX * 5];
    static const char head[] = "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"";
    static const size_t sizes[] = {OUTCOME_MESSAGE_MAX, JSON_TEXT_MAX};
    for (size_t i = 0; i < 2; i++) {
        (void)strcpy(body, head);
        memset(body + sizeof head - 1, 'x', sizes[i]);
        (void)strcpy(body + sizeof head - 1 + sizes[i], "\"}}]}");
        openai_reply(200, body, strlen(body), NULL, "M", &out);
        assert_string_equal(out.error, "too_large");
    }
    outcome_deinit(&out);
}

static void many_calls(void **state) {
    struct outcome out = OUTCOME_NULL;
    auto_buf struct buf b = BUF_NULL(1u << 20);
    (void)buf_addz(&b, "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"tool_calls\":[");
    for (unsigned i = 0; i <= OPENAI_CALLS_MAX; i++)
        (void)buf_printf(&b, "%s{\"function\":{\"name\":\"a\"}}", i ? "," : "");
    (void)buf_addz(&b, "]}}]}");
    assert_false(buf_failed(&b));
    openai_reply(200, b.p, b.n, NULL, "M", &out);
    assert_string_equal(out.error, "bad_reply");
    outcome_deinit(&out);
}

struct key_case {
    const char *content;
    size_t n;
    mode_t mode;
    const char *header; /* NULL: refused, and `why` is part of the reason */
    const char *why;
};

static const struct key_case keys[] = {
    {"sk-1", 4, 0600, "Authorization: Bearer sk-1", NULL},
    {"sk-1\n", 5, 0400, "Authorization: Bearer sk-1", NULL},
    {"sk-1\r\n", 6, 0600, "Authorization: Bearer sk-1", NULL},
    {"sk-secret", 9, 0640, NULL, "chmod 600"},
    {"sk-secret", 9, 0601, NULL, "chmod 600"},
    {"", 0, 0600, NULL, "empty"},
    {"\n", 1, 0600, NULL, "empty"},
    {"sk-secret\n\n", 11, 0600, NULL, "no key"},
    {"sk-secret x", 11, 0600, NULL, "no key"},
    {"sk-secret\r\nX: y", 15, 0600, NULL, "no key"},
    {"sk-sec\0ret", 10, 0600, NULL, "no key"},
    {"sk-secret\xc3\xa9", 11, 0600, NULL, "no key"},
    {"sk-secret\"", 10, 0600, NULL, "no key"},
};

static void key_files(void **state) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct key_case *c = &keys[i];
        FILE *f = tmpfile();
        assert_non_null(f);
        assert_int_equal(pwrite(fileno(f), c->content, c->n, 0), c->n);
        assert_int_equal(fchmod(fileno(f), c->mode), 0);
        struct key key = KEY_NULL;
        int r = key_read(fileno(f), &key);
        assert_int_equal(r, c->header ? 0 : -EACCES);
        if (c->header) {
            assert_string_equal(key.header, c->header);
            assert_string_equal(key.text, "sk-1");
        } else {
            assert_non_null(strstr(err_text(), c->why));
            assert_null(strstr(err_text(), "sk-sec"));
            assert_null(key.header);
        }
        key_wipe(&key);
        key_wipe(&key);
        assert_int_equal(fclose(f), 0);
    }
}

static void key_file_limits(void **state) {
    FILE *f = tmpfile();
    assert_non_null(f);
    static char text[KEY_FILE_MAX + 1];
    memset(text, 'k', sizeof text);
    struct key key = KEY_NULL;
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    assert_int_equal(pwrite(fileno(f), text, KEY_FILE_MAX, 0), KEY_FILE_MAX);
    assert_int_equal(key_read(fileno(f), &key), 0);
    assert_int_equal(strlen(key.text), KEY_FILE_MAX);
    key_wipe(&key);
    assert_int_equal(pwrite(fileno(f), text, sizeof text, 0), sizeof text);
    assert_int_equal(key_read(fileno(f), &key), -EACCES);
    assert_int_equal(fclose(f), 0);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(key_read(fd, &key), -EACCES);
    assert_int_equal(close(fd), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_bytes), cmocka_unit_test(reply),           cmocka_unit_test(cut_and_broken),
        cmocka_unit_test(long_error),    cmocka_unit_test(large),           cmocka_unit_test(many_calls),
        cmocka_unit_test(key_files),     cmocka_unit_test(key_file_limits),
    };
    return cmocka_run_group_tests_name("llmcall-openai", tests, NULL, NULL);
}
