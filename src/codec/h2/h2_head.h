/* h2_head.h - the head of an HTTP/2 request, strictly: fields in, a request head out (RFC 9113 8.3, RFC 9110).
 *
 * The head that comes out is the same as that of an HTTP/1.1 request (request_head.h), and what h1.h refuses is refused
 * here, too, with the same status. Unpacking header blocks is the business of hpack.h. Nothing is copied: the spans that go
 * in come out, until h2_head_keep().
 *
 * On purpose it is stricter than the RFCs ask:
 *   - `:authority` or `host` is there, and if both are they name the same server, letter case aside;
 *   - `content-length` stands at most once, even if equal, and never as a list;
 *   - a path is visible ASCII without `#`;
 *   - a field that has one value stands at most once (request_head_repeated()).
 *
 * The length of a head is counted as RFC 9113 6.5.2 says: name, value and 32 bytes for each field. A head that is too
 * long is refused, but its fields have to be unpacked to its end, because later heads build on them. So there is a
 * second bound, H2_HEAD_FOLD times as high, at which the connection has to be closed. */
#ifndef CODEC_H2_H2_HEAD_H
#define CODEC_H2_H2_HEAD_H

#include "base/buf.h"
#include "codec/h1/h1.h"
#include "codec/h2/hpack.h"

enum { H2_HEAD_FOLD = 4, H2_FIELD_BYTES = 32 };

enum h2_pseudo { H2_METHOD, H2_SCHEME, H2_AUTHORITY, H2_PATH, H2_PROTOCOL, H2_PSEUDOS };

struct h2_head {
    const struct h1_limits *limits;
    struct buf              text;           /* of all fields, once they are kept */
    size_t                  bytes;          /* as RFC 9113 6.5.2 counts them */
    struct span             pseudos[H2_PSEUDOS];
    struct span             host;           /* of the field `host`; while fields come, at NULL */
    int                     host_at;        /* which field it is; -1: none */
    unsigned                seen;           /* pseudo-headers, a bit for each */
    bool                    has_regular;    /* no pseudo-header may come any more */
    bool                    has_length;
    bool                    expects_continue;
    bool                    is_malformed;   /* RFC 9113 8.1.1: its stream is reset, and nobody is answered */
    uint64_t                content_length; /* 0 without has_length */
    uint16_t                fault_status;   /* 0: none yet; 400, 414, 417, 431 or 501 */
    const char             *fault_reason;   /* one line; static */
    struct span             scheme, protocol;  /* protocol: of an extended CONNECT (RFC 8441 4); at NULL: none */
    struct request_head     request;        /* is_websocket: an extended CONNECT for `websocket` */
};

/* `limits` is borrowed. Holds no memory until it is kept. */
void h2_head_init(struct h2_head *head, const struct h1_limits *limits);
void h2_head_fini(struct h2_head *head);
/* Forgets the head that was there, and keeps its memory for the next. */
void h2_head_clear(struct h2_head *head);

/* The next field, in the order of the block. False: the block is beyond all bounds. A fault is kept until the end. */
bool h2_head_take(struct h2_head *head, const struct hpack_field *field);
static inline bool h2_head_add(struct h2_head *head, struct span name, struct span value)
{
    return h2_head_take(head, &(struct hpack_field){ name, value, HPACK_UNKNOWN });
}

/* Behind a body come trailers: fields as others, but for pseudo-headers. Before the first of them. */
void h2_head_expect_trailers(struct h2_head *head);

/* All fields have come. is_end: no body follows. True: `request` is filled; its spans are those of the fields. False: refuse
 * it with fault_status; of `request` only host and the field `origin` are filled, if they can be read (as h1_read_sender()
 * does it). */
bool h2_head_end(struct h2_head *head, bool is_end);

/* A head that h2_head_end() has judged, in memory of its own. `kept` is clear. */
void h2_head_keep(struct h2_head *kept, const struct h2_head *head);

#endif
