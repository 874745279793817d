/* The answers of the registry: JSON texts in sealed memfds, made once a generation and for each actor, then handed out
 * again and again. */
#ifndef SOMA_REGISTRY_DOCUMENTS_H
#define SOMA_REGISTRY_DOCUMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "registry/catalog.h"

#define DOCUMENTS_MAX 256u /* kept; a descriptor each */

enum document_kind {
    DOCUMENT_CATALOG,  /* {"generation", "tools": [what a model may see]} */
    DOCUMENT_GRANTS,   /* {"generation", "tools": [whole definitions]} */
    DOCUMENT_ACTOR,    /* an actor's whole definition */
    DOCUMENT_DECLARED, /* {"actors": [{"name", "restart"}]} */
    DOCUMENT_PROBLEMS  /* {"problems": [{"file", "why"}]} */
};

struct documents;

/* The catalogues are borrowed. Returns 0 or -ENOMEM. */
int documents_new(const struct catalog *tools, const struct catalog *actors, struct documents **out);
void documents_free(struct documents *d);

/* The catalogues have changed: everything is made anew, under this number. */
void documents_renew(struct documents *d, uint32_t generation);

/* The document for an actor of that name, or, `actor` NULL, for somebody who may have everything (not DOCUMENT_ACTOR:
 * -EINVAL). *fd is borrowed until the next call. Returns 0; -ENOENT for an actor without definition; -EMSGSIZE above
 * JSON_TEXT_MAX; -ENOMEM or what memfd_seal() returns. */
int documents_get(struct documents *d, enum document_kind kind, const char *actor, int *fd, size_t *bytes);

#endif
