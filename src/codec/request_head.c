#include "codec/request_head.h"

struct span request_field(const struct request_head *head, struct span name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct span){ NULL, 0 };
}
