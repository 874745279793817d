/* Plain blocking sockets. A client that leaves ends the process of its connection by SIGPIPE or end of file. */
#include "tests/llmcall/fake_provider.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_MAX (2u << 20)
#define OK_BODY                                                                                                        \
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"model\":\"fake\",\"choices\":[{\"index\":0,\"message\":{\"role\":" \
    "\"assistant\",\"content\":\"Hello from the fake provider.\"},\"finish_reason\":\"stop\"}],\"usage\":"             \
    "{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}"
#define CALLS_BODY                                                                                                     \
    "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,"    \
    "\"id\":\"call_abc\",\"type\":\"function\",\"function\":{\"name\":\"file_read\",\"arguments\":"                    \
    "\"{\\\"path\\\":\\\"README.md\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":5,"      \
    "\"completion_tokens\":6,\"total_tokens\":11}}"

static const char *const mode_names[] = {
#define X(id, name, doc) [FAKE_##id] = name,
    FAKE_MODES(X)
#undef X
};

const char *fake_mode_name(enum fake_mode mode) {
    return mode_names[mode];
}

int fake_mode_by_name(const char *name) {
    for (int i = 0; i < FAKE__COUNT; i++)
        if (strcmp(mode_names[i], name) == 0)
            return i;
    return -1;
}

int fake_listen(int want, int *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)want), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) < 0) {
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    *port = ntohs(at.sin_port);
    return fd;
}

/* ---- one connection ---- */

static void put(int fd, const char *bytes, size_t n) {
    while (n) {
        ssize_t w = write(fd, bytes, n);
        if (w < 0)
            _exit(0); /* the client has left */
        bytes += w;
        n -= (size_t)w;
    }
}

static void put_text(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put_text(int fd, const char *fmt, ...) {
    char text[8192];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= (int)sizeof text)
        _exit(3);
    put(fd, text, (size_t)n);
}

static void reply(int fd, const char *status, const char *type, const char *body) {
    put_text(fd, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status, type,
             strlen(body));
    put(fd, body, strlen(body));
}

/* Reads a head and as many bytes as it announces. Ends the process when there is no request. */
static char *read_request(int fd, size_t *n) {
    char *text = malloc(REQUEST_MAX + 1);
    size_t have = 0, want = REQUEST_MAX;
    while (text && have < want) {
        ssize_t got = read(fd, text + have, REQUEST_MAX - have);
        if (got <= 0)
            _exit(0);
        have += (size_t)got;
        text[have] = '\0';
        if (*text != 'P') /* no POST: TLS, perhaps */
            _exit(0);
        const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length:");
        if (end && length && length < end)
            want = (size_t)(end - text) + 4 + strtoul(length + 17, NULL, 10);
    }
    if (!text || have != want)
        _exit(3);
    *n = have;
    return text;
}

/* The value of the Authorization header, or "". */
static const char *authorization(char *request) {
    char *line = strcasestr(request, "\r\nAuthorization: ");
    if (!line)
        return "";
    line += 17;
    static char value[8192];
    (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r"), line);
    return value;
}

/* Waits until the client leaves or `ms` are over; -1 = without end. */
static void wait_client(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    if (poll(&p, 1, ms) != 0)
        _exit(0);
}

static void drip(int fd) {
    put_text(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (;;) {
        put_text(fd, "1\r\n \r\n");
        wait_client(fd, 10);
    }
}

static void pieces(int fd) {
    put_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof OK_BODY - 1);
    for (const char *p = OK_BODY; *p; p++)
        put(fd, p, 1);
}

static void huge(int fd, bool chunked) {
    static char block[65536];
    memset(block, ' ', sizeof block);
    if (!chunked)
        put_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", 5u << 20);
    else
        put_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (unsigned sent = 0; chunked || sent < 5u << 20; sent += sizeof block) {
        if (chunked)
            put_text(fd, "%zx\r\n", sizeof block);
        put(fd, block, sizeof block);
        if (chunked)
            put_text(fd, "\r\n");
    }
}

static void answer_key(int fd, enum fake_mode mode, char *request) {
    char body[9000];
    if (mode == FAKE_S401) {
        (void)snprintf(body, sizeof body, "{\"error\":{\"message\":\"Incorrect API key: %s\",\"code\":\"invalid\"}}",
                       authorization(request));
        reply(fd, "401 Unauthorized", "application/json", body);
        return;
    }
    (void)snprintf(body, sizeof body,
                   "{\"choices\":[{\"message\":{\"content\":\"You sent %s\"},\"finish_reason\":\"stop\"}]}",
                   authorization(request));
    reply(fd, "200 OK", "application/json", body);
}

static void answer(int fd, const struct fake *fake, char *request) {
    bool has_result = strstr(request, "\"role\":\"tool\"") != NULL;
    switch (fake->mode) {
    case FAKE_SLOW:
        wait_client(fd, fake->delay_ms);
        reply(fd, "200 OK", "application/json", OK_BODY);
        return;
    case FAKE_TOOL_CALLS:
        reply(fd, "200 OK", "application/json", CALLS_BODY);
        return;
    case FAKE_AGENT:
        reply(fd, "200 OK", "application/json", has_result ? OK_BODY : CALLS_BODY);
        return;
    case FAKE_ECHO_KEY:
    case FAKE_S401:
        answer_key(fd, fake->mode, request);
        return;
    case FAKE_S429:
        reply(fd, "429 Too Many Requests", "application/json", "{\"error\":{\"message\":\"Rate limit reached\"}}");
        return;
    case FAKE_S500:
        reply(fd, "500 Internal Server Error", "text/html", "<h1>out of \x1b[31morder</h1>");
        return;
    case FAKE_HANG:
        wait_client(fd, -1);
        return;
    case FAKE_DRIP:
        drip(fd);
        return;
    case FAKE_PIECES:
        pieces(fd);
        return;
    case FAKE_TRUNCATED:
        put_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n%.60s", OK_BODY);
        return;
    case FAKE_CUT_CHUNK:
        put_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n%.60s", OK_BODY);
        return;
    case FAKE_SHORT_LENGTH:
        put_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n%s", OK_BODY);
        return;
    case FAKE_HUGE:
    case FAKE_HUGE_CHUNKED:
        huge(fd, fake->mode == FAKE_HUGE_CHUNKED);
        return;
    case FAKE_BAD_JSON:
        reply(fd, "200 OK", "application/json", "{\"choices\": [{\"message\": ");
        return;
    case FAKE_NOT_HTTP:
        put_text(fd, "220 mail.example ESMTP\r\n");
        return;
    case FAKE_REDIRECT:
        put_text(fd, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
        return;
    case FAKE_EMPTY:
        return;
    case FAKE_OK:
    case FAKE__COUNT:
        break;
    }
    reply(fd, "200 OK", "application/json", OK_BODY);
}

static void serve_one(int fd, const struct fake *fake, pid_t server) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != server)
        _exit(3);
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only spreads FAKE_PIECES */
    size_t n;
    char *request = read_request(fd, &n);
    if (fake->record_fd >= 0)
        put(fake->record_fd, request, n);
    if (fake->asked_fd >= 0)
        put(fake->asked_fd, "?", 1);
    answer(fd, fake, request);
    (void)shutdown(fd, SHUT_WR);
    wait_client(fd, 2000); /* closing with unread bytes would reset what is still on its way */
    _exit(0);
}

void fake_serve(int listen_fd, const struct fake *fake) {
    (void)signal(SIGCHLD, SIG_IGN);
    pid_t server = getpid();
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
            _exit(3);
        if (fd < 0)
            continue;
        pid_t pid = fork();
        if (pid == 0) {
            (void)close(listen_fd);
            serve_one(fd, fake, server);
        }
        (void)close(fd);
    }
}
