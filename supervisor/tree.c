/* All start-up and wiring reads top to bottom in tree_start(). A child may ask only those that start before it, so the
 * wires of one child are complete when it begins, and rest_for_one keeps them valid for its life. */
#include "supervisor/tree.h"

#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"
#include "supervisor/spawn.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct child_spec tree[TREE_CHILDREN] = {
    {ROLE_EVENTLOG, "eventlog", "soma-eventlog", false, 0},
    {ROLE_REGISTRY, "registry", "soma-registry", false, M(EVENTLOG)},
    {ROLE_TOOLCALLS, "toolcall", "soma-toolcalls", true, M(EVENTLOG)},
    {ROLE_LLMCALLS, "llmcall", "soma-llmcalls", true, M(EVENTLOG)},
    {ROLE_RUNS, "run", "soma-runs", true, M(EVENTLOG) | M(TOOLCALLS) | M(LLMCALLS)},
    {ROLE_ACTORS, "actor", "soma-actors", true, M(EVENTLOG) | M(REGISTRY) | M(LLMCALLS) | M(RUNS)},
    {ROLE_GATEWAY, "gateway", "soma-gateway", false,
     M(EVENTLOG) | M(REGISTRY) | M(TOOLCALLS) | M(LLMCALLS) | M(RUNS) | M(ACTORS)},
};

int tree_program(const char *room, const char *program, char out[SPEC_PATH]) {
    char dir[SPEC_PATH];
    ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
    if (n <= 0)
        return err_raise(-errno, "readlink /proc/self/exe");
    dir[n] = 0;
    *strrchr(dir, '/') = 0;
    for (int i = 0; i < 3; i++) {
        char path[2 * SPEC_PATH];
        int len = i == 1 ? snprintf(path, sizeof path, "%s/../%s/%s", dir, room, program)
                         : snprintf(path, sizeof path, i == 0 ? "%s/%s" : "%s/../libexec/soma/%s", dir, program);
        if (len < (int)SPEC_PATH && access(path, X_OK) == 0) {
            memcpy(out, path, (size_t)len + 1);
            return 0;
        }
    }
    return err_raise(-ENOENT, "%s is not beside this program, nor in ../%s, nor in ../libexec/soma", program, room);
}

static int index_of(enum role_id role) {
    for (uint32_t i = 0; i < TREE_CHILDREN; i++)
        if (tree[i].role == role)
            return (int)i;
    return -1;
}

/* One endpoint from the new child to a server that already runs: its end introduced there, the other handed out. */
static int connect_one(struct tree_child *children, struct tree_child *child, enum role_id self, enum role_id to) {
    struct tree_child *server = &children[index_of(to)];
    int pair[2];
    int r = chan_pair(to == ROLE_EVENTLOG ? CHAN_STREAM : CHAN_SEQPACKET, pair);
    if (r < 0)
        return err_up(r);
    auto_close int theirs = pair[0], ours = pair[1];
    struct msg_introduce introduce = {.role = role_name(self), .pid = child->host_pid, .generation = child->generation};
    r = chan_send_fds(server->control, MSG_INTRODUCE, &introduce, &theirs, 1);
    if (r < 0)
        return err_up(r);
    return chan_send_fds(child->control, MSG_WIRE, &(struct msg_wire){.to = role_name(to)}, &ours, 1);
}

static int wire_all(struct tree_child *children, struct tree_child *child, const struct child_spec *spec) {
    for (uint32_t i = 0; i < TREE_CHILDREN; i++) {
        if (!(spec->wires & UINT32_C(1) << tree[i].role))
            continue;
        int r = connect_one(children, child, spec->role, tree[i].role);
        if (r < 0)
            return err_up(r);
    }
    return 0;
}

int tree_start(struct role_ctx *ctx, struct tree_child children[TREE_CHILDREN], uint32_t index, uint32_t generation,
               int spec_fd, int extra_fd) {
    const struct child_spec *spec = &tree[index];
    struct tree_child *child = &children[index];
    char path[SPEC_PATH];
    int link[2];
    int r = tree_program(spec->room, spec->program, path);
    if (r == 0)
        r = chan_pair(CHAN_STREAM, link);
    if (r < 0)
        return err_up(r);
    auto_close int ours = link[0], theirs = link[1];
    struct spawned spawned;
    r = spawn_exec(path, spec->program, theirs, spec->supervisor, spec->supervisor && !ctx->spec->privileged, &spawned);
    if (r < 0)
        return err_up(r);
    child->pid = spawned.pid;
    child->host_pid = spawned.host_pid;
    child->generation = generation;
    child->started_ms = now_ms();
    struct peer peer = {.role = spec->role, .pid = spawned.host_pid, .generation = generation};
    chan_close(child->control);
    child->control = role_chan(ctx, take_fd(&ours), CHAN_STREAM, &peer, FRAME_CONTROL_MAX);
    r = child->control ? wire_all(children, child, spec) : -ENOMEM;
    int fds[2] = {spec_fd, extra_fd};
    struct msg_begin begin = {.generation = generation};
    if (r == 0)
        r = chan_send_fds(child->control, MSG_BEGIN, &begin, fds, extra_fd >= 0 ? 2 : 1);
    if (r < 0) { /* it lives, half wired: its end is an exit like any other */
        log_warn("event=wiring_failed child=%s why=\"%s\"", spec->program, err_text());
        (void)kill(child->pid, SIGKILL);
    }
    return 0;
}
