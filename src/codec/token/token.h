/* token.h - the cursor token: the places of a reader in all its channels, as one opaque word.
 *
 * base64url (no padding) of one of three forms. The first byte says which:
 *
 *   1 · count · count × { channel length 1, channel, epoch 8, seq }                                  · checksum 4
 *   2 · count · epochs · { name of the first, place } · (count - 1) × { shared 1, name, place }      · checksum 4
 *   3 · count · epochs · set 8 · count × place                                                       · checksum 4
 *
 *   epochs: how many, then each epoch once (8 bytes), rising
 *   name:   length 1, bytes. `shared` says how many bytes of the name before are this one's too; the rest follows
 *   place:  which of the epochs (counted from 0; absent if there is one only), seq
 *
 * Form 1 is read and no longer written. Form 2 names its channels, so it stands for itself. Form 3 is for streams of
 * many channels, where each message carries a token: it names no channel. `set` is a hash of their names, and the
 * places stand in the order of the names. It is read beside the same channels.
 *
 * `seq` is the last one delivered. Counts, seqs and the like are varints: seven bits a byte, lowest first, the
 * shortest form only. Fixed lengths are big-endian. Forms 2 and 3 have one spelling for one list of places.
 *
 * The checksum (FNV-1a of all that stands before it) finds garbage and typing errors. It is no protection against
 * forgery, and need not be: a token grants nothing, because the rights to each channel are checked as if the client
 * had named the channel. */
#ifndef CODEC_TOKEN_TOKEN_H
#define CODEC_TOKEN_TOKEN_H

#include "base/buf.h"

enum {
    TOKEN_PLACES_MAX        = 1024,
    TOKEN_CHANNEL_BYTES_MAX = 233,                      /* a namespace of 32, the colon, a name of 200 */
    TOKEN_PLACE_BYTES_MAX   = 2 + TOKEN_CHANNEL_BYTES_MAX + 2 + 10 + 8,  /* its epoch in the list counted in */
    TOKEN_BYTES_MAX         = 1 + 2 + 2 + TOKEN_PLACES_MAX * TOKEN_PLACE_BYTES_MAX + 4,
    TOKEN_TEXT_BYTES_MAX    = (TOKEN_BYTES_MAX * 4 + 2) / 3,
};

struct place {
    struct span channel;  /* of form 3: empty */
    uint64_t    epoch;
    uint64_t    seq;
};

/* 1 to TOKEN_PLACES_MAX places, with channels of 1 to TOKEN_CHANNEL_BYTES_MAX bytes. Every such list has a token,
 * which is shorter if neighbours have names that begin alike. Appends. */
void token_put(struct buf *buf, const struct place *places, size_t count);

/* Form 3. The places stand in the order of their names (channel_order()), whose token_set_of() is `set`; their
 * channels are not looked at. */
void token_put_set(struct buf *buf, uint64_t set, const struct place *places, size_t count);

/* Of the channels of places that stand in order. Never 0. */
uint64_t token_set_of(const struct place *places, size_t count);

/* By bytes: below, at, or above 0. */
int channel_order(struct span a, struct span b);

/* The longest text that token_put() or token_put_set() (`is_set`) makes for these channels, if there are no more than
 * `epoch_max` epochs and each seq is below 2^49. The places' epochs and seqs are not looked at. */
size_t token_text_bound(const struct place *places, size_t count, size_t epoch_max, bool is_set);

/* A token taken apart. */
struct token {
    struct place *places;  /* owned; their channels point into bytes or names */
    size_t        count;
    uint64_t      set;     /* of form 3; else 0 */
    struct buf    bytes, names;
};

void token_init(struct token *token);  /* holds no memory until the first get */
void token_fini(struct token *token);

/* False: this is no token of ours, and *ret holds no places. The channel names may be anything: check them, and that
 * none stands there twice, as for channels that a URL names. */
bool token_get(struct span text, struct token *ret);

#endif
