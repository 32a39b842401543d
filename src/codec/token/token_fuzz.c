/* Any bytes as a cursor token; and, so that chance gets beyond the checksum, any bytes as what stands before it.
 * What is read has one spelling: writing it gives the same text. What the first version wrote is written in form 2, and
 * says the same. */
#include "base/base64.h"
#include "base/must.h"
#include "codec/token/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_same(const struct token *old, struct span text)
{
    struct token token;

    token_init(&token);
    must(token_get(text, &token) && token.count == old->count && token.set == 0);
    for (size_t i = 0; i < token.count; i++)
        must(span_eq(token.places[i].channel, old->places[i].channel) &&
             token.places[i].epoch == old->places[i].epoch && token.places[i].seq == old->places[i].seq);
    token_fini(&token);
}

static void check(struct span text)
{
    struct token token;
    struct buf   again;

    token_init(&token);
    buf_init(&again, TOKEN_TEXT_BYTES_MAX);
    if (token_get(text, &token)) {
        must(token.count > 0 && token.count <= TOKEN_PLACES_MAX);
        if (token.set != 0)
            token_put_set(&again, token.set, token.places, token.count);
        else
            token_put(&again, token.places, token.count);
        must(!buf_is_over(&again));
        if (token.bytes.at[0] == 1)
            check_same(&token, buf_span(&again));
        else
            must(span_eq(buf_span(&again), text));
    } else {
        must(token.count == 0);
    }
    buf_fini(&again);
    token_fini(&token);
}

static void check_with_checksum(struct span bytes)
{
    uint32_t   checksum = 0x811c9dc5;
    struct buf whole, text;

    buf_init(&whole, bytes.len + 4);
    buf_init(&text, 2 * bytes.len + 8);
    buf_put(&whole, bytes);
    for (size_t i = 0; i < bytes.len; i++)
        checksum = (checksum ^ (uint8_t)bytes.at[i]) * 0x01000193u;
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(&whole, (char)(checksum >> shift));
    base64url_put(&text, buf_span(&whole));
    check(buf_span(&text));
    buf_fini(&text);
    buf_fini(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    check(span_of(bytes, len));
    check_with_checksum(span_of(bytes, len));
    return 0;
}
