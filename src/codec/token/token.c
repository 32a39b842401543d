#include "codec/token/token.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"

enum { TOKEN_VERSION = 1, CHECKSUM_BYTES = 4, EPOCH_BYTES = 8, VARINT_BYTES_MAX = 10 };

static const uint32_t checksum_start = 0x811c9dc5;

/* FNV-1a, 32 bits. It can be continued, and it always notices a change within one byte. */
static uint32_t checksum_add(uint32_t checksum, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        checksum = (checksum ^ (uint8_t)bytes.at[i]) * 0x01000193u;
    return checksum;
}

static size_t varint_write(uint64_t value, uint8_t *to)
{
    size_t len = 0;

    while (value >= 0x80) {
        to[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[len++] = (uint8_t)value;
    return len;
}

static size_t big_endian_write(uint64_t value, size_t len, uint8_t *to)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(value >> 8 * (len - 1 - i));
    return len;
}

/* A place without its seq. */
static size_t place_write(struct span channel, uint64_t epoch, uint8_t *to)
{
    must(channel.len > 0 && channel.len <= TOKEN_CHANNEL_BYTES_MAX);
    to[0] = (uint8_t)channel.len;
    memcpy(to + 1, channel.at, channel.len);
    return 1 + channel.len + big_endian_write(epoch, EPOCH_BYTES, to + 1 + channel.len);
}

void token_put(struct buf *buf, const struct place *places, size_t count)
{
    must(count > 0 && count <= TOKEN_PLACES_MAX);

    struct buf whole;
    uint8_t    piece[TOKEN_PLACE_BYTES_MAX] = { TOKEN_VERSION };
    buf_init(&whole, TOKEN_BYTES_MAX);
    buf_put(&whole, span_of(piece, 1 + varint_write(count, piece + 1)));
    for (size_t i = 0; i < count; i++) {
        size_t len = place_write(places[i].channel, places[i].epoch, piece);
        len += varint_write(places[i].seq, piece + len);
        buf_put(&whole, span_of(piece, len));
    }
    big_endian_write(checksum_add(checksum_start, buf_span(&whole)), CHECKSUM_BYTES, piece);
    buf_put(&whole, span_of(piece, CHECKSUM_BYTES));
    must(!buf_is_over(&whole));
    base64url_put(buf, buf_span(&whole));
    buf_fini(&whole);
}

/* --- reading: each function takes its part from *rest, or is false --------------------------------------------- */

static bool token_take(struct span *rest, size_t len, struct span *ret)
{
    if (rest->len < len)
        return false;
    *ret  = span_head(*rest, len);
    *rest = span_skip(*rest, len);
    return true;
}

static bool take_big_endian(struct span *rest, size_t len, uint64_t *ret)
{
    struct span bytes;

    if (!token_take(rest, len, &bytes))
        return false;
    *ret = 0;
    for (size_t i = 0; i < len; i++)
        *ret = *ret << 8 | (uint8_t)bytes.at[i];
    return true;
}

/* Only the shortest form is accepted, so that a token has one spelling. */
static bool take_varint(struct span *rest, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < rest->len && i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = (uint8_t)rest->at[i];
        if (i == VARINT_BYTES_MAX - 1 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            *ret  = value;
            *rest = span_skip(*rest, i + 1);
            return byte != 0 || i == 0;
        }
    }
    return false;
}

static bool take_place(struct span *rest, struct place *ret)
{
    uint64_t len;

    return take_big_endian(rest, 1, &len) && len > 0 && len <= TOKEN_CHANNEL_BYTES_MAX &&
           token_take(rest, len, &ret->channel) && take_big_endian(rest, EPOCH_BYTES, &ret->epoch) &&
           take_varint(rest, &ret->seq);
}

static bool take_checksum(struct span *bytes)
{
    uint64_t checksum;

    if (bytes->len < CHECKSUM_BYTES)
        return false;
    struct span tail = span_skip(*bytes, bytes->len - CHECKSUM_BYTES);
    bytes->len -= CHECKSUM_BYTES;
    return take_big_endian(&tail, CHECKSUM_BYTES, &checksum) && checksum == checksum_add(checksum_start, *bytes);
}

static bool take_places(struct span rest, struct token *ret)
{
    enum { PLACE_BYTES_MIN = 1 + 1 + EPOCH_BYTES + 1 };
    uint64_t version, count;

    if (!take_checksum(&rest) || !take_big_endian(&rest, 1, &version) || version != TOKEN_VERSION)
        return false;
    /* Memory is not allocated because a client claims a count: the bytes for so many places must be there. */
    if (!take_varint(&rest, &count) || count == 0 || count > TOKEN_PLACES_MAX || count > rest.len / PLACE_BYTES_MIN)
        return false;
    free(ret->places);
    ret->places = malloc(count * sizeof *ret->places);
    must(ret->places != NULL);
    for (size_t i = 0; i < count; i++)
        if (!take_place(&rest, &ret->places[i]))
            return false;
    ret->count = count;
    return rest.len == 0;
}

void token_init(struct token *token)
{
    *token = (struct token){ 0 };
    buf_init(&token->bytes, TOKEN_BYTES_MAX);
}

void token_fini(struct token *token)
{
    free(token->places);
    buf_fini(&token->bytes);
    token->places = NULL;
    token->count  = 0;
}

bool token_get(struct span text, struct token *ret)
{
    ret->count = 0;
    buf_clear(&ret->bytes);
    if (text.len > TOKEN_TEXT_BYTES_MAX || !base64url_get(text, &ret->bytes))
        return false;
    if (take_places(buf_span(&ret->bytes), ret))
        return true;
    ret->count = 0;
    return false;
}
