#include "reactor/named_peers.h"

#include <stdlib.h>

#include "base/must.h"

struct named_peer {
    union {
        struct ip_address address;
        uint32_t          next;  /* of a free place: the next free one; 0: it is the last */
    };
};

enum { ROOM_FIRST = 64 };

void named_peers_fini(struct named_peers *peers)
{
    free(peers->at);
    *peers = (struct named_peers){ NULL };
}

static struct named_peer *named_peers_at(const struct named_peers *peers, uint32_t number)
{
    must(number >= 1 && number <= peers->count);
    return &peers->at[number - 1];
}

static uint32_t named_peers_place(struct named_peers *peers)
{
    uint32_t number = peers->free;

    if (number != 0) {
        peers->free = named_peers_at(peers, number)->next;
        return number;
    }
    if (peers->count == peers->room) {
        peers->room = peers->room == 0 ? ROOM_FIRST : peers->room * 2;
        peers->at   = realloc(peers->at, peers->room * sizeof peers->at[0]);
        must(peers->at != NULL && peers->count < NAMED_PEERS_MAX);
    }
    return ++peers->count;
}

uint32_t named_peers_add(struct named_peers *peers, const struct ip_address *address)
{
    uint32_t number = named_peers_place(peers);

    named_peers_at(peers, number)->address = *address;
    return number;
}

void named_peers_take(struct named_peers *peers, uint32_t number)
{
    named_peers_at(peers, number)->next = peers->free;
    peers->free                         = number;
}

struct ip_address named_peers_get(const struct named_peers *peers, uint32_t number)
{
    return named_peers_at(peers, number)->address;
}
