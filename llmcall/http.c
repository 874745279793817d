/* libcurl's multi interface as an event source: it names the sockets and the one timer it waits for, we report what
 * became ready. libcurl-multi(3), curl_multi_socket_action(3).
 *
 * Names are resolved by libcurl's own thread, which needs clone(2), sockets of the resolver and its files. That is fine
 * while no filter is in force; the containment issue resolves before it closes the sandbox and passes the address by
 * CURLOPT_RESOLVE. CURLOPT_QUICK_EXIT keeps a lookup that hangs from holding up a cancel: without it libcurl joins the
 * thread. */
#include "llmcall/http.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define SOCKETS_MAX 16u /* two address families, the resolver's wake-up pair, and room */

struct http_socket {
    struct http *http;
    struct loop_source source;
};

struct http {
    struct loop_grave grave; /* first: freed after the turn, since `done` may free what calls it */
    struct loop *loop;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers, auth; /* `auth` is ours: its text must not be copied to the ordinary heap */
    struct http_socket sockets[SOCKETS_MAX];
    struct loop_timer timer;
    char error[CURL_ERROR_SIZE];
    char *body;
    size_t n, cap;
    bool too_large, freed;
    void (*done)(void *arg, struct http_result *result);
    void *arg;
};

/* ---- URLs ---- */

static void free_url(CURLU **url) {
    curl_url_cleanup(*url);
}
static void free_part(char **part) {
    curl_free(*part);
}

static bool is_loopback(const char *host) {
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

static bool has_part(CURLU *url, CURLUPart part) {
    __attribute__((cleanup(free_part))) char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK;
}

int http_url_check(const char *url, bool *plain) {
    __attribute__((cleanup(free_url))) CURLU *parsed = curl_url();
    if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
        return err_raise(-EINVAL, "the provider's url is not a URL");
    if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD) || has_part(parsed, CURLUPART_QUERY) ||
        has_part(parsed, CURLUPART_FRAGMENT))
        return err_raise(-EINVAL, "the provider's url holds a user name, a query or a fragment; a key belongs into "
                                  "key_file");
    __attribute__((cleanup(free_part))) char *scheme = NULL, *host = NULL;
    if (curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return err_raise(-EINVAL, "the provider's url has no scheme; write https://…");
    bool http = strcmp(scheme, "http") == 0;
    if (!http && strcmp(scheme, "https") != 0)
        return err_raise(-EINVAL, "the provider's url is neither https nor http");
    if (curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return err_raise(-EINVAL, "the provider's url has no host");
    if (http && !is_loopback(host))
        return err_raise(-EINVAL, "the provider's url is plain http to another machine; use https");
    *plain = http;
    return 0;
}

/* ---- the reply ---- */

/* libcurl's own ceiling looks at Content-Length only; this one counts. Returning less than was offered ends it. */
static size_t on_body(char *bytes, size_t one, size_t n, void *arg) {
    struct http *http = arg;
    if (n > HTTP_BODY_MAX - http->n) {
        http->too_large = true;
        return 0;
    }
    if (http->n + n + 1 > http->cap) {
        size_t cap = http->cap ? http->cap : 16384;
        while (cap < http->n + n + 1)
            cap *= 2;
        char *grown = realloc(http->body, cap);
        if (!grown)
            return 0;
        http->body = grown;
        http->cap = cap;
    }
    memcpy(http->body + http->n, bytes, n);
    http->n += n;
    http->body[http->n] = '\0';
    return n * one;
}

static const char *failure_name(const struct http *http, CURLcode code) {
    if (http->too_large)
        return "too_large";
    switch (code) {
    case CURLE_OK:
        return NULL;
    case CURLE_FILESIZE_EXCEEDED:
        return "too_large";
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_PARTIAL_FILE: /* fewer bytes than announced, or the last chunk is missing */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 among others */
    case CURLE_BAD_CONTENT_ENCODING:
        return "bad_reply";
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
        return "config";
    default: /* no name, no connection, no trust, or a connection that broke */
        return "connect";
    }
}

static void finish(struct http *http, CURLcode code) {
    struct http_result result = {.failure = failure_name(http, code), .body = http->body, .body_n = http->n};
    (void)curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &result.status); /* stays 0 when there is none */
    if (http->too_large)
        (void)snprintf(result.why, sizeof result.why, "the reply is longer than %u bytes", HTTP_BODY_MAX);
    else if (result.failure)
        (void)snprintf(result.why, sizeof result.why, "%s", *http->error ? http->error : curl_easy_strerror(code));
    http->done(http->arg, &result);
}

static void look_for_end(struct http *http) {
    int left;
    for (CURLMsg *m; !http->freed && (m = curl_multi_info_read(http->multi, &left));)
        if (m->msg == CURLMSG_DONE) {
            finish(http, m->data.result);
            return;
        }
}

/* ---- between the loop and libcurl ---- */

static void act(struct http *http, curl_socket_t fd, int what) {
    int running;
    CURLMcode r = curl_multi_socket_action(http->multi, fd, what, &running);
    if (r != CURLM_OK && !http->freed) { /* libcurl is out of order: nothing more will come */
        (void)snprintf(http->error, sizeof http->error, "%s", curl_multi_strerror(r));
        finish(http, CURLE_FAILED_INIT);
        return;
    }
    look_for_end(http);
}

static void on_ready(void *arg, uint32_t events) {
    struct http_socket *s = arg;
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    act(s->http, s->source.fd, what);
}

static void on_timer(void *arg) {
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long ms, void *arg) {
    struct http *http = arg;
    loop_timer_clear(http->loop, &http->timer);
    return ms >= 0 && loop_timer_set(http->loop, &http->timer, now_ms() + ms, on_timer, http) < 0 ? -1 : 0;
}

/* The entry of this descriptor; for -1 a free one. */
static struct http_socket *find_socket(struct http *http, int fd) {
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        if (http->sockets[i].source.fd == fd)
            return &http->sockets[i];
    return NULL;
}

static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused) {
    struct http *http = arg;
    struct http_socket *s = find_socket(http, fd);
    if (what == CURL_POLL_REMOVE) {
        if (s)
            loop_remove(http->loop, &s->source);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0u) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
    if (s)
        return loop_change(http->loop, &s->source, events) < 0 ? -1 : 0;
    s = find_socket(http, -1);
    return s && loop_add(http->loop, &s->source, fd, events, on_ready, s) == 0 ? 0 : -1;
}

/* ---- setting it up ---- */

/* Once per process. The environment could name proxies, a file for TLS keys, another OpenSSL configuration. */
static int init_curl(void) {
    static bool done;
    if (done)
        return 0;
    if (clearenv() != 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_raise(-EIO, "libcurl cannot be initialised");
    done = true;
    return 0;
}

static int add_header(struct http *http, const char *line) {
    struct curl_slist *grown = curl_slist_append(http->headers, line);
    if (!grown)
        return err_raise(-ENOMEM, "no memory for the request");
    http->headers = grown;
    return 0;
}

static int make_headers(struct http *http, const char *auth) {
    int r = add_header(http, "Content-Type: application/json");
    if (r == 0)
        r = add_header(http, "Accept: application/json");
    if (r == 0)
        r = add_header(http, "Expect:"); /* no 100-continue for large prompts: many servers never answer it */
    /* Our own node before theirs. libcurl's send buffer holds a copy of the line until the handle is freed; the process
     * is not dumpable and ends with the call. */
    http->auth = (struct curl_slist){.data = (char *)(uintptr_t)auth, .next = http->headers};
    return r;
}

#define SET(option, value) (r = r != CURLE_OK ? r : curl_easy_setopt(http->easy, (option), (value)))

static CURLcode set_transport(struct http *http, const struct http_request *request, bool plain) {
    CURLcode r = CURLE_OK;
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L); /* a redirect would take the key elsewhere */
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* one request: nothing to multiplex, less to parse */
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (request->ca_file && *request->ca_file)
        SET(CURLOPT_CAINFO, request->ca_file);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS); /* the deadline of the whole is the caller's: http_free() */
    return r;
}

static CURLcode set_request(struct http *http, const struct http_request *request) {
    CURLcode r = CURLE_OK;
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDS, request->body); /* not copied */
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_n);
    SET(CURLOPT_HTTPHEADER, request->auth ? &http->auth : http->headers);
    SET(CURLOPT_USERAGENT, "soma/" SOMA_VERSION);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HTTP_BODY_MAX);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, http);
    SET(CURLOPT_ERRORBUFFER, http->error);
    return r;
}

static int start(struct http *http, const struct http_request *request, bool plain) {
    int r = make_headers(http, request->auth);
    if (r < 0)
        return err_up(r);
    http->multi = curl_multi_init();
    http->easy = curl_easy_init();
    if (!http->multi || !http->easy)
        return err_raise(-ENOMEM, "no memory for the request");
    CURLcode c = set_transport(http, request, plain);
    if (c == CURLE_OK)
        c = set_request(http, request);
    if (c != CURLE_OK)
        return err_raise(-EIO, "libcurl: %s", curl_easy_strerror(c));
    if (curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) != CURLM_OK ||
        curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
        return err_raise(-EIO, "libcurl refuses the request");
    return 0; /* adding it set the timer to now: the loop takes it from here */
}

static void bury(struct loop_grave *grave) {
    struct http *http = (struct http *)(void *)grave;
    free(http->body);
    free(http);
}

struct http *http_post(struct loop *loop, const struct http_request *request,
                       void (*done)(void *arg, struct http_result *result), void *arg) {
    bool plain;
    if (init_curl() < 0 || http_url_check(request->url, &plain) < 0)
        return NULL;
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        (void)err_raise(-ENOMEM, "no memory for the request");
        return NULL;
    }
    http->grave.bury = bury;
    http->loop = loop;
    http->done = done;
    http->arg = arg;
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        http->sockets[i] = (struct http_socket){http, LOOP_SOURCE_NULL};
    if (start(http, request, plain) < 0) {
        http_free(http);
        return NULL;
    }
    return http;
}

void http_free(struct http *http) {
    if (!http || http->freed)
        return;
    http->freed = true;
    if (http->multi && http->easy)
        (void)curl_multi_remove_handle(http->multi, http->easy); /* of one that was never added: an error, no harm */
    curl_easy_cleanup(http->easy);
    if (http->multi)
        (void)curl_multi_cleanup(http->multi);
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        loop_remove(http->loop, &http->sockets[i].source);
    loop_timer_clear(http->loop, &http->timer);
    curl_slist_free_all(http->headers);
    loop_bury(http->loop, &http->grave);
}
