/* reader.h - one client: what it follows, where it stands in each channel, and what it is to be given next. Pure: it
 * knows the hub and what is handed in; no stream, no loop, no clock.
 *
 * A reader outlives its link. A link draws from it what is next. What was drawn and was not sent goes back by
 * reader_rewind(), and the next link draws it again. A reader without a link keeps its places and nothing else.
 *
 *     reader ── subs ──► reader_sub ──► reader_sub      each a subscription: one channel and a place in it
 *        │                   ▲
 *        └───── ready ───────┘                          those that have something to say; see reader.c
 *
 * One thread: that of the hub's loop. */
#ifndef SESSION_READER_H
#define SESSION_READER_H

#include "base/pool.h"
#include "hub/hub.h"

struct reader;

/* What all readers of one loop share. */
struct reader_shared {
    struct hub *hub;
    struct pool subs;   /* where reader_subs live */
    msec        now;    /* of this turn */
    /* A subscription in notify mode has news, and is not to tell them yet: look again later. May be NULL. */
    void      (*hold)(struct reader *reader);
};

struct reader_sub {
    struct subscription sub;         /* sub.owner: its reader. is_listed: it is in reader.ready; is_in_line: it waits
                                      * there to ask for a page; is_told: reader_note_placed() has said true;
                                      * is_unasked: the client did not ask for it, and it stands in no token;
                                      * is_bounded: not all of it is the user's (group_follow.h), or
                                      * it is followed as a member (member_subscribe.h); told_alias:
                                      * the announcement (alias_table.h) that its link was sent last; 0: none. With
                                      * is_notify: until when it tells nothing, see reader_note_told().
                                      * is_noted: link_note_subscribed() has told it;
                                      * is_heard: its link shows what it draws to instruction_note() */
};

/* The next one in reader.subs. */
static inline struct reader_sub *reader_sub_next(const struct reader_sub *sub)
{
    return near_get(sub->sub.beside);
}

struct reader {
    struct near        subs;
    struct near        ready;         /* the last in a ring of those that are to be looked at; NULL: none */
    struct near        owner;         /* the link that draws; NULL: none does now */
    uint16_t           sub_count;
    uint16_t           unplaced_count;  /* subscriptions whose channel has not answered, or was not noted yet */
};

#ifndef POOL_IS_MALLOC
_Static_assert(sizeof(struct reader) == 16, "every idle connection pays for one");
#endif

/* What a session follows by itself it follows as a member of the group, and so does who was asked for (member_subscribe.h). */
static inline bool reader_sub_is_of_member(const struct reader_sub *sub)
{
    return sub->sub.is_bounded || (sub->sub.is_own && !sub->sub.is_kept);
}

/* The last one that it followed; the others by reader_sub_next(). */
static inline struct reader_sub *reader_subs(const struct reader *reader)
{
    return near_get(reader->subs);
}

/* NULL: no link draws now. */
static inline void *reader_owner(const struct reader *reader)
{
    return near_get(reader->owner);
}

/* … of those that are to be looked at. */
static inline struct reader_sub *reader_last_ready(const struct reader *reader)
{
    return near_get(reader->ready);
}

void reader_shared_init(struct reader_shared *shared, struct hub *hub);
void reader_shared_fini(struct reader_shared *shared);  /* all readers are gone */

void reader_init(struct reader *reader);
void reader_fini(struct reader *reader, struct reader_shared *shared, msec now);  /* closes all subscriptions */

/* Follows one more channel; shares the name. Which channels are allowed, and how many, is the caller's to check. */
struct reader_sub *reader_follow(struct reader *reader, struct reader_shared *shared, struct channel_name *name,
                                 struct start start);
struct reader_sub *reader_find(const struct reader *reader, struct span channel);
void reader_unfollow(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub, msec now);

/* The subscription goes on where the one of another process was: it has answered there, and its client was told so. */
void reader_note_told_before(struct reader *reader, struct reader_sub *sub);
/* The first subscription becomes the last. */
void reader_reverse(struct reader *reader);

/* hub_port.ready was called for this subscription: marks it to be looked at. Returns its reader. A reader without a
 * link keeps no page. */
struct reader *reader_ready(struct subscription *subscription);
/* Marks all subscriptions that are behind to be looked at. A heartbeat calls this, to find what was missed. */
void reader_look_again(struct reader *reader);

/* A subscription in notify mode has told its head, and tells nothing more for so long. 0: it may tell again at once. */
void reader_note_told(struct reader_sub *sub, const struct reader_shared *shared, msec quiet_ms);
/* Is this entry of a subscription what it tells in notify mode: that there are messages up to entry->gap.to? */
static inline bool reader_entry_is_notify(const struct reader_sub *sub, const struct entry *entry)
{
    return sub->sub.is_notify && entry->message == NULL && entry->gap.why == GAP_COLLAPSED;
}

/* Has its channel answered since this was last asked? True once a subscription. */
bool reader_note_placed(struct reader *reader, struct reader_sub *sub);

/* What is next, of whichever subscription has something: borrowed, and not stepped over. NULL: none has. At most
 * `reads_max` pages of the log are on their way for one reader: its subscriptions ask in turn. `wall`: for expiry. */
enum { READER_READS_MAX = 8 };
struct reader_sub *reader_look(struct reader *reader, struct reader_shared *shared, msec wall, unsigned reads_max,
                               struct entry *ret_entry);

/* What is next of this subscription, whichever others have something. Asks for a page of the log if that is needed;
 * hub_port.ready then tells when it is there. */
enum look_result reader_look_at(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub, msec wall,
                                struct entry *ret_entry);

/* Of a subscription in reader.ready: the one behind it, which is itself if it is alone. */
static inline struct reader_sub *reader_sub_line(const struct reader_sub *sub)
{
    struct subscription *behind = subscription_line(&sub->sub);
    return behind == NULL ? (struct reader_sub *)(uintptr_t)sub : container_of(behind, struct reader_sub, sub);
}

/* The subscription that would be looked at first; NULL: none. */
static inline struct reader_sub *reader_first(const struct reader *reader)
{
    struct reader_sub *last = reader_last_ready(reader);
    return last == NULL ? NULL : reader_sub_line(last);
}
/* The first one was sent all before `next` (see subscription_skip()) and has nothing more to say. */
void reader_skip_first(struct reader *reader, uint64_t next);

/* Goes back to the mark: what was drawn since then is drawn again. */
void reader_rewind(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub,
                   const struct subscription_mark *mark);
/* Releases all pages, so that a reader whose link takes nothing costs only its places. The pages are read again
 * later. */
void reader_let_go(struct reader *reader);

/* Has any subscription something to deliver? */
bool reader_is_behind(const struct reader *reader);
/* All are placed, and none has anything to deliver. */
bool reader_is_up_to_date(const struct reader *reader);

#endif
