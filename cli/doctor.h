/* `soma doctor`: a list of checks, one line each, with what to do. To add one, write a function and a row in doctor.c.
 */
#ifndef SOMA_CLI_DOCTOR_H
#define SOMA_CLI_DOCTOR_H

#include "cli/cli.h"
#include "common/buf.h"

enum level { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_WARN, DOCTOR_FAIL };

struct finding {
    enum level level;
    char text[512];
    const char *fix; /* a constant; NULL = nothing to do */
};

/* What the checks look at. */
struct patient {
    const struct cli *cli;
    struct places places; /* meaningful when places_code is 0 */
    int places_code;
    char places_why[512];
};

/* Fills a finding. */
void found(struct finding *f, enum level level, const char *fix, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* doctor_kernel.c */
void check_kernel(const struct patient *p, struct finding *f);
void check_user_namespaces(const struct patient *p, struct finding *f);
void check_pid_namespaces(const struct patient *p, struct finding *f);
void check_idmapped(const struct patient *p, struct finding *f);
void check_landlock(const struct patient *p, struct finding *f);
void check_seccomp(const struct patient *p, struct finding *f);
void check_nofile(const struct patient *p, struct finding *f);
void check_nproc(const struct patient *p, struct finding *f);

/* doctor_places.c */
void check_config(const struct patient *p, struct finding *f);
void check_state_dir(const struct patient *p, struct finding *f);
void check_disk(const struct patient *p, struct finding *f);
void check_runtime_dir(const struct patient *p, struct finding *f);
void check_socket(const struct patient *p, struct finding *f);
void check_supervisor(const struct patient *p, struct finding *f);
void check_tools(const struct patient *p, struct finding *f);
void check_containment(const struct patient *p, struct finding *f);

/* The nearest folder at or above `path` that exists. */
void nearest_folder(const char *path, char out[SPEC_PATH]);

#endif
