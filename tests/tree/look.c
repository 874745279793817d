/* The tree's processes by what they call themselves. A process between fork and its first title still bears its
 * parent's, so a static child counts only as a child of root, and a worker only once it has an id. */
#include "tests/tree/tree.h"

#include <string.h>
#include <time.h>

static const char *word(const char *title, unsigned n) {
    for (; n; n--) {
        title += strcspn(title, " ");
        title += strspn(title, " ");
    }
    return title;
}

static void copy_word(const char *at, char *out, size_t size) {
    (void)snprintf(out, size, "%.*s", (int)strcspn(at, " "), at);
}

void title_role(const char *title, char role[32]) {
    *role = 0;
    if (strncmp(title, "soma: ", 6) == 0)
        copy_word(word(title, 1), role, 32);
}

void title_id(const char *title, char id[80]) {
    *id = 0;
    if (strncmp(title, "soma: ", 6) == 0)
        copy_word(word(title, 2), id, 80);
}

bool title_state(const char *title, const char *state) {
    char padded[PROC_TITLE_MAX + 2], wanted[80];
    (void)snprintf(padded, sizeof padded, "%s ", title);
    (void)snprintf(wanted, sizeof wanted, " %s ", state);
    return strstr(padded, wanted) != NULL;
}

static bool is_static(const char *role) {
    static const char *const roles[] = {"eventlog", "registry", "toolcalls", "llmcalls", "runs", "actors", "gateway"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(roles[i], role) == 0)
            return true;
    return false;
}

static const struct proc_info *parent_of(const struct proc_list *list, const struct proc_info *p) {
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].id.pid == p->parent)
            return &list->at[i];
    return NULL;
}

static bool has_role(struct tree *t, const struct proc_list *list, const struct proc_info *p, const char *wanted) {
    char role[32], parent_role[32] = "";
    title_role(p->title, role);
    const struct proc_info *parent = parent_of(list, p);
    if (parent)
        title_role(parent->title, parent_role);
    if (strcmp(wanted, "tool") == 0)
        return *p->title && !*role && strcmp(parent_role, "toolcall") == 0;
    if (strcmp(role, wanted) != 0)
        return false;
    return is_static(role) ? strcmp(parent_role, "root") == 0
                           : strcmp(role, "root") != 0 || p->parent == t->launcher.pid;
}

void tree_all(struct tree *t, struct proc_list *out) {
    out->n = 0;
    if (proc_alive(t->launcher))
        proc_below(t->launcher.pid, false, out);
}

bool tree_find_state(struct tree *t, const char *role, const char *id, const char *state, struct proc *out) {
    static struct proc_list list;
    if (strcmp(role, "launcher") == 0) {
        *out = t->launcher;
        return proc_alive(t->launcher);
    }
    tree_all(t, &list);
    for (size_t i = 0; i < list.n; i++) {
        char own[80];
        title_id(list.at[i].title, own);
        if (!has_role(t, &list, &list.at[i], role) || (id && strcmp(own, id) != 0) ||
            (state && !title_state(list.at[i].title, state)))
            continue;
        *out = list.at[i].id;
        return true;
    }
    return false;
}

bool tree_find(struct tree *t, const char *role, const char *id, struct proc *out) {
    return tree_find_state(t, role, id, NULL, out);
}

size_t tree_count(struct tree *t, const char *role) {
    static struct proc_list list;
    size_t n = 0;
    tree_all(t, &list);
    for (size_t i = 0; i < list.n; i++)
        n += has_role(t, &list, &list.at[i], role);
    return n;
}

struct proc tree_await_state(struct tree *t, const char *role, const char *id, const char *state) {
    struct proc p;
    WAIT(tree_find_state(t, role, id, state, &p) && (!state || proc_rests(p)), "%s %s %s", role, id ? id : "",
         state ? state : "");
    return p;
}

struct proc tree_await(struct tree *t, const char *role, const char *id) {
    return tree_await_state(t, role, id, NULL);
}

/* ---- signals ---- */

void proc_signal(struct proc p, int signo) {
    CHECK(proc_alive(p), "pid %d", p.pid);
    CHECK(kill(p.pid, signo) == 0, "signal %d to %d", signo, p.pid);
}

void proc_freeze(struct proc p) {
    proc_signal(p, SIGSTOP);
    WAIT(proc_stopped(p), "SIGSTOP of %d", p.pid);
}

void proc_thaw(struct proc p) {
    if (proc_alive(p))
        (void)kill(p.pid, SIGCONT);
}

void proc_kill(struct proc p) {
    proc_signal(p, SIGKILL);
    WAIT(!proc_alive(p), "SIGKILL of %d", p.pid);
}

/* ---- points ---- */

struct proc tree_hold_accepted(struct tree *t, char id[32]) {
    struct proc run = tree_await_state(t, "run", NULL, "accepted");
    char own[80];
    proc_freeze(run);
    struct proc_info info;
    CHECK(proc_read(run.pid, &info));
    title_id(info.title, own);
    (void)snprintf(id, 32, "%.31s", own);
    proc_thaw(tree_await(t, "eventlog", NULL));
    WAIT(tree_logged(t, "run", id, "run.accepted"), "%s", id);
    return run;
}

void tree_below(struct proc p, struct proc_list *out) {
    out->n = 0;
    if (proc_read(p.pid, &out->at[0]) && proc_same(out->at[0].id, p))
        out->n = 1;
    proc_below(p.pid, false, out);
}

size_t list_alive(const struct proc_list *list) {
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++)
        n += proc_alive(list->at[i].id);
    return n;
}
