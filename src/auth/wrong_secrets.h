/* wrong_secrets.h - how many wrong API keys and tokens came from which address (threat 107). Pure.
 *
 * An address has so many tries a minute; then it is told to come again when the minute is over. The networks that a
 * provider gives to one customer share theirs: an IPv6 address counts by its first 64 bits. The table is bounded: in a
 * place that is full, the address whose minute began first is forgotten. It holds no memory until the first wrong one
 * comes. */
#ifndef AUTH_WRONG_SECRETS_H
#define AUTH_WRONG_SECRETS_H

#include "base/msec.h"
#include "base/ip_address.h"

enum { WRONG_ADDRESSES_MAX = 4096, WRONG_WAYS = 4, WRONG_MINUTE_MS = 60 * 1000 };

struct wrong_tries {
    uint64_t address;  /* 0: free */
    msec     since;
    uint32_t count;
};

struct wrong_secrets {
    struct wrong_tries *at;  /* WRONG_ADDRESSES_MAX of them; NULL: none was ever wrong */
};

void wrong_secrets_init(struct wrong_secrets *wrong);
void wrong_secrets_fini(struct wrong_secrets *wrong);

/* `address`: by ip_customer(). Has this address as many wrong ones in its minute as may be? Address 0 never has. */
bool wrong_secrets_are_many(const struct wrong_secrets *wrong, uint64_t address, uint64_t count_max, msec now);

void wrong_secrets_note(struct wrong_secrets *wrong, uint64_t address, msec now);

#endif
