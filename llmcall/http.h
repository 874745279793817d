/* One HTTPS POST by libcurl, driven by the role's own loop: nothing blocks, and http_free() at any moment ends it at
 * once. libcurl is initialised by the first http_post() and by nobody else, so that only a call that needs it pays.
 * One request per process: no retries at this stage (they come with the issue on LLM calls: Retry-After, backoff). */
#ifndef SOMA_LLMCALL_HTTP_H
#define SOMA_LLMCALL_HTTP_H

#include "common/loop.h"

#include <stdbool.h>
#include <stddef.h>

#define HTTP_BODY_MAX (4u << 20) /* bytes of a reply */
#define HTTP_CONNECT_MS 10000    /* name, TCP and TLS together */

struct http_request {
    const char *url;
    const char *auth;    /* a whole header line, or NULL */
    const char *ca_file; /* NULL or "" = the system's bundle */
    const char *body;    /* JSON */
    size_t body_n;
};

/* How it ended: a status and a body, or the name of a failure (as in llm_failed) and why. */
struct http_result {
    const char *failure; /* NULL = there is a whole reply */
    char why[256];
    long status;
    char *body; /* may be changed in place; gone after the call */
    size_t body_n;
};

struct http;

/* 0 when the URL is one that soma talks to: https, or http to this machine (localhost, 127.0.0.0/8, ::1), without user
 * name, query and fragment; -EINVAL with what is wrong. *plain tells http. */
int http_url_check(const char *url, bool *plain);

/* Starts the request; everything in `request` must outlive it. `done` is called once, from the loop, unless http_free()
 * comes first. NULL with err_text(). */
struct http *http_post(struct loop *loop, const struct http_request *request,
                       void (*done)(void *arg, struct http_result *result), void *arg);

/* Ends it; accepts NULL. May be called inside `done`. */
void http_free(struct http *http);

#endif
