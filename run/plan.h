/* A plan: the steps of a run, in order. It is checked as a whole before anything starts, against the tools that the run
 * was granted; what cannot be known before (an argument that is another step's output) is checked again when it is.
 * The published form is docs/plan.schema.json. */
#ifndef SOMA_RUN_PLAN_H
#define SOMA_RUN_PLAN_H

#include "run/grants.h"

#define PLAN_STEPS_MAX 256u
#define PLAN_NAME_MAX 200u   /* bytes of a plan's name */
#define PLAN_REPEATS_MAX 10u /* of one step */
#define PLAN_BACKOFF_MS 200  /* when retry has none */

struct step {
    const char *id;
    const struct grant *tool;
    json_t *args;       /* borrowed from the plan */
    bool refs;          /* there are references in it */
    int64_t timeout_ms; /* 0 = the plan says nothing */
    unsigned repeats;   /* attempts after the first one */
    int64_t backoff_ms; /* before the first repetition; doubles */
};

struct plan {
    json_t *doc, *no_args;
    int64_t timeout_ms; /* 0 = the plan says nothing */
    struct step *steps;
    size_t n;
};
#define PLAN_NULL ((struct plan){0})

/* Checks `doc` (a reference is kept) against `grants`, which must outlive the plan. Returns 0; -EINVAL for a bad plan,
 * -ENOENT for an unknown tool, each with "PLACE: what is wrong and what to do" in err_text(), PLACE a JSON Pointer or
 * "the plan"; -ENOMEM; other failures are grants that nobody checked. */
int plan_check(json_t *doc, const struct grants *grants, struct plan *out);
void plan_deinit(struct plan *plan);

/* Checks arguments of step number `at` as its tool will see them. 0, or -EINVAL with "PLACE: why"; other failures as
 * above. */
int plan_check_args(const struct plan *plan, size_t at, json_t *args);

#endif
