/* The chain's functions are pure: bytes in, bytes out. The hash is checked against FIPS 180-4's examples, the splice
 * against texts written by hand. */
#include "common/err.h"
#include "eventlog/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static void hash_vectors(void **state) {
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chain_hash hash;
        char hex[CHAIN_HEX_BYTES];
        chain_hash(cases[i].text, strlen(cases[i].text), &hash);
        chain_hex(&hash, hex);
        assert_string_equal(hex, cases[i].want);
    }
}

static void hash_of_a_million(void **state) {
    static char text[1000000];
    struct chain_hash hash;
    char hex[CHAIN_HEX_BYTES];
    memset(text, 'a', sizeof text);
    chain_hash(text, sizeof text, &hash);
    chain_hex(&hash, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static const char key65[] = "01234567890123456789012345678901234567890123456789012345678901234";

struct splice_case {
    const char *name;
    struct store_event event;
    size_t room;
    int r;
    const char *want; /* behind "prev", from ,"type" on */
};

static const struct splice_case splices[] = {
    {"bare", {.type = "x", .data = "{}", .data_n = 2}, 4096, 0, ",\"type\":\"x\",\"data\":{}}"},
    {"every stamp",
     {.type = "tool.started",
      .actor = "a-1",
      .task = "t-1",
      .run = "r-1",
      .step = "read",
      .call = "c-1",
      .corr = "k",
      .pid = 4711,
      .data = "{\"a\": \"\\\"\"}garbage",
      .data_n = 11},
     4096,
     0,
     ",\"type\":\"tool.started\",\"actor\":\"a-1\",\"task\":\"t-1\",\"run\":\"r-1\",\"step\":\"read\",\"call\":\"c-1\","
     "\"corr\":\"k\",\"pid\":4711,\"data\":{\"a\": \"\\\"\"}}"},
    {"UTF-8 stays",
     {.type = "x", .step = "grün", .data = "{}", .data_n = 2},
     4096,
     0,
     ",\"type\":\"x\",\"step\":\"grün\",\"data\":{}}"},
    {"no type", {.data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"empty type", {.type = "", .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"no data", {.type = "x"}, 4096, -EINVAL, NULL},
    {"half a brace", {.type = "x", .data = "{", .data_n = 1}, 4096, -EINVAL, NULL},
    {"an array", {.type = "x", .data = "[]", .data_n = 2}, 4096, -EINVAL, NULL},
    {"quote", {.type = "x", .run = "r\"", .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"backslash", {.type = "x", .call = "c\\", .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"control", {.type = "x", .step = "a\nb", .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"empty stamp", {.type = "x", .corr = "", .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"long key", {.type = "x", .actor = key65, .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"longest key",
     {.type = "x", .task = key65 + 1, .data = "{}", .data_n = 2},
     4096,
     0,
     ",\"type\":\"x\",\"task\":\"1234567890123456789012345678901234567890123456789012345678901234\",\"data\":{}}"},
    {"not indexed, so longer",
     {.type = "x", .step = key65, .data = "{}", .data_n = 2},
     4096,
     0,
     ",\"type\":\"x\",\"step\":\"01234567890123456789012345678901234567890123456789012345678901234\",\"data\":{}}"},
    {"negative pid", {.type = "x", .pid = -1, .data = "{}", .data_n = 2}, 4096, -EINVAL, NULL},
    {"no room", {.type = "x", .data = "{}", .data_n = 2}, 100, -ENOBUFS, NULL},
};

static void splice_table(void **state) {
    static const char lead[] =
        "{\"v\":1,\"seq\":18446744073709551615,\"ts\":1700000000000000000,\"prev\":\"" ZEROS "\"";
    for (size_t i = 0; i < sizeof splices / sizeof *splices; i++) {
        const struct splice_case *c = &splices[i];
        struct chain_hash none = {0};
        struct chain_text text = {.n = 77};
        char buf[4096], want[4096];
        int r = chain_splice(&c->event, UINT64_MAX, 1700000000000000000, &none, buf, c->room, &text);
        if (r != c->r)
            fail_msg("%s: %d (%s)", c->name, r, err_text());
        if (r < 0) {
            assert_int_equal(text.n, 77);
            continue;
        }
        int n = snprintf(want, sizeof want, "%s%s", lead, c->want);
        if ((size_t)n != text.n || memcmp(buf, want, text.n) != 0)
            fail_msg("%s: %.*s", c->name, (int)text.n, buf);
    }
}

/* With exactly enough room, with one byte less, and never a byte beyond. */
static void splice_to_the_byte(void **state) {
    struct store_event e = {.type = "x", .run = "r-1", .data = "{\"k\":1}", .data_n = 7};
    struct chain_hash none = {0};
    struct chain_text text, again;
    char buf[512];
    assert_int_equal(chain_splice(&e, 1, 2, &none, buf, sizeof buf, &text), 0);
    for (size_t room = 0; room <= text.n; room++) {
        memset(buf, '#', sizeof buf);
        assert_int_equal(chain_splice(&e, 1, 2, &none, buf, room, &again), room == text.n ? 0 : -ENOBUFS);
        assert_int_equal(buf[room], '#');
    }
}

static void splice_largest(void **state) {
    static char data[STORE_RECORD_MAX + 2], buf[STORE_RECORD_MAX + 4096];
    struct store_event e = {.type = "x", .data = data, .data_n = sizeof data - 1};
    struct chain_hash none = {0};
    struct chain_text text;
    memset(data, ' ', sizeof data);
    data[0] = '{';
    data[sizeof data - 2] = '}';
    assert_int_equal(chain_splice(&e, 1, 2, &none, buf, sizeof buf, &text), -EMSGSIZE);
    struct store_event small = {.type = "x", .data = "{}", .data_n = 2};
    assert_int_equal(chain_splice(&small, 1, 2, &none, buf, sizeof buf, &text), 0);
    e.data_n = STORE_RECORD_MAX - text.n + 2;
    data[e.data_n - 1] = '}';
    assert_int_equal(chain_splice(&e, 1, 2, &none, buf, sizeof buf, &text), 0);
    assert_int_equal(text.n, STORE_RECORD_MAX);
    data[e.data_n++] = '}';
    assert_int_equal(chain_splice(&e, 1, 2, &none, buf, sizeof buf, &text), -EMSGSIZE);
}

static void spans_point_at_the_values(void **state) {
    struct store_event e = {
        .type = "x", .actor = "A", .task = "TT", .run = "RRR", .corr = "CCCC", .data = "{}", .data_n = 2};
    static const char *const want[] = {
        [CHAIN_RUN] = "RRR", [CHAIN_ACTOR] = "A", [CHAIN_TASK] = "TT", [CHAIN_CORR] = "CCCC"};
    struct chain_hash none = {0};
    struct chain_text text;
    char buf[512];
    assert_int_equal(chain_splice(&e, 1, 2, &none, buf, sizeof buf, &text), 0);
    for (size_t i = 0; i < CHAIN_KEY__COUNT; i++) {
        assert_int_equal(text.key[i].n, strlen(want[i]));
        assert_memory_equal(buf + text.key[i].at, want[i], text.key[i].n);
    }
    e.task = NULL;
    assert_int_equal(chain_splice(&e, 1, 2, &none, buf, sizeof buf, &text), 0);
    assert_int_equal(text.key[CHAIN_TASK].n, 0);
}

static void link_round_trip(void **state) {
    static const uint64_t numbers[] = {0, 1, 9, 10, 1234567890123456789u, UINT64_MAX};
    struct store_event e = {.type = "x", .data = "{}", .data_n = 2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct chain_hash prev;
        struct chain_text text;
        struct chain_link link;
        char buf[512], hex[CHAIN_HEX_BYTES];
        chain_hash(&numbers[i], sizeof numbers[i], &prev);
        chain_hex(&prev, hex);
        assert_int_equal(chain_splice(&e, numbers[i], ~numbers[i], &prev, buf, sizeof buf, &text), 0);
        assert_int_equal(chain_link_read(buf, text.n, &link), 0);
        assert_true(link.seq == numbers[i] && link.ts == ~numbers[i]);
        assert_string_equal(link.prev, hex);
        size_t whole =
            (size_t)(strstr(buf, "\"x\"") - buf) + 1; /* the quote that opens the type is the last it reads */
        for (size_t n = 0; n < whole; n++)
            assert_int_equal(chain_link_read(buf, n, &link), -EUCLEAN);
    }
}

static void link_refuses(void **state) {
    static const char *const texts[] = {
        "{\"v\":2,\"seq\":1,\"ts\":1,\"prev\":\"" ZEROS "\",\"type\":\"x\"}",
        "{\"v\":1,\"seq\":,\"ts\":1,\"prev\":\"" ZEROS "\",\"type\":\"x\"}",
        "{\"v\":1,\"seq\":-1,\"ts\":1,\"prev\":\"" ZEROS "\",\"type\":\"x\"}",
        "{\"v\":1,\"seq\":18446744073709551616,\"ts\":1,\"prev\":\"" ZEROS "\",\"type\":\"x\"}",
        "{\"v\":1,\"seq\":1,\"ts\":1,\"prev\":\"A" ZEROS "\",\"type\":\"x\"}",
        "{\"v\":1,\"seq\":1,\"ts\":1,\"prev\":\"0" ZEROS "\",\"type\":\"x\"}",
    };
    struct chain_link link;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(chain_link_read(texts[i], strlen(texts[i]), &link), -EUCLEAN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_vectors),    cmocka_unit_test(hash_of_a_million),
        cmocka_unit_test(splice_table),    cmocka_unit_test(splice_to_the_byte),
        cmocka_unit_test(splice_largest),  cmocka_unit_test(spans_point_at_the_values),
        cmocka_unit_test(link_round_trip), cmocka_unit_test(link_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
