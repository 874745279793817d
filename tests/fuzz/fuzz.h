/* What every fuzz target is: bytes in, nothing out; a broken promise ends the process (assert). libFuzzer calls it, or
 * replay.c does with the files of tests/data/fuzz/. To add a target: a file here, its line in meson.build, a folder of
 * first inputs in tests/data/fuzz/, and, if it has words of its own, a list in dictionary.c. */
#ifndef SOMA_TESTS_FUZZ_H
#define SOMA_TESTS_FUZZ_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A copy of exactly n bytes, so that a sanitizer sees one byte too far; the caller frees. */
static inline char *fuzz_copy(const void *bytes, size_t n) {
    char *p = malloc(n ? n : 1);
    assert(p);
    if (n)
        memcpy(p, bytes, n);
    return p;
}

#endif
