/* memfd_create(2), F_ADD_SEALS in fcntl(2). */
#include "common/spec.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

void spec_defaults(struct spec *spec) {
    *spec = (struct spec){
        .magic = SPEC_MAGIC,
        .size = sizeof *spec,
        .tool_uid = 64998,
        .tool_gid = 64998,
        .restart_intensity = 5,
        .restart_period = 60000,
        .backoff = 100,
        .backoff_max = 30000,
        .stable = 10000,
        .start = 10000,
        .stop = 5000,
        .cancel_timeout = 2000,
        .orphan_timeout = 60000,
        .step_timeout = 60000,
        .run_timeout = 600000,
        .max_workers = 4096,
        .max_clients = 256,
    };
}

int memfd_seal(const char *name, const void *bytes, size_t n) {
    auto_close int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_raise(-errno, "memfd_create");
    for (size_t at = 0; at < n;) {
        ssize_t w = write(fd, (const char *)bytes + at, n - at);
        if (w < 0 && errno != EINTR)
            return err_raise(-errno, "write a memfd of %zu bytes", n);
        at += w > 0 ? (size_t)w : 0;
    }
    if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return err_raise(-errno, "seal a memfd");
    return take_fd(&fd);
}

static int sealed_size(int fd, size_t *n) {
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_WRITE)) != (F_SEAL_SHRINK | F_SEAL_WRITE))
        return err_raise(-EPERM, "a descriptor that is no sealed memfd");
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_raise(-errno, "fstat of a memfd");
    *n = (size_t)st.st_size;
    return 0;
}

int memfd_read(int fd, size_t max, char **out, size_t *n) {
    size_t size;
    int r = sealed_size(fd, &size);
    if (r < 0)
        return err_up(r);
    if (size > max)
        return err_raise(-EMSGSIZE, "a document of %zu bytes, %zu are allowed", size, max);
    auto_free char *text = malloc(size + 1);
    if (!text)
        return err_raise(-ENOMEM, "a document of %zu bytes", size);
    for (size_t at = 0; at < size;) {
        ssize_t got = pread(fd, text + at, size - at, (off_t)at);
        if (got <= 0)
            return err_raise(got < 0 ? -errno : -EIO, "read a memfd");
        at += (size_t)got;
    }
    text[size] = 0;
    *n = size;
    *out = take_ptr(&text);
    return 0;
}

int spec_seal(const struct spec *spec) {
    return memfd_seal("soma-spec", spec, sizeof *spec);
}

int spec_map(int fd, const struct spec **out) {
    size_t n = 0;
    int r = sealed_size(fd, &n);
    if (r < 0)
        return err_up(r);
    if (n != sizeof(struct spec))
        return err_raise(-EPROTO, "specification of another build");
    const struct spec *spec = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (spec == MAP_FAILED)
        return err_raise(-errno, "map the specification");
    if (spec->magic != SPEC_MAGIC || spec->size != n)
        return err_raise(-EPROTO, "specification of another build");
    *out = spec;
    return 0;
}
