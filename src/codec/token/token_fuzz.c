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

/* No token of these channels is longer than the bound while each seq is below 2^49. The order of two names is the
 * contrary of the order of the same two the other way round. */
static void check_bound(const struct token *token, struct span again)
{
    bool is_small = true;

    for (size_t i = 0; i < token->count; i++) {
        const struct place *place = &token->places[i];
        is_small &= place->seq < UINT64_C(1) << 49;
        if (i > 0)
            must(channel_order(place[-1].channel, place->channel) == -channel_order(place->channel, place[-1].channel));
    }
    must(!is_small || again.len <= token_text_bound(token->places, token->count, token->count, token->set != 0));
}

static bool is_in_order(const struct token *token)
{
    for (size_t i = 1; i < token->count; i++)
        if (channel_order(token->places[i - 1].channel, token->places[i].channel) >= 0)
            return false;
    return true;
}

/* The same places as a set: what is read back is the set, and the places without their names. */
static void check_set(const struct token *token)
{
    uint64_t     set = token_set_of(token->places, token->count);
    struct token other;
    struct buf   text;

    token_init(&other);
    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    token_put_set(&text, set, token->places, token->count);
    must(token_get(buf_span(&text), &other) && other.set == set && other.count == token->count);
    for (size_t i = 0; i < other.count; i++)
        must(other.places[i].epoch == token->places[i].epoch && other.places[i].seq == token->places[i].seq);
    buf_fini(&text);
    token_fini(&other);
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
        check_bound(&token, buf_span(&again));
        if (token.set == 0 && is_in_order(&token))
            check_set(&token);
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
