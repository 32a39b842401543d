/* hub.h - This module decides who gets what next. It refuses to know sockets, frames, stores and time.
 *
 * One hub belongs to one loop: the channels that somebody on this loop follows, and their subscriptions.
 * A channel is a log; a subscription is a cursor in it. The one rule of the server lives in subscription_look():
 *
 *     A subscription delivers message `cursor + 1` and nothing else. It gets it from the live feed if that is
 *     what arrives, and from the log otherwise. If the log no longer has it, the client is told of the gap.
 *
 *                  what the log keeps                     window (live feed)
 *        (trimmed) [17][18][19] … … … … … … … … … [90][91][92]   head = 92
 *           a             b                                 c  d
 *
 *   d is up to date and waits. c takes 92 from the window. b has to read: told so by its owner, the hub asks for a page
 *   of the log and deals it out; meanwhile b waits. a fell off the left: its page begins with the gap and goes
 *   on at 17.
 *
 * Whatever comes in by hub_deliver() may be late, doubled or missing: it moves the head and fills the window,
 * nothing more. One thread: that of the loop.
 *
 * Most channels have one subscription, which is up to date. When such a channel has been quiet for quiet_ms it is folded
 * into the subscription: then the subscription alone stands for both, and the channel is made again from it by whatever
 * comes next (hub_fold() and hub_unfold() in hub.c). Nobody outside sees a difference. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "base/list.h"
#include "base/near_map.h"
#include "base/pool.h"
#include "message/message.h"

struct hub;
struct subscription;
struct subscription_more;  /* in subscription.c */

/* What the hub asks of the server. None of these may call back into the hub before it returns. */
struct hub_port {
    /* Follow this channel for us: answer with hub_followed() and the question's number, and hub_deliver() everything
     * that comes after. Said again for a channel that is followed already: answer with its head of now. The answers of
     * one channel come in the order of the questions. */
    void (*follow)(void *ctx, struct channel_name *name, uint64_t question);
    void (*unfollow)(void *ctx, struct channel_name *name);
    /* Read what stands behind `after` for this subscription: answer with subscription_read_done(). *ret_ticket is
     * whatever the port wants back in cancel(), should the subscription end before. */
    void (*read)(void *ctx, struct subscription *sub, uint64_t after, void **ret_ticket);
    void (*cancel)(void *ctx, void *ticket);
    /* This subscription has something to deliver; look at it before the turn ends. */
    void (*ready)(void *ctx, struct subscription *sub);
};

struct hub_limits {
    uint32_t window_messages_max;  /* live feed kept a channel, for readers who have not drawn it yet */
    size_t   window_bytes_max;
    msec     linger_ms;            /* how long a channel without subscriptions stays followed, at least */
    msec     quiet_ms;             /* after so long without news a channel is folded into its only subscription */
};

/* Beyond this the oldest channel is unfollowed before linger_ms has passed: a client that follows and leaves ever new
 * channels must not fill the memory. */
enum { HUB_LINGERING_MAX = 65536 };

struct hub {
    const struct hub_port   *port;
    void                    *ctx;
    const struct hub_limits *limits;
    struct near_map          channels;   /* struct hub_entry: channels, and subscriptions that stand for theirs */
    struct pool              pool;       /* where channels live */
    struct list              touched;    /* channels with something new this turn */
    struct list              lingering;  /* channels without subscriptions, oldest first; HUB_LINGERING_MAX at most */
    struct list              hurried;    /* channels whose heads are asked for at the next heartbeat */
    struct list              resting;    /* channels that may be folded once they have been quiet; the quietest first */
    msec                     now;        /* of the last heartbeat */
    size_t                   subscription_count, lingering_count;
    uint64_t                 question;   /* number of the last question after a head */
    bool                     is_patient; /* what port->ready() is being said for may wait for the next beat of a link: all of
                                          * it was published so. The owner lists the subscription, and wakes nothing */
};

enum start_kind {
    START_NOW,    /* from the next message on */
    START_AFTER,  /* behind `seq`; 0 without an epoch: from the first kept message */
    START_LAST,   /* the last `seq` messages, then on */
};

struct start {
    enum start_kind kind;
    uint64_t        seq;
    uint64_t        epoch;  /* of START_AFTER: the log that `seq` was read from; 0: not said */
};

/* What stands in hub.channels under its name. */
struct hub_entry {
    struct near_map_node node;
    struct channel_name *name;    /* owns a reference */
};

/* Lives in a pool, and so does its owner. Zeroed before subscription_open(). */
struct subscription {
    union {
        struct {
            struct near_list in_channel;
            struct near      channel;  /* NULL: not open */
            struct subscription_more *more;  /* what few have at any time: a read, a page …; NULL: none of it */
        };
        struct {
            struct hub_entry entry;         /* is_folded: in hub.channels, where its channel was */
            uint64_t         folded_epoch;  /* … and the channel's; the channel's head is next - 1 */
        };
    };
    struct near     owner;        /* the session's; the hub hands it back and never looks at it */
    struct near     beside;       /* the owner's, here where there is room for it: the next one that it has */
    uint64_t        next;         /* cursor + 1: the seq to deliver next. Before the channel answers: start.seq + 1 */
    uint8_t         state      : 4;  /* enum subscription_state, in hub_priv.h */
    uint8_t         start_kind : 2;
    uint8_t         is_named   : 1;  /* of a session's: the client named its place, which is to be acknowledged */
    uint8_t         is_keeping : 1;  /* … the session shall follow it by itself from now on */
    uint8_t         answers;      /* SUB_JOINING: this many answers on, one is as new as what it says */
    bool            is_ready   : 1;  /* port->ready() was said and nobody has looked since */
    bool            is_listed  : 1;  /* this one and the next ones are the owner's marks, here where there is room for */
    bool            is_in_line : 1;  /* them: the hub never looks at them */
    bool            is_told    : 1;
    bool            is_unasked : 1;
    bool            is_bounded : 1;
    bool            is_own     : 1;  /* a session follows it by itself */
    bool            is_moved   : 1;  /* its place is not the one that is stored */
    bool            is_kept    : 1;  /* … because the client subscribed to it with `keep` */
    bool            is_watched : 1;  /* its client wants to be told which devices come and go */
    bool            is_notify  : 1;  /* its reader is told heads, by subscription_look_head() */
    bool            is_noted   : 1;  /* the owner's: an event has said that its client follows the channel */
    bool            is_heard   : 1;  /* the owner's: it reads what is delivered there */
    bool            is_folded  : 1;  /* it stands for its channel, which has no other subscription and nothing new */
    uint32_t        told_alias;
};

#ifndef POOL_IS_MALLOC
_Static_assert(sizeof(struct subscription) == 48, "each channel of every idle connection pays for one");
#endif

enum look_result {
    LOOK_ENTRY,   /* *ret_entry is next: deliver it, then subscription_step() */
    LOOK_WAIT,    /* up to date */
    LOOK_UNREAD,  /* only the log has what is next: subscription_read() asks for it, now or when the owner can use it */
    LOOK_READING, /* the log is being asked; port->ready() will say when */
};

void hub_init(struct hub *hub, const struct hub_port *port, void *ctx, const struct hub_limits *limits);
void hub_fini(struct hub *hub);  /* all subscriptions are closed */

/* Begins to follow. port->ready() is said once the channel's head is known: until then look() says WAIT and
 * subscription_is_placed() false. */
void subscription_open(struct subscription *sub, struct hub *hub, struct channel_name *name, struct start start,
                       void *owner);
void subscription_close(struct subscription *sub, struct hub *hub, msec now);  /* not open: fine */

/* Looks, doesn't move. The entry's message is borrowed until the next call into the hub. `wall`: for expiry. */
enum look_result subscription_look(struct subscription *sub, msec wall, struct entry *ret_entry);
void subscription_step(struct subscription *sub, const struct entry *entry);
/* The same for a reader that is told heads and no messages: all that is new is one entry, a gap GAP_COLLAPSED that ends at
 * the head. The log is never read for it. */
enum look_result subscription_look_head(struct subscription *sub, struct entry *ret_entry);

/* After LOOK_UNREAD: asks the log for what is next. */
void subscription_read(struct subscription *sub, struct hub *hub);
bool subscription_is_reading(const struct subscription *sub);

/* Where a subscription stands, gaps that are still to be told included. Only subscription.c looks inside. */
struct subscription_mark {
    uint64_t next, epoch, claimed;
    uint8_t  state;
};

/* Of a placed one. */
struct subscription_mark subscription_mark(const struct subscription *sub);
/* Goes back to the mark, because what was drawn since then was not sent: it is drawn again. If the log has begun a new
 * life since the mark, the reader is told of that instead of what the mark still had to tell. */
void subscription_rewind(struct subscription *sub, struct hub *hub, const struct subscription_mark *mark);

/* Readers who stand at the same place of one channel are often sent the same bytes. Plain: placed, nothing to be told
 * first, nothing read from the log. Such a one may skip to `next` without looking, if all between was sent to it. */
bool subscription_is_plain(const struct subscription *sub);
void subscription_skip(struct subscription *sub, uint64_t next);

/* The owner's: the one behind it in a line of subscriptions. Kept only for those that stand in one. NULL: none. */
struct subscription *subscription_line(const struct subscription *sub);
void                 subscription_set_line(struct subscription *sub, struct subscription *behind);

/* Frees the page that was read and not delivered, so that a slow reader costs only a cursor. The page is read again
 * when it is needed. */
void subscription_let_go(struct subscription *sub);
/* Does it hold nothing of the log but its place? */
bool subscription_is_lean(const struct subscription *sub);

bool                 subscription_is_placed(const struct subscription *sub);
/* Does nobody else on this loop follow its channel now? */
bool                 subscription_is_alone(const struct subscription *sub);
/* Has it anything to deliver, from the window, a page or the log? */
bool                 subscription_is_behind(const struct subscription *sub);
struct channel_name *subscription_name(const struct subscription *sub);   /* borrowed */
uint64_t             subscription_epoch(const struct subscription *sub);  /* of its channel; once placed */
uint64_t             subscription_head(const struct subscription *sub);   /* of its channel; once placed */
/* The head to tell its reader, before it has drawn anything: who begins at the head is told the one it begins behind,
 * though more may have come since, because that is the place it will want to name when it comes back. */
uint64_t             subscription_first_head(const struct subscription *sub);
/* … and the life of the log that has this head. If a new one has begun since, the gap of that comes next. */
uint64_t             subscription_first_epoch(const struct subscription *sub);
/* Is the place one that its reader knows by what it has been sent? Not while a gap is to be told first, nor while the
 * subscription begins at the first kept message: that one may move on in silence. */
bool                 subscription_is_settled(const struct subscription *sub);
/* Before it has drawn anything: does it begin behind a seq that its reader can't know? A reader that has named a place
 * (`has_named`) takes that to be its place, any other the head that it is told. */
bool                 subscription_begins_elsewhere(const struct subscription *sub, bool has_named, uint64_t *ret_after);
/* The reader's place, as it will want to name it when it comes back: the last seq that was delivered or stepped over,
 * and the life of the log in which that was so, which is not the channel's while a new one has yet to be told.
 * Before it is placed: what START_AFTER said. */
static inline uint64_t subscription_seen(const struct subscription *sub)
{
    return sub->next - 1;
}
uint64_t subscription_seen_epoch(const struct subscription *sub);

/* A subscription that is opened with this stands where this one does, and tells its reader the same next. */
struct start subscription_start_again(const struct subscription *sub);

/* --- what comes in --- */

/* The answer to port->follow() with this number. Of a channel that was left and followed anew only the answer to the
 * new question counts: the old one may lack what a reader was given by another loop before it came here. */
void hub_followed(struct hub *hub, const struct channel_name *name, uint64_t question, uint64_t epoch, uint64_t first,
                  uint64_t head);

/* A log's head has moved; its messages don't come. This may be late: if it names another life of the log the hub asks
 * for the head, and a head never goes back. */
void hub_head_moved(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t head);

/* All up to `head` is gone from this life of the log, by order of somebody: nothing of it is delivered any more, from the
 * window, from a page, or from a page that is being read. A reader that is behind is told of the gap. */
void hub_purge(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t head);

/* A message that its store has numbered. Shares it. Unknown channel: ignored. From another life of the log: a hint
 * to ask, not to be believed, since it may be late. */
void hub_deliver(struct hub *hub, struct message *message);

/* The answer to port->read(). Takes *entries (may be empty: the log could not be read just now; looked at again at
 * the next delivery or heartbeat). `epoch` and `head` are the log's at that time; epoch 0: not known. */
void subscription_read_done(struct subscription *sub, struct hub *hub, uint64_t epoch, uint64_t head,
                            struct entry **entries, size_t entry_count);

/* Says port->ready() for the subscriptions of all channels touched since the last call. Once a turn. */
void hub_tell(struct hub *hub);

/* Frees the windows that all subscriptions have drawn. Once a turn, after the owners have drawn. */
void hub_turn_end(struct hub *hub);

/* The heartbeat, about once a second: unfollows what nobody has followed for linger_ms, asks for the heads of
 * channels whose log could not be read or has shown more than their head, 1,000 a call at most, and folds channels that have
 * been quiet for quiet_ms, 4,096 a call at most. */
void hub_tick(struct hub *hub, msec now);
/* Does of that the folding alone. */
void hub_fold(struct hub *hub, msec now);

size_t hub_channel_count(const struct hub *hub);
/* Calls visit() for each subscription of this channel on this loop; it may close that one, and no other. */
void   hub_visit(const struct hub *hub, const struct channel_name *name,
                 void (*visit)(struct subscription *sub, void *ctx), void *ctx);
/* A walk over all channels that goes on later: calls visit() for each subscription of the channels in one slot, and returns the
 * next slot, 0 behind the last. Channels that come or go meanwhile may be met twice or not at all. visit() closes none. */
size_t hub_walk(const struct hub *hub, size_t slot, void (*visit)(struct subscription *sub, void *ctx), void *ctx);
/* How many follow this channel on this loop. */
size_t hub_subscriber_count(const struct hub *hub, const struct channel_name *name);

#endif
