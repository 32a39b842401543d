/* token_get.c - reading a cursor token. Each function takes its part from *rest, or is false. */
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "codec/token/token_priv.h"

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

/* Memory is not allocated because a client claims a count: so many pieces of `piece_bytes_min` must be there. */
static bool take_count(struct span *rest, size_t piece_bytes_min, uint64_t *ret)
{
    return take_varint(rest, ret) && *ret > 0 && *ret <= TOKEN_PLACES_MAX && *ret <= rest->len / piece_bytes_min;
}

static bool take_checksum(struct span *bytes)
{
    uint64_t checksum;

    if (bytes->len < TOKEN_CHECKSUM_BYTES)
        return false;
    struct span tail = span_skip(*bytes, bytes->len - TOKEN_CHECKSUM_BYTES);
    bytes->len -= TOKEN_CHECKSUM_BYTES;
    return take_big_endian(&tail, TOKEN_CHECKSUM_BYTES, &checksum) && checksum == token_checksum(*bytes);
}

static void make_places(struct token *ret, uint64_t count)
{
    free(ret->places);
    ret->places = calloc(count, sizeof *ret->places);
    must(ret->places != NULL);
    ret->count = count;
}

/* --- form 1 ------------------------------------------------------------------------------------------------------ */

static bool take_old_place(struct span *rest, struct place *ret)
{
    uint64_t len;

    return take_big_endian(rest, 1, &len) && len > 0 && len <= TOKEN_CHANNEL_BYTES_MAX &&
           token_take(rest, len, &ret->channel) && take_big_endian(rest, TOKEN_EPOCH_BYTES, &ret->epoch) &&
           take_varint(rest, &ret->seq);
}

static bool take_old_places(struct span rest, struct token *ret)
{
    enum { OLD_PLACE_BYTES_MIN = 1 + 1 + TOKEN_EPOCH_BYTES + 1 };
    uint64_t count;

    if (!take_count(&rest, OLD_PLACE_BYTES_MIN, &count))
        return false;
    make_places(ret, count);
    for (size_t i = 0; i < count; i++)
        if (!take_old_place(&rest, &ret->places[i]))
            return false;
    return rest.len == 0;
}

/* --- forms 2 and 3 ----------------------------------------------------------------------------------------------- */

/* The list stays where it is, in the token's bytes. */
struct epoch_list {
    struct span bytes;
    uint64_t    count, used;
    uint8_t     is_used[TOKEN_PLACES_MAX];
};

static uint64_t epoch_at(const struct epoch_list *list, uint64_t index)
{
    struct span rest = span_skip(list->bytes, index * TOKEN_EPOCH_BYTES);
    uint64_t    epoch;

    must(take_big_endian(&rest, TOKEN_EPOCH_BYTES, &epoch));
    return epoch;
}

static bool take_epochs(struct span *rest, struct epoch_list *ret)
{
    *ret = (struct epoch_list){ .used = 0 };
    if (!take_count(rest, TOKEN_EPOCH_BYTES, &ret->count) ||
        !token_take(rest, ret->count * TOKEN_EPOCH_BYTES, &ret->bytes))
        return false;
    for (uint64_t i = 1; i < ret->count; i++)
        if (epoch_at(ret, i - 1) >= epoch_at(ret, i))
            return false;
    return true;
}

static bool take_place(struct span *rest, struct epoch_list *epochs, struct place *ret)
{
    uint64_t index = 0;

    if (epochs->count > 1 && !take_varint(rest, &index))
        return false;
    if (index >= epochs->count)
        return false;
    epochs->used += !epochs->is_used[index];
    epochs->is_used[index] = true;
    ret->epoch             = epoch_at(epochs, index);
    return take_varint(rest, &ret->seq);
}

/* Appends the name to `names`, behind the one before; where it lies is said at the end, because `names` may move. What
 * is shared is all that could be. */
static bool take_name(struct span *rest, struct buf *names, size_t before_len, size_t *ret_len)
{
    uint64_t    shared = 0, len;
    struct span tail;

    if (before_len > 0 && (!take_big_endian(rest, 1, &shared) || shared > before_len))
        return false;
    if (!take_big_endian(rest, 1, &len) || !token_take(rest, len, &tail) || shared + len == 0 ||
        shared + len > TOKEN_CHANNEL_BYTES_MAX)
        return false;
    size_t before = names->len - before_len;
    if (len > 0 && shared < before_len && names->at[before + shared] == tail.at[0])
        return false;
    char *name = buf_extend(names, shared + len);
    must(name != NULL);
    memcpy(name, names->at + before, shared);
    memcpy(name + shared, tail.at, len);
    *ret_len = shared + len;
    return true;
}

static void place_names(struct token *token)
{
    struct span rest = buf_span(&token->names);

    for (size_t i = 0; i < token->count; i++)
        must(token_take(&rest, token->places[i].channel.len, &token->places[i].channel));
}

static bool take_named_places(struct span *rest, struct epoch_list *epochs, struct token *ret)
{
    size_t before_len = 0;

    for (size_t i = 0; i < ret->count; i++) {
        struct place *place = &ret->places[i];
        if (!take_name(rest, &ret->names, before_len, &place->channel.len) || !take_place(rest, epochs, place))
            return false;
        before_len = place->channel.len;
    }
    place_names(ret);
    return true;
}

static bool take_places(struct span rest, bool is_set, struct token *ret)
{
    uint64_t          count, set = 0;
    struct epoch_list epochs;

    if (!take_count(&rest, 1, &count) || !take_epochs(&rest, &epochs))
        return false;
    if (is_set && (!take_big_endian(&rest, TOKEN_SET_BYTES, &set) || set == 0))
        return false;
    if (count > rest.len || epochs.count > count)
        return false;
    make_places(ret, count);
    ret->set = set;
    if (!is_set && !take_named_places(&rest, &epochs, ret))
        return false;
    for (size_t i = 0; is_set && i < count; i++)
        if (!take_place(&rest, &epochs, &ret->places[i]))
            return false;
    return rest.len == 0 && epochs.used == epochs.count;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static bool take_token(struct span rest, struct token *ret)
{
    uint64_t form;

    if (!take_checksum(&rest) || !take_big_endian(&rest, 1, &form))
        return false;
    switch (form) {
    case TOKEN_OLD: return take_old_places(rest, ret);
    case TOKEN_NAMES: return take_places(rest, false, ret);
    case TOKEN_SET: return take_places(rest, true, ret);
    default: return false;
    }
}

void token_init(struct token *token)
{
    *token = (struct token){ 0 };
    buf_init(&token->bytes, TOKEN_BYTES_MAX);
    buf_init(&token->names, TOKEN_PLACES_MAX * TOKEN_CHANNEL_BYTES_MAX);
}

void token_fini(struct token *token)
{
    free(token->places);
    buf_fini(&token->bytes);
    buf_fini(&token->names);
    token->places = NULL;
    token->count  = 0;
}

bool token_get(struct span text, struct token *ret)
{
    ret->count = 0;
    ret->set   = 0;
    buf_clear(&ret->bytes);
    buf_clear(&ret->names);
    if (text.len > TOKEN_TEXT_BYTES_MAX || !base64url_get(text, &ret->bytes))
        return false;
    if (take_token(buf_span(&ret->bytes), ret))
        return true;
    ret->count = 0;
    ret->set   = 0;
    return false;
}
