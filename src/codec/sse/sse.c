#include "codec/sse/sse.h"

#include "base/must.h"
#include "base/utf8.h"
#include "codec/json/json.h"
#include "message/control_message.h"

/* WHATWG HTML 9.2.6: an id with NUL is ignored, and CR or LF would end the line. Tokens are base64url. */
static void put_id(struct buf *buf, struct span cursor)
{
    if (cursor.len == 0)
        return;
    for (size_t i = 0; i < cursor.len; i++)
        must(cursor.at[i] != '\0' && cursor.at[i] != '\r' && cursor.at[i] != '\n');
    buf_put_lit(buf, "id: ");
    buf_put(buf, cursor);
    buf_putc(buf, '\n');
}

static void put_data(struct buf *buf, struct span text)
{
    buf_put_lit(buf, "data: ");
    buf_put(buf, text);
    buf_putc(buf, '\n');
}

/* A line for each of the payload's; an empty payload has one, without which there were no event. */
static void put_data_lines(struct buf *buf, struct span text)
{
    for (size_t i = 0, begin = 0;; i++) {
        if (i < text.len && text.at[i] != '\r' && text.at[i] != '\n')
            continue;
        put_data(buf, span_of(text.at + begin, i - begin));
        if (i == text.len)
            return;
        i += text.at[i] == '\r' && i + 1 < text.len && text.at[i + 1] == '\n';
        begin = i + 1;
    }
}

static void put_event(struct buf *buf, struct span name)
{
    buf_put_lit(buf, "event: ");
    buf_put(buf, name);
    buf_putc(buf, '\n');
}

/* The name under which a message comes as an object; empty: it comes as its payload. */
static struct span raw_object_name(const struct message *message)
{
    switch ((enum message_kind)message->kind) {
    case MESSAGE_RECALL: return SPAN("recall");
    case MESSAGE_RECALLED: return SPAN("recalled");
    case MESSAGE_PLAIN: break;
    }
    if (control_message_type(message).len > 0)
        return SPAN("control");
    return utf8_is_valid(message_payload(message)) ? SPAN("") : SPAN("binary");
}

void sse_put_raw(struct buf *buf, const struct message *message, struct span cursor)
{
    struct span object_name = raw_object_name(message), event = message_event(message);

    if (object_name.len > 0) {
        put_event(buf, object_name);
        sse_put_message(buf, message, cursor);
        return;
    }
    put_id(buf, cursor);
    if (event.len > 0)
        put_event(buf, event);
    put_data_lines(buf, message_payload(message));
    buf_putc(buf, '\n');
}

void sse_put_message(struct buf *buf, const struct message *message, struct span cursor)
{
    put_id(buf, cursor);
    buf_put_lit(buf, "data: ");
    json_put_message_line(buf, message, (struct span){ 0 });
    buf_put_lit(buf, "\n\n");
}

void sse_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap, struct span cursor)
{
    put_id(buf, cursor);
    buf_put_lit(buf, "event: gap\ndata: ");
    json_put_gap(buf, channel, epoch, gap, (struct span){ 0 });
    buf_put_lit(buf, "\n\n");
}

void sse_put_notify(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head, struct span cursor)
{
    put_id(buf, cursor);
    buf_put_lit(buf, "event: notify\ndata: ");
    json_put_notify(buf, channel, epoch, head, (struct span){ 0 });
    buf_put_lit(buf, "\n\n");
}

void sse_put_place(struct buf *buf, struct span cursor)
{
    put_id(buf, cursor);
    buf_put_lit(buf, "event: cursor\ndata: {\"type\":\"cursor\",\"cursor\":\"");
    buf_put(buf, cursor);
    buf_put_lit(buf, "\"}\n\n");
}

void sse_put_note(struct buf *buf, const char *type, struct span json)
{
    buf_putf(buf, "event: %s\ndata: ", type);
    buf_put(buf, json);
    buf_put_lit(buf, "\n\n");
}

void sse_put_heartbeat(struct buf *buf)
{
    buf_put_lit(buf, ":\n");
}

void sse_put_retry(struct buf *buf, msec wait)
{
    must(wait >= 0);
    buf_put_lit(buf, "retry: ");
    buf_put_u64(buf, (uint64_t)wait);
    buf_putc(buf, '\n');
}
