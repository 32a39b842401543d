#include "codec/multipart/multipart.h"

#include "base/must.h"
#include "codec/json/json.h"
#include "message/epoch.h"

static bool is_visible(char c)
{
    return c > 0x20 && c < 0x7f;
}

static bool is_boundary_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

static void must_be_boundary(struct span boundary)
{
    must(boundary.len > 0 && boundary.len <= MULTIPART_BOUNDARY_BYTES_MAX);
    for (size_t i = 0; i < boundary.len; i++)
        must(is_boundary_byte(boundary.at[i]));
}

/* A value from outside: each byte that is not visible ASCII becomes %XX, and so does the percent sign. */
static void put_encoded(struct buf *buf, struct span name, struct span value)
{
    static const char hex[] = "0123456789ABCDEF";

    buf_put(buf, name);
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if (is_visible(value.at[i]) && c != '%') {
            buf_putc(buf, value.at[i]);
            continue;
        }
        char escape[] = { '%', hex[c >> 4], hex[c & 15] };
        buf_put(buf, span_of(escape, sizeof escape));
    }
    buf_put_lit(buf, "\r\n");
}

static void put_number(struct buf *buf, struct span name, uint64_t value)
{
    buf_put(buf, name);
    buf_put_u64(buf, value);
    buf_put_lit(buf, "\r\n");
}

/* Publishing has checked the media type. Still, one that could end the line is replaced here. */
static void put_media(struct buf *buf, struct span media)
{
    bool is_fit = media.len > 0;
    for (size_t i = 0; i < media.len; i++)
        is_fit = is_fit && (is_visible(media.at[i]) || media.at[i] == ' ');
    buf_put_lit(buf, "Content-Type: ");
    buf_put(buf, is_fit ? media : SPAN("application/octet-stream"));
    buf_put_lit(buf, "\r\n");
}

static void put_part_cursor(struct buf *buf, struct span cursor)
{
    if (cursor.len > 0)
        put_encoded(buf, SPAN("Longwire-Cursor: "), cursor);
}

static void put_message_headers(struct buf *buf, const struct message *message)
{
    must(message->time >= 0);
    put_encoded(buf, SPAN("Longwire-Channel: "), channel_name_span(message->channel));
    buf_put_lit(buf, "Longwire-Epoch: ");
    epoch_put(buf, message->epoch);
    buf_put_lit(buf, "\r\n");
    put_number(buf, SPAN("Longwire-Seq: "), message->seq);
    put_number(buf, SPAN("Longwire-Id: "), message->id);
    put_number(buf, SPAN("Longwire-Time: "), (uint64_t)message->time);
    if (message->from_len > 0)
        put_encoded(buf, SPAN("Longwire-From: "), message_from(message));
    if (message->event_len > 0)
        put_encoded(buf, SPAN("Longwire-Event: "), message_event(message));
    if (message->kind == MESSAGE_RECALL)
        put_number(buf, SPAN("Longwire-Recall: "), message->target);
    if (message->kind == MESSAGE_RECALLED)
        buf_put_lit(buf, "Longwire-Recalled: true\r\n");
}

/* The empty line that ends the headers, the body, and the delimiter that ends the body. */
static void put_body(struct buf *buf, struct span boundary, struct span body)
{
    buf_put_lit(buf, "\r\n");
    buf_put(buf, body);
    buf_put_lit(buf, "\r\n--");
    buf_put(buf, boundary);
}

void multipart_put_start(struct buf *buf, struct span boundary)
{
    must_be_boundary(boundary);
    buf_put_lit(buf, "--");
    buf_put(buf, boundary);
    buf_put_lit(buf, "\r\n");
}

void multipart_put_message(struct buf *buf, struct span boundary, const struct message *message, struct span cursor)
{
    struct span payload = message->kind == MESSAGE_PLAIN ? message_payload(message) : (struct span){ 0 };

    must_be_boundary(boundary);
    put_media(buf, message_media(message));
    put_number(buf, SPAN("Content-Length: "), payload.len);
    put_message_headers(buf, message);
    put_part_cursor(buf, cursor);
    put_body(buf, boundary, payload);
    buf_put_lit(buf, "\r\n");
}

/* The longest: each byte of the longest name as \u00XX, and about 150 bytes around it. */
enum { GAP_BYTES_MAX = 2048 };

static void put_object(struct buf *buf, struct span boundary, const char *type, const struct buf *object, struct span cursor)
{
    must_be_boundary(boundary);
    must(!buf_is_over(object));
    buf_putf(buf, "Content-Type: application/vnd.longwire.%s+json\r\n", type);
    put_number(buf, SPAN("Content-Length: "), object->len);
    put_part_cursor(buf, cursor);
    put_body(buf, boundary, buf_span(object));
    buf_put_lit(buf, "\r\n");
}

void multipart_put_gap(struct buf *buf, struct span boundary, struct span channel, uint64_t epoch,
                       const struct gap *gap, struct span cursor)
{
    struct buf object;

    buf_init(&object, GAP_BYTES_MAX);
    json_put_gap(&object, channel, epoch, gap, (struct span){ 0 });
    put_object(buf, boundary, "gap", &object, cursor);
    buf_fini(&object);
}

void multipart_put_notify(struct buf *buf, struct span boundary, struct span channel, uint64_t epoch, uint64_t head,
                          struct span cursor)
{
    struct buf object;

    buf_init(&object, GAP_BYTES_MAX);
    json_put_notify(&object, channel, epoch, head, (struct span){ 0 });
    put_object(buf, boundary, "notify", &object, cursor);
    buf_fini(&object);
}

static void put_ping(struct buf *buf, struct span boundary)
{
    static const struct span body = { "{\"type\":\"ping\"}", 15 };

    must_be_boundary(boundary);
    buf_put_lit(buf, "Content-Type: application/vnd.longwire.ping+json\r\n");
    put_number(buf, SPAN("Content-Length: "), body.len);
    put_body(buf, boundary, body);
}

void multipart_put_ping(struct buf *buf, struct span boundary)
{
    put_ping(buf, boundary);
    buf_put_lit(buf, "\r\n");
}

void multipart_put_note(struct buf *buf, struct span boundary, const char *type, struct span json)
{
    must_be_boundary(boundary);
    buf_putf(buf, "Content-Type: application/vnd.longwire.%s+json\r\n", type);
    put_number(buf, SPAN("Content-Length: "), json.len);
    put_body(buf, boundary, json);
    buf_put_lit(buf, "\r\n");
}

void multipart_put_end(struct buf *buf, struct span boundary)
{
    put_ping(buf, boundary);
    buf_put_lit(buf, "--\r\n");
}
