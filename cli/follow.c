/* Losing the connection is normal here: the work belongs to its session, which waits for us, and the log tells what we
 * missed. The start itself carries a correlation id of ours, so that even an answer that never came leaves a trace. */
#include "cli/follow.h"

#include "cli/interrupt.h"
#include "common/err.h"

#include <signal.h>
#include <string.h>

#define WAIT_MS 30000  /* of one `events` request */
#define SLACK_MS 10000 /* for the answer beyond it */
#define FIND_MS 5000   /* for an accepted event to show up after a lost start */

const struct follow_kind follow_run = {"run", "run.start", "run.own", "run.cancel", "run.accepted"};
const struct follow_kind follow_task = {"task", "ask", "task.own", NULL, "task.accepted"};

static int left(const struct follow *f) {
    return f->signo == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
}

const char *follow_ends(const struct follow_kind *kind, const json_t *record) {
    static const char *const ends[] = {"completed", "failed", "timeout", "cancelled", "rejected", "in_doubt"};
    const char *type = json_str(record, "type");
    size_t n = strlen(kind->name);
    if (!type || strncmp(type, kind->name, n) != 0 || type[n] != '.')
        return NULL;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(type + n + 1, ends[i]) == 0)
            return ends[i];
    return NULL;
}

/* --- the connection ------------------------------------------------------------------------------------------- */

static int lost_for_good(const struct follow *f) {
    char what[128], fix[160], why[ERR_TEXT_MAX];
    (void)snprintf(why, sizeof why, "%s", err_text());
    (void)snprintf(what, sizeof what, "the supervisor went away under %s %s", f->kind->name,
                   *f->id ? f->id : "that was being started");
    (void)snprintf(fix, sizeof fix,
                   *f->id ? "`soma show %s` says how far it came" : "`soma log -n 20` says how far it came", f->id);
    return fail(f->cli, &(struct failure){"E_LOST", EXIT_RUNTIME, what, why, fix});
}

static int reconnect(struct follow *f) {
    progress_note(f->progress, "the gateway was lost; reconnecting");
    int r = session_again(f->cli, f->session);
    if (r == -EINTR) {
        f->signo = interrupt_take();
        return left(f);
    }
    f->cancel_id = 0; /* its answer went down with the connection */
    return r < 0 ? lost_for_good(f) : EXIT_DONE;
}

static json_t *named(const struct follow *f) {
    return json_pack("{s:s}", f->kind->name, f->id);
}

/* Takes the work back. A refusal is told and not the end: when the work is over, its last event is about to be read. */
static int own(struct follow *f) {
    auto_json json_t *answer = NULL;
    int r = rpc_call(&f->session->rpc, f->kind->own, named(f), SESSION_CALL_MS, &answer);
    if (r == RPC_REFUSED)
        progress_note(f->progress, json_str(answer, "message"));
    return r;
}

/* Asks again for the end after a reconnection, since the first request may not have arrived; asking twice is harmless.
 */
static int ask_cancel(struct follow *f) {
    if (!f->kind->cancel || !f->interrupts || f->cancel_id)
        return 0;
    return rpc_send(&f->session->rpc, f->kind->cancel, named(f), &f->cancel_id);
}

static int take_back(struct follow *f) {
    for (;;) {
        int r = reconnect(f);
        if (r != EXIT_DONE)
            return r;
        r = own(f);
        if (r == -EINTR) {
            f->signo = interrupt_take();
            return left(f);
        }
        if (r != -ECONNRESET)
            return r < 0 ? fail_rpc(f->cli, r) : EXIT_DONE;
    }
}

/* --- starting -------------------------------------------------------------------------------------------------- */

static const json_t *accepted_in(const struct follow *f, const json_t *events) {
    size_t i;
    const json_t *record;
    json_array_foreach(events, i, record) {
        const char *type = json_str(record, "type");
        if (type && strcmp(type, f->kind->accepted) == 0)
            return record;
    }
    return NULL;
}

static int found(struct follow *f, const char *id, int64_t seq) {
    if (!id || strlen(id) >= sizeof f->id) {
        (void)err_raise(-EPROTO, "the gateway named no %s", f->kind->name);
        return fail_internal(f->cli, "the answer cannot be understood");
    }
    (void)snprintf(f->id, sizeof f->id, "%s", id);
    f->after = seq > 0 ? seq - 1 : 0; /* the accepted event itself is shown like all others */
    return EXIT_DONE;
}

/* The connection ended before the answer: the log knows whether our request was accepted. */
static int find(struct follow *f) {
    int r = reconnect(f);
    if (r != EXIT_DONE)
        return r;
    auto_json json_t *answer = NULL;
    r = session_call(f->cli, f->session, "events",
                     json_pack("{s:s, s:s, s:i}", "by", "corr", "key", f->corr, "wait_ms", FIND_MS), FIND_MS + SLACK_MS,
                     &answer);
    const json_t *record = r == EXIT_DONE ? accepted_in(f, json_object_get(answer, "events")) : NULL;
    if (r != EXIT_DONE)
        return r;
    if (!record) {
        (void)err_raise(-ECONNRESET, "the gateway was lost before it accepted the work; nothing was started");
        return lost_for_good(f);
    }
    r = found(f, json_str(record, f->kind->name), json_i64(record, "seq", 1));
    if (r != EXIT_DONE)
        return r;
    r = own(f);
    return r == -ECONNRESET ? take_back(f) : r < 0 ? fail_rpc(f->cli, r) : EXIT_DONE;
}

int follow_start(struct follow *f, json_t *params) {
    auto_json json_t *answer = NULL;
    id_make('q', f->corr);
    (void)json_object_set_new(params, "corr", json_string(f->corr));
    int r = rpc_call(&f->session->rpc, f->kind->start, params, SESSION_CALL_MS, &answer);
    if (r == -EINTR) {
        f->signo = interrupt_take(); /* our leaving cancels it */
        return left(f);
    }
    if (r == -ECONNRESET)
        return find(f);
    if (r != 0)
        return r == RPC_REFUSED ? fail_refused(f->cli, answer) : fail_rpc(f->cli, r);
    return found(f, json_str(answer, f->kind->name), json_i64(answer, "seq", 1));
}

/* --- following ------------------------------------------------------------------------------------------------- */

/* ^C: the first one cancels, where there is a way to, and goes on waiting for the end; the next one leaves. */
static int interrupted(struct follow *f) {
    f->signo = interrupt_take();
    f->interrupts++;
    if (f->interrupts > 1 || f->signo == SIGTERM || !f->kind->cancel)
        return left(f);
    progress_note(f->progress, "cancelling; ^C again leaves without waiting");
    int r = ask_cancel(f);
    return r == 0 || r == -ECONNRESET ? EXIT_DONE : fail_rpc(f->cli, r);
}

static void check_cancel(struct follow *f) {
    auto_json json_t *answer = NULL;
    if (!f->cancel_id)
        return;
    int r = rpc_poll(&f->session->rpc, f->cancel_id, &answer);
    if (r == RPC_REFUSED)
        progress_note(f->progress, json_str(answer, "message"));
    if (r == 0 || r == RPC_REFUSED)
        f->cancel_id = -1; /* answered; not to be sent again on this connection */
}

/* Shows what came; the record that ends it all goes to *out. */
static void take(struct follow *f, const json_t *answer, json_t **out) {
    size_t i;
    json_t *record;
    json_array_foreach(json_object_get(answer, "events"), i, record) {
        f->after = json_i64(record, "seq", f->after);
        progress_event(f->progress, record);
        if (follow_ends(f->kind, record) && !*out)
            *out = json_incref(record);
    }
}

static int request(struct follow *f, int64_t *id) {
    return rpc_send(&f->session->rpc, "events",
                    json_pack("{s:s, s:s, s:I, s:i}", "by", f->kind->name, "key", f->id, "after", (json_int_t)f->after,
                              "wait_ms", WAIT_MS),
                    id);
}

/* One answer of the gateway, however often the wait for it is interrupted. */
static int turn(struct follow *f, json_t **out) {
    int64_t id;
    auto_json json_t *answer = NULL;
    int r = ask_cancel(f);
    if (r == 0)
        r = request(f, &id);
    while (r == 0) {
        r = rpc_wait(&f->session->rpc, id, WAIT_MS + SLACK_MS, &answer);
        if (r != -EINTR)
            break;
        r = interrupted(f);
        if (r != EXIT_DONE)
            return r;
    }
    if (r == -ECONNRESET)
        return take_back(f);
    if (r != 0)
        return r == RPC_REFUSED ? fail_refused(f->cli, answer) : fail_rpc(f->cli, r);
    check_cancel(f);
    take(f, answer, out);
    return EXIT_DONE;
}

int follow_to_end(struct follow *f, json_t **out) {
    int r = EXIT_DONE;
    while (r == EXIT_DONE && !*out)
        r = turn(f, out);
    progress_end(f->progress);
    return r;
}
