/* What a run may call: the normalised manifests in the sealed document that its owner handed over (registry/manifest.h
 * names their members). The run reads of each only what it needs to decide; toolcalls holds the same document and goes
 * by that, so a run that forgets a restriction here gains nothing. */
#ifndef SOMA_RUN_GRANTS_H
#define SOMA_RUN_GRANTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grant {
    const char *name, *effect, *profile; /* into the document */
    json_t *schema;                      /* borrowed from it */
    bool idempotent;
    int64_t timeout_ms; /* 0 = the tool says nothing */
};

struct grants {
    json_t *doc;
    struct grant *tools;
    size_t n;
};
#define GRANTS_NULL ((struct grants){0})

/* Reads {"generation": n, "tools": [manifest, ...]}. Returns 0; -EPROTO or -EMSGSIZE for another document, -ENOMEM. */
int grants_parse(const char *text, size_t n, struct grants *out);
void grants_deinit(struct grants *grants);

/* Borrowed, or NULL. */
const struct grant *grants_find(const struct grants *grants, const char *name);

/* Whether running it a second time does no more than running it once. */
bool grant_safe(const struct grant *grant);

#endif
