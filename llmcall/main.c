/* soma-llmcalls: the supervisor of LLM calls. It opens the file that a provider needs, a key or a script, and passes
 * the descriptor on unread: the key exists in the memory of the call alone. */
#include "common/cleanup.h"
#include "common/err.h"
#include "common/json.h"
#include "common/log.h"
#include "llmcall/llmcall.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <string.h>

static int boot(struct sup *sup) {
    json_init();
    return 0;
}

static const struct spec_provider *provider_of(const struct spec *spec, const char *name) {
    for (uint32_t i = 0; i < spec->n_providers; i++)
        if (strcmp(spec->providers[i].name, name) == 0)
            return &spec->providers[i];
    return NULL;
}

static int prepare(struct sup *sup, struct sup_spawn *spawn) {
    const struct spec_provider *provider = provider_of(spawn->start.spec, spawn->start.profile);
    if (!provider)
        return err_raise(-ENOENT, "no [provider \"%s\"] in the configuration", spawn->start.profile);
    const char *path = provider->kind == PROVIDER_SCRIPT ? provider->path : provider->key_file;
    if (!path[0])
        return 0;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) { /* the call says so itself: as `credentials` or `config`, in its event and to its actor */
        log_warn("event=provider_file provider=%s path=%s why=\"%s\"", provider->name, path, strerror(errno));
        return 0;
    }
    spawn->secret = fcntl(fd, F_DUPFD_CLOEXEC, SLOT__END);
    return spawn->secret < 0 ? err_raise(-errno, "descriptor of the provider's file") : 0;
}

static int on_refused(void *self, struct chan *from, struct msg *m) {
    log_warn("event=log_refused error=%s", m->refused.error);
    return 0;
}

static const struct accept accepts[] = {
    {MSG_REFUSED, M(EVENTLOG), 0, on_refused},
};

static const struct worker_kind workers[] = {
    {.role = &llmcall_role, .restart = TEMPORARY, .wires = M(EVENTLOG)},
};

static const struct kind kind = {
    .id = ROLE_LLMCALLS,
    .workers = workers,
    .n_workers = sizeof workers / sizeof *workers,
    .boot = boot,
    .prepare = prepare,
    .accepts = accepts,
    .n_accepts = sizeof accepts / sizeof *accepts,
};

int main(int argc, char **argv) {
    return sup_main(&kind, argc, argv);
}
