#include "codec/token/token.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "codec/token/token_priv.h"

enum { SMALL_BYTES = 1024, SEQ_BYTES_BOUND = 7 };

/* FNV-1a, 32 bits. It always notices a change within one byte. */
uint32_t token_checksum(struct span bytes)
{
    uint32_t checksum = 0x811c9dc5;

    for (size_t i = 0; i < bytes.len; i++)
        checksum = (checksum ^ (uint8_t)bytes.at[i]) * 0x01000193u;
    return checksum;
}

int channel_order(struct span a, struct span b)
{
    size_t len   = a.len < b.len ? a.len : b.len;
    int    order = len == 0 ? 0 : memcmp(a.at, b.at, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* FNV-1a, 64 bits, of each name with its length before it. */
uint64_t token_set_of(const struct place *places, size_t count)
{
    uint64_t set = 0xcbf29ce484222325u;

    for (size_t i = 0; i < count; i++) {
        struct span name = places[i].channel;
        must(i == 0 || channel_order(places[i - 1].channel, name) < 0);
        set = (set ^ (uint8_t)name.len) * 0x100000001b3u;
        for (size_t j = 0; j < name.len; j++)
            set = (set ^ (uint8_t)name.at[j]) * 0x100000001b3u;
    }
    return set == 0 ? 1 : set;
}

/* --- the pieces: each is written to `to`, and the address behind it returned ------------------------------------- */

static char *put_varint(char *to, uint64_t value)
{
    while (value >= 0x80) {
        *to++ = (char)(value | 0x80);
        value >>= 7;
    }
    *to++ = (char)value;
    return to;
}

static char *put_big_endian(char *to, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        *to++ = (char)(value >> 8 * (len - 1 - i));
    return to;
}

static size_t shared_bytes(struct span before, struct span name)
{
    size_t len = 0;

    while (len < before.len && len < name.len && before.at[len] == name.at[len])
        len++;
    return len;
}

/* `before`: empty for the first. */
static char *put_name(char *to, struct span before, struct span name)
{
    size_t shared = shared_bytes(before, name);

    must(name.len > 0 && name.len <= TOKEN_CHANNEL_BYTES_MAX);
    if (before.len > 0)
        *to++ = (char)shared;
    *to++ = (char)(name.len - shared);
    memcpy(to, name.at + shared, name.len - shared);
    return to + name.len - shared;
}

/* --- epochs ------------------------------------------------------------------------------------------------------ */

/* Each epoch once, rising. Nearly always there is one only, and then nothing is allocated. */
struct token_epochs {
    uint64_t *at;
    size_t    count;
    uint64_t  one;
};

static int epoch_order(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void epochs_init(struct token_epochs *epochs, const struct place *places, size_t count)
{
    size_t i = 1, kept = 1;

    *epochs = (struct token_epochs){ NULL, 1, places[0].epoch };
    while (i < count && places[i].epoch == epochs->one)
        i++;
    if (i == count)
        return;
    epochs->at = malloc(count * sizeof epochs->at[0]);
    must(epochs->at != NULL);
    for (i = 0; i < count; i++)
        epochs->at[i] = places[i].epoch;
    qsort(epochs->at, count, sizeof epochs->at[0], epoch_order);
    for (i = 1; i < count; i++)
        if (epochs->at[i] != epochs->at[kept - 1])
            epochs->at[kept++] = epochs->at[i];
    epochs->count = kept;
}

static size_t epochs_find(const struct token_epochs *epochs, uint64_t epoch)
{
    size_t from = 0, to = epochs->count;

    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;
        if (epochs->at[middle] <= epoch)
            from = middle;
        else
            to = middle;
    }
    return from;
}

static char *put_epochs(char *to, const struct token_epochs *epochs)
{
    to = put_varint(to, epochs->count);
    for (size_t i = 0; i < epochs->count; i++)
        to = put_big_endian(to, epochs->at == NULL ? epochs->one : epochs->at[i], TOKEN_EPOCH_BYTES);
    return to;
}

static char *put_token_place(char *to, const struct token_epochs *epochs, const struct place *place)
{
    if (epochs->count > 1)
        to = put_varint(to, epochs_find(epochs, place->epoch));
    return put_varint(to, place->seq);
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

static char *put_places(char *to, const struct token_epochs *epochs, const struct place *places, size_t count,
                        bool is_set)
{
    struct span before = SPAN("");

    for (size_t i = 0; i < count; i++) {
        if (!is_set)
            to = put_name(to, before, places[i].channel);
        before = places[i].channel;
        to     = put_token_place(to, epochs, &places[i]);
    }
    return to;
}

static size_t bytes_max(const struct place *places, size_t count, bool is_set)
{
    size_t bytes = 1 + 2 * VARINT_BYTES_MAX + TOKEN_SET_BYTES + TOKEN_CHECKSUM_BYTES +
                   count * (TOKEN_EPOCH_BYTES + 2 * VARINT_BYTES_MAX);

    for (size_t i = 0; !is_set && i < count; i++)
        bytes += 2 + places[i].channel.len;
    return bytes;
}

/* `set` 0: form 2. */
static void put_token(struct buf *buf, uint64_t set, const struct place *places, size_t count)
{
    char                small[SMALL_BYTES];
    size_t              room  = bytes_max(places, count, set != 0);
    char               *bytes = room <= sizeof small ? small : malloc(room), *to = bytes;
    struct token_epochs epochs;

    must(count > 0 && count <= TOKEN_PLACES_MAX && bytes != NULL);
    epochs_init(&epochs, places, count);
    *to++ = set != 0 ? TOKEN_SET : TOKEN_NAMES;
    to    = put_epochs(put_varint(to, count), &epochs);
    if (set != 0)
        to = put_big_endian(to, set, TOKEN_SET_BYTES);
    to = put_places(to, &epochs, places, count, set != 0);
    to = put_big_endian(to, token_checksum(span_of(bytes, (size_t)(to - bytes))), TOKEN_CHECKSUM_BYTES);
    must((size_t)(to - bytes) <= room);
    base64url_put(buf, span_of(bytes, (size_t)(to - bytes)));
    free(epochs.at);
    if (bytes != small)
        free(bytes);
}

void token_put(struct buf *buf, const struct place *places, size_t count)
{
    put_token(buf, 0, places, count);
}

void token_put_set(struct buf *buf, uint64_t set, const struct place *places, size_t count)
{
    must(set != 0);
    put_token(buf, set, places, count);
}

static size_t varint_bytes(size_t value)
{
    char scratch[VARINT_BYTES_MAX];

    return (size_t)(put_varint(scratch, value) - scratch);
}

size_t token_text_bound(const struct place *places, size_t count, size_t epoch_max, bool is_set)
{
    size_t      epochs = epoch_max < count ? epoch_max : count;
    size_t      bytes  = 1 + varint_bytes(count) + varint_bytes(epochs) + epochs * TOKEN_EPOCH_BYTES +
                         (is_set ? TOKEN_SET_BYTES : 0) + TOKEN_CHECKSUM_BYTES;
    struct span before = SPAN("");

    bytes += count * (SEQ_BYTES_BOUND + (epochs > 1 ? varint_bytes(epochs - 1) : 0));
    for (size_t i = 0; !is_set && i < count; i++) {
        bytes += 2 + places[i].channel.len - shared_bytes(before, places[i].channel);
        before = places[i].channel;
    }
    return (bytes * 4 + 2) / 3;
}
