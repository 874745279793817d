/* soma-toolcalls: the supervisor of tool calls. Each call is PID 1 of a PID namespace of its own. This process opens
 * the folders that the policy grants and hands a call those that its profile names; which tool it may run is sealed in
 * the grants that came with the run's endpoint, which nobody here reads. */
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "supervisor/supervisor.h"
#include "toolcall/roots.h"
#include "toolcall/toolcall.h"

#include <string.h>

static struct roots roots;

static int boot(struct sup *sup) {
    json_init();
    return roots_open(sup_ctx(sup)->spec, &roots);
}

/* What each profile is handed. */
static const struct profile_row {
    const char *name;
    bool read, write;
} profiles[] = {
    {"pure", false, false},
    {"reader", true, false},
    {"writer", true, true},
    {"net", false, false}, /* no way out yet: the call answers sandbox_unavailable */
};

static int prepare(struct sup *sup, struct sup_spawn *spawn) {
    const struct profile_row *row = NULL;
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (strcmp(profiles[i].name, spawn->start.profile) == 0)
            row = &profiles[i];
    if (!row)
        return err_raise(-EINVAL, "no sandbox profile of that name");
    if (spawn->grants < 0)
        return err_raise(-EPERM, "a tool call without grants");
    spawn->start.n_read_roots = row->read ? roots.n_read : 0;
    spawn->start.n_write_roots = row->write ? roots.n_write : 0;
    for (uint32_t i = 0; i < spawn->start.n_read_roots; i++)
        spawn->roots[spawn->n_roots++] = roots.read[i];
    for (uint32_t i = 0; i < spawn->start.n_write_roots; i++)
        spawn->roots[spawn->n_roots++] = roots.write[i];
    return 0;
}

static int on_refused(void *self, struct chan *from, struct msg *m) {
    log_warn("event=log_refused error=%s", m->refused.error);
    return 0;
}

static const struct accept accepts[] = {
    {MSG_REFUSED, M(EVENTLOG), 0, on_refused},
};

static const struct worker_kind workers[] = {
    {.role = &toolcall_role, .restart = TEMPORARY, .scope = true, .wires = M(EVENTLOG)},
};

static const struct kind kind = {
    .id = ROLE_TOOLCALLS,
    .workers = workers,
    .n_workers = sizeof workers / sizeof *workers,
    .profile = {.keep_capabilities = true, .data_bytes = UINT64_MAX}, /* a tool may be granted more than a role */
    .boot = boot,
    .prepare = prepare,
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
};

int main(int argc, char **argv) {
    return sup_main(&kind, argc, argv);
}
