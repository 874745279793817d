/* The registry as its peers see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "registry/documents.h"
#include "tests/registry/world.h"

#define ALL "alpha beta echo fail file_list file_read file_write sleep text_grep text_head "

/* "name name " of doc[key]; members, when not 0, is the size of each. */
static void expect_names(const json_t *doc, const char *key, const char *wanted, size_t members) {
    char names[512] = "";
    size_t i, used = 0;
    json_t *one;
    json_array_foreach(json_object_get(doc, key), i, one) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s ", json_str(one, "name"));
        if (members)
            assert_int_equal(json_object_size(one), members);
    }
    assert_string_equal(names, wanted);
}

/* "id generation declared" */
static void whereis(int fd, const char *name, char out[128]) {
    peer_put(fd, MSG_WHEREIS, &(struct msg_whereis){.ref = 77, .name = name});
    const struct msg_name_is *is = &peer_get(fd, MSG_NAME_IS)->name_is;
    assert_int_equal(is->ref, 77);
    (void)snprintf(out, 128, "%s %lld %s", is->id ? is->id : "-", (long long)is->generation,
                   is->declared ? "declared" : "unknown");
}

/* Ends of peers that have gone are noticed a turn or two later; every question answered is at least one turn. */
static void expect_fds(const struct world *w, int gateway, unsigned wanted) {
    char got[128];
    for (unsigned tries = 0; open_fds(w->pid) > wanted && tries < 1000; tries++)
        whereis(gateway, "nobody", got);
    assert_int_equal(open_fds(w->pid), wanted);
}

/* --- documents ------------------------------------------------------------------------------------------------- */

/* What an endpoint gets depends on who it is, and on nothing it says. */
static void test_documents(void **state) {
    static const struct {
        const char *role, *actor; /* of the asker; actors and gateway come from root, the rest from actors */
        enum msg_type type;
        const char *key, *names; /* of the document; NULL: refused with not_found */
        size_t members;
    } cases[] = {
        {"gateway", NULL, MSG_CATALOG, "tools", ALL, 3},
        {"gateway", NULL, MSG_ACTORS_DECLARED, "actors", "idler reviewer ", 2},
        {"gateway", NULL, MSG_PROBLEMS, "problems", "", 0},
        {"session", "s-1", MSG_GRANTS, "tools", ALL, 0},
        {"session", "reviewer", MSG_GRANTS, "tools", ALL, 0}, /* a session of that name is no actor */
        {"actor", "reviewer", MSG_CATALOG, "tools", "alpha echo ", 3},
        {"actor", "reviewer", MSG_GRANTS, "tools", "alpha echo ", 0},
        {"actor", "idler", MSG_CATALOG, "tools", "", 0},
        {"actor", "idler", MSG_GRANTS, "tools", "", 0},
        {"actor", "stranger", MSG_CATALOG, NULL, NULL, 0},
        {"actor", "stranger", MSG_GRANTS, NULL, NULL, 0},
        {"actor", "stranger", MSG_ACTOR_GET, NULL, NULL, 0},
    };
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, NULL);
    expect_catalog_event(&w, "1 10 2 0");
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool worker = cases[i].actor != NULL;
        auto_close int fd = peer(&w, worker ? actors : w.control, cases[i].role, cases[i].actor);
        if (!cases[i].key) {
            ask_refused(fd, cases[i].type, "not_found");
            continue;
        }
        int64_t generation = 0;
        auto_json json_t *doc = ask(fd, cases[i].type, &generation);
        assert_int_equal(generation, 1);
        expect_names(doc, cases[i].key, cases[i].names, cases[i].members);
        if (strcmp(cases[i].key, "tools") == 0)
            assert_int_equal(json_i64(doc, "generation", 0), 1);
    }
    auto_json json_t *declared = ask(actors, MSG_ACTORS_DECLARED, NULL);
    expect_names(declared, "actors", "idler reviewer ", 2);
    assert_string_equal(json_str(json_array_get(json_object_get(declared, "actors"), 1), "restart"), "transient");
    world_close(&w);
}

static void test_own_definition(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, NULL);
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    auto_close int reviewer = peer(&w, actors, "actor", "reviewer");
    auto_json json_t *doc = ask(reviewer, MSG_ACTOR_GET, NULL);
    assert_string_equal(json_str(doc, "name"), "reviewer");
    assert_string_equal(json_str(doc, "provider"), "local");
    assert_int_equal(json_i64(json_object_get(doc, "budget"), "steps", 0), 64);
    auto_json json_t *grants = ask(reviewer, MSG_GRANTS, NULL);
    const json_t *alpha = json_array_get(json_object_get(grants, "tools"), 0);
    assert_string_equal(json_str(alpha, "profile"), "pure"); /* whole and normalised */
    assert_string_equal(json_string_value(json_array_get(json_object_get(alpha, "command"), 0)), "/bin/true");
    world_close(&w);
}

/* One file in memory serves all who may have the same. */
static void test_documents_are_kept(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, NULL);
    expect_catalog_event(&w, "1 10 2 0");
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    auto_close int one = peer(&w, actors, "session", "s-1"), two = peer(&w, actors, "session", "s-2");
    auto_close int reviewer = peer(&w, actors, "actor", "reviewer");
    ino_t before = ask_inode(one, MSG_GRANTS);
    assert_true(ask_inode(two, MSG_GRANTS) == before);
    assert_false(ask_inode(reviewer, MSG_GRANTS) == before);
    assert_int_equal(kill(w.pid, SIGHUP), 0);
    expect_catalog_event(&w, "2 10 2 0");
    assert_false(ask_inode(one, MSG_GRANTS) == before);
    world_close(&w);
}

/* More actors ask than documents are kept: each still gets its own. */
static void test_more_documents_than_kept(void **state) {
    (void)state;
    struct world w;
    char file[32], name[32], text[128];
    world_open(&w);
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(file, sizeof file, "n%03u.json", i);
        (void)snprintf(text, sizeof text, "{\"name\":\"n%03u\",\"provider\":\"local\"}", i);
        put_file(w.actors, file, text);
    }
    world_start(&w, NULL);
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    auto_close int gateway = peer(&w, w.control, "gateway", NULL);
    whereis(gateway, "nobody", text);
    unsigned fds = open_fds(w.pid);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 300; i++) {
            (void)snprintf(name, sizeof name, "n%03u", i);
            auto_close int fd = peer(&w, actors, "actor", name);
            auto_json json_t *doc = ask(fd, MSG_ACTOR_GET, NULL);
            assert_string_equal(json_str(doc, "name"), name);
        }
    expect_fds(&w, gateway, fds + DOCUMENTS_MAX);
    world_close(&w);
}

/* --- reload ---------------------------------------------------------------------------------------------------- */

static void reload(const struct world *w, const char *wanted) {
    assert_int_equal(kill(w->pid, SIGHUP), 0);
    expect_catalog_event(w, wanted);
}

static void test_reload(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, NULL);
    expect_catalog_event(&w, "1 10 2 0");
    auto_close int gateway = peer(&w, w.control, "gateway", NULL);
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    auto_close int reviewer = peer(&w, actors, "actor", "reviewer");

    put_file(w.tools, "a.json", "{\"name\":\"alpha\"");
    put_file(w.actors, "r.json", "{\"name\":\"reviewer\",\"provider\":\"local\",\"tools\":\"all\"}");
    reload(&w, "2 10 2 2");
    auto_json json_t *problems = ask(gateway, MSG_PROBLEMS, NULL);
    const json_t *first = json_array_get(json_object_get(problems, "problems"), 0);
    assert_non_null(strstr(json_str(first, "file"), "/a.json"));
    assert_non_null(strstr(json_str(first, "why"), "line 1"));
    auto_json json_t *kept = ask(reviewer, MSG_CATALOG, NULL); /* both old definitions are in force */
    expect_names(kept, "tools", "alpha echo ", 3);

    drop_file(w.tools, "b.json");
    drop_file(w.actors, "i.json");
    put_tool(&w, "a.json", "alpha", "mended");
    put_tool(&w, "l.json", "later", "granted before it existed");
    reload(&w, "3 10 1 1");
    int64_t generation = 0;
    auto_json json_t *now = ask(reviewer, MSG_CATALOG, &generation);
    assert_int_equal(generation, 3);
    expect_names(now, "tools", "alpha echo later ", 3);
    assert_string_equal(json_str(json_array_get(json_object_get(now, "tools"), 0), "description"), "mended");
    auto_close int idler = peer(&w, actors, "actor", "idler");
    ask_refused(idler, MSG_ACTOR_GET, "not_found");
    world_close(&w);
}

/* A folder that is not there, or not to be trusted, is a problem and no reason to stop. */
static void test_folders(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, "/nonexistent/tools");
    expect_catalog_event(&w, "1 10 2 1");
    auto_close int gateway = peer(&w, w.control, "gateway", NULL);
    auto_json json_t *problems = ask(gateway, MSG_PROBLEMS, NULL);
    const json_t *first = json_array_get(json_object_get(problems, "problems"), 0);
    assert_string_equal(json_str(first, "file"), "/nonexistent/tools");
    assert_non_null(strstr(json_str(first, "why"), "does not exist; make it"));
    world_close(&w);
}

/* --- names ----------------------------------------------------------------------------------------------------- */

/* The supervisor's endpoint is read in order: after an answer all that was written before has been done. */
static void settle(int actors) {
    auto_json json_t *declared = ask(actors, MSG_ACTORS_DECLARED, NULL);
    assert_non_null(declared);
}

static void expect_whereis(int fd, const char *name, const char *wanted) {
    char got[128];
    whereis(fd, name, got);
    assert_string_equal(got, wanted);
}

static void test_names(void **state) {
    static const struct {
        int64_t put, drop; /* generation; 0 = no such message */
        const char *wanted;
    } cases[] = {
        {2, 0, "id-2 2 declared"}, {1, 0, "id-2 2 declared"}, {0, 1, "id-2 2 declared"},
        {3, 0, "id-3 3 declared"}, {0, 2, "id-3 3 declared"}, {3, 0, "id-3 3 declared"},
        {0, 3, "- 0 declared"},    {0, 3, "- 0 declared"},    {1, 0, "id-1 1 declared"},
    };
    (void)state;
    struct world w;
    char id[16];
    world_open(&w);
    world_start(&w, NULL);
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    auto_close int gateway = peer(&w, w.control, "gateway", NULL);
    auto_close int idler = peer(&w, actors, "actor", "idler");
    expect_whereis(gateway, "nobody", "- 0 unknown");
    expect_whereis(gateway, "reviewer", "- 0 declared");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(id, sizeof id, "id-%lld", (long long)cases[i].put);
        struct msg_name_put put = {.name = "reviewer", .id = id, .generation = cases[i].put, .pid = 9};
        struct msg_name_drop drop = {.name = "reviewer", .generation = cases[i].drop};
        if (cases[i].put)
            peer_put(actors, MSG_NAME_PUT, &put);
        if (cases[i].drop)
            peer_put(actors, MSG_NAME_DROP, &drop);
        settle(actors);
        expect_whereis(gateway, "reviewer", cases[i].wanted);
        expect_whereis(idler, "reviewer", cases[i].wanted); /* actors may ask too */
    }
    world_close(&w);
}

/* When their supervisor is gone everybody below it is: names are nobody's, and the next one counts from 1 again. */
static void test_names_end_with_their_supervisor(void **state) {
    (void)state;
    struct world w;
    char got[128];
    world_open(&w);
    world_start(&w, NULL);
    auto_close int gateway = peer(&w, w.control, "gateway", NULL);
    struct msg_name_put put = {.name = "idler", .id = "idler", .generation = 5, .pid = 9};
    auto_close int first = peer(&w, w.control, "actors", NULL);
    peer_put(first, MSG_NAME_PUT, &put);
    settle(first);
    expect_whereis(gateway, "idler", "idler 5 declared");
    first = fd_close(first);
    for (int tries = 0; whereis(gateway, "idler", got), tries < 1000 && strcmp(got, "- 0 declared") != 0; tries++)
        ;
    assert_string_equal(got, "- 0 declared");

    first = peer(&w, w.control, "actors", NULL);
    peer_put(first, MSG_NAME_PUT, &put);
    settle(first);
    auto_close int second = peer(&w, w.control, "actors", NULL);
    put.generation = 1;
    peer_put(second, MSG_NAME_PUT, &put);
    settle(second);
    expect_whereis(gateway, "idler", "idler 1 declared");
    assert_null(peer_hear(first)); /* what an older one still has to say is not heard */
    world_close(&w);
}

/* --- hostile peers --------------------------------------------------------------------------------------------- */

static const struct {
    const char *role, *frame; /* frame: the text behind a right length; NULL: no frame at all */
    size_t raw;               /* of a packet of that many zero bytes */
    bool with_fd;
} hostile[] = {
    {"actor", "not json", 0, false},
    {"actor", "{\"msg\":\"no_such_message\"}", 0, false},
    {"actor", "{\"msg\":\"catalog\"}", 0, false},
    {"actor", "{\"msg\":\"catalog\",\"ref\":0}", 0, false},
    {"actor", "{\"msg\":\"catalog\",\"ref\":1,\"actor\":\"reviewer\"}", 0, false},
    {"actor", "{\"msg\":\"catalog\",\"ref\":1}", 0, true},
    {"actor", "{\"msg\":\"problems\",\"ref\":1}", 0, false},
    {"actor", "{\"msg\":\"actors_declared\",\"ref\":1}", 0, false},
    {"actor", "{\"msg\":\"name_put\",\"name\":\"idler\",\"id\":\"x\",\"generation\":9,\"pid\":1}", 0, false},
    {"actor", "{\"msg\":\"name_drop\",\"name\":\"idler\",\"generation\":1}", 0, false},
    {"actor", "{\"msg\":\"introduce\",\"role\":\"gateway\"}", 0, true},
    {"actor", "{\"msg\":\"accepted\",\"ref\":1,\"seq\":1}", 0, false},
    {"session", "{\"msg\":\"catalog\",\"ref\":1}", 0, false},
    {"session", "{\"msg\":\"actor_get\",\"ref\":1}", 0, false},
    {"session", "{\"msg\":\"whereis\",\"ref\":1,\"name\":\"idler\"}", 0, false},
    {"gateway", "{\"msg\":\"grants\",\"ref\":1}", 0, false},
    {"gateway", "{\"msg\":\"introduce\",\"role\":\"actor\",\"actor\":\"reviewer\"}", 0, true},
    {"actors", "{\"msg\":\"introduce\",\"role\":\"gateway\"}", 0, true},
    {"actors", "{\"msg\":\"introduce\",\"role\":\"session\"}", 0, true},
    {"actors", "{\"msg\":\"introduce\",\"role\":\"actor\",\"actor\":\"../etc\"}", 0, true},
    {"actors", "{\"msg\":\"name_put\",\"name\":\"a b\",\"id\":\"x\",\"generation\":9,\"pid\":1}", 0, false},
    {"actor", NULL, 2, false},
    {"actor", NULL, 4, false},
    {"actor", NULL, 5000, false},
    {"actor", NULL, 60000, false},
};

static void send_hostile(int fd, size_t i) {
    static char zeros[60000];
    if (!hostile[i].frame)
        assert_int_equal(send(fd, zeros, hostile[i].raw, MSG_NOSIGNAL), (ssize_t)hostile[i].raw);
    else
        assert_int_equal(frame_write_once(fd, hostile[i].frame, strlen(hostile[i].frame), &(int){STDIN_FILENO},
                                          hostile[i].with_fd ? 1 : 0),
                         0);
}

/* Each of them costs its sender the endpoint, nobody else anything. */
static void test_hostile_frames(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, NULL);
    auto_close int witness = peer(&w, w.control, "gateway", NULL);
    auto_json json_t *before = ask(witness, MSG_CATALOG, NULL);
    unsigned fds = open_fds(w.pid);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        auto_close int actors = peer(&w, w.control, "actors", NULL);
        const char *role = hostile[i].role;
        bool worker = strcmp(role, "actor") == 0 || strcmp(role, "session") == 0;
        auto_close int fd = strcmp(role, "actors") == 0 ? dup(actors)
                            : worker                    ? peer(&w, actors, role, "reviewer")
                                                        : peer(&w, w.control, role, NULL);
        send_hostile(fd, i);
        const struct msg *m = peer_hear(fd);
        if (m && hostile[i].with_fd) { /* answered before the descriptor nobody asked for was noticed */
            close(m->fds[0]);
            m = peer_hear(fd);
        }
        if (m)
            fail_msg("case %zu was answered", i);
        if (worker)
            settle(actors);
        expect_whereis(witness, "idler", "- 0 declared");
    }
    auto_json json_t *after = ask(witness, MSG_CATALOG, NULL);
    assert_true(json_equal(before, after));
    expect_fds(&w, witness, fds + 2); /* two documents more: the reviewer's catalogue, the declared actors */
    world_close(&w);
}

/* Asking without reading: answers hold descriptors, so it ends soon, and what was held is let go. */
static void test_flood(void **state) {
    (void)state;
    struct world w;
    const char *frame = "{\"msg\":\"grants\",\"ref\":1}";
    world_open(&w);
    world_start(&w, NULL);
    auto_close int actors = peer(&w, w.control, "actors", NULL);
    auto_close int quiet = peer(&w, actors, "session", "s-1");
    auto_json json_t *served = ask(quiet, MSG_GRANTS, NULL);
    unsigned fds = open_fds(w.pid);
    auto_close int flood = peer(&w, actors, "actor", "reviewer");
    int r = 0;
    for (int sent = 0; r != -EPIPE && sent < 200000; sent++) { /* a reset is told first, then the broken pipe */
        struct pollfd room = {.fd = flood, .events = POLLOUT};
        assert_int_equal(poll(&room, 1, (int)kit_ms(KIT_WAIT_MS)), 1);
        r = frame_write_once(flood, frame, strlen(frame), NULL, 0);
    }
    assert_int_equal(r, -EPIPE);
    unsigned answers = 0;
    for (const struct msg *m; (m = peer_hear(flood));) {
        close(m->fds[0]);
        answers++;
    }
    assert_true(answers > 0);
    auto_json json_t *still = ask(quiet, MSG_GRANTS, NULL);
    assert_true(json_equal(served, still));
    assert_true(open_fds(w.pid) <= fds + 1); /* the flood's own document */
    world_close(&w);
}

/* Root is gone: nothing is left to serve. */
static void test_root_gone(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    world_start(&w, NULL);
    w.control = fd_close(w.control);
    w.log = fd_close(w.log);
    assert_int_equal(kit_ended(w.pid), 1);
    world_start(&w, NULL);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_own_definition),
        cmocka_unit_test(test_documents_are_kept),
        cmocka_unit_test(test_more_documents_than_kept),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_end_with_their_supervisor),
        cmocka_unit_test(test_hostile_frames),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_root_gone),
    };
    json_init();
    (void)kit_count(NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : kit_left(NULL);
}
