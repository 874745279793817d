/* The table of checks and how findings are shown. Only a failed check makes the exit code 1. */
#include "cli/doctor.h"

#include "cli/text.h"
#include "common/err.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    const char *name;
    void (*check)(const struct patient *p, struct finding *f);
} checks[] = {
    {"kernel", check_kernel},
    {"user namespaces", check_user_namespaces},
    {"pid namespaces", check_pid_namespaces},
    {"idmapped mounts", check_idmapped},
    {"landlock", check_landlock},
    {"seccomp", check_seccomp},
    {"open files", check_nofile},
    {"processes", check_nproc},
    {"configuration", check_config},
    {"state folder", check_state_dir},
    {"free space", check_disk},
    {"runtime folder", check_runtime_dir},
    {"socket", check_socket},
    {"supervisor", check_supervisor},
    {"tools", check_tools},
    {"containment", check_containment},
};

static const char *const level_names[] = {"ok", "note", "warn", "fail"};

void found(struct finding *f, enum level level, const char *fix, const char *fmt, ...) {
    va_list ap;
    f->level = level;
    f->fix = fix;
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
}

static void show(struct buf *out, const char *name, const struct finding *f) {
    (void)buf_printf(out, "%-4s  %-16s ", level_names[f->level], name);
    (void)text_escape(out, TEXT_LINE, f->text, strlen(f->text));
    if (f->fix)
        (void)buf_printf(out, "\n      %-16s fix: %s", "", f->fix);
    (void)buf_addz(out, "\n");
}

int cmd_doctor(struct cli *cli) {
    auto_buf struct buf out = BUF_NULL(TEXT_MAX);
    auto_json json_t *list = json_array();
    struct patient p = {.cli = cli};
    bool failed = false;
    p.places_code = places_resolve(cli->value[OPT_CONFIG], &p.places);
    if (p.places_code < 0)
        (void)snprintf(p.places_why, sizeof p.places_why, "%s", err_text());
    else
        cli->places = p.places;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct finding f = {.level = DOCTOR_OK};
        checks[i].check(&p, &f);
        failed = failed || f.level == DOCTOR_FAIL;
        show(&out, checks[i].name, &f);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?}", "check", checks[i].name, "level",
                                                    level_names[f.level], "text", f.text, "fix", f.fix));
    }
    auto_json json_t *all = json_pack("{s:b, s:O}", "ok", !failed, "checks", list);
    int r = cli->json ? put_json(cli, all) : put_buf(cli, &out);
    return r != EXIT_DONE ? r : failed ? EXIT_FAILED : EXIT_DONE;
}
