#include "codec/sse/sse.h"

#include "base/must.h"
#include "codec/json/json.h"

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

void sse_put_place(struct buf *buf, struct span cursor)
{
    put_id(buf, cursor);
    buf_put_lit(buf, "event: cursor\ndata: {\"type\":\"cursor\",\"cursor\":\"");
    buf_put(buf, cursor);
    buf_put_lit(buf, "\"}\n\n");
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
