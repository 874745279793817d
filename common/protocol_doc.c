/* Prints docs/PROTOCOL.md's catalogue from msg.def. `scripts/protocol-doc` puts it into the file; a test compares. */
#include "common/msg.h"

#include <stdio.h>

static void print_roles(uint32_t set) {
    bool first = true;
    for (int i = 0; i < ROLE__COUNT; i++)
        if (set & UINT32_C(1) << i) {
            printf("%s%s", first ? "" : ", ", role_name((enum role_id)i));
            first = false;
        }
}

static void print_limits(const struct field_info *f) {
    switch (f->type) {
    case FIELD_STR:
        printf("text, ≤ %zu bytes", f->max_bytes);
        break;
    case FIELD_INT:
        printf("integer, %lld to %lld", (long long)f->min, (long long)f->max);
        break;
    case FIELD_BOOL:
        printf("boolean");
        break;
    case FIELD_JSON:
        printf("any JSON, ≤ %zu bytes", f->max_bytes);
        break;
    }
}

static void print_message(const struct msg_info *info) {
    printf("### %s\n\n%s.\n\n", info->name, info->doc);
    printf("From ");
    print_roles(info->from);
    printf(" to ");
    print_roles(info->to);
    if (info->fds_max)
        printf("; carries %u to %u descriptors", info->fds_min, info->fds_max);
    printf(".\n\n");
    const struct field_info *rows = info->fields();
    if (!rows->name)
        return;
    printf("| member | type | needed | meaning |\n|---|---|---|---|\n");
    for (const struct field_info *f = rows; f->name; f++) {
        printf("| `%s` | ", f->name);
        print_limits(f);
        printf(" | %s | %s |\n", f->required ? "yes" : "no", f->doc);
    }
    printf("\n");
}

int main(void) {
    for (int i = 0; i < MSG__COUNT; i++)
        print_message(msg_info((enum msg_type)i));
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
