#include "codec/request_head.h"

#include <ctype.h>

struct span request_field(const struct request_head *head, struct span name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct span){ NULL, 0 };
}

bool request_is_token(struct span text)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < text.len; i++)
        if (!isalnum((unsigned char)text.at[i]) && memchr(marks, text.at[i], sizeof marks - 1) == NULL)
            return false;
    return text.len > 0;
}

static const struct single_field {
    struct span name;
    const char *repeated;
} single_fields[] = {
    { SPAN("origin"),                        "Origin repeated" },
    { SPAN("content-type"),                  "Content-Type repeated" },
    { SPAN("authorization"),                 "Authorization repeated" },
    { SPAN("last-event-id"),                 "Last-Event-ID repeated" },
    { SPAN("collapse-key"),                  "Collapse-Key repeated" },
    { SPAN("longwire-event"),                "Longwire-Event repeated" },
    { SPAN("idempotency-key"),               "Idempotency-Key repeated" },
    { SPAN("access-control-request-method"), "Access-Control-Request-Method repeated" },
};

/* -1: none of them. The length decides first: most fields need no comparison. */
static int find_single(struct span name)
{
    for (size_t i = 0; i < sizeof single_fields / sizeof single_fields[0]; i++)
        if (name.len == single_fields[i].name.len && span_eq_nocase(name, single_fields[i].name))
            return (int)i;
    return -1;
}

const char *request_head_repeated(const struct request_head *head)
{
    unsigned seen = 0;

    for (size_t i = 0; i < head->field_count; i++) {
        int at = find_single(head->fields[i].name);
        if (at < 0)
            continue;
        if (seen & 1u << at)
            return single_fields[at].repeated;
        seen |= 1u << at;
    }
    return NULL;
}
