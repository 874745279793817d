/* Sessions start often and all ask the same: the path is a look into a short list and one sendmsg(2). A sealed memfd
 * can be given to any number of readers, since none of them can change it for the others; they share its offset too, so
 * everybody reads with pread(2) (common/spec.h). */
#include "registry/documents.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/json.h"
#include "common/spec.h"
#include "registry/fields.h"

struct document {
    enum document_kind kind;
    char actor[NAME_SIZE]; /* "" = everything */
    int fd;
    size_t bytes;
};

struct documents {
    const struct catalog *tools, *actors;
    uint32_t generation;
    struct document kept[DOCUMENTS_MAX];
    size_t n, oldest; /* the list is full: the next one to go */
};

int documents_new(const struct catalog *tools, const struct catalog *actors, struct documents **out) {
    struct documents *d = calloc(1, sizeof *d);
    if (!d)
        return err_raise(-ENOMEM, "documents");
    *d = (struct documents){.tools = tools, .actors = actors};
    *out = d;
    return 0;
}

void documents_renew(struct documents *d, uint32_t generation) {
    for (size_t i = 0; i < d->n; i++)
        d->kept[i].fd = fd_close(d->kept[i].fd);
    d->n = d->oldest = 0;
    d->generation = generation;
}

void documents_free(struct documents *d) {
    if (d)
        documents_renew(d, 0);
    free(d);
}

/* --- texts ----------------------------------------------------------------------------------------------------- */

static void put_tools(struct documents *d, enum document_kind kind, const json_t *allow, struct buf *out) {
    auto_free char *list = NULL;
    size_t n = 0;
    int r = kind == DOCUMENT_CATALOG ? catalog_model_text(d->tools, allow, &list, &n)
                                     : catalog_full_text(d->tools, allow, &list, &n);
    if (r < 0) {
        out->failure = r;
        return;
    }
    (void)buf_printf(out, "{\"generation\":%u,\"tools\":", d->generation);
    (void)buf_add(out, list, n);
    (void)buf_addz(out, "}");
}

static void put_json(const json_t *value, struct buf *out) {
    auto_free char *text = NULL;
    size_t n = 0;
    int r = value ? json_text(value, JSON_TEXT_MAX, &text, &n) : err_raise(-ENOMEM, "documents");
    if (r < 0)
        out->failure = r;
    else
        (void)buf_add(out, text, n);
}

static void put_declared(struct documents *d, struct buf *out) {
    auto_free char *list = NULL;
    size_t n = 0;
    int r = catalog_restart_text(d->actors, &list, &n);
    if (r < 0) {
        out->failure = r;
        return;
    }
    (void)buf_addz(out, "{\"actors\":");
    (void)buf_add(out, list, n);
    (void)buf_addz(out, "}");
}

static void put_problems(struct documents *d, struct buf *out) {
    auto_json json_t *all = json_array();
    if (json_array_extend(all, field_mutable(catalog_problems(d->tools))) < 0 ||
        json_array_extend(all, field_mutable(catalog_problems(d->actors))) < 0) {
        out->failure = err_raise(-ENOMEM, "documents");
        return;
    }
    (void)buf_addz(out, "{\"problems\":");
    put_json(all, out);
    (void)buf_addz(out, "}");
}

/* `definition` is that of the actor who asks, or NULL. */
static void put_text(struct documents *d, enum document_kind kind, const json_t *definition, struct buf *out) {
    switch (kind) {
    case DOCUMENT_CATALOG:
    case DOCUMENT_GRANTS:
        put_tools(d, kind, json_object_get(definition, "tools"), out);
        break;
    case DOCUMENT_ACTOR:
        put_json(definition, out);
        break;
    case DOCUMENT_DECLARED:
        put_declared(d, out);
        break;
    case DOCUMENT_PROBLEMS:
        put_problems(d, out);
        break;
    }
}

/* --- the list -------------------------------------------------------------------------------------------------- */

static struct document *find(struct documents *d, enum document_kind kind, const char *actor) {
    for (size_t i = 0; i < d->n; i++)
        if (d->kept[i].kind == kind && strcmp(d->kept[i].actor, actor) == 0)
            return &d->kept[i];
    return NULL;
}

/* A place for one more. Who asks seldom pays by a document made anew. */
static struct document *place(struct documents *d) {
    if (d->n < DOCUMENTS_MAX)
        return &d->kept[d->n++];
    struct document *old = &d->kept[d->oldest];
    d->oldest = (d->oldest + 1) % DOCUMENTS_MAX;
    old->fd = fd_close(old->fd);
    return old;
}

static int make(struct documents *d, enum document_kind kind, const char *actor, struct document **out) {
    const json_t *definition = actor ? catalog_find(d->actors, actor) : NULL;
    auto_buf struct buf text = BUF_NULL(JSON_TEXT_MAX);
    if (actor && !definition)
        return err_raise(-ENOENT, "no definition of an actor of this name is in force");
    put_text(d, kind, definition, &text);
    if (buf_failed(&text))
        return err_up(text.failure);
    auto_close int fd = memfd_seal("soma-document", text.p, text.n);
    if (fd < 0)
        return err_up(fd);
    struct document *made = place(d);
    *made = (struct document){.kind = kind, .fd = take_fd(&fd), .bytes = text.n};
    (void)snprintf(made->actor, sizeof made->actor, "%s", actor ? actor : "");
    *out = made;
    return 0;
}

int documents_get(struct documents *d, enum document_kind kind, const char *actor, int *fd, size_t *bytes) {
    if (!actor && kind == DOCUMENT_ACTOR)
        return err_raise(-EINVAL, "nobody's definition");
    struct document *found = find(d, kind, actor ? actor : "");
    int r = found ? 0 : make(d, kind, actor, &found);
    if (r < 0)
        return err_up(r);
    *fd = found->fd;
    *bytes = found->bytes;
    return 0;
}
