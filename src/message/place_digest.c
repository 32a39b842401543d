#include "message/place_digest.h"

static uint64_t fnv_byte(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * 0x100000001b3u;
}

static uint64_t fnv_u64(uint64_t hash, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        hash = fnv_byte(hash, (uint8_t)(value >> shift));
    return hash;
}

/* The finalizer of splitmix64. Without it, what two places have in common could cancel out in the sum. */
static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

uint64_t place_digest_term(struct span channel, uint64_t epoch, uint64_t seq)
{
    uint64_t hash = fnv_byte(0xcbf29ce484222325u, (uint8_t)channel.len);

    for (size_t i = 0; i < channel.len; i++)
        hash = fnv_byte(hash, (uint8_t)channel.at[i]);
    return mix(fnv_u64(fnv_u64(hash, epoch), seq));
}
