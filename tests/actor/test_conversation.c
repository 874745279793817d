/* The rule of the protocol (every call answered once before the next turn) and the ceilings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actor/conversation.h"
#include "actor/mailbox.h"
#include "common/cleanup.h"
#include "common/err.h"

static json_t *parse(const char *text) {
    json_t *j = NULL;
    assert_int_equal(json_parse(text, strlen(text), JSON_TEXT_MAX, &j), 0);
    return j;
}

static void expect_text(const struct conversation *c, const char *wanted) {
    auto_free char *text = NULL;
    size_t n;
    assert_int_equal(conversation_text(c, &text, &n), 0);
    assert_string_equal(text, wanted);
    assert_int_equal(n, strlen(wanted));
}

static const char two_calls[] =
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
    "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"wc\",\"arguments\":\"{}\"}},"
    "{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"wc\",\"arguments\":\"{}\"}}]}";

static void one_answer_each(void **state) {
    struct conversation c;
    auto_json json_t *turn = parse(two_calls), *output = parse("{\"text\":\"3\"}");
    assert_int_equal(conversation_init(&c, "", "how many?"), 0);
    assert_int_equal(conversation_assistant(&c, turn), 0);
    auto_free char *text = NULL;
    size_t n;
    assert_int_equal(conversation_text(&c, &text, &n), -EPROTO);
    assert_int_equal(conversation_assistant(&c, turn), -EPROTO);
    assert_int_equal(conversation_answer(&c, "call_2", output), 0);
    assert_int_equal(conversation_answer(&c, "call_2", output), -EPROTO); /* twice */
    assert_int_equal(conversation_answer(&c, "call_9", output), -EPROTO); /* never asked */
    assert_int_equal(conversation_text(&c, &text, &n), -EPROTO);
    assert_int_equal(conversation_answer_error(&c, "call_1", "denied", "no"), 0);
    char wanted[1024];
    (void)snprintf(wanted, sizeof wanted,
                   "[{\"role\":\"user\",\"content\":\"how many?\"},%s,"
                   "{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"{\\\"text\\\":\\\"3\\\"}\"},"
                   "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":"
                   "\"{\\\"error\\\":{\\\"name\\\":\\\"denied\\\",\\\"message\\\":\\\"no\\\"}}\"}]",
                   two_calls);
    expect_text(&c, wanted);
    conversation_deinit(&c);
    conversation_deinit(&c); /* a second call is allowed */
}

static void system_first(void **state) {
    struct conversation c;
    assert_int_equal(conversation_init(&c, "be brief", "hi"), 0);
    expect_text(&c, "[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"hi\"}]");
    conversation_deinit(&c);
}

/* Lengths around the ceiling, with characters of three bytes so that every cut could fall inside one. */
static void observations_are_cut(void **state) {
    static const struct {
        size_t characters;
        bool cut;
    } cases[] = {{10, false}, {OBSERVATION_MAX / 3 - 1, false}, {OBSERVATION_MAX / 3, true}, {100000, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        auto_free char *text = calloc(cases[i].characters * 3 + 1, 1);
        for (size_t k = 0; k < cases[i].characters; k++)
            memcpy(text + 3 * k, "\xe2\x82\xac", 3);
        auto_json json_t *value = json_string(text), *turn = parse(two_calls);
        struct conversation c;
        assert_int_equal(conversation_init(&c, "", "x"), 0);
        assert_int_equal(conversation_assistant(&c, turn), 0);
        assert_int_equal(conversation_answer(&c, "call_1", value), 0);
        const char *content = json_str(json_array_get(c.messages, 2), "content");
        assert_non_null(content);
        assert_true(strlen(content) <= OBSERVATION_MAX);
        assert_int_equal(strstr(content, "[cut: ") != NULL, cases[i].cut);
        conversation_deinit(&c);
    }
}

static void whole_is_bounded(void **state) {
    struct conversation c;
    auto_free char *text = malloc(CONVERSATION_MAX + 1), *out = NULL;
    size_t n;
    memset(text, 'x', CONVERSATION_MAX);
    text[CONVERSATION_MAX] = '\0';
    assert_int_equal(conversation_init(&c, "", text), 0);
    assert_int_equal(conversation_text(&c, &out, &n), -EMSGSIZE);
    conversation_deinit(&c);
}

static void mailbox_is_bounded(void **state) {
    struct mailbox m = {0};
    struct task *t, *first = NULL;
    char id[ID_SIZE];
    for (unsigned i = 0; i < MAILBOX_MAX; i++) {
        id_make('t', id);
        assert_int_equal(mailbox_add(&m, id, id, "hello", &t), 0);
        t->accept_ref = (int64_t)i + 1;
        first = first ? first : t;
    }
    assert_int_equal(mailbox_add(&m, "t-more", "c", "hello", &t), 1);
    assert_null(mailbox_next(&m)); /* none is durable yet */
    assert_ptr_equal(mailbox_find_ref(&m, 1), first);
    assert_null(mailbox_find_ref(&m, 0));
    first->stage = TASK_CURRENT;
    assert_ptr_equal(mailbox_current(&m), first);
    assert_int_equal(mailbox_add(&m, "t-more", "c", "hello", &t), 0); /* the current one does not count */
    t->stage = TASK_WAITING;
    assert_ptr_equal(mailbox_next(&m), t);
    assert_ptr_equal(mailbox_find(&m, "t-more"), t);
    mailbox_remove(&m, first);
    assert_null(mailbox_current(&m));
    mailbox_deinit(&m);
    assert_null(m.head);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_answer_each), cmocka_unit_test(system_first),
                                       cmocka_unit_test(observations_are_cut), cmocka_unit_test(whole_is_bounded),
                                       cmocka_unit_test(mailbox_is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
