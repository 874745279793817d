/* No stdio: a supervisor forks from its own image, and unflushed buffers would be written twice. */
#include "common/log.h"

#include "common/err.h"
#include "common/title.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    char who[96];
    int debug;
} self = {.who = "role=?"};

void log_init(const char *role, const char *id, unsigned generation, int debug) {
    self.debug = debug;
    (void)snprintf(self.who, sizeof self.who, "role=%s%s%s pid=%d gen=%u", role, id ? " id=" : "", id ? id : "",
                   host_pid(), generation);
}

/* Control bytes in a text we quote (an error of a library, a path) must not reach a terminal. */
static void tame(char *text) {
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

void log_line(enum log_level level, const char *fmt, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level == LOG_DEBUG && !self.debug)
        return;
    char text[768], line[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    tame(text);
    int n = snprintf(line, sizeof line, "soma: level=%s %s %s\n", names[level], self.who, text);
    size_t len = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    line[len - 1] = '\n';
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT) /* a stopped terminal or a full pipe must not stop us */
        (void)!write(STDERR_FILENO, line, len);
}

void die(int code, const char *what) {
    log_error("event=die what=\"%s\" why=\"%s\" place=%s", what, err_text(), err_place());
    _exit(code);
}
