/* Text in, text out. Results are cut to fit, at the end of a line for grep and at a character for head, and say so. */
#include "common/cleanup.h"
#include "common/json.h"
#include "toolcall/builtin_impl.h"
#include "toolcall/bytes.h"

#include <locale.h>
#include <regex.h>
#include <string.h>

#define ENVELOPE 96u        /* bytes of a result beside its text: keys, numbers, flags */
#define PATTERN_MAX 4096u   /* bytes: 1024 characters, which is what the manifest permits, at their longest */
#define MATCHES_DEFAULT 100 /* as the manifest says */
#define MATCHES_MAX 100000
#define LINES_DEFAULT 10
#define LINES_MAX 1000000

static size_t text_budget(const struct builtin_call *call) {
    return call->max_bytes > ENVELOPE ? call->max_bytes - ENVELOPE : 0;
}

struct grep {
    regex_t regex;
    int64_t max_matches, matches;
    size_t budget; /* left, of encoded text */
    char *found;   /* matching lines, each with its newline; as large as the text and one more */
    size_t found_n;
    bool truncated;
};

/* Keeps one matching line, or notes that it did not fit. After the first that did not, none is kept: a reader must be
 * able to trust that what is there is the beginning. */
static void grep_keep(struct grep *g, const char *line, size_t n) {
    size_t cost = bytes_json_length(line, n) + 2; /* the newline is two characters */
    g->matches++;
    if (g->truncated || g->matches > g->max_matches || cost > g->budget) {
        g->truncated = true;
        return;
    }
    memcpy(g->found + g->found_n, line, n);
    g->found[g->found_n + n] = '\n';
    g->found_n += n + 1;
    g->budget -= cost;
}

/* `text` is a private copy: lines are made strings in place, as regexec(3) wants them. */
static int grep_lines(const struct builtin_call *call, struct grep *g, char *text, size_t n) {
    for (char *line = text, *end = text + n; line < end;) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            stop = end; /* the terminator of the copy */
        *stop = '\0';
        int r = regexec(&g->regex, line, 0, NULL, 0);
        if (r != 0 && r != REG_NOMATCH)
            return tool_fail(call->failure, TOOL_TOOL_ERROR, "the search ran out of memory");
        if (r == 0)
            grep_keep(g, line, (size_t)(stop - line));
        line = stop + 1;
    }
    return 0;
}

static int grep_run(const struct builtin_call *call, struct grep *g, const char *text, size_t n, json_t **out) {
    auto_free char *copy = malloc(n + 1);
    auto_free char *found = malloc(n + 1);
    if (!copy || !found)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "out of memory");
    memcpy(copy, text, n);
    copy[n] = '\0';
    g->found = found;
    if (grep_lines(call, g, copy, n) != 0)
        return 1;
    return builtin_done(call,
                        json_pack("{s:s%, s:I, s:b}", "text", g->found, g->found_n, "match_count",
                                  (json_int_t)g->matches, "truncated", g->truncated),
                        out);
}

/* The pattern is compiled under C.UTF-8, so that `.` is a character and not a byte; the locale is put back at once. */
static int grep_compile(const struct builtin_call *call, struct grep *g, const char *pattern) {
    int r = regcomp(&g->regex, pattern, REG_EXTENDED | REG_NOSUB);
    if (r == 0)
        return 0;
    char why[96];
    (void)regerror(r, &g->regex, why, sizeof why);
    return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument pattern: %s", why);
}

int builtin_text_grep(const struct builtin_call *call, json_t **out) {
    const char *text, *pattern;
    size_t n, pattern_n;
    struct grep g = {.max_matches = MATCHES_DEFAULT, .budget = text_budget(call)};
    if (arg_text(call, "text", true, &text, &n) != 0 || arg_text(call, "pattern", true, &pattern, &pattern_n) != 0 ||
        arg_number(call, "max_matches", 0, MATCHES_MAX, &g.max_matches) != 0)
        return 1;
    if (pattern_n > PATTERN_MAX)
        return tool_fail(call->failure, TOOL_INVALID_ARGS, "argument pattern: longer than %u bytes", PATTERN_MAX);
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8 == (locale_t)0)
        return tool_fail(call->failure, TOOL_TOOL_ERROR, "the C library has no C.UTF-8 locale");
    locale_t before = uselocale(utf8);
    int r = grep_compile(call, &g, pattern);
    if (r == 0) {
        r = grep_run(call, &g, text, n, out);
        regfree(&g.regex);
    }
    (void)uselocale(before);
    freelocale(utf8);
    return r;
}

int builtin_text_head(const struct builtin_call *call, json_t **out) {
    const char *text;
    size_t n, at = 0;
    int64_t lines = LINES_DEFAULT;
    if (arg_text(call, "text", true, &text, &n) != 0 || arg_number(call, "lines", 0, LINES_MAX, &lines) != 0)
        return 1;
    for (; lines > 0 && at < n; lines--) {
        const char *stop = memchr(text + at, '\n', n - at);
        at = stop ? (size_t)(stop - text) + 1 : n;
    }
    at = bytes_json_prefix(text, at, text_budget(call));
    return builtin_done(call, json_pack("{s:s%, s:b}", "text", text, at, "truncated", at < n), out);
}
