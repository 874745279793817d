/* Scoped ownership. A local that owns something is declared with one of these macros and is released when the scope
 * ends; ownership that leaves the scope is handed over with take_*(). Modelled on the compiler's cleanup attribute
 * (GCC manual, "Common Variable Attributes"). */
#ifndef SOMA_COMMON_CLEANUP_H
#define SOMA_COMMON_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Closes a descriptor if it is one; keeps errno; returns -1 so that `fd = fd_close(fd)` reads well. */
static inline int fd_close(int fd) {
    if (fd >= 0) {
        int saved = errno;
        (void)close(fd); /* the descriptor is gone whatever close says: close(2), "Dealing with error returns" */
        errno = saved;
    }
    return -1;
}

static inline int take_fd(int *fd) {
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define take_ptr(pp)                                                                                                   \
    __extension__({                                                                                                    \
        __typeof__(*(pp)) taken_ = *(pp);                                                                              \
        *(pp) = NULL;                                                                                                  \
        taken_;                                                                                                        \
    })

static inline void cleanup_fd(int *fd) {
    *fd = fd_close(*fd);
}
static inline void cleanup_free(void *pp) {
    free(*(void **)pp);
    *(void **)pp = NULL;
}
static inline void cleanup_file(FILE **f) {
    if (*f)
        fclose(*f);
    *f = NULL;
}
static inline void cleanup_dir(DIR **d) {
    if (*d)
        closedir(*d);
    *d = NULL;
}

/* First act of a program that people start: where standard input, output or error is closed, a later descriptor would
 * take its number and get what is meant for it. /dev/null stands in, the wrong way round: reading and writing fail. */
static inline void stdio_keep(void) {
    for (int fd = 0; fd <= 2; fd++)
        while (fcntl(fd, F_GETFD) < 0) {
            int got = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
            if (got < 0)
                _exit(7);
            if (got >= fd)
                break;
        }
}

#define auto_close __attribute__((cleanup(cleanup_fd)))
#define auto_free __attribute__((cleanup(cleanup_free)))
#define auto_file __attribute__((cleanup(cleanup_file)))
#define auto_dir __attribute__((cleanup(cleanup_dir)))

#endif
