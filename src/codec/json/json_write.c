#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "codec/json/json_priv.h"
#include "message/control_message.h"
#include "message/epoch.h"

/* RFC 6839 3.1: a subtype that ends in +json is JSON. */
bool json_is_media(struct span media)
{
    static const struct span suffix = { "+json", 5 };
    struct span              type;

    if (!span_cut(&media, ';', &type))
        return false;
    type = span_trim(type);
    return span_eq_nocase(type, SPAN("application/json")) ||
           (type.len > suffix.len && span_eq_nocase(span_skip(type, type.len - suffix.len), suffix));
}

/* --- strings ------------------------------------------------------------------------------------------------ */

static void put_escape(struct buf *buf, char c)
{
    static const char hex[] = "0123456789abcdef";

    switch (c) {
    case '"': buf_put_lit(buf, "\\\""); return;
    case '\\': buf_put_lit(buf, "\\\\"); return;
    case '\b': buf_put_lit(buf, "\\b"); return;
    case '\f': buf_put_lit(buf, "\\f"); return;
    case '\n': buf_put_lit(buf, "\\n"); return;
    case '\r': buf_put_lit(buf, "\\r"); return;
    case '\t': buf_put_lit(buf, "\\t"); return;
    default:
        buf_put_lit(buf, "\\u00");
        buf_putc(buf, hex[c >> 4]);
        buf_putc(buf, hex[c & 15]);
    }
}

/* True: nothing in it is to be escaped, and it is put. */
static bool put_plain_string(struct buf *buf, struct span text)
{
    if (json_plain_len(text) < text.len)
        return false;
    char *at = buf_extend(buf, text.len + 2);
    if (at == NULL)
        return true;  /* the buffer is over */
    at[0] = at[text.len + 1] = '"';
    if (text.len > 0)
        memcpy(at + 1, text.at, text.len);
    return true;
}

void json_put_string(struct buf *buf, struct span text)
{
    if (put_plain_string(buf, text))
        return;
    buf_putc(buf, '"');
    while (text.len > 0) {
        size_t len = json_plain_len(text);
        buf_put(buf, span_head(text, len));
        text = span_skip(text, len);
        if (text.len > 0) {
            put_escape(buf, text.at[0]);
            text = span_skip(text, 1);
        }
    }
    buf_putc(buf, '"');
}

/* --- messages ----------------------------------------------------------------------------------------------- */

enum layout { AS_IT_IS, ONE_LINE };

/* {"type":…,"channel":…,"epoch":… : what messages, recalls and gaps begin with. */
static void put_place(struct buf *buf, struct span type, struct span channel, uint64_t epoch)
{
    buf_put_lit(buf, "{\"type\":\"");
    buf_put(buf, type);
    buf_put_lit(buf, "\",\"channel\":");
    json_put_string(buf, channel);
    buf_put_lit(buf, ",\"epoch\":\"");
    epoch_put(buf, epoch);
    buf_putc(buf, '"');
}

/* The value of "type". */
static struct span type_of(const struct message *message)
{
    struct span control = control_message_type(message);

    if (message->kind == MESSAGE_RECALL)
        return SPAN("recall");
    return control.len > 0 ? control : SPAN("message");
}

static void put_message_members(struct buf *buf, const struct message *message)
{
    struct span from = message_from(message);

    must(message->time >= 0);
    put_place(buf, type_of(message), channel_name_span(message->channel), message->epoch);
    buf_put_lit(buf, ",\"seq\":");
    buf_put_u64(buf, message->seq);
    buf_put_lit(buf, ",\"id\":");
    buf_put_u64(buf, message->id);
    buf_put_lit(buf, ",\"time\":");
    buf_put_u64(buf, (uint64_t)message->time);
    buf_put_lit(buf, ",\"from\":");
    if (from.len > 0)
        json_put_string(buf, from);
    else
        buf_put_lit(buf, "null");
}

/* Line breaks in JSON stand between tokens only, where a space says the same. */
static void put_as_line(struct buf *buf, struct span json)
{
    if (memchr(json.at, '\r', json.len) == NULL && memchr(json.at, '\n', json.len) == NULL) {
        buf_put(buf, json);
        return;
    }
    char *to = buf_extend(buf, json.len);
    if (to == NULL)
        return;
    for (size_t i = 0; i < json.len; i++)
        to[i] = json.at[i] == '\r' || json.at[i] == '\n' ? ' ' : json.at[i];
}

static void put_payload(struct buf *buf, const struct message *message, enum layout layout)
{
    struct span media = message_media(message), payload = message_payload(message);

    buf_put_lit(buf, ",\"media\":");
    json_put_string(buf, media);
    if (message->event_len > 0) {
        buf_put_lit(buf, ",\"event\":");
        json_put_string(buf, message_event(message));
    }
    if (payload.len > 0 && json_is_media(media)) {
        buf_put_lit(buf, ",\"data\":");
        if (layout == ONE_LINE)
            put_as_line(buf, payload);
        else
            buf_put(buf, payload);
    } else if (utf8_is_valid(payload)) {
        buf_put_lit(buf, ",\"data\":");
        json_put_string(buf, payload);
    } else {
        buf_put_lit(buf, ",\"data_base64\":\"");
        base64_put(buf, payload);
        buf_putc(buf, '"');
    }
}

/* The payload's members stand beside the message's own. The server made the payload: on one line, without a member that
 * a message has. */
static void put_control(struct buf *buf, const struct message *message)
{
    struct span members = control_message_members(message);

    if (members.len == 0)
        return;
    buf_putc(buf, ',');
    put_as_line(buf, members);
}

static void put_plain(struct buf *buf, const struct message *message, enum layout layout)
{
    if (control_message_type(message).len > 0)
        put_control(buf, message);
    else
        put_payload(buf, message, layout);
}

static void put_cursor(struct buf *buf, struct span cursor)
{
    if (cursor.len == 0)
        return;
    buf_put_lit(buf, ",\"cursor\":");
    json_put_string(buf, cursor);
}

static void put_message(struct buf *buf, const struct message *message, enum layout layout, struct span cursor)
{
    put_message_members(buf, message);
    switch ((enum message_kind)message->kind) {
    case MESSAGE_PLAIN:
        put_plain(buf, message, layout);
        break;
    case MESSAGE_RECALL:
        buf_put_lit(buf, ",\"target\":");
        buf_put_u64(buf, message->target);
        break;
    case MESSAGE_RECALLED:
        buf_put_lit(buf, ",\"recalled\":true");
        break;
    }
    put_cursor(buf, cursor);
    buf_putc(buf, '}');
}

void json_put_message(struct buf *buf, const struct message *message)
{
    put_message(buf, message, AS_IT_IS, (struct span){ 0 });
}

void json_put_message_line(struct buf *buf, const struct message *message, struct span cursor)
{
    put_message(buf, message, ONE_LINE, cursor);
}

void json_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap, struct span cursor)
{
    put_place(buf, SPAN("gap"), channel, epoch);
    buf_put_lit(buf, ",\"from\":");
    buf_put_u64(buf, gap->from);
    buf_put_lit(buf, ",\"to\":");
    buf_put_u64(buf, gap->to);
    buf_put_lit(buf, ",\"why\":\"");
    buf_put(buf, span_str(gap_why_text(gap->why)));
    buf_putc(buf, '"');
    put_cursor(buf, cursor);
    buf_putc(buf, '}');
}

void json_put_notify(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head, struct span cursor)
{
    put_place(buf, SPAN("notify"), channel, epoch);
    buf_put_lit(buf, ",\"head\":");
    buf_put_u64(buf, head);
    put_cursor(buf, cursor);
    buf_putc(buf, '}');
}

void json_put_problem(struct buf *buf, unsigned status, struct span title, struct span detail)
{
    buf_put_lit(buf, "{\"type\":\"about:blank\",\"title\":");
    json_put_string(buf, title);
    buf_put_lit(buf, ",\"status\":");
    buf_put_u64(buf, status);
    if (detail.len > 0) {
        buf_put_lit(buf, ",\"detail\":");
        json_put_string(buf, detail);
    }
    buf_putc(buf, '}');
}
