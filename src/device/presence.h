/* presence.h - which devices follow which channels now, in namespaces that say `presence = true`.
 *
 * A device is in the set of a channel while a link of it follows the channel, and for a while after:
 *
 *     link ends            the device stays for
 *     it said goodbye      no time
 *     it was cut           return_ms, so that a device that comes back at once never seems to have left
 *     a poll was answered  poll_lease_ms
 *
 * A device with several links is there once. Each set has a number of devices, and loops whose clients asked for it are
 * told who came and went. That is bounded: a channel may cause so many frames a second (frames_per_s). Within that bound each
 * change is told; beyond it the number alone is told, and who needs the set asks again. So a client's set is right if
 * each change that it was told of makes it as large as the change says, and nothing told the number alone since it asked.
 *
 * Nothing of this is stored: a server that starts knows nobody, and devices are there again once they come again.
 *
 * In a cluster each node knows the devices of its own links, and those of others in channels whose changes its clients are
 * told of (presence_peer.c). What is listed here are its own.
 *
 * It is owned beside the writer and runs on its thread; commands (presence_command.h) feed it. Pure: time is handed in. */
#ifndef DEVICE_PRESENCE_H
#define DEVICE_PRESENCE_H

#include "base/counter.h"
#include "base/list.h"
#include "base/map.h"
#include "node/writer.h"

struct occupancies;  /* occupancy.h */
struct presence_listing;
struct peer_call;
struct shard;
struct presence_news;

/* Where a loop hears of changes. Outlives all commands. */
struct presence_home {
    /* The news are borrowed. */
    void   (*told)(struct presence_home *home, const struct presence_news *news);
    unsigned loop;
};

struct presence_limits {
    uint32_t members_max;    /* devices in channels, all channels together; one more is not noted */
    uint32_t frames_per_s;   /* that one channel causes, all clients together */
    msec     return_ms, poll_lease_ms;
};

struct presence_counters {
    struct counter members, channels;    /* now */
    struct counter joins, leaves;
    struct counter returns;              /* devices that came back before they had left */
    struct counter changes_told, counts_told;  /* to loops: one by one; as a number alone */
    struct counter refused;              /* beyond members_max */
    struct counter peer_news, peer_sets; /* heard from other nodes: changes, and whole sets */
};

struct presence {
    const struct writer_port *port;      /* borrowed */
    void                     *ctx;
    unsigned                  loop_count;
    struct presence_home    **homes;     /* of each loop; NULL: none of its clients was ever told */
    const struct hash_key    *hash_key;
    struct presence_limits    limits;    /* may change between two turns */
    struct map                channels, devices;
    struct list               all;       /* channels, for the end */
    struct list               news;      /* channels with something to tell */
    struct list               cut, polled;  /* members without a link, in the order of their ends */
    uint64_t                  number;    /* of the last device that came into a set */
    struct occupancies       *occupancies;  /* borrowed: hears of the first and last device of this node; NULL: nobody does */
    struct writer            *writer;    /* borrowed; of a cluster: other nodes are told and asked by it. NULL: there are none */
    uint64_t                  incarnation;  /* … and this is the one of this node */
    struct list               saying;    /* channels with changes that other nodes are to be told */
    struct list               watched;   /* channels whose sets on other nodes are asked for now and then, the next one first */
    struct list               asking;    /* questions to other nodes under way */
    uint32_t                  asking_count;
    msec                      settle_at;   /* when channels are forgotten that another process has told of and nobody is in; 0: never */
    bool                      is_holding;  /* nobody is told anything for now: another process is about to go on with it */
    msec                      now, wall;
    struct presence_counters  counters;
};

void presence_init(struct presence *presence, const struct writer_port *port, void *ctx, unsigned loop_count,
                   const struct hash_key *hash_key, const struct presence_limits *limits);
void presence_fini(struct presence *presence);

/* This node is one of several. */
void presence_join(struct presence *presence, struct writer *writer, uint64_t incarnation);
/* What other nodes said may be lost: their sets are asked for at once. */
void presence_compare_now(struct presence *presence);

/* Once a turn, after the commands: tells what has changed. */
void presence_turn_end(struct presence *presence);
/* About ten times a second. `now` only goes forward. */
void presence_tick(struct presence *presence, msec now, msec wall);

/* A device of a user, or a link of it. */
struct presence_who {
    struct span user, device;
    uint64_t    key;          /* of the connection */
    const char *transport;    /* static */
};

enum presence_end {
    PRESENCE_END_NOW,     /* it said goodbye, or may not be here */
    PRESENCE_END_CUT,
    PRESENCE_END_POLLED,  /* it was a poll, and the next one is awaited */
};

/* A link follows the channel; leaves it, or has ended. Repeated ones change nothing. */
void presence_come(struct presence *presence, struct channel_name *name, const struct presence_who *who);
void presence_go(struct presence *presence, struct channel_name *name, const struct presence_who *who,
                 enum presence_end end);

/* One more client of the loop, or one less, is told of changes. Those who begin are told the number at the end of the turn, by a note
 * with `is_beginning`. */
void presence_watch(struct presence *presence, struct channel_name *name, struct presence_home *home);
/* The same for one that was told until now by another process, and knows the set: it is told changes alone. */
void presence_watch_on(struct presence *presence, struct channel_name *name, struct presence_home *home);
void presence_unwatch(struct presence *presence, struct channel_name *name, unsigned loop);

/* How many devices of this user are there by a link or a poll, in any channel. visit() is called for each of them; NULL: it is
 * not. */
uint32_t presence_user(const struct presence *presence, struct span user,
                       void (*visit)(void *ctx, const struct presence_who *who, msec since), void *ctx);

/* A page of the set behind `after` (0: from the beginning), in the order of arrival. Fills in the answer. */
void presence_list(const struct presence *presence, struct presence_listing *listing);

#endif
