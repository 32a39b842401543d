/* channel.h - one followed channel of one loop: its head, its window of live messages, its subscriptions.
 * Private to the hub. */
#ifndef HUB_CHANNEL_H
#define HUB_CHANNEL_H

#include "hub/hub.h"
#include "message/message_ring.h"

struct channel {
    struct hub_entry     entry;     /* in hub.channels */
    struct list          link;      /* in hub.touched, .lingering, .hurried or .resting, or in none */
    struct near_list     subs;
    struct message_ring *window;    /* the contiguous end of the live feed, [head - count + 1, head]; let go as soon as
                                     * everybody has drawn it */
    uint64_t             epoch;     /* 0: not answered yet */
    union {
        uint64_t first;
        uint64_t question;          /* while epoch is 0: the number of the question under way */
    };
    uint64_t             head;
    uint32_t             since;     /* … it lingers or rests: the low 32 bits of a msec */
    uint32_t             sub_count    : 27;
    bool                 is_patient   : 1;  /* all that was delivered this turn may wait for a beat */
    bool                 is_touched   : 1;
    bool                 is_lingering : 1;
    bool                 is_hurried   : 1;  /* its head is to be asked for at the next heartbeat */
    bool                 is_asked     : 1;  /* port->follow() was said and not answered yet */
};

struct channel *channel_new(struct channel_name *name, struct pool *pool);
void            channel_free(struct channel *channel, struct pool *pool);  /* NULL is fine */

static inline bool channel_is_known(const struct channel *channel)
{
    return channel->epoch != 0;
}

/* The live message with this seq, borrowed, or NULL. */
struct message *channel_window_at(const struct channel *channel, uint64_t seq);

/* Takes a numbered message of this life in: moves head and window; a hole before it empties the window first. False:
 * it was old news. */
bool channel_take_live(struct channel *channel, struct message *message, const struct hub_limits *limits);

void channel_window_clear(struct channel *channel);
void channel_window_drop(struct channel *channel, uint64_t to);  /* what stands up to there */

#endif
