/* A schema, a line end, an instance. Whatever the check lets through must be enforceable: validation ends, says the
 * same twice, and gives reasons that are text and begin with the place. */
#include "common/err.h"
#include "common/json.h"
#include "common/scan.h"
#include "common/schema.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define PLACE "/args"

static void validate(const json_t *schema, const json_t *value) {
    char why[200], again[200], small[8];
    int r = schema_validate(schema, value, PLACE, why, sizeof why);
    assert(r == 0 || r == 1);
    if (r == 1) {
        assert(strncmp(why, PLACE, strlen(PLACE)) == 0 && strlen(why) > strlen(PLACE));
        assert(scan_utf8(why, strlen(why)));
    }
    int s = schema_validate(schema, value, PLACE, again, sizeof again);
    assert(s == r && (r == 0 || strcmp(why, again) == 0));
    s = schema_validate(schema, value, PLACE, small, sizeof small);
    assert(s == r && (r == 0 || strlen(small) < sizeof small));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *text = (const char *)data, *end = n ? memchr(text, '\n', n) : NULL;
    size_t schema_n = end ? (size_t)(end - text) : n;
    auto_json json_t *schema = NULL, *value = NULL;
    if (json_parse(text, schema_n, JSON_TEXT_MAX, &schema) < 0)
        return 0;
    int r = schema_check(schema);
    assert(r == 0 || (r == -EINVAL && *err_text()));
    if (r == 0 && end && json_parse(end + 1, n - schema_n - 1, JSON_TEXT_MAX, &value) == 0)
        validate(schema, value);
    return 0;
}
