#include "session/networks.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

enum { KEY_OF_IPV6 = INT32_MIN };

void networks_init(struct networks *networks)
{
    *networks = (struct networks){ 0 };
}

void networks_fini(struct networks *networks)
{
    free(networks->at);
    *networks = (struct networks){ 0 };
}

uint32_t network_key(const uint8_t *address, size_t len)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };  /* RFC 4291 2.5.5.2 */
    uint32_t             key        = 2166136261;

    if (len == 16 && memcmp(address, mapped, sizeof mapped) == 0)
        return network_key(address + sizeof mapped, 4);
    if (len == 4)
        return 1u << 24 | (uint32_t)address[0] << 16 | (uint32_t)address[1] << 8 | address[2];
    if (len != 16)
        return 0;
    for (int i = 0; i < 6; i++)
        key = (key ^ address[i]) * 16777619;
    return key | (uint32_t)KEY_OF_IPV6;
}

/* --- the table: sets of NETWORK_WAYS places, and a network stands in its own set ------------------------------------ */

static struct network *set_of(const struct networks *networks, uint32_t key)
{
    uint32_t mixed = (key ^ key >> 15) * 0x85ebca6b;

    mixed ^= mixed >> 13;
    return &networks->at[mixed % (NETWORKS_MAX / NETWORK_WAYS) * NETWORK_WAYS];
}

static struct network *find_network(const struct networks *networks, uint32_t key)
{
    if (networks->at == NULL || key == 0)
        return NULL;
    struct network *set = set_of(networks, key);
    for (int i = 0; i < NETWORK_WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

static void forget_network(struct networks *networks, struct network *network)
{
    *network = (struct network){ 0 };
    networks->count--;
}

static struct network *add_network(struct networks *networks, uint32_t key)
{
    if (networks->at == NULL) {
        networks->at = calloc(NETWORKS_MAX, sizeof networks->at[0]);
        must(networks->at != NULL);
    }
    struct network *set = set_of(networks, key), *chosen = &set[0];
    for (int i = 1; i < NETWORK_WAYS && chosen->key != 0; i++)
        if (set[i].key == 0 || set[i].used_at < chosen->used_at)
            chosen = &set[i];
    if (chosen->key != 0)
        forget_network(networks, chosen);
    chosen->key = key;
    networks->count++;
    return chosen;
}

/* --- learning ------------------------------------------------------------------------------------------------- */

msec networks_bear(const struct networks *networks, uint32_t key)
{
    const struct network *network = find_network(networks, key);
    return network == NULL ? 0 : (msec)network->start_ms;
}

void networks_lost(struct networks *networks, uint32_t key, msec silent_ms, msec least_ms, msec now)
{
    if (key == 0)
        return;
    struct network *network = find_network(networks, key);
    if (network == NULL)
        network = add_network(networks, key);
    network->used_at = (uint32_t)(now / 1000);
    network->borne   = 0;
    /* A link that promised more than it was told to begin with says nothing of what it was told. */
    if (network->start_ms != 0 && silent_ms > (msec)network->start_ms)
        return;
    if (++network->lost < NETWORK_LOST_MANY)
        return;
    msec start        = silent_ms / 4 * 3;
    network->start_ms = (uint32_t)(start < least_ms ? least_ms : start);
    network->lost     = 0;
}

void networks_borne(struct networks *networks, uint32_t key, msec silent_ms, msec most_ms, msec now)
{
    struct network *network = find_network(networks, key);

    if (network == NULL || silent_ms < (msec)network->start_ms / 4 * 3)
        return;
    network->used_at = (uint32_t)(now / 1000);
    if (network->start_ms == 0) {
        if (silent_ms >= most_ms / 4 * 3)
            forget_network(networks, network);
        return;
    }
    network->lost = 0;
    if (++network->borne < NETWORK_BORNE_MANY)
        return;
    network->borne    = 0;
    network->start_ms = network->start_ms / 4 * 5;
    if ((msec)network->start_ms >= most_ms)
        forget_network(networks, network);
}
