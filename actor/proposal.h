/* What a model said, judged. The message is hostile: it is taken apart here, each call is checked by name against the
 * allow-list and by arguments against the tool's schema, and what comes out is either text for the asker, or one plan
 * of calls that may run and an error for each that may not, or the refusal of the whole. Nothing here runs anything. */
#ifndef SOMA_ACTOR_PROPOSAL_H
#define SOMA_ACTOR_PROPOSAL_H

#include "common/ids.h"
#include "common/json.h"

#define PROPOSAL_CALLS_MAX 32u          /* calls of one turn */
#define PROPOSAL_ARGS_MAX (64u * 1024)  /* bytes of one call's arguments */
#define PROPOSAL_DEPTH_MAX 48u          /* levels of arguments: they travel inside plans, events and pages of events */
#define PROPOSAL_NODES_MAX 8192u        /* values and keys of one turn's arguments, for the same reason */
#define PROPOSAL_PLAN_MAX (256u * 1024) /* bytes of the plan */

#define PROPOSAL_KINDS(X)                                                                                              \
    X(REPLY, "reply")                                                                                                  \
    X(RUN_STEPS, "run_steps")                                                                                          \
    X(REJECT, "reject")

enum proposal_kind {
#define X(id, name) PROPOSAL_##id,
    PROPOSAL_KINDS(X)
#undef X
};

enum call_verdict { CALL_APPROVED, CALL_DENIED, CALL_INVALID };

struct proposal_call {
    char id[16];          /* "call_N": ours, since a model's are unique within a turn at best; also the step's id */
    char tool[NAME_SIZE]; /* cut when the model's is longer, and then denied */
    enum call_verdict verdict;
    char why[400]; /* for the model, when it is not approved */
};

struct proposal {
    enum proposal_kind kind;
    char why[400];   /* of REJECT */
    char *reply;     /* of REPLY */
    json_t *message; /* the assistant turn as it goes into the conversation; NULL for REJECT */
    json_t *plan;    /* of RUN_STEPS: {"name","steps":[{id,tool,args}]}, NULL when no call was approved */
    struct proposal_call *calls;
    unsigned n_calls, n_approved;
};

/* Judges `message` (as in MSG_LLM_REPLY). `tools` maps the names that may be called to schemas that have passed
 * schema_check(). Calls are numbered from `first`. 0 with *out to be freed; -ENOMEM. */
int proposal_read(const json_t *message, const json_t *tools, unsigned first, struct proposal *out);
void proposal_deinit(struct proposal *p);

const char *proposal_kind_name(enum proposal_kind kind);

#endif
