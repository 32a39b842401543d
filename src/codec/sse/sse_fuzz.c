/* Any message as an event: a browser reads one event with the message's line, and the events around it as they were
 * written (threats 58, 80). What a line holds is json_write_fuzz.c's. */
#include "base/utf8.h"
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
    must(sse_event_next(&rest, &event) && span_eq(event.id, SPAN("three")) && span_eq(event.type, SPAN("notify")));
    must(sse_event_next(&rest, &event) && span_eq(event.type, SPAN("join")) && span_eq(event.data, line));
    must(sse_event_next(&rest, &event) && span_eq(event.id, SPAN("four")) && span_eq(event.type, SPAN("cursor")));
    must(!sse_event_next(&rest, &event));
}

/* What a browser puts together from the data: lines of the event that begins the stream, and the name of the event. */
static void hear_raw(struct span stream, struct span *ret_type, struct buf *data)
{
    struct span line;
    size_t      count = 0;

    while ((line = sse_line_next(&stream)).len > 0) {
        if (span_starts(line, SPAN("event: "))) {
            must(ret_type->at == NULL);
            *ret_type = span_skip(line, 7);
        } else if (span_starts(line, SPAN("data: "))) {
            if (count++ > 0)
                buf_putc(data, '\n');
            buf_put(data, span_skip(line, 6));
        } else {
            must(span_eq(line, SPAN("id: one")));
        }
    }
    must(count > 0 && stream.len == 0);
}

/* CR LF, CR and LF of the payload come as LF. */
static void check_raw(const struct message *message, struct span line)
{
    struct buf  stream, heard;
    struct span type = { 0 }, rest = message_payload(message);

    buf_init(&stream, 1 << 20);
    buf_init(&heard, 1 << 20);
    sse_put_raw(&stream, message, SPAN("one"));
    hear_raw(buf_span(&stream), &type, &heard);
    if (message->kind == MESSAGE_PLAIN && utf8_is_valid(rest)) {
        struct span said = buf_span(&heard), event = message_event(message);
        must(event.len == 0 ? type.at == NULL : span_eq(type, event));
        for (; rest.len > 0; said = span_skip(said, 1)) {
            bool is_end  = rest.at[0] == '\r' || rest.at[0] == '\n';
            bool is_pair = span_starts(rest, SPAN("\r\n"));
            must(said.len > 0 && said.at[0] == (is_end ? '\n' : rest.at[0]));
            rest = span_skip(rest, is_pair ? 2 : 1);
        }
        must(said.len == 0);
    } else {
        must(event_name_judge(type) == EVENT_RESERVED && span_eq(buf_span(&heard), line));
    }
    buf_fini(&heard);
    buf_fini(&stream);
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
    sse_put_notify(&stream, channel_name_span(message->channel), message->epoch, message->seq, SPAN("three"));
    sse_put_note(&stream, "join", buf_span(&line));
    sse_put_place(&stream, SPAN("four"));
    sse_put_retry(&stream, 3000);
    must(!buf_is_over(&stream));
    check_stream(buf_span(&stream), buf_span(&line));
    check_raw(message, buf_span(&line));
    buf_fini(&line);
    buf_fini(&stream);
    sample_fini(&sample);
    return 0;
}
