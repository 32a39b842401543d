/* device_link.h - what a link has of the session that outlives it: the handle, the generation, and what the client has
 * acknowledged and the devices have not been told yet. Private to this module. A link without a session has none.
 *
 *     link ──► device_link ──► standing (device/devices.h, the writer's thread)
 *
 * The opening is asked for before there is a link of the session: the transport begins the link when the answer comes.
 * What clients acknowledge is told once a second, for all links of a loop together. */
#ifndef SESSION_DEVICE_LINK_H
#define SESSION_DEVICE_LINK_H

#include "device/devices.h"
#include "session/group_follow.h"
#include "auth/may.h"
#include "codec/token/token.h"
#include "session/link.h"

struct pending_ack {
    struct channel_name  *name;   /* owns a reference */
    uint64_t              epoch, seq;
    enum session_ack_kind kind;
};

/* What is to be told of one session. Few have any at a time, so it is no part of the session. */
struct pending_acks {
    struct list         in_acking;   /* of worker.acking */
    struct device_link *device;
    uint32_t            count;
    struct pending_ack  acks[];
};

/* Every idle link of a session pays for one: keep it small. */
struct device_link {
    uint64_t             generation;
    msec                 since;
    struct pending_acks *acks;       /* NULL mostly */
    struct group_follow  groups;
    struct near          near_standing;
    uint16_t             own_count;   /* channels that the session follows by itself: no more than reader.sub_count … */
    uint16_t             kept_count;  /* … of them, those that it keeps */
};

#ifndef POOL_IS_MALLOC
_Static_assert(sizeof(struct device_link) == 48, "every idle link of a session pays for one");
#endif

/* The link has ended before it was answered: nobody takes the answer, and the session is left to whoever has it, if it is not
 * too late for that. */
void device_link_abandon(struct session_worker *worker, struct session_open *open);

static inline struct standing *device_link_standing(const struct device_link *device)
{
    return near_get(device->near_standing);
}

/* Of the standing, whose names last as long as the link. */
static inline struct span device_link_user(const struct device_link *device)
{
    return standing_user(device_link_standing(device));
}

static inline struct span device_link_device(const struct device_link *device)
{
    return standing_device(device_link_standing(device));
}

/* Places in the cursor of a session. Where more channels have moved, the others are delivered again from the places that are
 * stored. A poll ends before. */
enum { SESSION_TOKEN_PLACES_MAX = 128 };

/* What a client asks for. */
struct session_question {
    enum open_way  way;
    struct span    user, device, device_class;
    uint64_t       generation;   /* of a ticket or cursor */
    msec           since;
    uint64_t       key;          /* of the connection */
    msec           asked_at;     /* when the question came, if the client had to be identified first; 0: now */
    enum transport transport;
};

/* The device of a session: the one that the token names, or else the one that the client names (`said`), or else one that
 * is made up. Status 0: *ret_device is it, and may lie in `made`. */
enum { MADE_DEVICE_BYTES = 17 };
struct verdict device_link_choose(struct session_worker *worker, const struct identity *holder, struct span said,
                                  char made[MADE_DEVICE_BYTES], struct span *ret_device);

/* answered(open) is called later, never at once, and takes it; also if open->owner has been nulled since: then by
 * device_link_drop(). */
struct session_open *device_link_ask(struct session_worker *worker, const struct session_question *question,
                                     void (*answered)(struct session_open *open), void *owner);
/* Nobody wants the answer: gives its link back. Takes it. */
void device_link_drop(struct session_worker *worker, struct session_open *open);
/* The worker that asked. */
struct session_worker *device_link_worker(const struct session_open *open);

/* The refusal for the client; status 0: it is OPEN_DONE. */
struct verdict device_link_verdict(enum open_outcome outcome);

/* Makes the link one of the session. The places are the caller's to follow. */
void device_link_begin(struct link *link, const struct session_open *open);
/* At the end of the link. `is_between`: it was a poll that has been answered. */
void device_link_end(struct link *link, bool is_between);

/* Notes what is to be told: the latest of a channel counts. */
void device_link_note(struct link *link, struct channel_name *name, uint64_t epoch, uint64_t seq,
                      enum session_ack_kind kind);

/* The link follows the channel because its session does: goes on from the place that is stored. */
struct reader_sub *device_link_follow(struct link *link, const struct session_place *place);
/* The session follows the channel no longer: its user has left the group. */
void device_link_leave(struct link *link, struct reader_sub *sub);
/* All of them; of a channel that `named` (NULL: none) holds, from the place there. */
void device_link_follow_all(struct link *link, const struct session_open *open, const struct token *named);
/* The subscription has delivered something: its place is not the one that is stored. */
static inline void device_link_note_moved(struct reader_sub *sub)
{
    sub->sub.is_moved = true;
}
/* The cursor of an HTTP transport: the session, and the places that differ from the stored ones. Appends. */
void device_link_put_token(const struct link *link, struct buf *buf);
/* The client names another place of such a channel: goes on from there, and acknowledges it. */
struct reader_sub *device_link_move(struct link *link, struct reader_sub *sub, struct start start);
/* In mode notify the messages of the log of the user are not drawn, but the link has to hear who joins and leaves. Does it
 * hear that by this subscription? Then it listens in silence beside it from here on; the subscription is to be followed
 * anew behind that, so that whoever looks for the channel finds it. */
bool device_link_listens_by(const struct link *link, const struct reader_sub *sub);
void device_link_listen_beside(struct link *link, const struct reader_sub *sub);
/* The session shall follow the channel of this subscription from now on. */
void device_link_keep(struct link *link, struct reader_sub *sub);
/* May the client end this subscription? If the session kept it, it is kept no longer. */
bool device_link_may_leave(struct link *link, struct reader_sub *sub);
/* This link no longer follows the channel, though the session goes on to. */
void device_link_let_go(struct link *link, const struct reader_sub *sub);
/* The channel has answered: notes what waited for its head. */
void device_link_placed(struct link *link, struct reader_sub *sub);
/* The client has all up to `seq`; beyond the head it counts as the head, and of another life of the log (`epoch`, 0: not
 * said) it counts as nothing. The seq that counts. */
uint64_t device_link_acknowledge(struct link *link, struct reader_sub *sub, uint64_t epoch, uint64_t seq);/* The same of a channel that has not answered yet: up to where the link begins there it is the client's, as after a take-over. False: it
 * would be behind that, or is of another life of the log. */
bool device_link_acknowledge_known(struct link *link, struct reader_sub *sub, uint64_t epoch, uint64_t seq);
/* The same of a group that this link has left, and of which its client was given something before. False: it has left none of this name. */
bool device_link_acknowledge_left(struct link *link, struct span channel, uint64_t epoch, uint64_t seq, uint64_t *ret_counts);

/* Channels that count against a bound: those that the session does not follow by itself, or those that it keeps. */
size_t link_own_count(const struct link *link, bool is_kept);

/* device_home.fence of the worker's home. */
void device_link_fence(struct device_home *home, uint64_t key, enum fence_reason reason);
/* device_home.look of it. */
size_t device_link_look(struct device_home *home, uint64_t key, const struct channel_name *channel,
                        struct link_view *ret);

/* Once a second: tells the devices what was noted. */
void device_links_tell(struct session_worker *worker);

#endif
