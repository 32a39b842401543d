/* h1.h - HTTP/1.1 and 1.0 requests, strictly: bytes in, events out (RFC 9112, RFC 9110).
 *
 * A request whose end could be read in two ways is refused and never guessed: this is the whole defence against
 * request smuggling. The parser copies nothing, allocates nothing, and does not know what a path or a status means
 * to us. Bodies of any length pass through in pieces, so the caller holds their maximum.
 *
 * On purpose it is stricter than the RFCs ask:
 *   - Content-Length stands at most once, even if equal, and never as a list;
 *   - Transfer-Encoding is one line that says `chunked`, never in HTTP/1.0, never beside Content-Length;
 *   - a line ends with CR LF only; one empty line may stand before a request, not two;
 *   - Host is there, once, not empty; an absolute-form target must name the same authority, letter case aside;
 *   - a target is visible ASCII without `#`;
 *   - chunk extensions are checked and dropped, at most H1_CHUNK_EXTRA_MAX bytes of them in one request, and ASCII only;
 *     trailers are checked like fields and dropped;
 *   - a field that has one value stands at most once (request_head_repeated()). */
#ifndef CODEC_H1_H1_H
#define CODEC_H1_H1_H

#include "codec/request_head.h"

enum {
    H1_METHOD_BYTES_MAX = 16,   /* 501 above */
    H1_CHUNK_EXTRA_MAX  = 256,  /* bytes of chunk extensions in one request: 400 above */
};

struct h1_limits {
    uint32_t target_bytes_max;  /* 414 above */
    uint32_t head_bytes_max;    /* 431 above; holds for a trailer section too */
};

struct h1_head {
    uint8_t  minor;             /* 0: HTTP/1.0; 1: HTTP/1.1 (1.2 to 1.9 count as 1.1, RFC 9110 2.5) */
    bool     is_chunked;
    bool     has_length;
    bool     is_keep_alive;     /* the client may send another request on this connection */
    bool     expects_continue;  /* the client waits for 100 before it sends the body */
    uint64_t content_length;    /* 0 without has_length */
    /* host: of Host, or of the target. is_websocket: GET, 1.1, Connection: upgrade, Upgrade: websocket, and no body. */
    struct request_head request;
};

enum h1_event {
    H1_MORE,       /* needs more input */
    H1_HEAD_DONE,  /* *head is filled; its spans point into this input */
    H1_BODY,       /* *ret_body is the next piece of the body, never empty, and points into this input */
    H1_END,        /* the request is complete; the next feed begins the next one */
    H1_FAULT,      /* answer fault_status and close; nothing more may be fed */
};

enum h1_state {
    H1_STATE_HEAD, H1_STATE_BODY, H1_STATE_END, H1_STATE_FAULT,
    /* chunked bodies, RFC 9112 7.1 */
    H1_STATE_CHUNK_SIZE, H1_STATE_CHUNK_SIZE_LF, H1_STATE_CHUNK_DATA, H1_STATE_CHUNK_DATA_CR,
    H1_STATE_CHUNK_DATA_LF, H1_STATE_TRAILER_BEGIN, H1_STATE_TRAILER_NAME, H1_STATE_TRAILER_VALUE,
    H1_STATE_TRAILER_LF, H1_STATE_LAST_LF,
    /* chunk extensions, RFC 9112 7.1.1: what may come next */
    H1_STATE_EXTRA_NEXT,         /* behind a size or a value, and white space: `;` */
    H1_STATE_EXTRA_NAME_BEGIN,
    H1_STATE_EXTRA_NAME,
    H1_STATE_EXTRA_NAME_END,     /* behind a name and white space: `=` or `;` */
    H1_STATE_EXTRA_VALUE_BEGIN,
    H1_STATE_EXTRA_TOKEN,
    H1_STATE_EXTRA_QUOTED,
    H1_STATE_EXTRA_ESCAPED,      /* behind a backslash */
    H1_STATE_EXTRA_QUOTED_END,
};

struct h1 {
    const struct h1_limits *limits;
    enum h1_state           state;
    bool                    had_empty_line;  /* before this request's head */

    /* How far an incomplete head was read, so that its bytes are not read again for each byte that comes. */
    uint32_t scanned, line_at, line_count;

    uint64_t left;         /* of the body or of the chunk */
    uint8_t  digit_count;  /* of the chunk size so far */
    uint32_t extra_bytes, trailer_bytes, trailer_count;

    uint16_t    fault_status;  /* 400, 414, 417, 431, 501 or 505 */
    const char *fault_reason;  /* one line for the answer's detail and for the log; static */
};

/* `limits` is borrowed for as long as h1 is in use. Holds nothing, so there is no fini. */
void h1_init(struct h1 *h1, const struct h1_limits *limits);

/* `input`: all bytes that have come and were not consumed yet. *ret_used: how many of them this call has consumed,
 * whatever the event. Call again with the rest until the event is H1_MORE or H1_FAULT: an H1_END may be due when no
 * input is left.
 * H1_MORE in a head consumes nothing but the one empty line before the head: keep the bytes, and call again with the
 * same bytes and those that follow. H1_MORE in a body has consumed all.
 * H1_HEAD_DONE writes *head; after H1_FAULT it may be half written. */
enum h1_event h1_feed(struct h1 *h1, struct span input, struct h1_head *head, size_t *ret_used, struct span *ret_body);

/* How many more bytes of the body are announced, by Content-Length or by the size of the chunk under way. 0: none, or
 * not known. */
uint64_t h1_announced(const struct h1 *h1);

/* After H1_FAULT in a head, or before its end: who sends it? *ret gets its Host and its Origin, if they have come, stand
 * once, and can be read; and nothing else. `input` is what h1_feed() was given. The answer can then be one that the
 * sender's page may read. */
void h1_read_sender(struct span input, struct request_head *ret);

/* What other versions read in the same way. */
enum http_method h1_method_of(struct span text);     /* HTTP_OTHER: none that we know */
bool             h1_is_authority(struct span text);  /* RFC 9110 7.2: a host, and perhaps a port */

/* "Not Found" (RFC 9110 15, RFC 6585); "Unknown" for codes that Longwire never sends. */
const char *h1_status_text(unsigned status);

#endif
