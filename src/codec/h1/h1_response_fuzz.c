/* Any bytes, however cut, tell one transcript; and what h1_response.h promises for every input holds
 * (h1_response_transcript.h checks it). Limits are small, so that they are reached. The first byte says whether the request was
 * HEAD. */
#include <stdio.h>

#include "lib/h1_response_transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct h1_response_question question = { .head_bytes_max = 400 };
    struct buf                  transcript;

    if (len == 0 || len > 1500)
        return 0;
    question.is_to_head = bytes[0] == '!';
    bool is_held = laws_hold(span_of(bytes + 1, len - 1), h1_response_transcript, &question, 4, &transcript);
    if (!is_held)
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&transcript)));
    must(is_held);
    buf_fini(&transcript);
    return 0;
}
