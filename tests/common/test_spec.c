/* Sealed documents: what was handed over cannot change under the reader, or is refused. */
#include "tests/common/probe.h"

#include "common/err.h"
#include "common/spec.h"

#include <fcntl.h>
#include <sys/mman.h>

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void test_spec_round_trip(void **state) {
    (void)state;
    static struct spec spec;
    spec_defaults(&spec);
    (void)snprintf(spec.state_dir, sizeof spec.state_dir, "/somewhere");
    spec.n_providers = 1;
    auto_close int fd = spec_seal(&spec);
    assert_true(fd >= 0);
    const struct spec *mapped = NULL;
    assert_int_equal(spec_map(fd, &mapped), 0);
    assert_memory_equal(mapped, &spec, sizeof spec);
    spec.n_providers = 2; /* the copy is a copy */
    assert_int_equal(mapped->n_providers, 1);
    assert_int_equal(munmap((void *)(uintptr_t)mapped, sizeof spec), 0);
}

static void test_sealed_means_sealed(void **state) {
    (void)state;
    auto_close int fd = memfd_seal("x", "abc", 3);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), ALL_SEALS);
    assert_true(pwrite(fd, "z", 1, 0) < 0 && errno == EPERM);
    assert_true(ftruncate(fd, 1) < 0 && errno == EPERM);
    assert_true(ftruncate(fd, 100) < 0 && errno == EPERM);
    assert_true(mmap(NULL, 3, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/* A memfd of n bytes with these seals; `spec` (may be NULL) is written first. */
static int made(size_t n, int seals, const struct spec *spec) {
    int fd = memfd_create("made", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    if (spec)
        assert_int_equal(write(fd, spec, sizeof *spec), sizeof *spec);
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void test_spec_refusals(void **state) {
    (void)state;
    static struct spec good, foreign, other_size;
    spec_defaults(&good);
    foreign = other_size = good;
    foreign.magic ^= 1;
    other_size.size--;
    const struct {
        size_t n;
        int seals;
        const struct spec *spec;
        int code;
    } cases[] = {
        {sizeof good, ALL_SEALS, &good, 0},
        {sizeof good, F_SEAL_SHRINK | F_SEAL_WRITE, &good, 0},
        {sizeof good, F_SEAL_SHRINK, &good, -EPERM},
        {sizeof good, F_SEAL_WRITE, &good, -EPERM},
        {sizeof good, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE, &good, -EPERM}, /* a writable map made before still writes */
        {sizeof good, F_SEAL_GROW, &good, -EPERM},
        {sizeof good - 1, ALL_SEALS, &good, -EPROTO},
        {sizeof good + 1, ALL_SEALS, &good, -EPROTO},
        {0, ALL_SEALS, NULL, -EPROTO},
        {sizeof good, ALL_SEALS, NULL, -EPROTO}, /* zeros */
        {sizeof good, ALL_SEALS, &foreign, -EPROTO},
        {sizeof good, ALL_SEALS, &other_size, -EPROTO},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const struct spec *out = NULL;
        auto_close int fd = made(cases[i].n, cases[i].seals, cases[i].spec);
        int r = spec_map(fd, &out);
        if (r != cases[i].code)
            fail_msg("case %zu: %d (%s)", i, r, err_text());
        assert_true((out != NULL) == (r == 0));
        if (out)
            assert_int_equal(munmap((void *)(uintptr_t)out, sizeof good), 0);
    }
}

static void test_not_a_memfd(void **state) {
    (void)state;
    const struct spec *out;
    char *text;
    size_t n;
    auto_close int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    const int fds[] = {file, pipes[0], -1};
    for (size_t i = 0; i < LENGTH(fds); i++) {
        assert_int_equal(spec_map(fds[i], &out), -EPERM);
        assert_int_equal(memfd_read(fds[i], 1 << 20, &text, &n), -EPERM);
    }
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

static void test_documents(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 200000};
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        auto_free char *bytes = malloc(sizes[i] + 1);
        memset(bytes, 'd', sizes[i]);
        auto_close int fd = memfd_seal("document", bytes, sizes[i]);
        for (int again = 0; again < 2; again++) { /* reading moves no offset: it may be handed on and read again */
            auto_free char *out = NULL;
            size_t n = 1;
            assert_int_equal(memfd_read(fd, sizes[i], &out, &n), 0);
            assert_true(n == sizes[i] && out[n] == 0 && memcmp(out, bytes, n) == 0);
        }
        char *untouched = NULL;
        size_t n = 7;
        if (sizes[i])
            assert_int_equal(memfd_read(fd, sizes[i] - 1, &untouched, &n), -EMSGSIZE);
        assert_true(untouched == NULL && (n == 7 || !sizes[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_round_trip), cmocka_unit_test(test_sealed_means_sealed),
        cmocka_unit_test(test_spec_refusals),   cmocka_unit_test(test_not_a_memfd),
        cmocka_unit_test(test_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
