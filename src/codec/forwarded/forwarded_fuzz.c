/* Any lines as the fields of a head. Whatever a client sends: what the last proxy appends behind it counts; and what stands
 * to the left of an address that counts changes nothing. */
#include "base/must.h"
#include "codec/forwarded/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct request_head heads[2];  /* the fields; the same with one more before or behind */
static struct ip_ranges    trusted;

static void see_all(struct request_head *head, struct span lines)
{
    struct span line, name = SPAN("");

    head->field_count = 0;
    while (head->field_count < REQUEST_FIELDS_MAX - 1 && span_cut(&lines, '\n', &line))
        if (span_cut(&line, ':', &name))
            head->fields[head->field_count++] = (struct http_field){ name, span_trim(line) };
}

static struct forwarded read_with(struct http_field more, bool is_before)
{
    struct request_head *head = &heads[1];

    head->field_count = 0;
    if (is_before)
        head->fields[head->field_count++] = more;
    for (size_t i = 0; i < heads[0].field_count; i++)
        head->fields[head->field_count++] = heads[0].fields[i];
    if (!is_before)
        head->fields[head->field_count++] = more;
    return forwarded_read(head, &trusted);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct ip_address last;

    must(ip_range_read(SPAN("10.0.0.0/8"), &trusted.at[0]) && ip_read(SPAN("203.0.113.9"), &last));
    trusted.count = 1;
    see_all(&heads[0], span_of(bytes, len));
    const struct forwarded found = forwarded_read(&heads[0], &trusted);
    bool is_x = request_field(&heads[0], SPAN("forwarded")).at == NULL;
    struct forwarded behind = read_with(is_x ? (struct http_field){ SPAN("X-Forwarded-For"), SPAN("203.0.113.9") }
                                             : (struct http_field){ SPAN("Forwarded"), SPAN("for=203.0.113.9") }, false);
    must(ip_eq(&behind.client, &last));
    if (!ip_is_known(&found.client) || ip_ranges_have(&trusted, &found.client))
        return 0;
    struct forwarded before = read_with(is_x ? (struct http_field){ SPAN("X-Forwarded-For"), SPAN("203.0.113.9") }
                                             : (struct http_field){ SPAN("Forwarded"), SPAN("for=203.0.113.9") }, true);
    must(ip_eq(&before.client, &found.client) && before.proto == found.proto);
    return 0;
}
