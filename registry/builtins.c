/* Tools that come with soma, as the manifests a person would write. To add a built-in, start here; its code is in
 * toolcall/. Two habits: alternatives between arguments ("text or base64") stay out of the schema, since model
 * providers refuse anyOf at the top of a tool's schema, and the tool itself answers invalid_args; and every manifest
 * names its effect, idempotence and profile, since an alias of a built-in is compared with them (registry/manifest.c).
 */
#include "registry/builtins.h"

#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/json.h"

#define PATH "{\"type\":\"string\",\"minLength\":1,\"maxLength\":4096,\"description\":"

static const char *const texts[] = {
    "{\"name\":\"echo\",\"description\":\"Gives back the object it is given.\","
    "\"input_schema\":{\"type\":\"object\"},"
    "\"effect\":\"pure\",\"idempotent\":true,\"timeout\":\"10s\",\"builtin\":\"echo\","
    "\"sandbox\":{\"profile\":\"pure\"}}",

    "{\"name\":\"sleep\",\"description\":\"Waits for some milliseconds, at most one day.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"ms\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":86400000,\"description\":\"How long, in milliseconds.\"}},"
    "\"required\":[\"ms\"],\"additionalProperties\":false},"
    "\"effect\":\"pure\",\"idempotent\":true,\"timeout\":\"25h\",\"builtin\":\"sleep\","
    "\"sandbox\":{\"profile\":\"pure\"}}",

    "{\"name\":\"fail\",\"description\":\"Fails on purpose: reports an error, crashes, or hangs until its timeout.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"mode\":{\"type\":\"string\",\"enum\":[\"error\",\"crash\",\"hang\"],\"description\":\"How to fail.\"},"
    "\"message\":{\"type\":\"string\",\"maxLength\":1024,\"description\":\"What mode error reports.\"}},"
    "\"required\":[\"mode\"],\"additionalProperties\":false},"
    "\"effect\":\"pure\",\"idempotent\":true,\"timeout\":\"30s\",\"builtin\":\"fail\","
    "\"sandbox\":{\"profile\":\"pure\"}}",

    "{\"name\":\"file_read\",\"description\":\"Reads a file below a granted folder: text when it is UTF-8, else "
    "base64, "
    "with its size and whether the answer was cut.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"path\":" PATH "\"Absolute, or relative to a granted folder.\"},"
    "\"offset\":{\"type\":\"integer\",\"minimum\":0,\"description\":\"Byte to start at; 0 when not given.\"},"
    "\"max_bytes\":{\"type\":\"integer\",\"minimum\":0,\"description\":\"Most bytes to read.\"}},"
    "\"required\":[\"path\"],\"additionalProperties\":false},"
    "\"effect\":\"reader\",\"idempotent\":true,\"timeout\":\"30s\",\"builtin\":\"file_read\","
    "\"sandbox\":{\"profile\":\"reader\",\"limits\":{\"processes\":8}}}",

    "{\"name\":\"file_list\",\"description\":\"Lists a folder below a granted one: path, type and size of each "
    "entry.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"path\":" PATH "\"The folder; absolute, or relative to a granted folder.\"},"
    "\"glob\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":1024,\"description\":\"Only names that match, as "
    "*.c\"},"
    "\"recursive\":{\"type\":\"boolean\",\"description\":\"Folders below it too; false when not given.\"}},"
    "\"required\":[\"path\"],\"additionalProperties\":false},"
    "\"effect\":\"reader\",\"idempotent\":true,\"timeout\":\"30s\",\"builtin\":\"file_list\","
    "\"sandbox\":{\"profile\":\"reader\",\"limits\":{\"processes\":8}}}",

    "{\"name\":\"file_write\",\"description\":\"Writes a file below a folder granted for writing. Give its content as "
    "text "
    "or as base64, not both.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"path\":" PATH "\"Absolute, or relative to a granted folder.\"},"
    "\"text\":{\"type\":\"string\",\"description\":\"The content, as UTF-8 text.\"},"
    "\"base64\":{\"type\":\"string\",\"description\":\"The content, as base64.\"},"
    "\"mode\":{\"type\":\"string\",\"enum\":[\"create\",\"replace\",\"append\"],"
    "\"description\":\"create: the file must not exist; replace: as a whole; append: at its end.\"}},"
    "\"required\":[\"path\",\"mode\"],\"additionalProperties\":false},"
    "\"effect\":\"state\",\"idempotent\":false,\"timeout\":\"30s\",\"builtin\":\"file_write\","
    "\"sandbox\":{\"profile\":\"writer\",\"limits\":{\"memory_bytes\":268435456,\"processes\":8}}}",

    "{\"name\":\"text_grep\",\"description\":\"Gives the lines of a text that match a POSIX extended regular "
    "expression.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"text\":{\"type\":\"string\",\"description\":\"Where to look.\"},"
    "\"pattern\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":1024,\"description\":\"What to look for.\"},"
    "\"max_matches\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":100000,"
    "\"description\":\"Most lines to give; 100 when not given.\"}},"
    "\"required\":[\"text\",\"pattern\"],\"additionalProperties\":false},"
    "\"effect\":\"pure\",\"idempotent\":true,\"timeout\":\"10s\",\"builtin\":\"text_grep\","
    "\"sandbox\":{\"profile\":\"pure\"}}",

    "{\"name\":\"text_head\",\"description\":\"Gives the first lines of a text.\","
    "\"input_schema\":{\"type\":\"object\",\"properties\":{"
    "\"text\":{\"type\":\"string\",\"description\":\"The text.\"},"
    "\"lines\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":1000000,"
    "\"description\":\"How many lines; 10 when not given.\"}},"
    "\"required\":[\"text\"],\"additionalProperties\":false},"
    "\"effect\":\"pure\",\"idempotent\":true,\"timeout\":\"10s\",\"builtin\":\"text_head\","
    "\"sandbox\":{\"profile\":\"pure\"}}",
};

const char *builtins_text(size_t i) {
    return i < sizeof texts / sizeof *texts ? texts[i] : NULL;
}

int builtins_manifest(const char *name, json_t **out) {
    for (size_t i = 0; builtins_text(i); i++) {
        auto_json json_t *doc = NULL;
        int r = json_parse(texts[i], strlen(texts[i]), JSON_TEXT_MAX, &doc);
        if (r < 0)
            return err_up(r);
        if (strcmp(json_str(doc, "name"), name) == 0) {
            *out = json_incref(doc);
            return 0;
        }
    }
    return err_raise(-ENOENT, "no such built-in");
}
