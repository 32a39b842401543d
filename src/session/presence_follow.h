/* presence_follow.h - what a loop does for presence (device/presence.h): it says which devices follow which channels by its
 * links, and hands changes to those that asked for them. Private to this module.
 *
 * Only subscriptions in namespaces with `presence = true` have anything of this:
 *
 *     subscription ──► presence_follow ──► watched_channel      of those that are told of changes
 *
 * A subscription counts from the moment that its channel has answered. A link of nobody is in no set. Who has no session and
 * no device of its own is a device by the key of its connection. */
#ifndef SESSION_PRESENCE_FOLLOW_H
#define SESSION_PRESENCE_FOLLOW_H

#include "auth/may.h"
#include "base/buf.h"
#include "base/counter.h"
#include "base/map.h"
#include "device/presence_command.h"
#include "session/reader.h"

struct link;
struct session_worker;

/* Of a worker. */
struct presence_follows {
    struct presence      *presence;  /* on the writer's thread; to be handed on, not looked into. NULL: none */
    struct presence_home  home;
    struct map            follows;   /* by the address of the subscription */
    struct map            watched;   /* channels that some links here are told of */
    struct list           behind;    /* those that could not be told something, and must be told the number */
    struct counter        frames;    /* that told of presence */
};

/* `presence`: set by the caller before. */
void presence_follows_init(struct presence_follows *follows, unsigned loop);
void presence_follows_fini(struct presence_follows *follows);

static inline bool subscription_has_presence(const struct subscription *sub)
{
    return subscription_name(sub)->space->has_presence;
}

/* The channel has answered. */
void presence_follow_begin(struct link *link, struct reader_sub *sub);
/* The same of a link that comes from another process. `is_told`: its client knows who is there. */
void presence_follow_go_on(struct link *link, struct reader_sub *sub, bool is_told);
/* Does the client of this link know who is there, as far as it was told of changes? */
bool presence_follow_is_told(const struct link *link, const struct reader_sub *sub);
/* The client, which follows the channel already, wants to be told of changes from now on. */
void presence_follow_watch(struct link *link, struct reader_sub *sub);
/* The same of all that it follows, as far as it may; those of a session as its member. */
void presence_follow_watch_all(struct link *link);
/* The subscription ends, and the link goes on. */
void presence_follow_end(struct link *link, struct reader_sub *sub);

/* The link has become another user's or device's. */
void presence_follow_rename(struct link *link);
/* Nothing was heard of the client for the lease: its device leaves, unless it is there by another link; and it is back. */
void presence_follow_rest(struct link *link);
void presence_follow_wake(struct link *link);
/* The link ends. */
void presence_follow_end_all(struct link *link);

/* Does the link wait to be told the number of now? */
bool presence_follow_is_asking(const struct link *link);

#define PRESENCE_IS_OFF                                                                                                \
    "this channel's namespace keeps no presence: set presence = true in its section of the configuration"

/* May the caller be told of changes, and ask for the set? */
struct verdict presence_may_watch(const struct identity *identity, const struct channel_name *name);

/* What tells clients of a change: the type, and the whole as the beginning of a JSON object, which the caller ends. */
enum { PRESENCE_JSON_BYTES_MAX = 4096 };  /* every byte of the names escaped */
const char *presence_note_type(const struct presence_note *note);
void        presence_note_put(struct buf *buf, const struct presence_note *note);

/* About once a second: tells those that had too much waiting. */
void presence_follows_tick(struct session_worker *worker);

#endif
