/* Prints a target's words in libFuzzer's form: the catalogue for messages, the names of members elsewhere. */
#include "common/msg.h"

#include <stdio.h>
#include <string.h>

static const char *const json_words[] = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "null",
                                         "true",
                                         "false",
                                         "\\u",
                                         "\\ud83c\\udf31",
                                         "\\u0000",
                                         "1e999",
                                         "9223372036854775807",
                                         "-0",
                                         NULL};
static const char *const schema_words[] = {"type",      "properties",  "required",  "additionalProperties",
                                           "items",     "enum",        "const",     "minimum",
                                           "maximum",   "minLength",   "maxLength", "minItems",
                                           "maxItems",  "uniqueItems", "anyOf",     "$ref",
                                           "#/$defs/a", "$defs",       "title",     "description",
                                           "default",   "object",      "integer",   "number",
                                           "string",    "array",       "boolean",   NULL};
static const char *const plan_words[] = {"name", "steps",   "id",        "tool",       "args", "timeout", "retry",
                                         "max",  "backoff", "$from",     "at",         "path", "n",       "/a/0",
                                         "5s",   "echo",    "file_read", "file_write", NULL};

/* A word of the dictionary; `quoted` as a JSON string. */
static void word(const char *text, int quoted) {
    printf("\"%s", quoted ? "\\\"" : "");
    for (; *text; text++)
        printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    printf("%s\"\n", quoted ? "\\\"" : "");
}

static void words(const char *const *list, int quoted) {
    for (; *list; list++)
        word(*list, quoted);
}

static void catalogue(void) {
    for (int i = 0; i < MSG__COUNT; i++) {
        word(msg_name((enum msg_type)i), 1);
        for (const struct field_info *f = msg_info((enum msg_type)i)->fields(); f->name; f++)
            word(f->name, 1);
    }
    for (int i = 0; i < ROLE__COUNT; i++)
        word(role_name((enum role_id)i), 1);
    word("msg", 1);
}

int main(int argc, char **argv) {
    const char *target = argc == 2 ? argv[1] : "";
    words(json_words, 0);
    if (strcmp(target, "msg") == 0)
        catalogue();
    else if (strcmp(target, "schema") == 0)
        words(schema_words, 1);
    else if (strcmp(target, "plan") == 0)
        words(plan_words, 1);
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
