/* Who may write which type of event: every role against every type that is in use, and against some that are not. */
#include "eventlog/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SUPERVISORS M_SUPERVISORS

static const struct {
    const char *type;
    uint32_t from;
} types[] = {
    {"system.boot", M(ROOT) | M(REGISTRY)},
    {"system.ready", M(ROOT) | M(REGISTRY)},
    {"process.started", M(ROOT) | SUPERVISORS},
    {"process.gave_up", M(ROOT) | SUPERVISORS},
    {"run.accepted", M(RUN)},
    {"run.completed", M(RUN)},
    {"run.in_doubt", M(RUN)},
    {"step.started", M(RUN)},
    {"step.retrying", M(RUN)},
    {"tool.started", M(RUN)},
    {"tool.killed", M(RUN)},
    {"tool.succeeded", M(TOOLCALL)},
    {"tool.failed", M(TOOLCALL)},
    {"tool.denied", M(TOOLCALL)},
    {"llm.started", M(ACTOR)},
    {"llm.succeeded", M(LLMCALL)},
    {"llm.failed", M(LLMCALL)},
    {"llm.retrying", M(LLMCALL)},
    {"llm.timeout", M(LLMCALL)},
    {"llm.cancelled", M(LLMCALL)},
    {"actor.started", M(ACTOR) | M(SESSION)},
    {"actor.message.received", M(ACTOR) | M(SESSION)},
    {"task.accepted", M(ACTOR)},
    {"task.completed", M(ACTOR)},
    {"proposal.created", M(ACTOR)},
    {"approval.granted", M(ACTOR) | M(GATEWAY)},
    {"budget.exceeded", M(ACTOR)},
    {"policy.denied", M(ACTOR) | M(SESSION)},
    {"tool.startedx", 0},
    {"tool.started.twice", 0},
    {"runs.accepted", 0},
    {"llm.other", 0},
};

static void who_writes_what(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (unsigned role = 0; role < ROLE__COUNT; role++) {
            struct peer peer = {.role = (enum role_id)role};
            struct msg_append event = {.type = types[i].type, .data = SPAN("{}")};
            const char *error = rights_judge(&peer, &event), *wanted = types[i].from >> role & 1 ? NULL : "denied";
            if ((error != NULL) != (wanted != NULL) || (error && strcmp(error, wanted) != 0))
                fail_msg("%s by %s: %s", types[i].type, role_name(peer.role), error ? error : "allowed");
        }
}

static void types_have_a_shape(void **state) {
    (void)state;
    static const char *const bad[] = {"",      ".",      "run",     "run.",     ".run",     "run..x", "run.x.",
                                      "Run.x", "run.X",  "run.x y", "run.x\"",  "r1.x",     "run.1",  "_run.x",
                                      "run-x", "run.x-", "run.\n",  "run.\xc3", "run.a.\\", "r_n.x"};
    struct peer peer = {.role = ROLE_RUN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *error = rights_judge(&peer, &(struct msg_append){.type = bad[i], .data = SPAN("{}")});
        if (!error || strcmp(error, "bad_event") != 0)
            fail_msg("type '%s': %s", bad[i], error ? error : "allowed");
    }
}

/* A type that each role may write, and the stamps it may set beside it. */
static void who_sets_what(void **state) {
    (void)state;
    static const struct {
        enum role_id role;
        const char *type, *may; /* r run, c call, s step, t task, o corr */
    } cases[] = {
        {ROLE_ROOT, "process.started", "rc"},   {ROLE_RUNS, "process.started", "rc"},
        {ROLE_REGISTRY, "system.ready", "rc"},  {ROLE_GATEWAY, "approval.granted", "rc"},
        {ROLE_RUN, "run.started", "csto"},      {ROLE_ACTOR, "actor.started", "cto"},
        {ROLE_SESSION, "actor.started", "cto"}, {ROLE_TOOLCALL, "tool.failed", "sto"},
        {ROLE_LLMCALL, "llm.failed", "sto"},
    };
    static const char letters[] = "rcsto";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (const char *p = letters; *p; p++) {
            struct peer peer = {.role = cases[i].role};
            struct msg_append e = {.type = cases[i].type, .data = SPAN("{}")};
            *(*p == 'r'   ? &e.run
              : *p == 'c' ? &e.call
              : *p == 's' ? &e.step
              : *p == 't' ? &e.task
                          : &e.corr) = *p == 'r'   ? "r-01ABCD00000000000000000001"
                                       : *p == 'c' ? "c-01ABCD00000000000000000001"
                                       : *p == 't' ? "t-01ABCD00000000000000000001"
                                                   : "name";
            const char *error = rights_judge(&peer, &e), *wanted = strchr(cases[i].may, *p) ? "" : "denied";
            if (strcmp(error ? error : "", wanted) != 0)
                fail_msg("%s sets %c: %s", role_name(peer.role), *p, error ? error : "allowed");
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_writes_what),
        cmocka_unit_test(types_have_a_shape),
        cmocka_unit_test(who_sets_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
