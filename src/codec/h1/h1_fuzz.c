/* Any bytes, however cut, tell one transcript; and what h1.h promises for every input holds (h1_transcript.h checks
 * it). Limits are small, so that they are reached. */
#include <stdio.h>
#include <string.h>

#include "lib/h1_transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_status_texts(void)
{
    static bool is_checked;

    for (unsigned status = 0; status < 1000 && !is_checked; status++)
        must(h1_status_text(status)[0] != '\0' && strpbrk(h1_status_text(status), "\r\n") == NULL);
    is_checked = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct h1_limits limits = { .target_bytes_max = 100, .head_bytes_max = 400 };
    struct buf       transcript;

    check_status_texts();
    if (len > 1500)
        return 0;
    struct request_head sender;
    h1_read_sender(span_of(bytes, len), &sender);
    must(sender.field_count <= 1);
    bool is_held = laws_hold(span_of(bytes, len), h1_transcript, &limits, 4, &transcript);
    if (!is_held)
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&transcript)));
    must(is_held);
    buf_fini(&transcript);
    return 0;
}
