/* multipart.h - a stream of parts (RFC 2046 5.1), writing only: a part is a payload as it was published.
 *
 *   --BOUNDARY CRLF                        multipart_put_start
 *   Content-Type: … CRLF … CRLF CRLF       a part: headers,
 *   payload                                the body, Content-Length bytes,
 *   CRLF --BOUNDARY CRLF                   and the delimiter at once, so that no reader waits for the next part
 *
 * The boundary is random for each connection: no publisher knows it, and readers that count Content-Length never
 * look for it. Header values taken from channel names and senders are percent-encoded (RFC 3986 2.1) where a
 * byte is not visible ASCII, or is `%`: they can't end a line. */
#ifndef CODEC_MULTIPART_MULTIPART_H
#define CODEC_MULTIPART_MULTIPART_H

#include "base/buf.h"
#include "message/message.h"

enum { MULTIPART_BOUNDARY_BYTES_MAX = 70 };  /* RFC 2046 5.1.1 */

/* The boundary is 1 to 70 letters, digits or -_ in all calls. */
void multipart_put_start(struct buf *buf, struct span boundary);

/* Headers: Content-Type (application/octet-stream if the message has none), Content-Length, Longwire-Channel,
 * -Epoch, -Seq, -Id, -Time, -From (unless empty), -Cursor (unless empty). A recall has `Longwire-Recall: TARGET`,
 * what remains of a recalled message `Longwire-Recalled: true`, both an empty body. */
void multipart_put_message(struct buf *buf, struct span boundary, const struct message *message, struct span cursor);

/* application/vnd.longwire.gap+json: the gap object; Longwire-Cursor unless empty. */
void multipart_put_gap(struct buf *buf, struct span boundary, struct span channel, uint64_t epoch,
                       const struct gap *gap, struct span cursor);

/* application/vnd.longwire.ping+json: {"type":"ping"}. */
void multipart_put_ping(struct buf *buf, struct span boundary);

/* The delimiter before has begun a part already; a last ping fills it, then the closing delimiter. */
void multipart_put_end(struct buf *buf, struct span boundary);

#endif
