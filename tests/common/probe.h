/* What the tests of common/ share: cmocka with what it needs, and the count of open descriptors by which a test shows
 * that it ends with those it began with. */
#ifndef SOMA_TESTS_COMMON_PROBE_H
#define SOMA_TESTS_COMMON_PROBE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* Open descriptors of this process. */
static inline unsigned open_fds(void) {
    auto_dir DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    return n - 3; /* ".", ".." and the folder itself */
}

#endif
