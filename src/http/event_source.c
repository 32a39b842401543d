#include "http/event_source.h"

#include "codec/sse/sse.h"

static bool list_names(struct span list, struct span media)
{
    struct span item, range;

    while (span_cut(&list, ',', &item))
        if (span_cut(&item, ';', &range) && span_eq_nocase(span_trim(range), media))
            return true;
    return false;
}

bool request_is_of_event_source(const struct request_head *head)
{
    for (size_t i = 0; head->method == HTTP_GET && i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, SPAN("accept")) &&
            list_names(head->fields[i].value, SPAN("text/event-stream")))
            return true;
    return false;
}

void event_source_put_off(struct http_server *server, struct http_exchange *exchange, const char *why)
{
    struct buf body;

    buf_init(&body, 4096);
    buf_putf(&body, ": %s\n", why);
    sse_put_retry(&body, exchange->retry_ms > 0 ? exchange->retry_ms : server->service->event_retry(server->ctx));
    http_answer(server, exchange, &(struct http_answer){
        .status  = 200,
        .media   = SPAN("text/event-stream; charset=utf-8"),
        .fields  = HTTP_FIELDS({ SPAN("Cache-Control"), SPAN("no-store, no-transform") }),
        .body    = buf_span(&body),
        .is_last = true,
    });
    buf_fini(&body);
}
