/* Raw capset(2) and prctl(2): everything is dropped, never chosen, so no library is needed. */
#include "common/profile.h"

#include "common/err.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

int capabilities_drop(void) {
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* EINVAL only on kernels before 4.3 */
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EPERM) /* EPERM: none to drop, we are no one special */
            return err_raise(-errno, "drop capability %d", cap);
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    if (syscall(SYS_capset, &head, none) < 0)
        return err_raise(-errno, "capset");
    return 0;
}

static int limit(int what, uint64_t most, const char *name) {
    struct rlimit now;
    if (getrlimit(what, &now) < 0)
        return err_raise(-errno, "getrlimit %s", name);
    rlim_t v = now.rlim_max != RLIM_INFINITY && now.rlim_max < most ? now.rlim_max : (rlim_t)most;
    struct rlimit want = {v, v};
    if (setrlimit(what, &want) < 0)
        return err_raise(-errno, "setrlimit %s", name);
    return 0;
}

uint64_t nofile_raise(void) {
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) < 0)
        return 1024;
    now.rlim_cur = now.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &now); /* raising soft to hard needs no right; the number in force is returned */
    return getrlimit(RLIMIT_NOFILE, &now) < 0 ? 1024 : (uint64_t)now.rlim_cur;
}

int profile_apply(const struct profile *profile) {
    (void)umask(077);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_raise(-errno, "no_new_privs");
    int r = limit(RLIMIT_CORE, 0, "core");
    if (r == 0 && !SANITIZED)
        r = limit(RLIMIT_DATA, profile->data_bytes ? profile->data_bytes : UINT64_C(1) << 30, "data");
    if (r == 0 && !profile->keep_capabilities)
        r = capabilities_drop();
    if (r == 0 && profile->secret && prctl(PR_SET_DUMPABLE, 0) < 0)
        r = err_raise(-errno, "make non-dumpable");
    return r;
}
