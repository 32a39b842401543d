/* wrong_secrets.h - how many wrong API keys and tokens came from which address (threat 107): one bounded table that all
 * threads share. Pure: the time is handed in.
 *
 * An address has so many tries a minute; then it is told to come again when the minute is over. The networks that a
 * provider gives to one customer share theirs: an IPv6 address counts by its first 64 bits. In a place that is full, the
 * address whose minute began first is forgotten. The table holds no memory until the first wrong one comes.
 *
 * A place is two atomics: the address, and when its minute began beside the count. Two threads that take a place over at the
 * same moment may count one too few; no lock is held. */
#ifndef AUTH_WRONG_SECRETS_H
#define AUTH_WRONG_SECRETS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/ip_address.h"
#include "base/msec.h"

enum { WRONG_ADDRESSES_MAX = 4096, WRONG_WAYS = 4, WRONG_MINUTE_MS = 60 * 1000, WRONG_COUNT_BITS = 20 };

struct wrong_tries {
    _Atomic uint64_t address;         /* 0: free */
    _Atomic uint64_t since_and_count; /* ms since 1970; in the lowest WRONG_COUNT_BITS how many there were */
};

/* A zeroed struct is fine. */
struct wrong_secrets {
    struct wrong_tries *_Atomic at;  /* WRONG_ADDRESSES_MAX of them; NULL: none was ever wrong */
};

/* No thread uses it any more. */
void wrong_secrets_fini(struct wrong_secrets *wrong);

/* Was anything ever wrong? Until then, nobody need be asked for. */
static inline bool wrong_secrets_are_any(const struct wrong_secrets *wrong)
{
    return atomic_load_explicit(&wrong->at, memory_order_relaxed) != NULL;
}

/* `address`: by ip_customer(). For how many ms has this address as many wrong ones in its minute as may be? 0: it has
 * not. Address 0 never has. `count_max` is below 2^WRONG_COUNT_BITS. */
msec wrong_secrets_wait(const struct wrong_secrets *wrong, uint64_t address, uint64_t count_max, msec now);

void wrong_secrets_note(struct wrong_secrets *wrong, uint64_t address, msec now);

#endif
