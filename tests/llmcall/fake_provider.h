/* A provider for tests: a real HTTP/1.1 server on 127.0.0.1 that answers every POST in one way, well or badly. One
 * process per connection, so that one that hangs does not hold up another; all of them end with the server. */
#ifndef SOMA_TESTS_LLMCALL_FAKE_PROVIDER_H
#define SOMA_TESTS_LLMCALL_FAKE_PROVIDER_H

#define FAKE_MODES(X)                                                                                                  \
    X(OK, "ok", "a text")                                                                                              \
    X(TOOL_CALLS, "tool_calls", "one call of file_read")                                                               \
    X(AGENT, "agent", "tool_calls, and a text once the request holds a tool's result")                                 \
    X(ECHO_KEY, "echo-key", "a text that repeats the Authorization header")                                            \
    X(S401, "401", "401, and the error repeats the Authorization header")                                              \
    X(S429, "429", "429")                                                                                              \
    X(S500, "500", "500 with HTML")                                                                                    \
    X(SLOW, "slow", "ok, the first byte after delay_ms")                                                               \
    X(HANG, "hang", "nothing, until the client leaves")                                                                \
    X(DRIP, "drip", "a chunk of one byte every 10 ms, without an end")                                                 \
    X(PIECES, "pieces", "ok, one byte per packet")                                                                     \
    X(TRUNCATED, "truncated", "ends in the middle of the body")                                                        \
    X(CUT_CHUNK, "cut-chunk", "ends in the middle of a chunked body")                                                  \
    X(SHORT_LENGTH, "short-length", "a Content-Length smaller than the body")                                          \
    X(HUGE, "huge", "5 MiB with Content-Length")                                                                       \
    X(HUGE_CHUNKED, "huge-chunked", "chunks without an end")                                                           \
    X(BAD_JSON, "bad-json", "200 with a body that is no JSON")                                                         \
    X(NOT_HTTP, "not-http", "bytes that are no HTTP")                                                                  \
    X(EMPTY, "empty", "closes without a byte")                                                                         \
    X(REDIRECT, "redirect", "302 to another path of itself")

enum fake_mode {
#define X(id, name, doc) FAKE_##id,
    FAKE_MODES(X)
#undef X
        FAKE__COUNT
};

struct fake {
    enum fake_mode mode;
    int delay_ms;  /* of FAKE_SLOW */
    int record_fd; /* every request is appended here, whole, before it is answered; -1 = not */
    int asked_fd;  /* one byte is written here for every request that has arrived; -1 = not */
};

const char *fake_mode_name(enum fake_mode mode);
int fake_mode_by_name(const char *name); /* -1 */

/* A listening socket on 127.0.0.1; *port is what the kernel chose when `want` is 0. -1 with errno. */
int fake_listen(int want, int *port);

/* Serves until the process is killed. */
void fake_serve(int listen_fd, const struct fake *fake) __attribute__((noreturn));

#endif
