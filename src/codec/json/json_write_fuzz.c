/* Any message as JSON: one object whose payload reads back as it was published; on one line where a line is asked for,
 * whatever the payload holds (threats 55, 56, 58). Its texts as a problem too. */
#include "base/base64.h"
#include "codec/json/json.h"
#include "lib/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { OBJECT_BYTES_MAX = 1 << 20 };

/* JSON stands as it came, but for space around it and, on one line, for line breaks. */
static void check_json(struct span raw, struct span payload, bool is_line)
{
    size_t from = 0;

    while (memchr(" \t\r\n", payload.at[from], 4) != NULL)
        from++;
    must(raw.len <= payload.len - from);
    for (size_t i = 0; i < raw.len; i++) {
        char byte = payload.at[from + i];
        must(raw.at[i] == (is_line && (byte == '\r' || byte == '\n') ? ' ' : byte));
    }
}

static void check_text(const struct json_token *token, struct span text)
{
    struct buf  scratch;
    struct span said;

    buf_init(&scratch, text.len);
    must(json_string(token, &scratch, &said) && span_eq(said, text));
    buf_fini(&scratch);
}

static void check_base64(const struct json_token *token, struct span bytes)
{
    struct buf scratch;

    buf_init(&scratch, bytes.len);
    must(!utf8_is_valid(bytes) && token != NULL);
    must(base64_get(span_of(token->raw.at + 1, token->raw.len - 2), &scratch) && span_eq(buf_span(&scratch), bytes));
    buf_fini(&scratch);
}

static void check_payload(const struct json_doc *doc, const struct message *message, bool is_line)
{
    const struct json_token *data    = json_member(doc, json_root(doc), SPAN("data"));
    struct span              payload = message_payload(message);

    if (data == NULL)
        check_base64(json_member(doc, json_root(doc), SPAN("data_base64")), payload);
    else if (payload.len > 0 && json_is_media(message_media(message)))
        check_json(data->raw, payload, is_line);
    else
        check_text(data, payload);
}

static void check_message(struct span object, const struct message *message, bool is_line)
{
    static const struct json_limits members = { .depth_kept = 1 };
    struct json_doc                 doc;
    uint64_t                        seq = 0;

    json_doc_init(&doc);
    must(json_parse(object, &members, &doc) && json_root(&doc)->type == JSON_OBJECT);
    must(json_u64(json_member(&doc, json_root(&doc), SPAN("seq")), &seq) && seq == message->seq);
    check_text(json_member(&doc, json_root(&doc), SPAN("channel")), channel_name_span(message->channel));
    if (message->from_len > 0)
        check_text(json_member(&doc, json_root(&doc), SPAN("from")), message_from(message));
    if (message->event_len > 0)
        check_text(json_member(&doc, json_root(&doc), SPAN("event")), message_event(message));
    if (message->kind == MESSAGE_PLAIN)
        check_payload(&doc, message, is_line);
    if (is_line)
        check_text(json_member(&doc, json_root(&doc), SPAN("cursor")), SPAN("one"));
    json_doc_fini(&doc);
}

static void check_problem(struct buf *object, struct span title, struct span detail)
{
    static const struct json_limits members = { .depth_kept = 1 };
    struct json_doc                 doc;

    buf_clear(object);
    json_put_problem(object, 418, title, detail);
    json_doc_init(&doc);
    must(json_parse(buf_span(object), &members, &doc));
    check_text(json_member(&doc, json_root(&doc), SPAN("title")), title);
    if (detail.len > 0)
        check_text(json_member(&doc, json_root(&doc), SPAN("detail")), detail);
    json_doc_fini(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct sample sample;
    struct buf    object;

    if (!sample_of_bytes(&sample, span_of(bytes, len)))
        return 0;
    buf_init(&object, OBJECT_BYTES_MAX);
    json_put_message(&object, sample.message);
    check_message(buf_span(&object), sample.message, false);
    buf_clear(&object);
    json_put_message_line(&object, sample.message, SPAN("one"));
    must(memchr(object.at, '\n', object.len) == NULL && memchr(object.at, '\r', object.len) == NULL);
    check_message(buf_span(&object), sample.message, true);
    check_problem(&object, message_from(sample.message), message_media(sample.message));
    buf_fini(&object);
    sample_fini(&sample);
    return 0;
}
