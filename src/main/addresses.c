#include "main/addresses.h"

#include <stdlib.h>

#include "base/must.h"

/* What a connection counts as is the hash of its address, in which some bits are replaced. */
enum {
    OVER_BIT    = 1,  /* it stays for an answer alone; these are counted apart */
    COUNTED_BIT = 2,
    RATE_BIT    = 4,  /* because of connects_per_address_per_s */
    ALL_BITS    = 7,
};

void addresses_init(struct addresses *addresses, uint64_t descriptors)
{
    addresses->size          = descriptors < ADDRESS_DESCRIPTORS_MAX ? (size_t)descriptors : ADDRESS_DESCRIPTORS_MAX;
    addresses->by_descriptor = calloc(addresses->size, sizeof addresses->by_descriptor[0]);  /* only pages in use cost memory */
    must(addresses->by_descriptor != NULL);
    count_table_init(&addresses->counts);
}

void addresses_fini(struct addresses *addresses)
{
    if (addresses->by_descriptor == NULL)
        return;
    free(addresses->by_descriptor);
    count_table_fini(&addresses->counts);
}

static bool has_place(const struct addresses *addresses, int fd)
{
    return fd >= 0 && (size_t)fd < addresses->size;
}

/* A descriptor is passed on by the kernel, from the thread that closed it to the one that got it next. */
static uint64_t counted_as(const struct addresses *addresses, int fd)
{
    return atomic_load_explicit(&addresses->by_descriptor[fd], memory_order_relaxed);
}

static bool count_one(struct addresses *addresses, int fd, uint64_t as, uint64_t max)
{
    if (!count_table_add(&addresses->counts, as & ~(uint64_t)RATE_BIT, max < UINT32_MAX ? (uint32_t)max : UINT32_MAX))
        return false;
    must(counted_as(addresses, fd) == 0);
    atomic_store_explicit(&addresses->by_descriptor[fd], as, memory_order_relaxed);
    return true;
}

static void refuse_address(struct usage_limits *limits, bool is_fast, const struct ip_address *address, msec wait_ms)
{
    struct buf text;

    buf_init(&text, IP_TEXT_BYTES_MAX);
    ip_put(address, &text);
    usage_refuse(limits, is_fast ? USAGE_CONNECTS_OF_ADDRESS : USAGE_CONNECTIONS_OF_ADDRESS, buf_span(&text),
                 is_fast ? wait_ms : USAGE_PAUSE_MS);
    buf_fini(&text);
}

static bool address_counts(const struct addresses *addresses, const struct usage_limits *limits, int fd, const struct ip_address *address)
{
    return (limits->max[USAGE_CONNECTIONS_OF_ADDRESS] != 0 || limits->max[USAGE_CONNECTS_OF_ADDRESS] != 0) &&
           ip_customer(address) != 0 && has_place(addresses, fd);
}

static uint64_t hash_of_address(const struct usage_limits *limits, const struct ip_address *address)
{
    const uint64_t customer = ip_customer(address);

    return hash_bytes(limits->hash_key, span_of(&customer, sizeof customer));
}

static uint64_t counts_as(uint64_t hash)
{
    return (hash & ~(uint64_t)ALL_BITS) | COUNTED_BIT;
}

void addresses_take(struct addresses *addresses, const struct usage_limits *limits, int fd, const struct ip_address *address)
{
    if (address_counts(addresses, limits, fd, address))
        count_one(addresses, fd, counts_as(hash_of_address(limits, address)), UINT32_MAX);
}

enum address_verdict addresses_enter(struct addresses *addresses, struct usage_limits *limits, int fd,
                                     const struct ip_address *address, msec now)
{
    const uint64_t most = limits->max[USAGE_CONNECTIONS_OF_ADDRESS], per_s = limits->max[USAGE_CONNECTS_OF_ADDRESS];

    if (!address_counts(addresses, limits, fd, address))
        return ADDRESS_FINE;
    const uint64_t hash    = hash_of_address(limits, address);
    const uint64_t as      = counts_as(hash);
    const msec     wait_ms = per_s == 0 ? 0 : rate_table_take(&limits->tables->rates[USAGE_CONNECTS_OF_ADDRESS], hash, per_s, now);
    if (wait_ms == 0 && count_one(addresses, fd, as, most == 0 ? UINT32_MAX : most))
        return ADDRESS_FINE;
    refuse_address(limits, wait_ms > 0, address, wait_ms);
    return count_one(addresses, fd, as | OVER_BIT | (wait_ms > 0 ? RATE_BIT : 0), ADDRESS_BRIEF_MAX) ? ADDRESS_OVER
                                                                                                     : ADDRESS_REFUSED;
}

void addresses_leave(struct addresses *addresses, int fd)
{
    const uint64_t as = has_place(addresses, fd) ? counted_as(addresses, fd) : 0;

    if (as == 0)
        return;
    atomic_store_explicit(&addresses->by_descriptor[fd], 0, memory_order_relaxed);
    count_table_take(&addresses->counts, as & ~(uint64_t)RATE_BIT);
}

bool addresses_is_over(const struct addresses *addresses, int fd, enum usage_limit *ret)
{
    const uint64_t as = has_place(addresses, fd) ? counted_as(addresses, fd) : 0;

    if ((as & OVER_BIT) == 0)
        return false;
    *ret = (as & RATE_BIT) != 0 ? USAGE_CONNECTS_OF_ADDRESS : USAGE_CONNECTIONS_OF_ADDRESS;
    return true;
}
