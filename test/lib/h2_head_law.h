/* h2_head_law.h - what h2_head.h promises for every list of fields: what it lets pass, HTTP/1.1 lets pass, too, and reads in
 * the same way. */
#ifndef LIB_H2_HEAD_LAW_H
#define LIB_H2_HEAD_LAW_H

#include "base/must.h"
#include "codec/h2/h2_head.h"

static inline bool h2_law_is_inside(const struct h2_head *head, struct span span)
{
    return span.len == 0 || (span.at >= head->text.at && span.at + span.len <= head->text.at + head->text.len);
}

/* The same request as HTTP/1.1 has it. `host` stands in front, so a field of that name is left out. */
static inline void h2_law_put_h1(const struct request_head *head, bool has_body, struct buf *text)
{
    buf_put(text, head->method_text);
    buf_put_lit(text, " ");
    buf_put(text, head->target);
    buf_put_lit(text, " HTTP/1.1\r\nHost: ");
    buf_put(text, head->host);
    buf_put_lit(text, "\r\n");
    bool has_length = false;
    for (size_t i = 0; i < head->field_count; i++) {
        if (span_eq(head->fields[i].name, SPAN("host")))
            continue;
        has_length |= span_eq(head->fields[i].name, SPAN("content-length"));
        buf_put(text, head->fields[i].name);
        buf_put_lit(text, ": ");
        buf_put(text, head->fields[i].value);
        buf_put_lit(text, "\r\n");
    }
    if (has_body && !has_length)
        buf_put_lit(text, "Transfer-Encoding: chunked\r\n");
    buf_put_lit(text, "\r\n");
}

/* A head that is kept says the same, out of memory of its own. */
static inline void h2_law_keep(const struct h2_head *head)
{
    const struct request_head *request = &head->request;
    struct h2_head             kept;

    h2_head_init(&kept, head->limits);
    h2_head_keep(&kept, head);
    must(kept.request.method == request->method && span_eq(kept.request.method_text, request->method_text));
    must(span_eq(kept.request.target, request->target) && h2_law_is_inside(&kept, kept.request.target));
    must(span_eq(kept.request.host, request->host) && h2_law_is_inside(&kept, kept.request.host));
    must(kept.request.field_count == request->field_count && kept.fault_status == head->fault_status);
    for (size_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &kept.request.fields[i];
        must(span_eq(field->name, request->fields[i].name) && h2_law_is_inside(&kept, field->name));
        must(span_eq(field->value, request->fields[i].value) && h2_law_is_inside(&kept, field->value));
        must((field->value.at == NULL) == (request->fields[i].value.at == NULL));
    }
    h2_head_fini(&kept);
}

static inline void h2_law_compare(const struct request_head *h2, const struct request_head *h1)
{
    size_t at = 1;  /* behind Host */

    must(h1->method == h2->method && span_eq(h1->method_text, h2->method_text));
    must(span_eq(h1->target, h2->target) && span_eq(h1->host, h2->host));
    for (size_t i = 0; i < h2->field_count; i++) {
        if (span_eq(h2->fields[i].name, SPAN("host")))
            continue;
        must(at < h1->field_count && span_eq(h1->fields[at].name, h2->fields[i].name));
        must(span_eq(h1->fields[at++].value, h2->fields[i].value));
    }
}

/* Holds for a head that h2_head_end() has judged. */
static inline void h2_law_hold(const struct h2_head *head, bool is_good, bool is_end)
{
    const struct h1_limits   limits  = { 1 << 20, 1 << 20 };
    const struct request_head *request = &head->request;
    struct h1_head           h1_head;
    struct h1                h1;
    struct buf               text;
    struct span              body;
    size_t                   used;

    must(is_good == (head->fault_status == 0) && is_good == (head->fault_reason == NULL));
    must(request->field_count <= REQUEST_FIELDS_MAX);
    h2_law_keep(head);
    if (!is_good) {
        must(request->field_count <= 1);
        return;
    }
    if (request->is_websocket)
        return;  /* begins otherwise in HTTP/1.1 */
    if (request->field_count == REQUEST_FIELDS_MAX)
        return;  /* one more than HTTP/1.1 takes, where Host is one of them */
    buf_init(&text, 1 << 20);
    h2_law_put_h1(request, !is_end, &text);
    h1_init(&h1, &limits);
    must(h1_feed(&h1, buf_span(&text), &h1_head, &used, &body) == H1_HEAD_DONE && used == text.len);
    h2_law_compare(request, &h1_head.request);
    must(h1_head.expects_continue == head->expects_continue);
    must(!head->has_length || h1_head.content_length == head->content_length);
    buf_fini(&text);
}

#endif
