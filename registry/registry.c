/* Think of a library desk. Definitions are read at the start and again on SIGHUP, into one numbered generation; between
 * those moments nothing here touches the disk, and every question is answered from memory with a sealed document or a
 * name. Who asks is told by the endpoint: an actor gets what its own definition allows, a session and the gateway get
 * everything, and no message says for whom it asks.
 *
 *   root ──introduce──▶ registry ◀──introduce── actors        actor, session, gateway ──catalog, grants, …──▶ registry
 *                          │ system.catalog                        registry ──document + sealed memfd──▶ asker
 *                          ▼
 *                       eventlog
 */
#include "registry/registry.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "common/title.h"
#include "registry/catalog.h"
#include "registry/documents.h"
#include "registry/names.h"

/* Answers that a worker has not read hold a descriptor each, so one that asks without reading is cut off early. */
#define UNREAD_BYTES_MAX (16u * 1024)

#define WHY_MAX 400u /* of refused */

/* The one of this process, and as old as it: role.c says nothing at the end of a role's memory. */
static struct registry {
    struct role_ctx *ctx;
    struct catalog *tools, *actors;
    struct documents *documents;
    struct names names;
    struct chan *supervisor; /* the actors' supervisor of now; names are its word */
    uint32_t generation;
} registry;

/* --- reading definitions --------------------------------------------------------------------------------------- */

static int load(struct catalog *c, const char (*dirs)[SPEC_PATH], uint32_t n) {
    const char *paths[SPEC_DIRS_MAX];
    for (uint32_t i = 0; i < n && i < SPEC_DIRS_MAX; i++)
        paths[i] = dirs[i];
    return catalog_load(c, paths, n < SPEC_DIRS_MAX ? n : SPEC_DIRS_MAX);
}

/* Either catalogue may have changed also when the other could not be read, so the number rises in any case. */
static int load_all(struct registry *reg) {
    const struct spec *spec = reg->ctx->spec;
    int tools = load(reg->tools, spec->tool_dirs, spec->n_tool_dirs);
    int actors = load(reg->actors, spec->actor_dirs, spec->n_actor_dirs);
    documents_renew(reg->documents, ++reg->generation);
    return tools < 0 ? tools : actors;
}

static void log_problems(const json_t *problems) {
    size_t i;
    json_t *one;
    json_array_foreach(problems, i, one) {
        log_warn("event=definition_skipped file=\"%s\" why=\"%s\"", json_str(one, "file"), json_str(one, "why"));
    }
}

/* Relaxed: nothing waits for it. A reply is asked for only so that a refusal is heard of. */
static void report(struct registry *reg) {
    char data[128];
    size_t tools = catalog_count(reg->tools), actors = catalog_count(reg->actors);
    size_t problems = json_array_size(catalog_problems(reg->tools)) + json_array_size(catalog_problems(reg->actors));
    log_problems(catalog_problems(reg->tools));
    log_problems(catalog_problems(reg->actors));
    log_info("event=catalog generation=%u tools=%zu actors=%zu problems=%zu", reg->generation, tools, actors, problems);
    title_set("registry tools=%zu actors=%zu", tools, actors);
    (void)snprintf(data, sizeof data, "{\"generation\":%u,\"tools\":%zu,\"actors\":%zu,\"problems\":%zu}",
                   reg->generation, tools, actors, problems);
    struct msg_append event = {.type = "system.catalog", .data = SPAN(data)};
    int64_t r = role_event(reg->ctx, &event, true);
    if (r < 0)
        log_warn("event=unlogged type=system.catalog error=%d", (int)-r);
}

static void on_hup(void *arg, const struct signalfd_siginfo *info) {
    struct registry *reg = arg;
    if (load_all(reg) < 0)
        log_error("event=reload_failed why=\"%s\"", err_text());
    report(reg);
}

static int start(struct role_ctx *ctx, void *self) {
    registry = (struct registry){.ctx = ctx};
    json_init();
    int r = catalog_new(CATALOG_TOOLS, &registry.tools);
    if (r == 0)
        r = catalog_new(CATALOG_ACTORS, &registry.actors);
    if (r == 0)
        r = catalog_add_builtins(registry.tools);
    if (r == 0)
        r = documents_new(registry.tools, registry.actors, &registry.documents);
    if (r == 0)
        r = load_all(&registry);
    if (r == 0)
        r = loop_signal(ctx->loop, SIGHUP, on_hup, &registry);
    if (r < 0)
        return err_up(r);
    report(&registry);
    return role_ready(ctx);
}

/* --- who asks -------------------------------------------------------------------------------------------------- */

static bool is_worker(const struct peer *peer) {
    return (UINT32_C(1) << peer->role & M_WORKERS) != 0;
}

static int check_peer(const struct chan *by, const struct peer *peer) {
    if (chan_peer(by)->role == ROLE_ACTORS && peer->role != ROLE_ACTOR && peer->role != ROLE_SESSION)
        return err_raise(-EPERM, "actors introduces actors and sessions here, and no %s", role_name(peer->role));
    if (is_worker(peer) && !name_valid(peer->actor))
        return err_raise(-EPROTO, "introduction of %s without a name", role_name(peer->role));
    return 0;
}

/* Of two supervisors of actors the older one is dead with everybody below it, however much of what it wrote is still to
 * be read. */
static void supervisor_changed(struct registry *reg, struct chan *now) {
    chan_close(reg->supervisor);
    names_clear(&reg->names);
    reg->supervisor = now;
}

static int on_introduce(void *self, struct chan *from, struct msg *m) {
    struct peer peer;
    int r = role_introduced(from, &m->introduce, &peer);
    if (r == 0)
        r = check_peer(from, &peer);
    if (r < 0)
        return err_up(r);
    struct chan *c = role_chan(registry.ctx, take_fd(&m->fds[0]), CHAN_SEQPACKET, &peer, FRAME_CONTROL_MAX);
    if (!c)
        log_warn("event=introduction_failed role=%s why=\"%s\"", role_name(peer.role), err_text());
    else if (peer.role == ROLE_ACTORS)
        supervisor_changed(&registry, c);
    return 0;
}

static void closed(void *self, struct chan *c, int reason) {
    if (c != registry.supervisor)
        return;
    registry.supervisor = NULL;
    names_clear(&registry.names);
}

/* --- documents ------------------------------------------------------------------------------------------------- */

/* Whose rights the asker has: an actor's own; NULL = everybody's. */
static const char *rights_of(const struct chan *from) {
    return chan_peer(from)->role == ROLE_ACTOR ? chan_peer(from)->actor : NULL;
}

/* A peer that is gone is no failure: the end of its channel follows. */
static int sent(int r) {
    return r == -EPIPE ? 0 : err_up(r);
}

static int refuse(struct chan *to, int64_t ref, int failure) {
    char why[WHY_MAX + 1];
    (void)snprintf(why, sizeof why, "%s", err_text());
    why[json_utf8_floor(why, strlen(why))] = '\0';
    struct msg_refused refused = {.ref = ref, .why = why};
    refused.error = failure == -ENOENT ? "not_found" : failure == -EMSGSIZE ? "too_large" : "io";
    log_warn("event=refused peer=%s error=%s why=\"%s\"", role_name(chan_peer(to)->role), refused.error, why);
    return sent(chan_send(to, MSG_REFUSED, &refused));
}

static int answer(struct chan *to, int64_t ref, enum document_kind kind) {
    int fd;
    size_t bytes;
    if (is_worker(chan_peer(to)) && chan_queued(to) > UNREAD_BYTES_MAX)
        return err_raise(-ENOBUFS, "asks on and on, and reads no answer");
    int r = documents_get(registry.documents, kind, rights_of(to), &fd, &bytes);
    if (r < 0)
        return refuse(to, ref, r);
    struct msg_document document = {.ref = ref, .generation = registry.generation, .bytes = (int64_t)bytes};
    return sent(chan_send_fds(to, MSG_DOCUMENT, &document, &fd, 1));
}

static int on_catalog(void *self, struct chan *from, struct msg *m) {
    return answer(from, m->catalog.ref, DOCUMENT_CATALOG);
}

static int on_grants(void *self, struct chan *from, struct msg *m) {
    return answer(from, m->grants.ref, DOCUMENT_GRANTS);
}

static int on_actor_get(void *self, struct chan *from, struct msg *m) {
    return answer(from, m->actor_get.ref, DOCUMENT_ACTOR);
}

static int on_declared(void *self, struct chan *from, struct msg *m) {
    return answer(from, m->actors_declared.ref, DOCUMENT_DECLARED);
}

static int on_problems(void *self, struct chan *from, struct msg *m) {
    return answer(from, m->problems.ref, DOCUMENT_PROBLEMS);
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static int on_name_put(void *self, struct chan *from, struct msg *m) {
    struct name holder = {.generation = (uint32_t)m->name_put.generation, .pid = (pid_t)m->name_put.pid};
    (void)snprintf(holder.name, sizeof holder.name, "%s", m->name_put.name);
    (void)snprintf(holder.id, sizeof holder.id, "%s", m->name_put.id);
    int r = names_put(&registry.names, &holder);
    if (r == -EINVAL)
        return err_up(r);
    if (r < 0)
        log_error("event=name_not_kept name=%s why=\"%s\"", holder.name, err_text());
    if (r == 1)
        log_debug("event=stale_name name=%s generation=%u", holder.name, holder.generation);
    return 0;
}

static int on_name_drop(void *self, struct chan *from, struct msg *m) {
    if (names_drop(&registry.names, m->name_drop.name, (uint32_t)m->name_drop.generation) == 1)
        log_debug("event=stale_drop generation=%lld", (long long)m->name_drop.generation);
    return 0;
}

static int on_whereis(void *self, struct chan *from, struct msg *m) {
    const struct name *holder = names_find(&registry.names, m->whereis.name);
    struct msg_name_is is = {
        .ref = m->whereis.ref,
        .id = holder ? holder->id : NULL,
        .generation = holder ? holder->generation : 0,
        .declared = catalog_find(registry.actors, m->whereis.name) != NULL,
    };
    return sent(chan_send(from, MSG_NAME_IS, &is));
}

/* --- the event log's replies ----------------------------------------------------------------------------------- */

static int on_logged(void *self, struct chan *from, struct msg *m) {
    return 0;
}

static int on_refused(void *self, struct chan *from, struct msg *m) {
    log_warn("event=unlogged type=system.catalog error=%s why=\"%s\"", m->refused.error, m->refused.why);
    return 0;
}

static const struct accept accepts[] = {
    {MSG_INTRODUCE, M(ROOT) | M(ACTORS), 0, on_introduce},
    {MSG_CATALOG, M(GATEWAY) | M(ACTOR), 0, on_catalog},
    {MSG_GRANTS, M(SESSION) | M(ACTOR), 0, on_grants},
    {MSG_ACTOR_GET, M(ACTOR), 0, on_actor_get},
    {MSG_ACTORS_DECLARED, M(ACTORS) | M(GATEWAY), 0, on_declared},
    {MSG_PROBLEMS, M(GATEWAY), 0, on_problems},
    {MSG_NAME_PUT, M(ACTORS), 0, on_name_put},
    {MSG_NAME_DROP, M(ACTORS), 0, on_name_drop},
    {MSG_WHEREIS, M(GATEWAY) | M(ACTOR), 0, on_whereis},
    {MSG_ACCEPTED, M(EVENTLOG), 0, on_logged},
    {MSG_DURABLE, M(EVENTLOG), 0, on_logged},
    {MSG_REFUSED, M(EVENTLOG), 0, on_refused},
};

const struct role registry_role = {
    .id = ROLE_REGISTRY,
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
    .start = start,
    .closed = closed,
};
