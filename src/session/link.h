/* link.h - one connection of a client, as far as every kind of stream has it: what is drawn from its reader into the
 * stream, what was cut there, and whether it lags.
 *
 * Nothing is queued for a client. At the end of a turn its news are drawn from the channels and leave in one write. If
 * the stream took only a part, the frame that was cut stays (shared, not copied; see cut_frame.h), all later ones are
 * let go, and their places go back: the link lags, costs no more than that, and draws from the log once its stream has
 * room again. It lags until its reader has reached the heads, however often the stream takes a little meanwhile.
 *
 * A link ends by link_fini(), and its reader stands where the last whole frame left it: another link may go on with it.
 * What was said over the link beside messages (answers, pings) ends with the link. */
#ifndef SESSION_LINK_H
#define SESSION_LINK_H

#include "codec/token/token.h"
#include "session/cut_frame.h"
#include "session/link_end.h"
#include "session/link_event.h"
#include "session/session_worker.h"

struct device_link;
struct link;
struct link_parcel;
struct presence_note;

/* What goes out before anything new is drawn. */
struct link_waiting {
    struct link     *link;
    struct cut_frame cut;         /* what is left of it goes first */
    struct buf       words;       /* what is said beside messages */
    struct list      in_deferred; /* of worker.deferred.links (deferred.h) … */
    msec             deferred_until;
    size_t           stuck_bytes; /* of link_is_stuck(): so many waited … */
    msec             stuck_at;    /* … at that time, and at every look since */
};

struct link_kind {
    /* One entry as a frame; a reference for the caller. The subscription has stepped over the entry. */
    struct frame *(*encode)(struct link *link, struct reader_sub *sub, const struct entry *entry);
    /* The same, put behind what stands in the buffer. False: it is a case for encode(), and nothing has happened. May be NULL. */
    bool (*put)(struct link *link, struct reader_sub *sub, const struct entry *entry, struct buf *buf);
    /* The subscription's channel has answered. May be NULL. */
    void (*placed)(struct link *link, struct reader_sub *sub);
    /* Something to draw. NULL: link_draw(). */
    void (*draw)(struct link *link);
    /* The user is no longer a member of this channel's group. NULL: the link ends, by leave(). */
    void (*left)(struct link *link, struct reader_sub *sub);
    /* The stream is gone: free yourself. */
    void (*lost)(struct link *link);
    /* The server is stopping: tell the client to reconnect, and end soon. */
    void (*leave)(struct link *link);
    /* Tell the client why its link ends, and end it soon. Nothing happens if it ends already. */
    void (*end)(struct link *link, enum link_end why);
    /* Tell the client that its token ends in so long. False: not now, ask again soon. NULL: there is no way to say it. */
    bool (*expiring)(struct link *link, msec in);
    /* For another process (hand_over.h): fills in what is the transport's own. False: not now. NULL: such links don't move. */
    bool (*hand_over)(const struct link *link, struct link_parcel *ret);
    /* What let the client in is no longer valid: find that out within a heartbeat of the server's. NULL: it does anyway. */
    void (*unwelcome)(struct link *link);
    /* Is something under way that would have to be answered first? NULL: never. */
    bool (*is_busy)(const struct link *link);
    /* Tell the client which device came to a channel, or left it. NULL: likewise. */
    void (*presence)(struct link *link, const struct presence_note *note);
};

struct link_expiry;

/* Lives in a pool. */
struct link {
    struct near_list        in_dirty;   /* of worker.lists: dirty, or joining */
    struct near_list        in_worker;  /* … links, or polls */
    const struct link_kind *kind;
    struct session_worker  *worker;
    uint64_t                key;        /* of the connection; see session_port.new_key */
    struct near             near_stream;  /* owned by whoever opened the link; NULL for polls */
    struct near             near_reader;  /* borrowed */
    struct near             near_device;  /* of the session that outlives this link (device_link.h); NULL: none */
    struct near             near_waiting; /* for the stream; NULL mostly */
    struct near             near_expiry;  /* of the holder's token (link_expiry.h); NULL: it never ends */
    uint32_t                held_at;      /* where it is in worker.held (notify.h), from 1; 0: nowhere */
    uint8_t                 transport;  /* enum transport */
    uint8_t                 encoding;   /* enum encoding */
    bool                    is_chunked  : 1;
    bool                    is_lagging  : 1; /* frames were let go, and the reader has not reached the heads since */
    /* draws only when all subscriptions are placed: its tokens name them all */
    bool                    needs_all   : 1;
    bool                    is_over     : 1; /* nothing more is drawn or sent: the last words are sent or under way */
    /* this one and the next two are the WebSocket's, here where there is room */
    bool                    is_answered : 1;
    bool                    is_faulted  : 1; /* for them: link.c never looks at them */
    bool                    is_resting  : 1;
    bool                    is_let_in   : 1;     /* session_lets_in() has said so */
    bool                    is_farewell : 1;    /* the client has said goodbye, or may not come again */
    bool                    is_notify     : 1;  /* channels that it follows from now on are in mode notify (notify.h) */
    bool                    is_quiet    : 1;    /* nothing was heard for so long that its device is not present */
    bool                    is_noted      : 1;  /* link_event.h: the client was let in … */
    bool                    is_user_noted : 1;  /* … and said who it is */
    bool                    has_row       : 1;  /* a row says so, which tells its end if this node can't */
    bool                    is_counted    : 1;  /* usage_count_link(), for the holder */
    bool                    is_joining    : 1;  /* link_join() */
    bool                    has_moved     : 1;  /* another process has it, or is about to */
    bool                    has_delivered : 1;  /* since the client was heard last: its network had something to carry */
    bool                    is_fenced     : 1;  /* of a session, which a newer link has taken over */
    bool                    has_joined    : 1;  /* … a group, of which the client is to be told before anything else is drawn */
    uint8_t                 idle_frame_count;   /* of the WebSocket's, too: frames that bring nothing … */
    uint8_t                 idle_frame_second;  /* … in this second (its low bits) */
    uint8_t                 gone;               /* enum link_gone: why it ends */
    struct identity        *holder;          /* who the client is; owns a reference */
};

#ifndef POOL_IS_MALLOC
_Static_assert(sizeof(struct link) == 80, "every idle connection pays for one");
#endif

/* NULL for polls. */
static inline struct stream *link_stream(const struct link *link)
{
    return near_get(link->near_stream);
}

static inline void link_set_stream(struct link *link, struct stream *stream)
{
    link->near_stream = near_to(stream);
}

static inline struct reader *link_reader(const struct link *link)
{
    return near_get(link->near_reader);
}

/* NULL: nothing waits for the stream. */
static inline struct link_waiting *link_waiting(const struct link *link)
{
    return near_get(link->near_waiting);
}

/* NULL: the token of the holder never ends. */
static inline struct link_expiry *link_expiry(const struct link *link)
{
    return near_get(link->near_expiry);
}

/* NULL: it has no session. */
static inline struct device_link *link_device(const struct link *link)
{
    return near_get(link->near_device);
}

static inline void link_set_device(struct link *link, struct device_link *device)
{
    link->near_device = near_to(device);
}

/* The reader has no other link. `key`: of the connection, if it has one already; 0: it gets one. */
void link_init(struct link *link, struct session_worker *worker, const struct link_kind *kind, struct reader *reader,
               enum transport transport, enum encoding encoding, uint64_t key);
/* From now on the client is this one; takes the reference. When its token ends, so does the link. */
void link_take_holder(struct link *link, struct identity *identity);
/* Leaves the reader behind its last whole frame, without a link. */
void link_fini(struct link *link);

/* cut_frames.let_go of a worker whose cut frames are all of links. */
void link_let_cut_go(struct cut_frame *cut);

/* Follows one more channel. */
struct reader_sub *link_follow(struct link *link, struct channel_name *name, struct start start);
void               link_unfollow(struct link *link, struct reader_sub *sub);

/* Words: what is sent beside messages. They leave before anything that is drawn later; link_mark() makes them leave in
 * this turn. Nothing that was deferred waits any longer. */
struct buf *link_words(struct link *link);
/* The same for words that leave with what comes next, or in a moment: see deferred.h. They leave at once where others wait, or too
 * many. Marks the link if it has to. The caller appends in the same turn. */
struct buf *link_words_deferred(struct link *link);
void        link_mark(struct link *link);

/* The words that wait, which begin a session, leave in one write with the first messages of it, if these come soon. See
 * joining.h. */
void        link_join(struct link *link);

/* Calls placed() for subscriptions whose channels have answered. link_draw() does the same by itself. */
void link_tell_all_placed(struct link *link);
/* As reader_look(), with the pages that this link may ask for. */
struct reader_sub *link_look(struct link *link, struct entry *ret_entry);
/* … whatever the groups of a session's user are (group_follow.h). */
struct reader_sub *link_look_plain(struct link *link, struct entry *ret_entry);
/* Draws and sends what there is. False: it ended in kind->lost(), the link is gone. */
bool link_draw(struct link *link);

/* The stream has room again. */
void link_on_writable(struct link *link);
/* hub_port.ready was called for this subscription. */
void link_on_ready(struct subscription *sub);
/* A heartbeat calls this, to find what was missed. */
void link_look_again(struct link *link);

/* Bytes that wait for the stream; 0: all has been handed to the kernel, or is deferred. */
size_t link_waiting_bytes(const struct link *link);
/* Has the stream taken nothing for slow_reader_timeout_ms, though bytes waited at every look? To be asked at
 * heartbeats. */
bool   link_is_stuck(struct link *link, msec now);

/* Where the reader stands, as a token; false while not all channels have answered, or there are none. `set`: 0, or the
 * token_set_of() the channels, whose subscriptions stand in the order of their names: then the token names none. Appends. */
bool link_put_token(const struct link *link, uint64_t set, struct buf *buf);
/* Where all that the client asked for stand; the worker's, until the next call. */
size_t link_places(const struct link *link, bool has_names, struct place **ret_places);
/* Where one subscription stands, as it will want to name it. */
struct place link_place_of(const struct link *link, const struct reader_sub *sub, bool has_name);

#endif
