/* Any message as a part: a reader that counts finds the payload byte for byte, in the headers nothing but what is ours,
 * and the parts around it as they were written (threats 56, 58, 83). */
#include "codec/multipart/multipart.h"
#include "codec/url/url.h"
#include "lib/part_reader.h"
#include "lib/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct span boundary = { "boundary", 8 };
static const struct gap  gap      = { 3, 9, GAP_TRIMMED };

static bool is_ours(struct span name)
{
    return span_eq(name, SPAN("Content-Type")) || span_eq(name, SPAN("Content-Length")) ||
           span_starts(name, SPAN("Longwire-"));
}

/* `text` percent-encoded is `value`. */
static void check_encoded(struct span value, struct span text)
{
    struct buf  scratch;
    struct span plain;

    if (text.len > 0 && memchr(text.at, '\0', text.len) != NULL)
        return;  /* url_decode() takes none */
    buf_init(&scratch, value.len);
    must(url_decode(value, URL_PATH, &scratch, &plain) && span_eq(plain, text));
    buf_fini(&scratch);
}

static void check_message(const struct part *part, const struct message *message)
{
    bool        is_plain = message->kind == MESSAGE_PLAIN;
    size_t      count    = 0;
    struct span head     = part->head, name, value;

    while (part_field_next(&head, &name, &value)) {
        must(is_ours(name));
        count++;
    }
    must(count == 8u + (message->from_len > 0) + (message->event_len > 0) + !is_plain);
    must(span_eq(part->body, is_plain ? message_payload(message) : (struct span){ 0 }));
    must(span_eq(part_field(part, SPAN("Longwire-Seq")), SPAN("42")));
    must(span_eq(part_field(part, SPAN("Longwire-Cursor")), SPAN("one")));
    check_encoded(part_field(part, SPAN("Longwire-Channel")), channel_name_span(message->channel));
    check_encoded(part_field(part, SPAN("Longwire-From")), message_from(message));
    check_encoded(part_field(part, SPAN("Longwire-Event")), message_event(message));
}

static void check(const struct message *message)
{
    struct buf  stream;
    struct part part;

    buf_init(&stream, 1 << 20);
    multipart_put_start(&stream, boundary);
    multipart_put_message(&stream, boundary, message, SPAN("one"));
    multipart_put_gap(&stream, boundary, channel_name_span(message->channel), message->epoch, &gap, SPAN("two"));
    multipart_put_notify(&stream, boundary, channel_name_span(message->channel), message->epoch, message->seq, SPAN("three"));
    multipart_put_note(&stream, boundary, "join", channel_name_span(message->channel));
    multipart_put_ping(&stream, boundary);
    multipart_put_end(&stream, boundary);
    must(!buf_is_over(&stream));

    struct span rest = buf_span(&stream);
    must(span_eq(part_take(&rest, 12), SPAN("--boundary\r\n")));
    part = part_next(&rest, boundary);
    check_message(&part, message);
    part = part_next(&rest, boundary);
    must(span_eq(part_field(&part, SPAN("Content-Type")), SPAN("application/vnd.longwire.gap+json")));
    part = part_next(&rest, boundary);
    must(span_eq(part_field(&part, SPAN("Content-Type")), SPAN("application/vnd.longwire.notify+json")));
    must(span_eq(part_field(&part, SPAN("Longwire-Cursor")), SPAN("three")));
    part = part_next(&rest, boundary);
    must(span_eq(part_field(&part, SPAN("Content-Type")), SPAN("application/vnd.longwire.join+json")));
    must(span_eq(part.body, channel_name_span(message->channel)));
    part = part_next(&rest, boundary);
    must(span_eq(part.body, SPAN("{\"type\":\"ping\"}")) && !part.is_last);
    part = part_next(&rest, boundary);
    must(part.is_last && rest.len == 0);
    buf_fini(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct sample sample;

    if (!sample_of_bytes(&sample, span_of(bytes, len)))
        return 0;
    check(sample.message);
    sample_fini(&sample);
    return 0;
}
