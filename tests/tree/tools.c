/* The programs are shell scripts: sh is on every machine that builds this. */
#include "tests/tree/tools.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct tool {
    const char *name, *arguments; /* separated by spaces; all strings */
    const char *effect;
    bool repeatable;
    const char *script;
};

static const struct tool tools[] = {
    {"note", "file", "state", false, "echo line >>\"$1\"; echo noted"},
    {"once", "file gate", "state", false, "echo line >>\"$1\"; read -r word <\"$2\"; echo \"$word\""},
    {"peek", "file gate", "reader", true, "echo line >>\"$1\"; read -r word <\"$2\"; echo \"$word\""},
    {"linger", "file", "reader", true, "echo line >>\"$1\"; exec sleep 10000"},
    {"daemons", "file", "reader", true,
     "trap '' TERM HUP INT\n"
     "( setsid sh -c 'sleep 10000 & sleep 10001' & ) &\n"
     "setsid sleep 10002 &\n"
     "echo line >>\"$1\"; sleep 10003"},
    {"late", "file seconds", "reader", true, "sleep \"$2\"; echo line >>\"$1\"; echo late"},
};

static void write_manifest(struct tree *t, const struct tool *tool) {
    char properties[512] = "", required[256] = "", command[256] = "", file[80];
    char names[64];
    (void)snprintf(names, sizeof names, "%s", tool->arguments);
    for (char *save = NULL, *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        size_t p = strlen(properties), r = strlen(required), c = strlen(command);
        (void)snprintf(properties + p, sizeof properties - p, "%s\"%s\": {\"type\": \"string\"}", p ? ", " : "", name);
        (void)snprintf(required + r, sizeof required - r, "%s\"%s\"", r ? ", " : "", name);
        (void)snprintf(command + c, sizeof command - c, ", \"{%s}\"", name);
    }
    (void)snprintf(file, sizeof file, "tools/%s.json", tool->name);
    tree_write(
        t, file,
        "{\"name\": \"%s\", \"description\": \"A tool of the tests.\", \"input_schema\": {\"type\": \"object\",\n"
        " \"properties\": {%s}, \"required\": [%s], \"additionalProperties\": false},\n"
        " \"effect\": \"%s\", \"idempotent\": %s, \"timeout\": \"60s\", \"command\": [\"/bin/sh\", \"%s/bin/%s\"%s],\n"
        " \"input\": \"argv\", \"output\": \"text\", \"sandbox\": {\"profile\": \"%s\"}}\n",
        tool->name, properties, required, tool->effect, tool->repeatable ? "true" : "false", t->dir, tool->name,
        command, strcmp(tool->effect, "state") == 0 ? "writer" : "reader");
}

void tools_write(struct tree *t) {
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        char file[80];
        write_manifest(t, &tools[i]);
        (void)snprintf(file, sizeof file, "bin/%s", tools[i].name);
        tree_write(t, file, "%s\n", tools[i].script);
    }
}

void tools_actor(struct tree *t, const char *script) {
    tree_write(t, "script.json", "%s", script);
    tree_write(
        t, "actors/helper.json",
        "{\"name\": \"helper\", \"description\": \"The actor of the tests.\", \"provider\": \"script\", \"model\": "
        "\"script\",\n \"system\": \"Help.\", \"tools\": [\"note\", \"once\", \"peek\", \"linger\"],\n"
        " \"budget\": {\"llm_calls\": 8, \"steps\": 8, \"timeout\": \"60s\"}, \"restart\": \"permanent\"}\n");
}

/* ---- gates ---- */

void gate_make(struct tree *t, const char *name) {
    CHECK(mkfifo(tree_path(t, name), 0600) == 0, "%s", name);
    CHECK(chmod(tree_path(t, name), 0666) == 0, "%s", name);
}

/* Opened for both ways, a FIFO needs nobody at the other end: fifo(7). */
int gate_open(struct tree *t, const char *name) {
    int fd = open(tree_path(t, name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    CHECK(fd >= 0, "%s", name);
    CHECK(write(fd, "open\n", 5) == 5, "%s", name);
    return fd;
}
