/* Diagnostics: one line per event on the inherited stderr, key=value, with role, host pid and generation; never user
 * data. A closed or full stderr is not an error: the line is lost. */
#ifndef SOMA_COMMON_LOG_H
#define SOMA_COMMON_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Names the process in every later line. `id` may be NULL. Debug lines are written when `debug` is set. */
void log_init(const char *role, const char *id, unsigned generation, int debug);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Writes an error line with err_text() and ends the process with _exit(code): for a role's loop and start-up, whose
 * supervisor restarts it. */
void die(int code, const char *what) __attribute__((noreturn));

#endif
