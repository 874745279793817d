/* Cases on a fake clock. A script has one line per step,
 *
 *     TIME EVENT [CHILD[GENERATION]] -> ACTION, ACTION …
 *
 * with children named a, b, c …; without a generation the current one is meant. A line "= STATE … N" states where the
 * children are and how many restarts were counted. The wait before a restart is 3 ms in the scripts: too short for any
 * jitter. After each step the announced deadline is tried out on a copy: nothing may happen before it, something must
 * happen at it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "supervisor/restart.h"

#define LINE_MAX_BYTES 160u

struct script_case {
    const char *name;
    enum restart_strategy strategy;
    const char *types; /* one letter per child: p(ermanent), t(ransient), x (temporary); T, X are significant */
    const char *script;
    struct {
        bool no_restarts, significant_all, brutal; /* I = 0; all_significant; T_stop = 0 */
        uint32_t intensity;                        /* 0: the default */
        int64_t period_ms, stable_ms, backoff_ms, stop_b_ms;
    } but;
};

static const struct script_case cases[] = {
    {"boot starts left to right, each ready before the next", ONE_FOR_ONE, "ppp",
     "0 boot -> start a1\n"
     "5 ready a -> start b1\n"
     "5 timer ->\n"
     "9 ready b -> start c1\n"
     "9 ready c ->\n"
     "9 boot ->\n"
     "= up up up 0\n"},
    {"RS1 one_for_one restarts that child alone", ONE_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "100 exit b ->\n"
     "= up backoff up 1\n"
     "102 timer ->\n"
     "103 timer -> start b2 after 3\n"
     "104 ready b ->\n"
     "= up up up 1\n"},
    {"RS2 one_for_all stops all in reverse, then starts all in order", ONE_FOR_ALL, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "100 exit b -> stop c\n"
     "110 exit c -> stop a\n"
     "= stopping backoff down 1\n"
     "120 exit a -> start a2\n"
     "130 ready a -> start b2 after 3\n"
     "140 ready b -> start c2\n"
     "150 ready c ->\n"
     "= up up up 1\n"},
    {"one_for_all waits for the trigger's backoff before the first start", ONE_FOR_ALL, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "100 exit c -> stop b\n"
     "101 done b -> stop a\n"
     "102 done a ->\n"
     "103 timer -> start a2\n"},
    {"RS3 rest_for_one stops what comes after, last first, and keeps what comes before", REST_FOR_ONE, "pppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c -> start d1\n0 ready d ->\n"
     "100 exit b -> stop d\n"
     "101 exit d -> stop c\n"
     "102 exit c ->\n"
     "103 timer -> start b2 after 3\n"
     "104 ready b -> start c2\n"
     "105 ready c -> start d2\n"
     "106 ready d ->\n"
     "= up up up up 1\n"},
    {"rest_for_one: the last child restarts alone", REST_FOR_ONE, "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "100 exit b ->\n"
     "103 timer -> start b2 after 3\n"},
    {"RS4 rest_for_one: a failure during the group restart retries from the failing child", REST_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "100 exit a -> stop c\n101 exit c -> stop b\n102 exit b ->\n"
     "103 timer -> start a2 after 3\n104 ready a -> start b2\n105 ready b -> start c2\n"
     "106 exit c ->\n"
     "109 timer -> start c3 after 3\n"
     "110 ready c ->\n"
     "= up up up 2\n"},
    {"RS4 one_for_all: a failure during the group restart stops all again", ONE_FOR_ALL, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "100 exit a -> stop c\n101 exit c -> stop b\n102 exit b ->\n"
     "103 timer -> start a2 after 3\n104 ready a -> start b2\n105 ready b -> start c2\n"
     "106 failed c -> stop b\n107 exit b -> stop a\n108 exit a ->\n"
     "109 timer -> start a3\n110 ready a -> start b3\n111 ready b -> start c3 after 3\n112 ready c ->\n"
     "= up up up 2\n"},
    {"a lower child fails during a group restart: its group is the larger one", REST_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "100 exit b -> stop c\n"
     "101 exit a ->\n"
     "102 exit c ->\n"
     "104 timer -> start a2 after 3\n105 ready a -> start b2 after 3\n106 ready b -> start c2\n107 ready c ->\n"
     "= up up up 2\n"},
    {"a victim that ends before its turn does not count", REST_FOR_ONE, "pppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c -> start d1\n0 ready d ->\n"
     "100 exit a -> stop d\n"
     "101 exit b ->\n"
     "102 exit d -> stop c\n"
     "103 exit c -> start a2 after 3\n"
     "= starting down down down 1\n"},
    {"a victim that is still starting waits for its turn, past its start deadline", ONE_FOR_ALL, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n"
     "9000 exit a -> stop c\n"
     "13999 timer ->\n"
     "14000 timer -> kill c\n"
     "14001 exit c -> stop b\n"},
    {"RT1 a permanent child is restarted after a normal end", ONE_FOR_ONE, "p",
     "0 boot -> start a1\n0 ready a ->\n10 done a ->\n13 timer -> start a2 after 3\n= starting 1\n"},
    {"RT2 a transient child is not restarted after a normal end, but after any other", ONE_FOR_ONE, "tt",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 done a ->\n= done up 0\n"
     "20 exit b ->\n23 timer -> start b2 after 3\n= done starting 1\n"},
    {"RT2 a transient child may end normally before it is ready", REST_FOR_ONE, "tp",
     "0 boot -> start a1\n1 done a -> start b1\n= done starting 0\n"},
    {"RT3 a transient child stopped as a victim is started again with its group", ONE_FOR_ALL, "pt",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 exit a -> stop b\n11 done b ->\n13 timer -> start a2 after 3\n14 ready a -> start b2\n"},
    {"RT4 a temporary child is never started again", ONE_FOR_ONE, "xp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n10 exit a ->\n= done up 0\n9000 timer ->\n"},
    {"a temporary victim is not started again, and the group goes past it", ONE_FOR_ALL, "pxp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "10 exit a -> stop c\n11 exit c -> stop b\n12 exit b ->\n= backoff done down 1\n"
     "13 timer -> start a2 after 3\n14 ready a -> start c2\n15 ready c ->\n= up done up 1\n"},
    {"RT5 a significant child's end shuts down, in reverse", ONE_FOR_ONE, "pTp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "10 done b -> stop c\n11 exit c -> stop a\n12 exit a -> shutdown\n"},
    {"RT5 a significant transient child that crashes is restarted instead", ONE_FOR_ONE, "T",
     "0 boot -> start a1\n0 ready a ->\n10 exit a ->\n13 timer -> start a2 after 3\n14 done a -> shutdown\n"},
    {"RT5 a significant victim does not shut down", ONE_FOR_ALL, "pX",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 exit a -> stop b\n11 exit b ->\n13 timer -> start a2 after 3\n14 ready a ->\n= up done 1\n"},
    {"RT5 all significant: only the last one shuts down",
     ONE_FOR_ONE,
     "XpX",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "10 exit a ->\n= done up up 0\n20 exit c -> stop b\n21 exit b -> shutdown\n",
     {.significant_all = true}},
    {"IW1 I=3: exactly four starts, then the siblings in reverse",
     ONE_FOR_ONE,
     "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n"
     "10 exit c ->\n13 timer -> start c2 after 3\n"
     "20 exit c ->\n23 timer -> start c3 after 3\n"
     "30 exit c ->\n33 timer -> start c4 after 3\n"
     "40 exit c -> gave_up c, stop b\n"
     "41 exit b -> stop a\n"
     "42 exit a -> shutdown failed\n= down down down 3\n"
     "43 timer ->\n43 boot ->\n43 stop ->\n",
     {.intensity = 3}},
    {"IW1 starts that cannot be performed count alike",
     REST_FOR_ONE,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n"
     "10 failed b ->\n13 timer -> start b2 after 3\n20 failed b -> gave_up b, stop a\n21 done a -> shutdown failed\n",
     {.intensity = 1}},
    {"IW2 I=0 gives up at the first crash, however long it was stable",
     ONE_FOR_ONE,
     "p",
     "0 boot -> start a1\n0 ready a ->\n99999 exit a -> gave_up a, shutdown failed\n",
     {.no_restarts = true}},
    {"IW3 I=1: crashes further apart than the period go on for ever",
     ONE_FOR_ONE,
     "p",
     "0 boot -> start a1\n0 ready a ->\n"
     "2500 exit a ->\n2503 timer -> start a2 after 3\n2503 ready a ->\n"
     "5000 exit a ->\n5003 timer -> start a3 after 3\n5003 ready a ->\n"
     "7500 exit a ->\n7503 timer -> start a4 after 3\n7503 ready a ->\n= up 3\n",
     {.intensity = 1, .period_ms = 1000, .stable_ms = 1000}},
    {"the window is inclusive and is shared by all children",
     ONE_FOR_ONE,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "1000 exit a ->\n1003 timer -> start a2 after 3\n1003 ready a ->\n"
     "2000 exit b -> gave_up b, stop a\n2001 exit a -> shutdown failed\n",
     {.intensity = 1, .period_ms = 1000, .stable_ms = 100}},
    {"one millisecond later it has moved on",
     ONE_FOR_ONE,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "1000 exit a ->\n1003 timer -> start a2 after 3\n1003 ready a ->\n"
     "2001 exit b ->\n2004 timer -> start b2 after 3\n= up starting 2\n",
     {.intensity = 1, .period_ms = 1000, .stable_ms = 100}},
    {"a slow crash loop is given up though the window never fills",
     ONE_FOR_ONE,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "5000 exit b ->\n5003 timer -> start b2 after 3\n5003 ready b ->\n"
     "10000 exit b ->\n10003 timer -> start b3 after 3\n10003 ready b ->\n"
     "15000 exit b -> gave_up b, stop a\n15001 exit a -> shutdown failed\n",
     {.intensity = 2, .period_ms = 1000}},
    {"a stable time in between ends the count of unstable starts",
     ONE_FOR_ONE,
     "p",
     "0 boot -> start a1\n0 ready a ->\n"
     "5000 exit a ->\n5003 timer -> start a2 after 3\n5003 ready a ->\n"
     "15003 exit a ->\n15006 timer -> start a3 after 3\n15006 ready a ->\n"
     "20000 exit a ->\n20003 timer -> start a4 after 3\n= starting 3\n",
     {.intensity = 1, .period_ms = 1000}},
    {"SD1 stop: last first, each reaped before the next", ONE_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "10 stop -> stop c\n11 stop ->\n12 timer ->\n20 done c -> stop b\n30 done b -> stop a\n40 done a -> shutdown\n"},
    {"SD2 a child that needs less than T_stop is never killed", ONE_FOR_ONE, "p",
     "0 boot -> start a1\n0 ready a ->\n10 stop -> stop a\n4010 timer ->\n4010 done a -> shutdown\n"},
    {"SD3 brutal: only KILL",
     REST_FOR_ONE,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 stop -> kill b\n11 exit b -> kill a\n12 exit a -> shutdown\n",
     {.brutal = true}},
    {"SD4 a child with a time of its own is not cut by the common one",
     ONE_FOR_ONE,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "0 stop -> stop b\n29999 timer ->\n30000 timer -> kill b\n30001 exit b -> stop a\n35001 timer -> kill a\n",
     {.stop_b_ms = 30000}},
    {"SD5 a bad exit while being stopped is not a crash", ONE_FOR_ALL, "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 stop -> stop b\n11 exit b -> stop a\n12 exit a -> shutdown\n= down down 0\n"},
    {"a crash while others are being stopped is not restarted", ONE_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "10 stop -> stop c\n11 exit a ->\n12 exit c -> stop b\n13 exit b -> shutdown\n= down down down 0\n"},
    {"ST1 what ignores STOP is killed at T_stop, and the next one waits for the reap", ONE_FOR_ONE, "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 stop -> stop b\n5009 timer ->\n5010 timer -> kill b\n9999 timer ->\n9999 exit b -> stop a\n"
     "14999 timer -> kill a\n15000 exit a -> shutdown\n"},
    {"ST1 the same in a group restart", REST_FOR_ONE, "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b ->\n"
     "10 exit a -> stop b\n5010 timer -> kill b\n5020 exit b -> start a2 after 3\n"},
    {"stop during a start", ONE_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n5 stop -> stop b\n6 ready b ->\n7 exit b -> stop a\n"
     "8 exit a -> shutdown\n= down down down 0\n"},
    {"stop when the start turns out to have failed", ONE_FOR_ONE, "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n5 stop -> stop b\n5 failed b -> stop a\n6 exit a -> shutdown\n"},
    {"stop during backoff cancels the timer", ONE_FOR_ONE, "p",
     "0 boot -> start a1\n0 ready a ->\n5 exit a ->\n= backoff 1\n6 stop -> shutdown\n= down 1\n99 timer ->\n"},
    {"stop during a group's sweep", ONE_FOR_ALL, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n0 ready b -> start c1\n0 ready c ->\n"
     "5 exit b -> stop c\n6 stop ->\n7 exit c -> stop a\n8 exit a -> shutdown\n"},
    {"stop before boot", ONE_FOR_ONE, "pp", "0 stop -> shutdown\n1 boot ->\n"},
    {"IN1 a failed start at boot is retried and holds back what comes after", REST_FOR_ONE, "ppp",
     "0 boot -> start a1\n0 ready a -> start b1\n5 exit b ->\n= up backoff down 1\n"
     "8 timer -> start b2 after 3\n9 ready b -> start c1\n"},
    {"one_for_one: a failed start at boot does not hold back the others", ONE_FOR_ONE, "ppp",
     "0 boot -> start a1\n5 exit a -> start b1\n= backoff starting down 1\n8 timer -> start a2 after 3\n"
     "9 ready b -> start c1\n"},
    {"one_for_one: nor does it with no wait at all",
     ONE_FOR_ONE,
     "pp",
     "0 boot -> start a1\n5 exit a -> start b1, start a2\n",
     {.backoff_ms = -1}},
    {"IN2 never ready: killed, counted, what comes after is never started", REST_FOR_ONE, "pp",
     "0 boot -> start a1\n9999 timer ->\n10000 timer -> kill a\n10001 ready a ->\n10002 exit a ->\n= backoff down 1\n"
     "10005 timer -> start a2 after 3\n"},
    {"IN2 a transient child that ends normally after that has failed all the same", ONE_FOR_ONE, "t",
     "0 boot -> start a1\n10000 timer -> kill a\n10001 done a ->\n= backoff 1\n"},
    {"reports of older generations change nothing", ONE_FOR_ONE, "p",
     "0 boot -> start a1\n0 ready a ->\n5 exit a1 ->\n6 exit a1 ->\n8 timer -> start a2 after 3\n"
     "9 exit a1 ->\n9 ready a1 ->\n9 failed a1 ->\n9 again a1 ->\n= starting 1\n10 ready a2 ->\n11 ready a2 ->\n"
     "12 failed a2 ->\n= up 1\n"},
    {"RX1 a start refused for want of resources is retried and not counted",
     ONE_FOR_ALL,
     "pp",
     "0 boot -> start a1\n0 ready a -> start b1\n"
     "1 again b ->\n= up backoff 0\n4 timer -> start b2 after 3\n5 again b ->\n8 timer -> start b3 after 3\n"
     "9 ready b ->\n= up up 0\n",
     {.no_restarts = true}},
    {"no children", ONE_FOR_ONE, "", "0 boot ->\n5 timer ->\n9 stop -> shutdown\n"},
};

static struct restart_config config_of(const struct script_case *c) {
    struct restart_config config = {
        .strategy = c->strategy,
        .intensity = c->but.no_restarts ? 0
                     : c->but.intensity ? c->but.intensity
                                        : 5,
        .period_ms = c->but.period_ms ? c->but.period_ms : 60000,
        .backoff_ms = c->but.backoff_ms < 0 ? 0 : 3,
        .backoff_max_ms = c->but.backoff_ms < 0 ? 0 : 3,
        .stable_ms = c->but.stable_ms ? c->but.stable_ms : 10000,
        .start_ms = 10000,
        .stop_ms = c->but.brutal ? 0 : 5000,
        .children = (uint32_t)strlen(c->types),
        .significant_all = c->but.significant_all,
        .child_stop_ms = {[1] = c->but.stop_b_ms},
    };
    for (uint32_t i = 0; i < config.children; i++) {
        char t = c->types[i];
        config.type[i] = t == 'p' ? PERMANENT : t == 't' || t == 'T' ? TRANSIENT : TEMPORARY;
        config.significant[i] = t == 'T' || t == 'X';
    }
    return config;
}

static struct restart_event event_of(const struct restart_policy *p, const char *verb, const char *who) {
    static const struct {
        const char *verb;
        enum restart_event_type type;
        bool normal;
    } verbs[] = {
        {"boot", RESTART_EV_BOOT, false},   {"ready", RESTART_EV_READY, false},   {"exit", RESTART_EV_EXIT, false},
        {"done", RESTART_EV_EXIT, true},    {"failed", RESTART_EV_FAILED, false}, {"again", RESTART_EV_AGAIN, false},
        {"timer", RESTART_EV_TIMER, false}, {"stop", RESTART_EV_STOP, false},
    };
    for (unsigned i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].verb, verb) != 0)
            continue;
        struct restart_event event = {.type = verbs[i].type, .normal = verbs[i].normal};
        if (*who) {
            event.child = (uint32_t)(who[0] - 'a');
            event.generation = who[1] ? (uint32_t)atoi(who + 1) : p->child[event.child].generation;
        }
        return event;
    }
    fail_msg("unknown event %s", verb);
    abort();
}

static void render(const struct restart_actions *actions, char text[LINE_MAX_BYTES]) {
    static const char *const verbs[] = {
        [RESTART_ACT_START] = "start",     [RESTART_ACT_STOP] = "stop",         [RESTART_ACT_KILL] = "kill",
        [RESTART_ACT_GAVE_UP] = "gave_up", [RESTART_ACT_SHUTDOWN] = "shutdown",
    };
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < actions->n; i++) {
        const struct restart_action *a = &actions->list[i];
        at += (size_t)snprintf(text + at, LINE_MAX_BYTES - at, "%s%s", i ? ", " : "", verbs[a->type]);
        if (a->type != RESTART_ACT_SHUTDOWN)
            at += (size_t)snprintf(text + at, LINE_MAX_BYTES - at, " %c", (int)('a' + a->child));
        if (a->type == RESTART_ACT_START)
            at += (size_t)snprintf(text + at, LINE_MAX_BYTES - at, "%u", a->generation);
        if (a->delay_ms)
            at += (size_t)snprintf(text + at, LINE_MAX_BYTES - at, " after %lld", (long long)a->delay_ms);
        if (a->failed)
            at += (size_t)snprintf(text + at, LINE_MAX_BYTES - at, " failed");
    }
}

static void render_states(const struct restart_policy *p, char text[LINE_MAX_BYTES]) {
    size_t at = 0;
    uint32_t restarts = 0;
    for (uint32_t i = 0; i < p->config.children; i++) {
        at += (size_t)snprintf(text + at, LINE_MAX_BYTES - at, "%s ", restart_child_state_name(p->child[i].state));
        restarts += p->child[i].restarts;
    }
    (void)snprintf(text + at, LINE_MAX_BYTES - at, "%u", restarts);
}

static void check_deadline(const struct restart_policy *p, int64_t now, const char *where) {
    struct restart_event timer = {.type = RESTART_EV_TIMER};
    struct restart_actions actions;
    struct restart_policy copy = *p;
    int64_t next = restart_next_ms(p);
    if (next <= now)
        fail_msg("%s: the deadline %lld has passed already", where, (long long)next);
    restart_step(&copy, timer, next - 1, &actions);
    if (actions.n != 0)
        fail_msg("%s: acts before the deadline %lld", where, (long long)next);
    copy = *p;
    if (next == INT64_MAX)
        return;
    restart_step(&copy, timer, next, &actions);
    if (actions.n == 0)
        fail_msg("%s: nothing happens at the deadline %lld", where, (long long)next);
}

static void run_line(const struct script_case *c, struct restart_policy *p, const char *line) {
    char got[LINE_MAX_BYTES], where[2 * LINE_MAX_BYTES], verb[16] = "", who[16] = "";
    long long now = 0;
    int used = 0;
    if (line[0] == '=') {
        render_states(p, got);
        if (strcmp(got, line + 2) != 0)
            fail_msg("%s: wanted \"%s\", got \"%s\"", c->name, line, got);
        return;
    }
    const char *arrow = strstr(line, " ->");
    if (sscanf(line, "%lld %15s%n", &now, verb, &used) != 2 || arrow == NULL)
        fail_msg("%s: bad line \"%s\"", c->name, line);
    if (line + used < arrow)
        (void)sscanf(line + used, "%15s", who);
    struct restart_actions actions;
    restart_step(p, event_of(p, verb, who), now, &actions);
    render(&actions, got);
    const char *wanted = arrow[3] ? arrow + 4 : "";
    if (strcmp(got, wanted) != 0)
        fail_msg("%s: line \"%s\", got \"%s\"", c->name, line, got);
    (void)snprintf(where, sizeof where, "%s: line \"%s\"", c->name, line);
    check_deadline(p, now, where);
}

static void test_scripts(void **state) {
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct restart_config config = config_of(&cases[i]);
        struct restart_policy p;
        assert_int_equal(restart_init(&p, &config, i), 0);
        char line[LINE_MAX_BYTES];
        for (const char *s = cases[i].script; *s; s = strchr(s, '\n') + 1) {
            size_t n = strcspn(s, "\n");
            assert_true(s[n] == '\n' && n < sizeof line);
            memcpy(line, s, n);
            line[n] = '\0';
            run_line(&cases[i], &p, line);
        }
    }
}

static struct restart_config one_child(void) {
    return (struct restart_config){.intensity = 32,
                                   .period_ms = 1,
                                   .backoff_ms = 100,
                                   .backoff_max_ms = 30000,
                                   .stable_ms = 10000,
                                   .start_ms = 10000,
                                   .stop_ms = 5000,
                                   .children = 1};
}

static struct restart_actions step(struct restart_policy *p, enum restart_event_type type, int64_t now) {
    struct restart_actions actions;
    restart_step(p, (struct restart_event){.type = type, .generation = p->child[0].generation}, now, &actions);
    return actions;
}

/* The child crashes `up_ms` after it was ready; returns the wait that followed, and sets `now` to the next start. */
static int64_t crash(struct restart_policy *p, int64_t *now, int64_t up_ms) {
    (void)step(p, RESTART_EV_READY, *now);
    int64_t end = *now + up_ms;
    (void)step(p, RESTART_EV_EXIT, end);
    assert_int_equal(p->child[0].state, CHILD_BACKOFF);
    *now = restart_next_ms(p);
    struct restart_actions actions = step(p, RESTART_EV_TIMER, *now);
    assert_int_equal(actions.n, 1);
    assert_int_equal(actions.list[0].type, RESTART_ACT_START);
    assert_int_equal(actions.list[0].delay_ms, *now - end);
    return *now - end;
}

/* IW4, IW5: doubling, jitter of at most a quarter and downwards, b_max, and what resets it. */
static void test_backoff(void **state) {
    (void)state;
    static const int64_t nominal[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000};
    bool jittered = false;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct restart_config config = one_child();
        struct restart_policy p;
        assert_int_equal(restart_init(&p, &config, seed), 0);
        int64_t now = 0, wait = 0;
        (void)step(&p, RESTART_EV_BOOT, now);
        for (unsigned i = 0; i < sizeof nominal / sizeof nominal[0]; i++) {
            wait = crash(&p, &now, 2);
            assert_in_range(wait, nominal[i] - nominal[i] / 4, nominal[i]);
            jittered = jittered || wait != nominal[i];
        }
        assert_int_equal(p.child[0].level, 9);
        wait = crash(&p, &now, 9999); /* merely started */
        assert_in_range(wait, 22500, 30000);
        wait = crash(&p, &now, 10000); /* stable */
        assert_in_range(wait, 75, 100);
        assert_int_equal(p.child[0].unstable, 0);
        wait = crash(&p, &now, 2);
        assert_in_range(wait, 150, 200);
    }
    assert_true(jittered);
}

static void test_jitter_follows_the_seed(void **state) {
    (void)state;
    int64_t waits[3];
    static const uint64_t seeds[] = {7, 7, 8};
    for (int i = 0; i < 3; i++) {
        struct restart_config config = one_child();
        config.backoff_ms = config.backoff_max_ms = 1000000;
        struct restart_policy p;
        assert_int_equal(restart_init(&p, &config, seeds[i]), 0);
        int64_t now = 0;
        (void)step(&p, RESTART_EV_BOOT, now);
        waits[i] = crash(&p, &now, 1);
    }
    assert_int_equal(waits[0], waits[1]);
    assert_int_not_equal(waits[0], waits[2]);
}

static void test_never_is_a_time(void **state) {
    (void)state;
    struct restart_config config = one_child();
    config.start_ms = config.stop_ms = config.stable_ms = config.backoff_max_ms = INT64_MAX;
    struct restart_policy p;
    assert_int_equal(restart_init(&p, &config, 1), 0);
    (void)step(&p, RESTART_EV_BOOT, 5);
    assert_int_equal(restart_next_ms(&p), INT64_MAX);
    (void)step(&p, RESTART_EV_STOP, 6);
    assert_int_equal(restart_next_ms(&p), INT64_MAX);
    assert_int_equal(step(&p, RESTART_EV_EXIT, 7).list[0].type, RESTART_ACT_SHUTDOWN);
}

static void bad_strategy(struct restart_config *c) {
    c->strategy = (enum restart_strategy)3;
}
static void bad_intensity(struct restart_config *c) {
    c->intensity = RESTART_WINDOW_MAX + 1;
}
static void bad_period(struct restart_config *c) {
    c->period_ms = 0;
}
static void bad_backoff(struct restart_config *c) {
    c->backoff_ms = -1;
}
static void bad_backoff_max(struct restart_config *c) {
    c->backoff_max_ms = c->backoff_ms - 1;
}
static void bad_stable(struct restart_config *c) {
    c->stable_ms = -1;
}
static void bad_start(struct restart_config *c) {
    c->start_ms = 0;
}
static void bad_stop(struct restart_config *c) {
    c->stop_ms = -1;
}
static void bad_child_stop(struct restart_config *c) {
    c->child_stop_ms[0] = -1;
}
static void bad_children(struct restart_config *c) {
    c->children = RESTART_CHILDREN_MAX + 1;
}
static void bad_type(struct restart_config *c) {
    c->type[0] = (enum restart_type)3;
}
static void bad_significant(struct restart_config *c) {
    c->significant[0] = true;
}

/* RT6: refused with the name of the key, and the policy is untouched. */
static void test_refusals(void **state) {
    (void)state;
    static const struct {
        void (*spoil)(struct restart_config *);
        const char *name;
    } bad[] = {
        {bad_strategy, "strategy"},
        {bad_intensity, "intensity"},
        {bad_period, "period_ms"},
        {bad_backoff, "backoff_ms"},
        {bad_backoff_max, "backoff_max_ms"},
        {bad_stable, "stable_ms"},
        {bad_start, "start_ms"},
        {bad_stop, "stop_ms"},
        {bad_child_stop, "child_stop_ms"},
        {bad_children, "children"},
        {bad_type, "type"},
        {bad_significant, "significant"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct restart_config config = one_child();
        struct restart_policy p, before;
        memset(&p, 0x5a, sizeof p);
        memcpy(&before, &p, sizeof p);
        bad[i].spoil(&config);
        assert_int_equal(restart_init(&p, &config, 0), -EINVAL);
        assert_memory_equal(err_text(), bad[i].name, strlen(bad[i].name));
        assert_int_equal(err_text()[strlen(bad[i].name)], ':');
        assert_memory_equal(&p, &before, sizeof p);
    }
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(restart_strategy_name(ONE_FOR_ONE), "one_for_one");
    assert_string_equal(restart_strategy_name(REST_FOR_ONE), "rest_for_one");
    assert_string_equal(restart_strategy_name(ONE_FOR_ALL), "one_for_all");
    assert_string_equal(restart_type_name(PERMANENT), "permanent");
    assert_string_equal(restart_type_name(TRANSIENT), "transient");
    assert_string_equal(restart_type_name(TEMPORARY), "temporary");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_jitter_follows_the_seed),
        cmocka_unit_test(test_never_is_a_time),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
