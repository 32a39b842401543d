#include "bench/http_head.h"

bool http_head_field(const struct http_head *head, struct span name, struct span *ret_value)
{
    struct span rest = head->text, line;
    while (span_cut(&rest, '\n', &line)) {
        struct span value = line, found;
        if (span_cut(&value, ':', &found) && span_eq_nocase(found, name) && value.len > 0) {
            if (value.at[value.len - 1] == '\r')
                value.len--;
            *ret_value = span_trim(value);
            return true;
        }
    }
    return false;
}

enum http_head_verdict http_head_read(struct span bytes, struct http_head *ret_head)
{
    const char *end = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    if (end == NULL)
        return HTTP_HEAD_PART;

    struct http_head head = { .text = span_head(bytes, (size_t)(end - bytes.at) + 4) };
    uint64_t         status;
    /* RFC 9112 4: HTTP-version SP status-code SP [reason], and the code has three digits. */
    if (!span_starts(head.text, SPAN("HTTP/1.1 ")) || head.text.len < 13 ||
        !span_u64(span_of(head.text.at + 9, 3), &status))
        return HTTP_HEAD_BAD;
    head.status = (unsigned)status;

    struct span value;
    if (http_head_field(&head, SPAN("content-length"), &value) && !span_u64(value, &head.body_bytes))
        return HTTP_HEAD_BAD;
    *ret_head = head;
    return HTTP_HEAD_WHOLE;
}
