/* Any message as an event: a browser reads one event with the message's line, and the events around it as they were
 * written (threats 58, 80). What a line holds is json_write_fuzz.c's. */
#include "codec/json/json.h"
#include "codec/sse/sse.h"
#include "lib/sample.h"
#include "lib/sse_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct gap gap = { 3, 9, GAP_TRIMMED };

static void check_stream(struct span rest, struct span line)
{
    struct sse_event event;

    must(sse_event_next(&rest, &event) && span_eq(event.id, SPAN("one")));
    must(event.type.at == NULL && span_eq(event.data, line));
    must(sse_event_next(&rest, &event) && event.id.at == NULL);
    must(event.type.at == NULL && span_eq(event.data, line));
    must(sse_event_next(&rest, &event) && span_eq(event.id, SPAN("two")) && span_eq(event.type, SPAN("gap")));
    must(sse_event_next(&rest, &event) && span_eq(event.id, SPAN("three")) && span_eq(event.type, SPAN("cursor")));
    must(!sse_event_next(&rest, &event));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct sample sample;
    struct buf    stream, line;

    if (!sample_of_bytes(&sample, span_of(bytes, len)))
        return 0;
    const struct message *message = sample.message;
    buf_init(&stream, 1 << 20);
    buf_init(&line, 1 << 20);
    json_put_message_line(&line, message, SPAN(""));
    sse_put_retry(&stream, 3000);
    sse_put_message(&stream, message, SPAN("one"));
    sse_put_heartbeat(&stream);
    sse_put_message(&stream, message, SPAN(""));
    sse_put_gap(&stream, channel_name_span(message->channel), message->epoch, &gap, SPAN("two"));
    sse_put_place(&stream, SPAN("three"));
    sse_put_retry(&stream, 3000);
    must(!buf_is_over(&stream));
    check_stream(buf_span(&stream), buf_span(&line));
    buf_fini(&line);
    buf_fini(&stream);
    sample_fini(&sample);
    return 0;
}
