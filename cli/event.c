/* Ids share their first characters, which are the clock; people tell them apart by the end. */
#include "cli/event.h"

#include "cli/text.h"
#include "common/cleanup.h"
#include "common/ids.h"
#include "common/json.h"

#include <string.h>
#include <time.h>

#define TAIL 8u /* characters of an id that are shown after its letter */

void event_clock(int64_t ts_ns, int with_date, char out[40]) {
    time_t s = (time_t)(ts_ns / 1000000000);
    struct tm tm;
    char text[32] = "?";
    if (localtime_r(&s, &tm))
        (void)strftime(text, sizeof text, with_date ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &tm);
    (void)snprintf(out, 40, "%s.%03d", text, (int)(ts_ns / 1000000 % 1000));
}

static void add_id(struct buf *out, const json_t *record, const char *member) {
    const char *id = json_str(record, member);
    if (!id)
        return;
    if (out->n)
        (void)buf_addz(out, " ");
    if (id_valid(id, '\0'))
        (void)buf_printf(out, "%.2s..%s", id, id + ID_LEN - TAIL);
    else
        (void)text_escape(out, TEXT_LINE, id, strlen(id));
}

void event_subject(const json_t *record, struct buf *out) {
    static const char *const members[] = {"actor", "task", "run", "step", "call"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        add_id(out, record, members[i]);
}

void event_data(const json_t *record, size_t max, struct buf *out) {
    auto_free char *text = NULL;
    size_t n;
    const json_t *data = json_object_get(record, "data");
    if (json_object_size(data) == 0 || json_text(data, JSON_TEXT_MAX, &text, &n) < 0)
        return;
    size_t cut = n > max ? json_utf8_floor(text, max) : n;
    (void)text_escape(out, TEXT_JSON, text, cut);
    if (cut < n)
        (void)buf_printf(out, "... (%zu bytes)", n);
}
