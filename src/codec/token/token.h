/* token.h - the cursor token: the places of a reader in all its channels, as one opaque word.
 *
 * base64url (no padding) of
 *
 *   version 1 · count varint · count × { channel length 1, channel, epoch 8 big-endian, seq varint } · checksum 4
 *
 * `seq` is the last one delivered. varint: seven bits a byte, lowest first, the shortest form only. The checksum
 * (FNV-1a, big-endian, of all that stands before it) finds garbage and typing errors. It is no protection against
 * forgery, and need not be: a token grants nothing, because the rights to each channel are checked as if the client
 * had named the channel. */
#ifndef CODEC_TOKEN_TOKEN_H
#define CODEC_TOKEN_TOKEN_H

#include "base/buf.h"

enum {
    TOKEN_PLACES_MAX        = 1024,
    TOKEN_CHANNEL_BYTES_MAX = 233,                      /* a namespace of 32, the colon, a name of 200 */
    TOKEN_PLACE_BYTES_MAX   = 1 + TOKEN_CHANNEL_BYTES_MAX + 8 + 10,
    TOKEN_BYTES_MAX         = 1 + 2 + TOKEN_PLACES_MAX * TOKEN_PLACE_BYTES_MAX + 4,
    TOKEN_TEXT_BYTES_MAX    = (TOKEN_BYTES_MAX * 4 + 2) / 3,
};

struct place {
    struct span channel;
    uint64_t    epoch;
    uint64_t    seq;
};

/* 1 to TOKEN_PLACES_MAX places, with channels of 1 to TOKEN_CHANNEL_BYTES_MAX bytes. Every such set has a token. */
void token_put(struct buf *buf, const struct place *places, size_t count);

/* A token taken apart. */
struct token {
    struct place *places;  /* owned; their channels point into bytes */
    size_t        count;
    struct buf    bytes;
};

void token_init(struct token *token);  /* holds no memory until the first get */
void token_fini(struct token *token);

/* False: this is no token of ours, and *ret holds no places. The channel names may be anything: check them, and that
 * none stands there twice, as for channels that a URL names. */
bool token_get(struct span text, struct token *ret);

#endif
