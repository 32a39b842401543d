#include "base/hash.h"

#include <endian.h>

struct siphash {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* Five rounds a name: the calls would be a third of it. */
static inline __attribute__((always_inline)) void siphash_round(struct siphash *s)
{
    s->v0 += s->v1; s->v1 = rotl(s->v1, 13); s->v1 ^= s->v0; s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3; s->v3 = rotl(s->v3, 16); s->v3 ^= s->v2;
    s->v0 += s->v3; s->v3 = rotl(s->v3, 21); s->v3 ^= s->v0;
    s->v2 += s->v1; s->v1 = rotl(s->v1, 17); s->v1 ^= s->v2; s->v2 = rotl(s->v2, 32);
}

static void siphash_word(struct siphash *s, uint64_t word)
{
    s->v3 ^= word;
    siphash_round(s);
    s->v0 ^= word;
}

/* What is behind `from`, less than 8 bytes, the first of them lowest. */
static uint64_t last_bytes(struct span bytes, size_t from)
{
    size_t   count = bytes.len - from;
    uint64_t word  = 0;

    if (count == 0)
        return 0;
    if (from == 0) {
        for (size_t i = 0; i < count; i++)
            word |= (uint64_t)(unsigned char)bytes.at[i] << 8 * i;
        return word;
    }
    memcpy(&word, bytes.at + bytes.len - sizeof word, sizeof word);
    return le64toh(word) >> 8 * (sizeof word - count);
}

uint64_t hash_bytes(const struct hash_key *key, struct span bytes)
{
    struct siphash s = { key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                         key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u };
    uint64_t       word;
    size_t         i = 0;

    for (; i + 8 <= bytes.len; i += 8) {
        memcpy(&word, bytes.at + i, 8);
        siphash_word(&s, word);
    }
    siphash_word(&s, (uint64_t)bytes.len << 56 | last_bytes(bytes, i));
    s.v2 ^= 0xff;
    siphash_round(&s);
    siphash_round(&s);
    siphash_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
