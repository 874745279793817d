/* soma-runs: the supervisor of runs. A run that dies without its terminal event gets a successor under the same id,
 * which ends the calls still alive under it and closes the trail. After a restart of this supervisor the same happens
 * for every run that the log still knows as open; it serves only when those successors have been started. */
#include "common/err.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/log.h"
#include "run/run.h"
#include "supervisor/supervisor.h"

static int64_t asked; /* ref of the question that is open */

static int ask_open_runs(struct sup *sup, const char *after) {
    struct role_ctx *ctx = sup_ctx(sup);
    asked = role_ref(ctx);
    return chan_send(ctx->wire[ROLE_EVENTLOG], MSG_OPEN_RUNS, &(struct msg_open_runs){.ref = asked, .after = after});
}

static int boot(struct sup *sup) {
    json_init();
    return ask_open_runs(sup, NULL);
}

static int on_open_runs(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = *(struct sup **)self;
    auto_json json_t *runs = NULL;
    int r = json_parse(m->open_runs_are.runs.p, m->open_runs_are.runs.n, FRAME_CONTROL_MAX, &runs);
    if (r < 0 || m->open_runs_are.ref != asked)
        return r < 0 ? r : err_raise(-EPROTO, "an answer that nobody asked for");
    const char *last = NULL;
    size_t i;
    json_t *id;
    json_array_foreach(runs, i, id) {
        last = json_string_value(id);
        if (!id_valid(last, 'r'))
            return err_raise(-EPROTO, "an open run without an id");
        r = sup_start(sup, ROLE_RUN, last, NULL, true);
        if (r < 0)
            log_warn("event=successor_failed run=%s why=\"%s\"", last, err_text());
    }
    if (m->open_runs_are.more && last)
        return ask_open_runs(sup, last);
    return role_ready(sup_ctx(sup));
}

/* The log refuses a supervisor's relaxed events only when it is full; reads go on, and so do we. */
static int on_refused(void *self, struct chan *from, struct msg *m) {
    log_warn("event=log_refused error=%s", m->refused.error);
    return 0;
}

static const struct accept accepts[] = {
    {MSG_OPEN_RUNS_ARE, M(EVENTLOG), 0, on_open_runs},
    {MSG_REFUSED, M(EVENTLOG), 0, on_refused},
};

static const struct worker_kind workers[] = {
    {.role = &run_role, .restart = TRANSIENT, .wires = M(EVENTLOG) | M(TOOLCALLS)},
};

static const struct kind kind = {
    .id = ROLE_RUNS,
    .workers = workers,
    .n_workers = sizeof workers / sizeof *workers,
    .boot = boot,
    .boot_ready = true,
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
};

int main(int argc, char **argv) {
    return sup_main(&kind, argc, argv);
}
