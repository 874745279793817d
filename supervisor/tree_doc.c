/* Prints the table "what dies with what" of docs/ARCHITECTURE.md from the child specs. A test compares. */
#include "supervisor/tree.h"

#include <stdio.h>

static const char *workers_of(enum role_id role) {
    switch (role) {
    case ROLE_TOOLCALLS:
        return "every tool call, with all processes in its scope";
    case ROLE_LLMCALLS:
        return "every LLM call";
    case ROLE_RUNS:
        return "every run";
    case ROLE_ACTORS:
        return "every actor and session";
    default:
        return "nothing else";
    }
}

static void print_from(uint32_t first) {
    for (uint32_t i = first; i < TREE_CHILDREN; i++)
        printf("%s%s", i == first ? "" : ", ", role_name(tree[i].role));
}

int main(void) {
    printf("| when this dies | dies with it, by the kernel | is then restarted, in this order | may ask |\n");
    printf("|---|---|---|---|\n");
    for (uint32_t i = 0; i < TREE_CHILDREN; i++) {
        printf("| %s | %s | ", role_name(tree[i].role), workers_of(tree[i].role));
        print_from(i);
        printf(" | ");
        bool any = false;
        for (uint32_t k = 0; k < i; k++)
            if (tree[i].wires & UINT32_C(1) << tree[k].role) {
                printf("%s%s", any ? ", " : "", role_name(tree[k].role));
                any = true;
            }
        printf("%s |\n", any ? "" : "–");
    }
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
