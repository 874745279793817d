/* A supervisor among fake peers: what it grants and what it refuses. The kind under test starts calls whose role does
 * nothing; root, the log, `runs` and the runs themselves are this process. */
#include "common/cleanup.h"
#include "common/ids.h"
#include "supervisor/supervisor.h"
#include "tests/kit/peers.h"
#include "tests/kit/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define RUN_A "r-01JD0000000000000000000000"
#define RUN_B "r-01JD0000000000000000000001"
#define CALL "c-01JD0000000000000000000000"

/* ---- the program ---- */

static int start_idle(struct role_ctx *ctx, void *self) {
    return 0;
}

static const struct role idle_call = {.id = ROLE_TOOLCALL, .start = start_idle};

static int body(void) {
    static const struct worker_kind workers[] = {{.role = &idle_call, .restart = TEMPORARY, .wires = M(EVENTLOG)}};
    static const struct kind kind = {.id = ROLE_TOOLCALLS, .workers = workers, .n_workers = 1};
    static char name[] = "supervisor under test";
    char *argv[] = {name, NULL};
    return sup_main(&kind, 1, argv);
}

struct world {
    pid_t pid;
    int control, log, runs;
};

static int introduce(int by, const char *role, const char *run, const char *actor, int grants) {
    int theirs, ours = peer_pair(CHAN_SEQPACKET, &theirs);
    struct msg_introduce m = {.role = role, .run = run, .actor = actor, .pid = 4711, .generation = 1};
    int fds[] = {theirs, grants};
    peer_put_fds(by, MSG_INTRODUCE, &m, fds, grants >= 0 ? 2 : 1);
    (void)close(theirs);
    return ours;
}

static int setup(void **state) {
    static struct world w;
    static struct spec spec;
    (void)kit_count(NULL);
    spec_defaults(&spec);
    w.pid = kit_static(body, &w.control);
    w.log = peer_wire(w.control, ROLE_EVENTLOG);
    peer_begin(w.control, &spec, 1, -1);
    (void)peer_get(w.control, MSG_READY);
    w.runs = introduce(w.control, "runs", NULL, NULL, -1);
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    assert_int_equal(kill(w->pid, SIGTERM), 0);
    assert_int_equal(kit_ended(w->pid), 0);
    (void)close(w->control);
    (void)close(w->log);
    (void)close(w->runs);
    return kit_left(NULL);
}

static int run_peer(const struct world *w, const char *run, const char *actor) {
    auto_close int grants = memfd_seal("grants", "{\"tools\":[]}", 12);
    assert_true(grants >= 0);
    return introduce(w->runs, "run", run, actor, grants);
}

/* ---- asking ---- */

struct asked {
    int link, monitor;
};

static struct asked spawn(int endpoint, const char *id, int third) {
    int link, monitor;
    struct asked a = {peer_pair(CHAN_STREAM, &link), peer_pair(CHAN_STREAM, &monitor)};
    int fds[] = {link, monitor, third};
    peer_put_fds(endpoint, MSG_SPAWN, &(struct msg_spawn){.id = id, .role = "toolcall", .profile = "pure"}, fds,
                 third >= 0 ? 3 : 2);
    (void)close(link);
    (void)close(monitor);
    return a;
}

static void want_down(int monitor, const char *reason) {
    assert_string_equal(peer_get(monitor, MSG_DOWN)->down.reason, reason);
    peer_end(monitor); /* once, and then it is closed */
    (void)close(monitor);
}

static void watch(int endpoint, enum msg_type how, const char *id, const char *reason) {
    int theirs, ours = peer_pair(CHAN_STREAM, &theirs);
    struct msg_attach attach = {.id = id};
    struct msg_monitor monitor = {.id = id};
    peer_put_fds(endpoint, how, how == MSG_ATTACH ? (void *)&attach : (void *)&monitor, &theirs, 1);
    (void)close(theirs);
    if (reason)
        want_down(ours, reason);
    else
        (void)close(ours);
}

/* ---- cases ---- */

static void test_spawn_and_kill(void **state) {
    struct world *w = *state;
    auto_close int run = run_peer(w, RUN_A, "s-x");
    struct asked a = spawn(run, CALL, -1);
    assert_string_equal(peer_get(a.link, MSG_HELLO)->hello.id, CALL);
    struct asked again = spawn(run, CALL, -1);
    want_down(again.monitor, "in_use");
    (void)close(again.link);
    peer_put(run, MSG_KILL, &(struct msg_kill){.id = CALL});
    assert_int_equal(peer_get(run, MSG_KILLED)->killed.count, 1);
    want_down(a.monitor, "signalled");
    (void)close(a.link);
}

/* The grants of a call are those pinned on its run's endpoint: a run that brings others is refused. */
static void test_own_grants_refused(void **state) {
    struct world *w = *state;
    auto_close int run = run_peer(w, RUN_A, "s-x");
    auto_close int forged = memfd_seal("forged", "{\"tools\":[{}]}", 14);
    struct asked a = spawn(run, CALL, forged);
    want_down(a.monitor, "refused");
    peer_end(a.link);
    (void)close(a.link);
}

static void test_strangers(void **state) {
    struct world *w = *state;
    auto_close int run = run_peer(w, RUN_A, "s-x");
    auto_close int other = run_peer(w, RUN_B, "s-x"); /* of the same session */
    struct asked a = spawn(run, CALL, -1);
    (void)peer_get(a.link, MSG_HELLO);
    watch(other, MSG_ATTACH, CALL, "noproc");
    watch(other, MSG_MONITOR, CALL, "noproc");
    watch(run, MSG_ATTACH, "c-01JD0000000000000000000009", "noproc");
    peer_put(other, MSG_KILL, &(struct msg_kill){.id = CALL});
    assert_int_equal(peer_get(other, MSG_KILLED)->killed.count, 0); /* nothing of its own */
    peer_put(run, MSG_KILL, &(struct msg_kill){.id = RUN_A});
    assert_int_equal(peer_get(run, MSG_KILLED)->killed.count, 1);
    want_down(a.monitor, "signalled");
    (void)close(a.link);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_spawn_and_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_grants_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
    };
    return cmocka_run_group_tests_name("serve", tests, NULL, NULL);
}
