/* The dull half of reading a definition: keys against a table, types, names, and error texts that carry the place. What
 * a key means is in manifest*.c. Texts never quote the document, only the place: they are shown on terminals. */
#include "registry/fields.h"

#include <stdio.h>
#include <string.h>

json_t *field_mutable(const json_t *value) {
    union {
        const json_t *in;
        json_t *out;
    } u = {.in = value};
    return u.out;
}

const char *field_type(const json_t *value) {
    static const char *const names[] = {
        [JSON_OBJECT] = "object", [JSON_ARRAY] = "array",  [JSON_STRING] = "string", [JSON_INTEGER] = "integer",
        [JSON_REAL] = "number",   [JSON_TRUE] = "boolean", [JSON_FALSE] = "boolean", [JSON_NULL] = "null",
    };
    return value ? names[json_typeof(value)] : "nothing";
}

/* "name, description, …" for the refusal of an unknown key. */
static void list_keys(const struct field *table, size_t rows, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < rows && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", table[i].key);
}

static const struct field *find_row(const struct field *table, size_t rows, const char *key) {
    for (size_t i = 0; i < rows; i++)
        if (strcmp(table[i].key, key) == 0)
            return &table[i];
    return NULL;
}

static int refuse_unknown(struct fields *f, const json_t *obj, const struct field *table, size_t rows) {
    const char *key;
    json_t *value;
    char known[200];
    json_object_foreach(field_mutable(obj), key, value) {
        if (find_row(table, rows, key))
            continue;
        list_keys(table, rows, known, sizeof known);
        return field_refuse_at(f, key, "unknown key; known are %s", known);
    }
    return 0;
}

int fields_read(struct fields *f, const json_t *obj, const struct field *table, size_t rows) {
    if (!json_is_object(obj))
        return field_refuse(f, "expected object, got %s", field_type(obj));
    int r = refuse_unknown(f, obj, table, rows);
    for (size_t i = 0; i < rows && r == 0; i++) {
        const json_t *value = json_object_get(obj, table[i].key);
        if (!value && table[i].required)
            return field_refuse_at(f, table[i].key, "required, but missing");
        if (!value)
            continue;
        json_place_push(&f->place, table[i].key);
        r = table[i].read(f, table[i].key, value);
        json_place_pop(&f->place);
    }
    return err_up(r);
}

int fields_put(struct fields *f, const char *key, json_t *value) {
    return json_object_set_new(f->normal, key, value) < 0 ? err_raise(-ENOMEM, "definition: out of memory") : 0;
}

int field_copy(struct fields *f, const char *key, const json_t *value) {
    return fields_put(f, key, json_incref(field_mutable(value)));
}

int field_is_string(struct fields *f, const json_t *value) {
    if (!json_is_string(value))
        return field_refuse(f, "expected string, got %s", field_type(value));
    if (strlen(json_string_value(value)) != json_string_length(value))
        return field_refuse(f, "holds a NUL character, which no program can be given; remove it");
    return 0;
}

int field_string(struct fields *f, const char *key, const json_t *value) {
    int r = field_is_string(f, value);
    return r < 0 ? err_up(r) : field_copy(f, key, value);
}

int field_is_one_of(struct fields *f, const json_t *value, const char *const *names, size_t n) {
    char known[128] = "";
    size_t used = 0;
    int r = field_is_string(f, value);
    if (r < 0)
        return err_up(r);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], json_string_value(value)) == 0)
            return 0;
        if (used < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", names[i]);
    }
    return field_refuse(f, "expected one of %s", known);
}

bool field_name_valid(const char *name) {
    size_t n = strlen(name);
    return n >= 1 && n <= 63 && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

int field_name(struct fields *f, const char *key, const json_t *value) {
    int r = field_is_string(f, value);
    if (r < 0)
        return err_up(r);
    if (!field_name_valid(json_string_value(value)))
        return field_refuse(f, "not a name: a small letter, then up to 62 small letters, digits, '_' or '-'");
    return field_copy(f, key, value);
}

int field_boolean(struct fields *f, const char *key, const json_t *value) {
    return json_is_boolean(value) ? field_copy(f, key, value)
                                  : field_refuse(f, "expected boolean, got %s", field_type(value));
}

int field_timeout(struct fields *f, const char *key, const json_t *value) {
    int r = field_is_string(f, value);
    if (r < 0)
        return err_up(r);
    int64_t ms = json_duration_ms(json_string_value(value));
    if (ms == -ERANGE)
        return field_refuse(f, "above 30 days; every timeout is bounded");
    if (ms < 0)
        return field_refuse(f, "expected a duration: digits and one unit of ms, s, m, h, as in \"30s\"");
    if (ms == 0)
        return field_refuse(f, "a timeout of nothing lets nothing run; give at least \"1ms\"");
    return fields_put(f, "timeout_ms", json_integer(ms));
}

int field_each_string(struct fields *f, const json_t *list, int (*each)(struct fields *f, const char *text)) {
    size_t i;
    json_t *element;
    if (!json_is_array(list))
        return field_refuse(f, "expected an array of strings, got %s", field_type(list));
    if (json_array_size(list) > FIELD_LIST_MAX)
        return field_refuse(f, "more than %u elements", FIELD_LIST_MAX);
    json_array_foreach(list, i, element) {
        json_place_index(&f->place, i);
        int r = field_is_string(f, element);
        if (r == 0 && json_string_length(element) > FIELD_TEXT_MAX)
            r = field_refuse(f, "longer than %u bytes", FIELD_TEXT_MAX);
        if (r == 0)
            r = each(f, json_string_value(element));
        json_place_pop(&f->place);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}
