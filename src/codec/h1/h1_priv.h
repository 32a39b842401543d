/* h1_priv.h - what the files of this folder share. */
#ifndef CODEC_H1_H1_PRIV_H
#define CODEC_H1_H1_PRIV_H

#include "codec/h1/h1.h"

/* What a byte may be part of. */
enum {
    H1_BYTE_TOKEN  = 1,  /* RFC 9110 5.6.2 */
    H1_BYTE_TARGET = 2,  /* visible ASCII but `#`, which no request-target has (RFC 9112 3.2) */
    H1_BYTE_HOST   = 4,  /* RFC 3986 3.2.2 reg-name, without percent-encoding */
    H1_BYTE_VALUE  = 8,  /* RFC 9110 5.5: visible, obs-text, space, tab */
};
extern const uint8_t h1_byte_kinds[256];

static inline bool h1_byte_is(char byte, unsigned kind)
{
    return (h1_byte_kinds[(unsigned char)byte] & kind) != 0;
}

/* How many bytes at the beginning are of that kind. */
static inline size_t h1_run_of(struct span text, unsigned kind)
{
    size_t len = 0;
    while (len < text.len && h1_byte_is(text.at[len], kind))
        len++;
    return len;
}

/* Keeps status and reason; nothing can be fed afterwards. Always H1_FAULT. `reason` is static. */
enum h1_event h1_fault(struct h1 *h1, unsigned status, const char *reason);

/* Gets ready for the next request and forgets this one. */
void h1_begin(struct h1 *h1);

/* The next piece of h1->left bytes of body; once they are over, the state is `next`. */
enum h1_event h1_body_piece(struct h1 *h1, struct span input, enum h1_state next, size_t *ret_used,
                            struct span *ret_body);

/* Looks for the end of a line from h1->scanned on, and moves that there. H1_HEAD_DONE: CR LF stand at h1->scanned.
 * H1_MORE: `text` ends before. H1_FAULT: a byte that no line may hold. */
enum h1_event h1_find_line_end(struct h1 *h1, struct span text);

/* A line of a head or of trailers, not empty: field-name ":" OWS field-value OWS (RFC 9112 5). h1_find_line_end() has checked
 * the bytes of the value. False: the fault is set. */
bool h1_parse_field(struct h1 *h1, struct span line, struct http_field *ret_field);

/* `lines` are the lines of one head, request line first, without their ends; they hold no control characters
 * but tabs. H1_HEAD_DONE or H1_FAULT. */
enum h1_event h1_head_parse(struct h1 *h1, const struct span *lines, size_t line_count, struct h1_head *head);

/* H1_MORE, H1_BODY, H1_END or H1_FAULT. */
enum h1_event h1_chunk_feed(struct h1 *h1, struct span input, size_t *ret_used, struct span *ret_body);

#endif
