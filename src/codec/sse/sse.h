/* sse.h - writes server-sent events (WHATWG HTML 9.2).
 *
 * An event is `id:` (the cursor token, which the browser sends back as Last-Event-ID), `data:` (one line of JSON)
 * and an empty line. Messages have no `event:` line, so EventSource.onmessage gets them; gaps are `event: gap`.
 * Nothing that a publisher writes can begin a line there: JSON escapes text payloads, and the line breaks of JSON payloads
 * become spaces.
 *
 * Each empty line ends an event with data. Many readers outside of browsers take every empty line as an event, and
 * parse data that is not there (docs/decisions/0005). So heartbeats and `retry:` are lines alone: a reader acts on both
 * at the end of the line, and they become part of the next event's block. */
#ifndef CODEC_SSE_SSE_H
#define CODEC_SSE_SSE_H

#include "base/buf.h"
#include "base/msec.h"
#include "message/message.h"

/* `cursor` is the place after this message; empty: no id line. It can't hold NUL, CR or LF. */
void sse_put_message(struct buf *buf, const struct message *message, struct span cursor);
void sse_put_gap(struct buf *buf, struct span channel, uint64_t epoch, const struct gap *gap, struct span cursor);

/* The same event in raw form, as front ends know it that were not written for Longwire: `event:` is the message's own
 * name, `data:` its payload, a line of it each. CR LF, CR and LF end a line of the payload, and a browser puts LF in
 * their place. What is no such text comes as a message object under a name that no publisher can use: a recall as
 * `event: recall`, what remains of a recalled message as `event: recalled`, a payload that isn't UTF-8 as
 * `event: binary`. Gaps and the place are as above. */
void sse_put_raw(struct buf *buf, const struct message *message, struct span cursor);

/* `event: notify`, for readers that are told heads and no messages. */
void sse_put_notify(struct buf *buf, struct span channel, uint64_t epoch, uint64_t head, struct span cursor);

/* An event that says nothing but the place: `event: cursor`, so that onmessage does not get it. `cursor` is base64url. */
void sse_put_place(struct buf *buf, struct span cursor);

/* An event of the server's own that is no message: `json` is one line. It has no id, so the client's place stays. */
void sse_put_note(struct buf *buf, const char *type, struct span json);

/* A comment, which clients skip. It keeps proxies from closing a silent stream. */
void sse_put_heartbeat(struct buf *buf);

/* How long the browser waits before it reconnects. */
void sse_put_retry(struct buf *buf, msec wait);

#endif
