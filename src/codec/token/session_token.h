/* session_token.h - the cursor token of a session on an HTTP transport: it names the session and what differs from the places
 * that are stored, not all channels, so it stays short however many groups there are. Pure.
 *
 *     base64url( 1 · generation 8 · since 8 · device length 1, device · checksum 4 ) "." token of the places, or nothing
 *
 * Numbers are big-endian; the checksum is that of token.h. A token of places has no dot, so the two kinds can't be confused. It grants nothing:
 * the session is that of the user who comes with it. */
#ifndef CODEC_TOKEN_SESSION_TOKEN_H
#define CODEC_TOKEN_SESSION_TOKEN_H

#include "base/msec.h"
#include "codec/token/token.h"

enum { SESSION_TOKEN_DEVICE_BYTES_MAX = 64, SESSION_TOKEN_HEAD_TEXT_MAX = 128 };

struct session_token {
    uint64_t    generation;
    msec        since;       /* when the session began */
    struct span device;      /* 1 … SESSION_TOKEN_DEVICE_BYTES_MAX bytes */
};

bool session_token_is_one(struct span text);

/* Appends the head and the dot; token_put() may follow. */
void session_token_put(struct buf *buf, const struct session_token *token);

/* False: it is none. What *ret borrows lies in `bytes`, which is emptied first. *ret_places: what stands behind the dot,
 * perhaps nothing. */
bool session_token_get(struct span text, struct buf *bytes, struct session_token *ret, struct span *ret_places);

#endif
