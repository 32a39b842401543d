#include "node/connection_key.h"

#include "base/hex.h"
#include "node/tail.h"

/* A Feistel network over two halves of 32 bits, with SipHash as its round function (Luby and Rackoff: four rounds make a
 * strong pseudorandom permutation). */
enum { ROUNDS = 4, LOOP_SHIFT = CONNECTION_KEY_SECOND_BITS + CONNECTION_KEY_NUMBER_BITS };

_Static_assert(LOOPS_MAX <= 1 << (64 - LOOP_SHIFT), "a key has room for every loop");

static uint32_t key_round(const struct hash_key *secret, uint64_t round, uint32_t half)
{
    const uint64_t block[2] = { round, half };
    return (uint32_t)hash_bytes(secret, span_of(block, sizeof block));
}

static uint64_t encipher(const struct hash_key *secret, uint64_t block)
{
    uint32_t left = (uint32_t)(block >> 32), right = (uint32_t)block;

    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint32_t next = left ^ key_round(secret, round, right);
        left          = right;
        right         = next;
    }
    return (uint64_t)left << 32 | right;
}

static uint64_t decipher(const struct hash_key *secret, uint64_t block)
{
    uint32_t left = (uint32_t)(block >> 32), right = (uint32_t)block;

    for (uint64_t round = ROUNDS; round-- > 0;) {
        uint32_t before = right ^ key_round(secret, round, left);
        right           = left;
        left            = before;
    }
    return (uint64_t)left << 32 | right;
}

static uint64_t low_bits(uint64_t value, unsigned bits)
{
    return value & ((UINT64_C(1) << bits) - 1);
}

uint64_t connection_key_make(const struct hash_key *secret, struct connection_key key)
{
    return encipher(secret, (uint64_t)key.loop << LOOP_SHIFT |
                                low_bits(key.second, CONNECTION_KEY_SECOND_BITS) << CONNECTION_KEY_NUMBER_BITS |
                                low_bits(key.number, CONNECTION_KEY_NUMBER_BITS));
}

struct connection_key connection_key_open(const struct hash_key *secret, uint64_t key)
{
    uint64_t block = decipher(secret, key);

    return (struct connection_key){
        .loop   = (unsigned)(block >> LOOP_SHIFT),
        .second = (uint32_t)low_bits(block >> CONNECTION_KEY_NUMBER_BITS, CONNECTION_KEY_SECOND_BITS),
        .number = (uint32_t)low_bits(block, CONNECTION_KEY_NUMBER_BITS),
    };
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
    buf_putf(buf, "%016llx", (unsigned long long)key);
}
