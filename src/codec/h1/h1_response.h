/* h1_response.h - HTTP/1.1 and 1.0 responses, strictly: bytes in, events out (RFC 9112, RFC 9110). For whoever asks another
 * server.
 *
 *     STATUS FIELD* [STATUS FIELD* …] HEAD BODY* END        an interim response (1xx) is a STATUS with fields, and no HEAD
 *
 * A response whose end could be read in two ways is a fault and never guessed. The parser copies nothing and allocates
 * nothing. Bodies of any length pass through in pieces, so the caller holds their maximum.
 *
 * It is as strict as h1.h is with requests:
 *   - a line ends with CR LF only; no line is folded; the name of a field is a token with a colon behind it;
 *   - Content-Length stands at most once, even if equal, and never as a list;
 *   - Transfer-Encoding is one line that says `chunked`, never in HTTP/1.0, never beside Content-Length;
 *   - chunk extensions and trailers are checked and dropped, as in h1.h;
 *   - 101 is a fault: nobody has asked for another protocol;
 *   - a response to HEAD, a 204 and a 304 have no body, whatever their fields say;
 *   - without Content-Length and chunks the body ends with the connection, which must then be closed in order. */
#ifndef CODEC_H1_H1_RESPONSE_H
#define CODEC_H1_H1_RESPONSE_H

#include "codec/h1/h1.h"

enum h1_response_event {
    H1_RESPONSE_MORE,    /* needs more input, or the end of it */
    H1_RESPONSE_STATUS,  /* a head begins: piece->status */
    H1_RESPONSE_FIELD,   /* of that head: piece->field, which points into this input */
    H1_RESPONSE_HEAD,    /* the head is complete, and no interim one */
    H1_RESPONSE_BODY,    /* piece->body is the next piece, never empty, and points into this input */
    H1_RESPONSE_END,     /* the response is complete; nothing more may be fed */
    H1_RESPONSE_FAULT,   /* is_too_large and fault_reason say why; nothing more may be fed */
};

enum h1_response_state {
    H1_RESPONSE_AT_STATUS, H1_RESPONSE_AT_FIELD, H1_RESPONSE_IN_BODY, H1_RESPONSE_IN_CHUNKS, H1_RESPONSE_UNTIL_CLOSE,
    H1_RESPONSE_AT_END, H1_RESPONSE_OVER,
};

struct h1_response {
    enum h1_response_state state;
    struct h1              h1;          /* lines, and the framing of a body */
    struct h1_limits       limits;
    uint32_t               head_bytes;  /* of all heads so far */
    uint16_t               status;
    uint8_t                minor;
    bool                   is_to_head;  /* the request was HEAD */
    bool                   has_length, has_coding, wants_close, wants_keep_alive, says_kept_s;
    bool                   is_too_large;  /* the fault: heads or trailers are longer than allowed */
    uint64_t               content_length;  /* 0 without has_length */
    uint64_t               kept_s;          /* says_kept_s: how long the server keeps the connection for another request */
    const char            *fault_reason;  /* static */
};

struct h1_response_piece {
    unsigned          status;
    struct http_field field;
    struct span       body;
};

/* `head_bytes_max` holds for all heads of the response together, and for its trailers. Holds nothing, so there is no fini. */
void h1_response_init(struct h1_response *response, uint32_t head_bytes_max, bool is_to_head);

/* `input`: all bytes that have come and were not consumed yet. *ret_used: how many of them this call has consumed, whatever
 * the event. Call again with the rest until the event is H1_RESPONSE_MORE, END or FAULT: an END may be due when no input is
 * left. MORE in a head consumes nothing: keep the bytes, and call again with the same bytes and those that follow. MORE in a
 * body has consumed all. */
enum h1_response_event h1_response_feed(struct h1_response *response, struct span input, size_t *ret_used,
                                        struct h1_response_piece *ret_piece);

/* After MORE: the server has closed, in order. END if that ends the body, else FAULT. */
enum h1_response_event h1_response_close(struct h1_response *response);

/* After END: may another request follow on this connection? (RFC 9112 9.3; if nothing was sent behind the response.) Not behind a 204 that
 * announces a body: some servers send it. */
bool h1_response_may_follow(const struct h1_response *response);

/* After HEAD: the length of the body, if it is known before it comes; else 0. */
uint64_t h1_response_announced(const struct h1_response *response);

#endif
