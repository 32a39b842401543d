/* multipart.h - writes a stream of parts (RFC 2046 5.1). A part is a payload, byte for byte as it was published.
 *
 *   --BOUNDARY CRLF                        multipart_put_start
 *   Content-Type: … CRLF … CRLF CRLF       a part: headers,
 *   payload                                the body, Content-Length bytes,
 *   CRLF --BOUNDARY CRLF                   and at once the delimiter, so that no reader waits for the next part
 *
 * The boundary is random for each connection, so no publisher knows it; readers that count Content-Length never search
 * for it. In header values that come from channel names and senders, each byte that is not visible ASCII, and `%`, is
 * percent-encoded (RFC 3986 2.1), so that no value can end its line. */
#ifndef CODEC_MULTIPART_MULTIPART_H
#define CODEC_MULTIPART_MULTIPART_H

#include "base/buf.h"
#include "message/message.h"

enum { MULTIPART_BOUNDARY_BYTES_MAX = 70 };  /* RFC 2046 5.1.1 */

/* The boundary is 1 to 70 letters, digits or -_ in all calls. */
void multipart_put_start(struct buf *buf, struct span boundary);

/* Headers: Content-Type (application/octet-stream if the message has none), Content-Length, Longwire-Channel,
 * -Epoch, -Seq, -Id, -Time, -From and -Event (unless empty), -Cursor (unless empty). A recall has `Longwire-Recall: TARGET`,
 * what remains of a recalled message `Longwire-Recalled: true`, both an empty body. */
void multipart_put_message(struct buf *buf, struct span boundary, const struct message *message, struct span cursor);

/* application/vnd.longwire.gap+json: the gap object; Longwire-Cursor unless empty. */
void multipart_put_gap(struct buf *buf, struct span boundary, struct span channel, uint64_t epoch,
                       const struct gap *gap, struct span cursor);

/* application/vnd.longwire.notify+json: the notify object; Longwire-Cursor unless empty. */
void multipart_put_notify(struct buf *buf, struct span boundary, struct span channel, uint64_t epoch, uint64_t head,
                          struct span cursor);

/* application/vnd.longwire.ping+json: {"type":"ping"}. */
void multipart_put_ping(struct buf *buf, struct span boundary);

/* application/vnd.longwire.TYPE+json: an object of the server's own that is no message. */
void multipart_put_note(struct buf *buf, struct span boundary, const char *type, struct span json);

/* The last delimiter has begun a part already. A ping fills that part, and the closing delimiter follows. */
void multipart_put_end(struct buf *buf, struct span boundary);

#endif
