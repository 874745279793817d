/* The random part is incremented instead of drawn anew within one millisecond, so ids of one process sort by age. */
#include "common/ids.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static struct {
    pid_t pid; /* a forked child must not continue its parent's sequence */
    uint64_t ms;
    unsigned char random[10];
} last;

static void fresh_random(void) {
    size_t have = 0;
    while (have < sizeof last.random) {
        ssize_t n = getrandom(last.random + have, sizeof last.random - have, 0);
        if (n > 0)
            have += (size_t)n;
    }
}

static void next_moment(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    if (last.pid != getpid() || ms > last.ms) {
        last.pid = getpid();
        last.ms = ms;
        fresh_random();
        return;
    }
    for (int i = 9; i >= 0 && ++last.random[i] == 0; i--)
        ;
}

void id_make(char letter, char out[ID_SIZE]) {
    next_moment();
    unsigned char bytes[16];
    for (int i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(last.ms >> (40 - 8 * i));
    memcpy(bytes + 6, last.random, sizeof last.random);
    out[0] = letter;
    out[1] = '-';
    /* 128 bits in 26 characters of 5 bits: the first carries the top 3 */
    for (int i = 0; i < 26; i++) {
        int bit = i * 5 - 2;
        unsigned v = 0;
        for (int k = 0; k < 5; k++) {
            int at = bit + k;
            v = v << 1 | (at < 0 ? 0u : (unsigned)(bytes[at / 8] >> (7 - at % 8)) & 1u);
        }
        out[2 + i] = alphabet[v];
    }
    out[ID_LEN] = 0;
}

bool id_valid(const char *text, char letter) {
    if (!text || strnlen(text, ID_SIZE) != ID_LEN || text[1] != '-')
        return false;
    if (letter ? text[0] != letter : !strchr("rcast", text[0]))
        return false;
    for (const char *p = text + 2; *p; p++)
        if (!strchr(alphabet, *p))
            return false;
    return true;
}

static bool letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *text) {
    size_t n = text ? strnlen(text, NAME_SIZE) : 0;
    if (n == 0 || n > NAME_MAX_LEN || !letter_or_digit(text[0]))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!letter_or_digit(text[i]) && !strchr("_.-", text[i]))
            return false;
    return true;
}
