/* interest.h - which routes this node wants, and which it has. Pure.
 *
 * A route is wanted while a channel of its name is followed here, and for `linger_ms` after that: who changes the page or
 * reconnects costs no engine operation. Channels of one user share a route (message/slot.h).
 *
 *     follow ──▶ unsettled ──batch──▶ under way ──▶ registered
 *                    ▲                    │ failed, or changed meanwhile
 *                    └────────────────────┘
 *
 * Who registers takes batches of what is unsettled and says how each ended. A route is in one batch at a time, so that what is
 * added and removed of it can't overtake each other. */
#ifndef CLUSTER_INTEREST_H
#define CLUSTER_INTEREST_H

#include "cluster/engine.h"
#include "message/channel_name.h"

struct interest;
struct interest_route;

struct interest *interest_new(const struct hash_key *key, msec linger_ms);
void             interest_free(struct interest *interest);  /* also with batches under way */

/* One more channel of this route is followed. True: the route stands. False: `routed` is due for the channel. */
bool interest_follow(struct interest *interest, struct channel_name *channel);
void interest_unfollow(struct interest *interest, struct channel_name *channel, msec now);

/* Removes what has lingered long enough. */
void interest_tick(struct interest *interest, msec now);

/* So few in a call that a lease behind it does not wait long. */
enum { INTEREST_BATCH_MAX = 250 };

struct interest_batch {
    struct engine_name      names[INTEREST_BATCH_MAX];
    struct interest_route  *routes[INTEREST_BATCH_MAX];
    size_t                  count;
    uint64_t                life;
};

/* What is unsettled, as far as it fits; false: nothing. The names are valid until the batch is done. */
bool interest_take_batch(struct interest *interest, struct interest_batch *ret);

/* Told for each channel whose registration has ended. */
typedef void interest_routed(void *ctx, struct channel_name *channel);

/* The batch has ended. What failed is unsettled again, and who waited for it is told all the same. */
void interest_batch_done(struct interest *interest, struct interest_batch *batch, bool is_done, interest_routed *routed,
                         void *ctx);

/* Somebody waits for a route. */
bool interest_has_waiting(const struct interest *interest);

/* The engine is away: who waits waits no longer. */
void interest_release(struct interest *interest, interest_routed *routed, void *ctx);

/* What the engine held is gone, or some of it: all that is followed is unsettled, and what is not is removed, in case it
 * stands. */
void interest_renew(struct interest *interest);

size_t interest_count(const struct interest *interest);     /* routes that are wanted or registered */
bool   interest_has_unsettled(const struct interest *interest);  /* the next batch is not empty */
bool   interest_is_settled(const struct interest *interest); /* all wanted routes stand */

#endif
