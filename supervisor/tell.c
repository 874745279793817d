/* Every sentence a supervisor says about a worker, in one place. Frames are small and rare; they are written at once
 * to a socket nobody else writes, so nothing is queued here. */
#include "supervisor/internal.h"

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/log.h"

#include <string.h>

static int write_message(int fd, enum msg_type type, const void *body, const int *fds, unsigned n_fds) {
    auto_buf struct buf text = BUF_NULL(FRAME_CONTROL_MAX);
    int r = msg_encode(type, body, &text);
    return r < 0 ? r : frame_write_once(fd, text.p, text.n, fds, n_fds);
}

int sup_refuse(int monitor, const char *id, const char *reason, const char *why) {
    struct msg_down down = {.id = id, .reason = reason, .why = why};
    return write_message(monitor, MSG_DOWN, &down, NULL, 0);
}

static int64_t micros(struct timeval t) {
    return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

void sup_tell_down(struct worker *worker, const struct ended *end, const char *reason) {
    struct msg_down down = {
        .id = worker->start.id,
        .reason = reason,
        .pid = worker->host_pid,
        .generation = worker->start.generation,
        .code = end->code,
        .signal = end->signal,
        .core = end->core,
        .user_us = micros(end->usage.ru_utime),
        .system_us = micros(end->usage.ru_stime),
        .maxrss_kb = end->usage.ru_maxrss,
    };
    if (worker->monitor >= 0) /* EPIPE: the owner is gone, and its successor asks by `attach` */
        (void)write_message(worker->monitor, MSG_DOWN, &down, NULL, 0);
    worker->monitor = fd_close(worker->monitor);
    while (worker->n_watchers) {
        int fd = worker->watchers[--worker->n_watchers];
        (void)write_message(fd, MSG_DOWN, &down, NULL, 0);
        (void)fd_close(fd);
    }
}

void sup_tell_up(struct worker *worker, int link) {
    struct msg_up up = {.id = worker->start.id, .generation = worker->start.generation};
    if (worker->monitor >= 0)
        (void)write_message(worker->monitor, MSG_UP, &up, &link, 1);
}

void sup_log_worker(struct sup *sup, const struct worker *worker, const char *type, const struct ended *end) {
    auto_buf struct buf data = BUF_NULL(FRAME_CONTROL_MAX);
    (void)buf_printf(&data, "{\"role\":\"%s\",\"id\":\"%s\",\"generation\":%u,\"pid\":%d",
                     role_name(worker->start.role), worker->start.id, worker->start.generation, worker->host_pid);
    if (end)
        (void)buf_printf(&data, ",\"%s\":%d,\"core\":%s,\"user_us\":%lld,\"system_us\":%lld,\"maxrss_kb\":%ld",
                         end->signal ? "signal" : "code", end->signal ? end->signal : end->code,
                         end->core ? "true" : "false", (long long)micros(end->usage.ru_utime),
                         (long long)micros(end->usage.ru_stime), end->usage.ru_maxrss);
    (void)buf_addz(&data, "}");
    struct msg_append event = {.type = type, .data = {data.p, data.n}};
    if (worker->start.run[0])
        event.run = worker->start.run;
    if (buf_failed(&data) || role_event(sup->ctx, &event, false) < 0)
        log_warn("event=unlogged type=%s id=%s", type, worker->start.id);
}

int sup_introduce(struct sup *sup, const struct worker *worker, enum role_id to, int fd, int grants) {
    const struct worker_start *start = &worker->start;
    bool call = start->role == ROLE_TOOLCALL || start->role == ROLE_LLMCALL;
    struct msg_introduce m = {
        .role = role_name(start->role),
        .run = start->run[0] ? start->run : NULL,
        .actor = start->actor[0] ? start->actor : NULL,
        .call = call ? start->id : NULL,
        .pid = worker->host_pid,
        .generation = start->generation,
    };
    int fds[2] = {fd, grants};
    return chan_send_fds(sup->ctx->wire[to], MSG_INTRODUCE, &m, fds, grants >= 0 ? 2 : 1);
}
