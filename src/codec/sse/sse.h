/* sse.h - writes server-sent events (WHATWG HTML 9.2).
 *
 * An event is `id:` (the cursor token, which the browser sends back as Last-Event-ID), `data:` (one line of JSON)
 * and an empty line. Messages have no `event:` line, so EventSource.onmessage gets them; gaps are `event: gap`.
 * Nothing that a publisher writes can begin a line: JSON escapes text payloads, and the line breaks of JSON payloads
 * become spaces. */
#ifndef CODEC_SSE_SSE_H
#define CODEC_SSE_SSE_H

#include "base/buf.h"
#include "base/msec.h"
#include "message/message.h"

/* `cursor` is the place after this message; empty: no id line. It can't hold NUL, CR or LF. */
void sse_put_message(struct buf *buf, const struct message *message, struct span cursor);
void sse_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap, struct span cursor);

/* A comment, which clients skip. It keeps proxies from closing a silent stream. */
void sse_put_heartbeat(struct buf *buf);

/* How long the browser waits before it reconnects. */
void sse_put_retry(struct buf *buf, msec wait);

#endif
