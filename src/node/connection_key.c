#include "node/connection_key.h"

#include "base/hex.h"
#include "node/tail.h"

/* How the bits of a key are used. */
struct key_shape {
    unsigned half_bits;  /* of each half of the enciphered block */
    unsigned second_bits, number_bits;
};

static const struct key_shape shapes[2] = {
    { 32, CONNECTION_KEY_SECOND_BITS, CONNECTION_KEY_NUMBER_BITS },
    { 24, CONNECTION_KEY_TAGGED_SECOND_BITS, CONNECTION_KEY_TAGGED_NUMBER_BITS },
};

/* A Feistel network over two halves, with SipHash as its round function (Luby and Rackoff: four rounds make a strong
 * pseudorandom permutation). */
enum { ROUNDS = 4, LOOP_BITS = 6, TAG_SHIFT = 48 };

_Static_assert(LOOPS_MAX <= 1 << LOOP_BITS, "a key has room for every loop");
_Static_assert(LOOP_BITS + CONNECTION_KEY_SECOND_BITS + CONNECTION_KEY_NUMBER_BITS == 64, "a block is full");
_Static_assert(LOOP_BITS + CONNECTION_KEY_TAGGED_SECOND_BITS + CONNECTION_KEY_TAGGED_NUMBER_BITS == TAG_SHIFT,
               "a block behind a tag is full");

static const struct key_shape *shape_of(const struct connection_keys *keys)
{
    return &shapes[keys->tag != 0];
}

static uint64_t low_bits(uint64_t value, unsigned bits)
{
    return value & ((UINT64_C(1) << bits) - 1);
}

static uint64_t key_round(const struct connection_keys *keys, uint64_t round, uint64_t half)
{
    const uint64_t block[2] = { round, half };
    return low_bits(hash_bytes(&keys->secret, span_of(block, sizeof block)), shape_of(keys)->half_bits);
}

static uint64_t encipher(const struct connection_keys *keys, uint64_t block)
{
    unsigned half = shape_of(keys)->half_bits;
    uint64_t left = block >> half, right = low_bits(block, half);

    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t next = left ^ key_round(keys, round, right);
        left          = right;
        right         = next;
    }
    return left << half | right;
}

static uint64_t decipher(const struct connection_keys *keys, uint64_t block)
{
    unsigned half = shape_of(keys)->half_bits;
    uint64_t left = block >> half, right = low_bits(block, half);

    for (uint64_t round = ROUNDS; round-- > 0;) {
        uint64_t before = right ^ key_round(keys, round, left);
        right           = left;
        left            = before;
    }
    return left << half | right;
}

uint16_t connection_tag(uint64_t incarnation)
{
    return (uint16_t)(1 + incarnation % UINT16_MAX);
}

uint64_t connection_key_make(const struct connection_keys *keys, struct connection_key key)
{
    const struct key_shape *shape = shape_of(keys);
    uint64_t block = (uint64_t)key.loop << (shape->second_bits + shape->number_bits) |
                     low_bits(key.second, shape->second_bits) << shape->number_bits |
                     low_bits(key.number, shape->number_bits);

    return encipher(keys, block) | (uint64_t)keys->tag << TAG_SHIFT;
}

struct connection_key connection_key_open(const struct connection_keys *keys, uint64_t key)
{
    const struct key_shape *shape = shape_of(keys);
    uint64_t                block = decipher(keys, keys->tag == 0 ? key : low_bits(key, TAG_SHIFT));

    return (struct connection_key){
        .loop   = (unsigned)(block >> (shape->second_bits + shape->number_bits)),
        .second = (uint32_t)low_bits(block >> shape->number_bits, shape->second_bits),
        .number = (uint32_t)low_bits(block, shape->number_bits),
    };
}

uint16_t connection_key_elsewhere(const struct connection_keys *keys, uint64_t key)
{
    uint16_t tag = (uint16_t)(key >> TAG_SHIFT);

    return keys->tag == 0 || tag == keys->tag ? 0 : tag;
}

bool connection_key_read(struct span text, uint64_t *ret)
{
    uint64_t key = 0;

    if (text.len != CONNECTION_KEY_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.at[i]);
        if (digit < 0)
            return false;
        key = key << 4 | (uint64_t)digit;
    }
    *ret = key;
    return true;
}

void connection_key_put(struct buf *buf, uint64_t key)
{
    char digits[16];

    hex_put_u32(digits, (uint32_t)(key >> 32));
    hex_put_u32(digits + 8, (uint32_t)key);
    buf_put(buf, span_of(digits, sizeof digits));
}
