/* The decoder of every frame: whatever it accepts, the encoder can say again, and then it is the same. Encoding is one
 * to one but for what "absent" may be spelled as, so equal texts mean equal messages. */
#include "common/buf.h"
#include "common/msg.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct msg first, second;
    char *text = fuzz_copy(data, n), *again = NULL;
    auto_buf struct buf once = BUF_NULL(6 * n + 4096), twice = BUF_NULL(6 * n + 4096); /* an escape is six bytes */
    if (msg_decode(text, n, &first) == 0) {
        int r = msg_encode(first.type, &first.begin, &once);
        assert(r == 0);
        again = fuzz_copy(once.p, once.n);
        r = msg_decode(again, once.n, &second);
        assert(r == 0 && second.type == first.type);
        r = msg_encode(second.type, &second.begin, &twice);
        assert(r == 0 && once.n == twice.n && memcmp(once.p, twice.p, once.n) == 0);
    }
    free(again);
    free(text);
    return 0;
}
