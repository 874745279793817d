/* Folders, the program between a root and a log that are the test, and questions. */
#include "tests/registry/world.h"

#include "common/cleanup.h"
#include "common/err.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* --- folders --------------------------------------------------------------------------------------------------- */

void put_file(const char *dir, const char *file, const char *text) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

void drop_file(const char *dir, const char *file) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    assert_int_equal(unlink(path), 0);
}

void put_tool(const struct world *w, const char *file, const char *name, const char *description) {
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"name\":\"%s\",\"description\":\"%s\",\"input_schema\":{\"type\":\"object\"},\"effect\":\"pure\","
                   "\"command\":[\"/bin/true\"],\"input\":\"argv\"}",
                   name, description);
    put_file(w->tools, file, text);
}

static void make_dir(char path[64], const char *what) {
    (void)snprintf(path, 64, "/tmp/test-registry-%s-XXXXXX", what);
    assert_non_null(mkdtemp(path));
}

static void remove_dir(const char *path) {
    auto_dir DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));)
        if (e->d_type == DT_REG)
            assert_int_equal(unlinkat(dirfd(dir), e->d_name, 0), 0);
    assert_int_equal(rmdir(path), 0);
}

void world_open(struct world *w) {
    *w = (struct world){.control = -1, .log = -1};
    make_dir(w->tools, "tools");
    make_dir(w->actors, "actors");
    put_tool(w, "a.json", "alpha", "first");
    put_tool(w, "b.json", "beta", "second");
    put_file(w->actors, "r.json",
             "{\"name\":\"reviewer\",\"provider\":\"local\",\"tools\":[\"alpha\",\"echo\",\"later\"],"
             "\"restart\":\"transient\"}");
    put_file(w->actors, "i.json", "{\"name\":\"idler\",\"provider\":\"local\"}");
}

/* --- the program ----------------------------------------------------------------------------------------------- */

/* Its log lines are not this test's output. */
static int become_registry(void) {
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null_fd >= 0 && dup2(null_fd, STDERR_FILENO) >= 0)
        (void)execl(REGISTRY_PROGRAM, "soma-registry", (char *)NULL);
    return 99;
}

static void begin(const struct world *w, const char *extra_dir) {
    static struct spec spec;
    spec_defaults(&spec);
    spec.n_tool_dirs = extra_dir ? 2 : 1;
    spec.n_actor_dirs = 1;
    (void)snprintf(spec.tool_dirs[0], SPEC_PATH, "%s", w->tools);
    (void)snprintf(spec.tool_dirs[1], SPEC_PATH, "%s", extra_dir ? extra_dir : "");
    (void)snprintf(spec.actor_dirs[0], SPEC_PATH, "%s", w->actors);
    peer_begin(w->control, &spec, 1, -1);
}

void world_start(struct world *w, const char *extra_dir) {
    w->pid = kit_static(become_registry, &w->control);
    w->log = peer_wire(w->control, ROLE_EVENTLOG);
    begin(w, extra_dir);
    (void)peer_get(w->control, MSG_READY);
}

void world_close(struct world *w) {
    assert_int_equal(kill(w->pid, SIGTERM), 0);
    assert_int_equal(kit_ended(w->pid), 0);
    close(w->control);
    close(w->log);
    remove_dir(w->tools);
    remove_dir(w->actors);
}

int peer(const struct world *w, int by, const char *role, const char *actor) {
    int theirs, ours = peer_pair(CHAN_SEQPACKET, &theirs);
    struct msg_introduce m = {.role = role, .actor = actor, .pid = 4711, .generation = 1};
    peer_put_fds(by, MSG_INTRODUCE, &m, &theirs, 1);
    close(theirs);
    return ours;
}

unsigned open_fds(pid_t pid) {
    int n = kit_fds(pid);
    assert_true(n >= 0);
    return (unsigned)n;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

/* Every request begins with its number. */
static void send_request(int fd, enum msg_type type, int64_t ref) {
    union {
        struct msg_catalog catalog;
        struct msg_grants grants;
        struct msg_actor_get actor_get;
        struct msg_actors_declared declared;
        struct msg_problems problems;
    } body = {.catalog = {.ref = ref}};
    peer_put(fd, type, &body);
}

static int64_t last_ref;

static const struct msg *ask_document(int fd, enum msg_type type) {
    send_request(fd, type, ++last_ref);
    const struct msg *m = peer_get(fd, MSG_DOCUMENT);
    assert_int_equal(m->document.ref, last_ref);
    assert_int_equal(m->n_fds, 1);
    return m;
}

json_t *ask(int fd, enum msg_type type, int64_t *generation) {
    const struct msg *m = ask_document(fd, type);
    auto_close int doc = m->fds[0];
    auto_free char *text = NULL;
    json_t *parsed = NULL;
    size_t n = 0;
    assert_int_equal(write(doc, "x", 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(doc, 0), -1);
    if (memfd_read(doc, JSON_TEXT_MAX, &text, &n) < 0 || json_parse(text, n, JSON_TEXT_MAX, &parsed) < 0)
        fail_msg("%s: %s", msg_name(type), err_text());
    assert_int_equal(n, m->document.bytes);
    if (generation)
        *generation = m->document.generation;
    return parsed;
}

ino_t ask_inode(int fd, enum msg_type type) {
    const struct msg *m = ask_document(fd, type);
    auto_close int doc = m->fds[0];
    struct stat st;
    assert_int_equal(fstat(doc, &st), 0);
    return st.st_ino;
}

void ask_refused(int fd, enum msg_type type, const char *error) {
    send_request(fd, type, ++last_ref);
    const struct msg *m = peer_get(fd, MSG_REFUSED);
    assert_int_equal(m->refused.ref, last_ref);
    assert_string_equal(m->refused.error, error);
}

void expect_catalog_event(const struct world *w, const char *wanted) {
    auto_json json_t *data = NULL;
    char got[128];
    const struct msg_append *event = &peer_get(w->log, MSG_APPEND)->append;
    assert_string_equal(event->type, "system.catalog");
    assert_false(event->barrier);
    assert_int_equal(json_parse(event->data.p, event->data.n, JSON_TEXT_MAX, &data), 0);
    (void)snprintf(got, sizeof got, "%lld %lld %lld %lld", (long long)json_i64(data, "generation", -1),
                   (long long)json_i64(data, "tools", -1), (long long)json_i64(data, "actors", -1),
                   (long long)json_i64(data, "problems", -1));
    assert_string_equal(got, wanted);
    /* Refused, as a full log would: it must not matter. */
    struct msg_refused refused = {.ref = event->ref, .error = "log_full", .why = "the log is full"};
    peer_put(w->log, MSG_REFUSED, &refused);
}
