/* Runs a target without libFuzzer: over every file of the folders that are named, whole and cut short. Exit status 0,
 * or the target's own abort; an empty folder is a mistake. */
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>

#define CUTS 64 /* how many prefixes of each file */

static int replay(int folder, const char *name) {
    auto_close int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode))
        return 0;
    size_t n = (size_t)st.st_size;
    auto_free char *bytes = malloc(n + 1);
    if (!bytes || read(fd, bytes, n) != st.st_size)
        return -1;
    (void)fprintf(stderr, "%s\n", name);
    for (size_t i = 1; i <= CUTS; i++) {
        auto_free char *cut = fuzz_copy(bytes, n * i / CUTS);
        (void)LLVMFuzzerTestOneInput((const uint8_t *)cut, n * i / CUTS);
    }
    return 1;
}

static int replay_folder(const char *path) {
    auto_dir DIR *dir = opendir(path);
    int files = 0;
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int r = replay(dirfd(dir), entry->d_name);
        if (r < 0)
            return -1;
        files += r;
    }
    return files;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (replay_folder(argv[i]) <= 0) {
            (void)fprintf(stderr, "%s: no inputs\n", argv[i]);
            return 1;
        }
    return argc > 1 ? 0 : 2;
}
