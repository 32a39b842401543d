/* Publishers over HTTP/2 with prior knowledge: each publish is a stream, and as many as are in flight share the link. Header
 * blocks are what a client writes that keeps a dynamic table: the path alone differs from publish to publish. */
#include "bench/dialect.h"

enum {
    FRAME_HEAD_BYTES = 9,
    H2_DATA          = 0,
    H2_HEADERS       = 1,
    H2_RST_STREAM    = 3,
    H2_SETTINGS      = 4,
    H2_GOAWAY        = 7,
    H2_WINDOW_UPDATE = 8,
    H2_END_STREAM    = 1,
    H2_ACK           = 1,
    H2_END_HEADERS   = 4,

    WINDOW_EACH  = 256,        /* publishes; their answers take less than … */
    WINDOW_BYTES = 64 * 1024,  /* … so much of the link's window, which is opened by it */
};

enum h2_stage { H2_GREETED, H2_KNOWS_FIELDS };

struct h2_frame_head {
    uint32_t length, stream;
    uint8_t  type, flags;
};

static void put_u32(struct buf *out, uint32_t value)
{
    char bytes[4] = { (char)(value >> 24), (char)(value >> 16), (char)(value >> 8), (char)value };
    buf_put(out, span_of(bytes, sizeof bytes));
}

static void frame_put_head(struct buf *out, const struct h2_frame_head *head)
{
    put_u32(out, head->length << 8 | head->type);
    buf_putc(out, (char)head->flags);
    put_u32(out, head->stream);
}

static void window_put(struct buf *out, uint32_t bytes)
{
    frame_put_head(out, &(struct h2_frame_head){ .length = 4, .type = H2_WINDOW_UPDATE });
    put_u32(out, bytes);
}

static void h2_greet(struct client *client)
{
    buf_put_lit(&client->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame_put_head(&client->out, &(struct h2_frame_head){ .type = H2_SETTINGS });
    client->stage = H2_GREETED;
    client->left  = 0;  /* publishes so far */
}

/* A string literal that Huffman's code does not shorten (RFC 7541 5.2); those here are shorter than 127 bytes. */
static void put_text(struct buf *block, struct span text)
{
    buf_putc(block, (char)text.len);
    buf_put(block, text);
}

static void put_path(struct buf *block, const struct client *client, uint32_t channel)
{
    struct buf path;
    buf_init(&path, 256);
    buf_put_lit(&path, "/v1/channels/");
    buf_put(&path, span_str(client->target->prefix));
    buf_put_u64(&path, channel);
    buf_put_lit(&path, "/messages");
    buf_putc(block, 0x04);  /* :path, not indexed */
    put_text(block, buf_span(&path));
    buf_fini(&path);
}

/* The first block puts three fields into the dynamic table, the later ones name them there. */
static void put_block(struct buf *block, struct client *client, uint32_t channel)
{
    buf_put_lit(block, "\x83\x86");  /* :method POST, :scheme http */
    put_path(block, client, channel);
    if (client->stage == H2_KNOWS_FIELDS) {
        buf_put_lit(block, "\xc0\xbf\xbe");
        return;
    }
    buf_putc(block, 0x41);  /* :authority */
    put_text(block, span_str(client->target->host));
    buf_putc(block, 0x5f);  /* content-type */
    put_text(block, SPAN("text/plain"));
    buf_putc(block, 0x5c);  /* content-length */
    put_text(block, SPAN("128"));
    client->stage = H2_KNOWS_FIELDS;
}

_Static_assert(PAYLOAD_BYTES == 128, "the content-length above");

static void h2_put_publish(struct client *client, const struct outgoing *message)
{
    struct buf           *out  = &client->out;
    struct h2_frame_head  head = { .type   = H2_HEADERS,
                                   .flags  = H2_END_HEADERS,
                                   .stream = (uint32_t)(2 * client->left++ + 1) };
    struct buf            block;
    buf_init(&block, 1024);
    put_block(&block, client, message->channel);
    head.length = (uint32_t)block.len;
    frame_put_head(out, &head);
    buf_put(out, buf_span(&block));
    buf_fini(&block);
    frame_put_head(out, &(struct h2_frame_head){ PAYLOAD_BYTES, head.stream, H2_DATA, H2_END_STREAM });
    buf_put(out, span_of(message->payload, PAYLOAD_BYTES));
    if (client->left % WINDOW_EACH == 0)
        window_put(out, WINDOW_BYTES);
}

static void h2_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        h2_put_publish(client, &messages[i]);
}

static uint32_t u32_at(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static struct h2_frame_head frame_head(struct span bytes)
{
    return (struct h2_frame_head){ .length = u32_at(bytes.at) >> 8,
                                   .type   = (uint8_t)bytes.at[3],
                                   .flags  = (uint8_t)bytes.at[4],
                                   .stream = u32_at(bytes.at + 5) };
}

/* Only the receipt of a message that was taken has a seq. */
static void hear_data(struct span body, struct note *ret_note)
{
    static const char seq[] = "\"seq\":";
    if (body.len == 0)
        return;
    if (memmem(body.at, body.len, seq, sizeof seq - 1) == NULL)
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = body };
    else
        *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
}

static size_t h2_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    *ret_note = (struct note){ .heard = HEARD_NOTHING };
    if (bytes.len < FRAME_HEAD_BYTES)
        return 0;
    struct h2_frame_head head = frame_head(bytes);
    if (bytes.len - FRAME_HEAD_BYTES < head.length)
        return 0;
    ret_note->heard = HEARD_NOISE;
    switch (head.type) {
    case H2_DATA:
        hear_data(span_of(bytes.at + FRAME_HEAD_BYTES, head.length), ret_note);
        break;
    case H2_SETTINGS:
        if ((head.flags & H2_ACK) == 0) {
            frame_put_head(&client->out, &(struct h2_frame_head){ .type = H2_SETTINGS, .flags = H2_ACK });
            ret_note->heard = HEARD_READY;
        }
        break;
    case H2_RST_STREAM:
    case H2_GOAWAY:
        return dialect_fault(bytes, "a stream or the connection was ended", ret_note);
    default:
        break;
    }
    return ret_note->heard == HEARD_FAULT ? bytes.len : FRAME_HEAD_BYTES + head.length;
}

const struct dialect post_h2_dialects[] = {
    { "longwire", "h2", false, h2_greet, h2_hear, h2_publish },
    { 0 },
};
