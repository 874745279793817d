/* Root: PID 1 of the PID namespace that holds the whole tree. It reads nothing but control frames of at most 4 KiB from
 * its own children and the launcher's specification. */
#ifndef SOMA_SUPERVISOR_ROOT_H
#define SOMA_SUPERVISOR_ROOT_H

/* Descriptors that the launcher leaves to root across exec. */
enum root_fd {
    ROOT_FD_SPEC = 3, /* sealed specification */
    ROOT_FD_STATE,    /* the state folder, under the flock that makes this tree its only user */
    ROOT_FD_LISTEN,   /* the listening socket of the door */
    ROOT_FD_LAUNCHER, /* pidfd of the launcher */
    ROOT_FD_STATUS,   /* one line to the launcher: "ready" or why not */
    ROOT_FD__END
};

int root_main(int argc, char **argv);

#endif
