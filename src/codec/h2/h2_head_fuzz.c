/* Any list of fields: the law of h2_head_law.h. Of the input the first byte says whether a body follows; then come fields, each
 * with a byte for the length of its name and one for that of its value. Limits are small, so that they are reached. */
#include "lib/h2_head_law.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct span take_span(struct span *rest, size_t len)
{
    struct span taken = span_head(*rest, len);
    *rest             = span_skip(*rest, taken.len);
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct h1_limits limits = { .target_bytes_max = 100, .head_bytes_max = 2000 };
    struct span                   rest   = span_of((const char *)bytes, len);
    struct h2_head                head;

    if (len == 0)
        return 0;
    bool is_end = (take_span(&rest, 1).at[0] & 1) != 0;
    h2_head_init(&head, &limits);
    while (rest.len >= 2) {
        struct span lengths = take_span(&rest, 2);
        struct span name    = take_span(&rest, (unsigned char)lengths.at[0]);
        struct span value   = take_span(&rest, (unsigned char)lengths.at[1]);
        if (!h2_head_add(&head, name, value))
            break;
        must(head.text.len <= limits.head_bytes_max);
    }
    h2_law_hold(&head, h2_head_end(&head, is_end), is_end);
    h2_head_fini(&head);
    return 0;
}
