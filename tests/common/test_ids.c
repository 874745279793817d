/* Identifiers: their form, their order, and that two processes never share one. */
#include "tests/common/probe.h"

#include "common/ids.h"
#include "common/loop.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void test_format(void **state) {
    (void)state;
    for (const char *letter = "rcast"; *letter; letter++) {
        char id[ID_SIZE];
        id_make(*letter, id);
        assert_int_equal(strlen(id), ID_LEN);
        assert_true(id[0] == *letter && id[1] == '-');
        assert_int_equal(strspn(id + 2, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 26);
        assert_in_range(id[2], '0', '7'); /* 128 bits in 130 */
        assert_true(id_valid(id, *letter) && id_valid(id, 0) && name_valid(id));
    }
}

/* The first ten characters are the milliseconds since 1970, 5 bits each. */
static int64_t moment(const char *id) {
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    int64_t ms = 0;
    for (int i = 0; i < 10; i++)
        ms = ms << 5 | (strchr(alphabet, id[2 + i]) - alphabet);
    return ms;
}

static void test_moment(void **state) {
    (void)state;
    char id[ID_SIZE];
    struct timespec before, after;
    (void)clock_gettime(CLOCK_REALTIME, &before);
    id_make('r', id);
    (void)clock_gettime(CLOCK_REALTIME, &after);
    assert_in_range(moment(id), before.tv_sec * 1000 + before.tv_nsec / 1000000,
                    after.tv_sec * 1000 + after.tv_nsec / 1000000);
}

/* Within one millisecond and across several. */
static void test_order(void **state) {
    (void)state;
    char last[ID_SIZE], id[ID_SIZE];
    unsigned same = 0, other = 0;
    id_make('c', last);
    for (int64_t first = moment(last); moment(last) < first + 4;) {
        id_make('c', id);
        assert_true(strcmp(last, id) < 0);
        same += moment(last) == moment(id);
        other += moment(last) != moment(id);
        memcpy(last, id, sizeof id);
    }
    assert_true(same > 0 && other > 0);
}

static void test_after_fork(void **state) {
    (void)state;
    char first[ID_SIZE], ours[ID_SIZE], theirs[ID_SIZE] = "";
    int out[2];
    assert_int_equal(pipe(out), 0);
    id_make('r', first); /* within the same millisecond, parent and child would go on from this one */
    pid_t pid = fork();
    if (pid == 0) {
        id_make('r', theirs);
        _exit(write(out[1], theirs, sizeof theirs) == sizeof theirs ? 0 : 1);
    }
    id_make('r', ours);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(out[0], theirs, sizeof theirs), sizeof theirs);
    assert_true(id_valid(theirs, 'r'));
    assert_int_not_equal(strncmp(ours + 12, theirs + 12, 14), 0); /* 70 random bits differ */
    assert_int_not_equal(strncmp(first + 12, theirs + 12, 14), 0);
    (void)close(out[0]);
    (void)close(out[1]);
}

static const struct {
    const char *text;
    char letter;
    bool valid;
} ids[] = {
    {"r-01J00000000000000000000000", 'r', true},
    {"r-01J00000000000000000000000", 0, true},
    {"s-7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 0, true},
    {"r-01J00000000000000000000000", 'c', false},
    {"x-01J00000000000000000000000", 0, false},
    {"R-01J00000000000000000000000", 0, false},
    {"r_01J00000000000000000000000", 'r', false},
    {"r-01J0000000000000000000000", 'r', false},
    {"r-01J000000000000000000000000", 'r', false},
    {"r-01j00000000000000000000000", 'r', false},
    {"r-01I00000000000000000000000", 'r', false},
    {"r-01L00000000000000000000000", 'r', false},
    {"r-01O00000000000000000000000", 'r', false},
    {"r-01U00000000000000000000000", 'r', false},
    {"r-01J0000000000000000000000/", 'r', false},
    {"r-01J0000000000000000000000\n", 'r', false},
    {"r-", 'r', false},
    {"", 0, false},
    {NULL, 0, false},
};

static const struct {
    const char *text;
    bool valid;
} names[] = {
    {"a", true},
    {"0", true},
    {"Reviewer_2.b-c", true},
    {"a23456789012345678901234567890123456789012345678901234567890123", true},
    {"a234567890123456789012345678901234567890123456789012345678901234", false},
    {"", false},
    {NULL, false},
    {"-a", false},
    {".a", false},
    {"_a", false},
    {"a b", false},
    {"a/b", false},
    {"a\n", false},
    {"a\"", false},
    {"\xc3\xa9", false},
    {"a\xc3\xa9", false},
    {"a\x7f", false},
};

static void test_validity(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTH(ids); i++)
        if (id_valid(ids[i].text, ids[i].letter) != ids[i].valid)
            fail_msg("id %zu: %s", i, ids[i].text);
    for (size_t i = 0; i < LENGTH(names); i++)
        if (name_valid(names[i].text) != names[i].valid)
            fail_msg("name %zu: %s", i, names[i].text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),     cmocka_unit_test(test_moment),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_after_fork), cmocka_unit_test(test_validity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
