/* soma-actors: the supervisor of actors and sessions. Declared actors come from the registry and are started here;
 * their owner is this process, which hands clients' channels on to them and keeps their names in the registry true. */
#include "actor/actor.h"
#include "actor/session.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "supervisor/supervisor.h"

#include <string.h>

#define DECLARED_MAX_BYTES (1u << 20)

static int64_t asked;

static int boot(struct sup *sup) {
    struct role_ctx *ctx = sup_ctx(sup);
    json_init();
    asked = role_ref(ctx);
    return chan_send(ctx->wire[ROLE_REGISTRY], MSG_ACTORS_DECLARED, &(struct msg_actors_declared){.ref = asked});
}

/* {"actors":[{"name","restart"}]}: every one of them runs; the restart types of definitions are the policy's. */
static int start_declared(struct sup *sup, const char *text, size_t n) {
    auto_json json_t *doc = NULL;
    int r = json_parse(text, n, DECLARED_MAX_BYTES, &doc);
    if (r < 0)
        return err_up(r);
    size_t i;
    json_t *actor;
    json_array_foreach(json_object_get(doc, "actors"), i, actor) {
        const char *name = json_str(actor, "name");
        if (!name_valid(name))
            return err_raise(-EPROTO, "a declared actor without a name");
        r = sup_start(sup, ROLE_ACTOR, name, name, false);
        if (r < 0)
            log_warn("event=actor_not_started name=%s why=\"%s\"", name, err_text());
    }
    return role_ready(sup_ctx(sup));
}

static int on_document(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = *(struct sup **)self;
    auto_free char *text = NULL;
    size_t n;
    if (m->document.ref != asked)
        return err_raise(-EPROTO, "an answer that nobody asked for");
    int r = memfd_read(m->fds[0], DECLARED_MAX_BYTES, &text, &n);
    return r < 0 ? r : start_declared(sup, text, n);
}

/* A client's channel goes to the live actor; when there is none it is closed, which the gateway sees. */
static int on_connect(void *self, struct chan *from, struct msg *m) {
    struct sup *sup = *(struct sup **)self;
    struct msg_introduce introduce = {.role = role_name(chan_peer(from)->role)};
    int r = sup_tell(sup, m->connect.name, MSG_INTRODUCE, &introduce, m->fds, 1);
    if (r < 0)
        log_info("event=connect_refused actor=%s", m->connect.name);
    return 0;
}

static int on_hello(void *self, struct chan *from, struct msg *m) {
    return 0; /* its pid is known from the fork */
}

static int on_refused(void *self, struct chan *from, struct msg *m) {
    log_warn("event=refused error=%s why=\"%s\"", m->refused.error, m->refused.why);
    return 0;
}

static void up(struct sup *sup, const struct worker_start *start, pid_t host_pid) {
    if (start->role != ROLE_ACTOR)
        return;
    struct msg_name_put put = {.name = start->actor, .id = start->id, .generation = start->generation, .pid = host_pid};
    if (chan_send(sup_ctx(sup)->wire[ROLE_REGISTRY], MSG_NAME_PUT, &put) < 0)
        log_warn("event=name_not_put name=%s", start->actor);
}

static void down(struct sup *sup, const struct worker_start *start, bool final) {
    if (start->role != ROLE_ACTOR)
        return;
    struct msg_name_drop drop = {.name = start->actor, .generation = start->generation};
    if (chan_send(sup_ctx(sup)->wire[ROLE_REGISTRY], MSG_NAME_DROP, &drop) < 0)
        log_warn("event=name_not_dropped name=%s", start->actor);
}

static const struct accept accepts[] = {
    {MSG_CONNECT, M(GATEWAY), 0, on_connect},
    {MSG_DOCUMENT, M(REGISTRY), 0, on_document},
    {MSG_HELLO, M(ACTOR), 0, on_hello},
    {MSG_REFUSED, M(EVENTLOG) | M(REGISTRY), 0, on_refused},
};

static const struct worker_kind workers[] = {
    {.role = &actor_role, .restart = PERMANENT, .wires = M(EVENTLOG) | M(REGISTRY) | M(LLMCALLS) | M(RUNS)},
    {.role = &session_role, .restart = TRANSIENT, .wires = M(EVENTLOG) | M(REGISTRY) | M(RUNS)},
};

static const struct kind kind = {
    .id = ROLE_ACTORS,
    .workers = workers,
    .n_workers = sizeof workers / sizeof *workers,
    .boot = boot,
    .boot_ready = true,
    .up = up,
    .down = down,
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
};

int main(int argc, char **argv) {
    return sup_main(&kind, argc, argv);
}
