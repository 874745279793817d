/* /proc/PID/stat is parsed behind the last ')': the name before it is whatever the process likes, brackets and newlines
 * included. Reading is never atomic over two processes; who compares two of them looks at the first one again. */
#include "tests/tree/proc.h"

#include "common/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static ssize_t read_file(pid_t pid, const char *name, char *text, size_t size) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n >= 0)
        text[n] = 0;
    return n;
}

/* Words are separated by NUL, and a title is padded with it. */
static void read_title(pid_t pid, char title[PROC_TITLE_MAX]) {
    ssize_t n = read_file(pid, "cmdline", title, PROC_TITLE_MAX);
    while (n > 0 && (title[n - 1] == 0 || title[n - 1] == ' '))
        n--;
    for (ssize_t i = 0; i < n; i++)
        if (!title[i])
            title[i] = ' ';
    title[n > 0 ? n : 0] = 0;
}

static bool read_stat(pid_t pid, struct proc_info *out) {
    char text[1024];
    if (read_file(pid, "stat", text, sizeof text) <= 0)
        return false;
    const char *at = strrchr(text, ')');
    int parent;
    unsigned long long start;
    if (!at || sscanf(at + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                      &out->state, &parent, &start) != 3)
        return false;
    out->parent = parent;
    out->id = (struct proc){pid, start};
    return true;
}

bool proc_read(pid_t pid, struct proc_info *out) {
    if (!read_stat(pid, out))
        return false;
    read_title(pid, out->title);
    return true;
}

struct proc proc_of(pid_t pid) {
    struct proc_info info;
    return pid > 0 && read_stat(pid, &info) ? info.id : (struct proc){0, 0};
}

bool proc_same(struct proc a, struct proc b) {
    return a.pid == b.pid && a.start == b.start;
}

static bool dead(char state) {
    return state == 'Z' || state == 'X' || state == 'x';
}

bool proc_alive(struct proc p) {
    struct proc_info info;
    return p.pid > 0 && read_stat(p.pid, &info) && proc_same(info.id, p) && !dead(info.state);
}

bool proc_stopped(struct proc p) {
    struct proc_info info;
    return read_stat(p.pid, &info) && proc_same(info.id, p) && (info.state == 'T' || info.state == 't');
}

bool proc_rests(struct proc p) {
    struct proc_info info;
    return read_stat(p.pid, &info) && proc_same(info.id, p) && info.state == 'S';
}

/* ---- below ---- */

static void add(struct proc_list *out, pid_t pid, bool zombies) {
    struct proc_info *info = &out->at[out->n];
    if (out->n < PROC_LIST_MAX && proc_read(pid, info) && (zombies || !dead(info->state)))
        out->n++;
}

static void add_children(pid_t pid, bool zombies, struct proc_list *out) {
    char name[64], text[8192];
    (void)snprintf(name, sizeof name, "task/%d/children", pid);
    if (read_file(pid, name, text, sizeof text) <= 0)
        return;
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        add(out, atoi(word), zombies);
}

void proc_below(pid_t pid, bool zombies, struct proc_list *out) {
    size_t at = out->n;
    add_children(pid, zombies, out);
    for (; at < out->n; at++)
        add_children(out->at[at].id.pid, zombies, out);
}

/* Parents are known only when all were read; a process of ours cannot have a parent that is not. */
void proc_below_all(pid_t pid, bool zombies, struct proc_list *out) {
    enum { MAX = 32768 };
    static struct { pid_t pid, parent; } all[MAX];
    size_t n = 0;
    auto_dir DIR *dir = opendir("/proc");
    struct proc_info info;
    for (const struct dirent *e; dir && n < MAX && (e = readdir(dir));)
        if (*e->d_name >= '0' && *e->d_name <= '9' && read_stat(atoi(e->d_name), &info))
            all[n].pid = info.id.pid, all[n++].parent = info.parent;
    for (size_t at = out->n, done = 0; at <= out->n; at++) {
        pid_t parent = done++ ? out->at[at - 1].id.pid : pid;
        for (size_t i = 0; i < n; i++)
            if (all[i].parent == parent && all[i].pid != parent)
                add(out, all[i].pid, zombies);
    }
}

int proc_fds(void) {
    auto_dir DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    while (dir && readdir(dir))
        n++;
    return dir ? n - 3 : -1; /* "." and ".." and the one being read */
}
