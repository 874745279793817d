/* Both walks recurse along the plan's own text, whose depth is bounded before (value_measure). A resolved value is
 * shared, not copied: a plan that refers a thousand times to one large output costs a thousand pointers, and whoever
 * prints it does so under a ceiling. */
#include "run/resolve.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <assert.h>
#include <string.h>

static bool measure(const json_t *value, unsigned depth, size_t *nodes) {
    if (++*nodes > VALUE_NODES_MAX)
        return false;
    if (!json_is_object(value) && !json_is_array(value))
        return true;
    if (depth == VALUE_DEPTH_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!measure(json_array_get(value, i), depth + 1, nodes))
            return false;
    *nodes += json_object_size(value);
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        if (!measure(member, depth + 1, nodes))
            return false;
    }
    return true;
}

int value_measure(const json_t *value, size_t *nodes) {
    size_t count = 0;
    if (!measure(value, 0, &count))
        return err_raise(-EMSGSIZE, "%s",
                         count > VALUE_NODES_MAX ? "more than 60000 values and keys"
                                                 : "more than 48 levels of nesting");
    *nodes = count;
    return 0;
}

static_assert(VALUE_DEPTH_MAX == 48 && VALUE_NODES_MAX == 60000, "the texts above name them");

/* ---- checking ---- */

/* RFC 6901: empty, or tokens that each begin with a slash; `~` only as ~0 and ~1. */
static bool pointer_valid(const char *text) {
    if (*text && *text != '/')
        return false;
    for (const char *p = text; (p = strchr(p, '~')); p++)
        if (p[1] != '0' && p[1] != '1')
            return false;
    return true;
}

static int check_step_name(json_t *from, const char *where, step_lookup lookup, void *arg) {
    if (!json_is_string(from))
        return err_raise(-EINVAL, "%s/$from: expected the id of an earlier step, a string", where);
    switch (lookup(arg, json_string_value(from))) {
    case STEP_EARLIER:
        return 0;
    case STEP_NOT_EARLIER:
        return err_raise(-EINVAL, "%s/$from: names this step or a later one; only earlier steps have an output", where);
    case STEP_UNKNOWN:
        break;
    }
    return err_raise(-EINVAL, "%s/$from: no step has this id; name an earlier step", where);
}

static int check_pointer(json_t *at, const char *where) {
    if (at && (!json_is_string(at) || !pointer_valid(json_string_value(at))))
        return err_raise(-EINVAL, "%s/at: expected a JSON Pointer, a string such as \"/text\"", where);
    return 0;
}

static int check_ref(json_t *ref, struct json_place *place, step_lookup lookup, void *arg) {
    const char *key;
    json_t *member;
    json_object_foreach(ref, key, member) {
        if (strcmp(key, "$from") == 0 || strcmp(key, "at") == 0)
            continue;
        json_place_push(place, key);
        int r = err_raise(-EINVAL, "%s: a reference has $from and at only; remove this member", place->text);
        json_place_pop(place);
        return r;
    }
    int r = check_step_name(json_object_get(ref, "$from"), place->text, lookup, arg);
    return r < 0 ? r : check_pointer(json_object_get(ref, "at"), place->text);
}

int refs_check(json_t *args, struct json_place *place, step_lookup lookup, void *arg, bool *any) {
    if (json_object_get(args, "$from")) {
        *any = true;
        return check_ref(args, place, lookup, arg);
    }
    int r = 0;
    for (size_t i = 0; !r && i < json_array_size(args); i++) {
        json_place_index(place, i);
        r = refs_check(json_array_get(args, i), place, lookup, arg, any);
        json_place_pop(place);
    }
    const char *key;
    json_t *member;
    json_object_foreach(args, key, member) {
        json_place_push(place, key);
        r = refs_check(member, place, lookup, arg, any);
        json_place_pop(place);
        if (r < 0)
            break;
    }
    return r;
}

/* ---- substitution ---- */

static int resolve(json_t *value, json_t *outputs, struct json_place *place, json_t **out);

static int resolve_ref(json_t *ref, json_t *outputs, const struct json_place *place, json_t **out) {
    const char *step = json_str(ref, "$from"), *at = json_str(ref, "at");
    json_t *output = json_object_get(outputs, step);
    json_t *found = output ? json_at(output, at ? at : "") : NULL;
    if (!found)
        return err_raise(-EINVAL, "%s: the output of step \"%s\" has nothing at this pointer", place->text, step);
    *out = json_incref(found);
    return 0;
}

static int resolve_array(json_t *array, json_t *outputs, struct json_place *place, json_t **out) {
    auto_json json_t *made = json_array();
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *item = NULL;
        json_place_index(place, i);
        int r = resolve(json_array_get(array, i), outputs, place, &item);
        json_place_pop(place);
        if (r < 0)
            return err_up(r);
        if (json_array_append_new(made, item) < 0)
            return err_raise(-ENOMEM, "%s: out of memory", place->text);
    }
    *out = take_ptr(&made);
    return 0;
}

static int resolve_object(json_t *object, json_t *outputs, struct json_place *place, json_t **out) {
    auto_json json_t *made = json_object();
    const char *key;
    json_t *member;
    json_object_foreach(object, key, member) {
        json_t *value = NULL;
        json_place_push(place, key);
        int r = resolve(member, outputs, place, &value);
        json_place_pop(place);
        if (r < 0)
            return err_up(r);
        if (json_object_set_new(made, key, value) < 0)
            return err_raise(-ENOMEM, "%s: out of memory", place->text);
    }
    *out = take_ptr(&made);
    return 0;
}

static int resolve(json_t *value, json_t *outputs, struct json_place *place, json_t **out) {
    if (json_object_get(value, "$from"))
        return resolve_ref(value, outputs, place, out);
    if (json_is_object(value))
        return resolve_object(value, outputs, place, out);
    if (json_is_array(value))
        return resolve_array(value, outputs, place, out);
    *out = json_incref(value);
    return 0;
}

int refs_resolve(json_t *args, json_t *outputs, const char *base, json_t **out) {
    struct json_place place = {0};
    (void)snprintf(place.text, sizeof place.text, "%s", base);
    json_t *made = NULL;
    int r = resolve(args, outputs, &place, &made);
    if (r < 0)
        return err_up(r);
    if (!made)
        return err_raise(-ENOMEM, "%s: out of memory", base);
    *out = made;
    return 0;
}
