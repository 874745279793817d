/* A successor: an earlier incarnation of this run died without its terminal event, as far as anybody knew. It runs
 * nothing. First whatever the predecessor left behind is ended, so that nothing below this id changes any more; then
 * the log is read, which by then is the whole truth: the run is over, or it was interrupted, or it never was. */
#include "run/run_impl.h"

#include "common/err.h"
#include "common/json.h"

#include <string.h>

/* Events of a page: an event of a run may be as large as its outputs, and a page is parsed as a whole. */
#define PAGE_EVENTS 16

int act_end_calls(void *self, const void *arg) {
    struct run *run = self;
    int r = chan_send(run->ctx->wire[ROLE_TOOLCALLS], MSG_KILL, &(struct msg_kill){.id = run->ctx->start->id});
    return r < 0 ? err_raise(r, "ask toolcalls to end the calls of the run") : 0;
}

/* A page of several extreme events has more values than a frame may have, and costs this process its link to the log:
 * the successor of such a successor takes one at a time. */
static int64_t page_events(const struct run *run) {
    return run->ctx->generation > 2 ? 1 : PAGE_EVENTS;
}

int act_read_log(void *self, const void *arg) {
    struct run *run = self;
    run->query_ref = role_ref(run->ctx);
    struct msg_query query = {
        .ref = run->query_ref, .by = "run", .key = run->ctx->start->id, .after = run->after, .limit = page_events(run)};
    int r = chan_send(run->ctx->wire[ROLE_EVENTLOG], MSG_QUERY, &query);
    return r < 0 ? err_raise(r, "ask the log for the run's events") : 0;
}

/* The status that this type of event says, or STATUS__COUNT. */
static enum run_status status_of(const char *type) {
    enum run_status s = STATUS_COMPLETED;
    while (s < STATUS__COUNT && strcmp(run_statuses[s].event_type, type) != 0)
        s++;
    return s;
}

static int take_end(struct run *run, enum run_status status, const json_t *data) {
    const json_t *error = json_object_get(data, "error");
    run_decide(run, status, json_str(error, "step"), json_str(error, "name"), json_str(error, "message"));
    if (status != STATUS_COMPLETED)
        return 0;
    char *text = NULL;
    size_t n;
    run->outputs_text.n = 0;
    int r = json_text(json_object_get(data, "outputs"), RUN_OUTPUTS_MAX, &text, &n);
    if (r < 0) /* printed anew they may be larger than they were: the owner finds them in the log */
        return r == -EMSGSIZE ? 0 : err_up(r);
    r = buf_add(&run->outputs_text, text, n - 1); /* without its closing brace, as everywhere */
    free(text);
    return r;
}

/* 1 = it is the run's end. */
static int take_record(struct run *run, const json_t *record) {
    const char *type = json_str(record, "type"), *step = json_str(record, "step");
    if (!type)
        return err_raise(-EPROTO, "a record without a type");
    if (strcmp(type, "run.accepted") == 0) {
        run->was_accepted = true;
        text_copy(run->corr, sizeof run->corr, json_str(record, "corr"));
        text_copy(run->task, sizeof run->task, json_str(record, "task"));
    } else if (strcmp(type, "step.started") == 0) {
        text_copy(run->error_step, sizeof run->error_step, step);
    } else if (strcmp(type, "step.succeeded") == 0) {
        run->error_step[0] = 0;
    }
    enum run_status status = status_of(type);
    if (status == STATUS__COUNT)
        return 0;
    int r = take_end(run, status, json_object_get(record, "data"));
    return r < 0 ? r : 1;
}

static int conclude(struct run *run) {
    if (!run->was_accepted) {
        run_set_reject(run, "runtime",
                       "the run's process died before the run was accepted; nothing was started, send the plan again");
        return role_step(run->ctx, EV_NOT_ACCEPTED, NULL);
    }
    char step[NAME_SIZE];
    text_copy(step, sizeof step, run->error_step);
    run_decide(run, STATUS_FAILED, step, "interrupted",
               "the run's process ended before the run did; its calls were ended, see the trace for how far it came");
    return role_step(run->ctx, EV_INTERRUPTED, NULL);
}

int run_on_page(struct run *run, const struct msg_page *page) {
    auto_json json_t *events = NULL;
    if (page->ref != run->query_ref)
        return err_raise(-EPROTO, "a page that nobody asked for");
    int r = json_parse(page->events.p, page->events.n, JSON_TEXT_MAX, &events);
    if (r < 0)
        return err_up(r);
    for (size_t i = 0; i < json_array_size(events); i++) {
        r = take_record(run, json_array_get(events, i));
        if (r < 0)
            return err_up(r);
        if (r == 1)
            return role_step(run->ctx, run_statuses[run->status].event, NULL);
    }
    if (page->more && page->next <= run->after)
        return err_raise(-EPROTO, "a page that leads nowhere");
    run->after = page->next;
    return page->more ? role_step(run->ctx, EV_READ_ON, NULL) : conclude(run);
}
