/* A plain list: names are as many as declared actors, asked for by people and set when an actor starts. */
#include "registry/names.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

void names_deinit(struct names *names) {
    free(names->list);
    *names = (struct names){0};
}

static struct name *find(const struct names *names, const char *name) {
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->list[i].name, name) == 0)
            return &names->list[i];
    return NULL;
}

static int grow(struct names *names) {
    if (names->n < names->cap)
        return 0;
    if (names->cap == NAMES_MAX)
        return err_raise(-ENOSPC, "more than %u names", NAMES_MAX);
    size_t cap = names->cap ? names->cap * 2 : 16;
    struct name *list = realloc(names->list, cap * sizeof *list);
    if (!list)
        return err_raise(-ENOMEM, "names");
    names->list = list;
    names->cap = cap;
    return 0;
}

int names_put(struct names *names, const struct name *holder) {
    if (!name_valid(holder->name) || !name_valid(holder->id))
        return err_raise(-EINVAL, "no name, or no id");
    struct name *held = find(names, holder->name);
    if (held && held->generation > holder->generation)
        return 1;
    if (!held) {
        int r = grow(names);
        if (r < 0)
            return err_up(r);
        held = &names->list[names->n++];
    }
    *held = *holder;
    return 0;
}

int names_drop(struct names *names, const char *name, uint32_t generation) {
    struct name *held = find(names, name);
    if (!held || held->generation != generation)
        return 1;
    *held = names->list[--names->n];
    return 0;
}

const struct name *names_find(const struct names *names, const char *name) {
    return find(names, name);
}

void names_clear(struct names *names) {
    names->n = 0;
}
