/* feed.h - one client's subscriptions, and the drawing of their news into its stream.
 *
 * Nothing is queued for a client: a turn's news are drawn from the channels and leave in one write. If the socket took
 * only part of it, the frame that was cut stays (shared, not copied), all later ones are let go and the cursors go
 * back: the reader lags, costs no more than that, and draws from the log once its socket has room again. It lags until
 * its cursors have reached the heads, however often the socket takes a little meanwhile. */
#ifndef SESSION_FEED_H
#define SESSION_FEED_H

#include "session/session_worker.h"
#include "session/subscribe_request.h"

struct feed;

struct feed_sub {
    struct subscription sub;         /* sub.owner is its feed; is_listed: in feed.ready; is_in_line: … to ask for a page;
                                      * is_told: placed() was said */
    struct feed_sub    *next;        /* in feed.subs */
    struct feed_sub    *next_ready;  /* in feed.ready */
    char               *ref;         /* what the client wants echoed when it's placed; owned; NULL: nothing */
};

/* What goes out before anything new is drawn. */
struct feed_waiting {
    struct frame *cut;     /* half sent: what is left of it goes first; NULL: none */
    uint32_t      cut_at;
    struct buf    own;     /* the session's own words */
};

struct feed_kind {
    /* One entry as a frame; a reference for the caller. */
    struct frame *(*encode)(struct feed *feed, struct feed_sub *sub, const struct entry *entry);
    /* The subscription has its place now. May be NULL. */
    void (*placed)(struct feed *feed, struct feed_sub *sub);
    /* Something to draw. NULL: feed_draw(). */
    void (*draw)(struct feed *feed);
    /* The link is gone: free yourself. */
    void (*lost)(struct feed *feed);
    /* The node is stopping: tell the client to come back, end soon. */
    void (*leave)(struct feed *feed);
};

struct feed {
    struct list             dirty;      /* in worker.dirty */
    struct list             link;       /* in worker.sessions or worker.polls */
    const struct feed_kind *kind;
    struct session_worker            *worker;
    struct stream          *stream;     /* owned by the session; NULL for polls */
    struct feed_sub        *subs;
    struct feed_sub        *ready;      /* the last in a ring of those to be looked at; NULL: none */
    struct feed_waiting    *waiting;    /* for the socket; NULL mostly */
    uint16_t                sub_count;
    uint16_t                unplaced;   /* subscriptions whose channel has not answered */
    uint8_t                 transport;  /* enum transport */
    uint8_t                 encoding;   /* enum encoding */
    bool                    is_chunked : 1;
    bool                    is_lagging : 1; /* frames were let go, and its cursors have not reached the heads since */
    bool                    needs_all  : 1; /* draws only when all subscriptions are placed: its tokens name them all */
    bool                    is_over    : 1; /* nothing more is drawn */
};

void feed_init(struct feed *feed, struct session_worker *worker, const struct feed_kind *kind, enum transport transport,
               enum encoding encoding);
void feed_fini(struct feed *feed);  /* closes all subscriptions */

/* Follows; takes the wish's name reference. */
struct feed_sub *feed_follow(struct feed *feed, struct subscribe_request *wish);
struct feed_sub *feed_find(const struct feed *feed, struct span channel);
void             feed_unfollow(struct feed *feed, struct feed_sub *sub);

/* Words of its own, sent before anything that is drawn later. feed_mark() makes them leave this turn. */
struct buf *feed_own(struct feed *feed);
void        feed_mark(struct feed *feed);

/* Says placed() for subscriptions whose channels have answered. feed_draw() does it by itself. */
void feed_tell_all_placed(struct feed *feed);
/* What is next, of whichever subscription has something; borrowed and not yet stepped over. NULL: none has. At most
 * FEED_READS_MAX pages of the log are on their way for a feed, one if it lags: its subscriptions ask in turn. */
enum { FEED_READS_MAX = 8 };
struct feed_sub *feed_look(struct feed *feed, struct entry *ret_entry);
/* Draws and sends what there is. False: it ended in kind->lost(), the feed is gone. */
bool feed_draw(struct feed *feed);

/* The socket has room again. */
void feed_on_writable(struct feed *feed);

/* All are placed, and none has anything to deliver. */
bool feed_is_up_to_date(const struct feed *feed);

/* Looks at every subscription again: a heartbeat's chance to notice what was missed. */
void feed_look_again(struct feed *feed);

/* Bytes that wait for the socket; 0: all has been handed to the kernel. */
size_t feed_waiting(const struct feed *feed);

/* At the end of a turn: what was drawn for one write is not shared any more. */
void feed_forget_scratch(struct session_worker *worker);

/* Where it stands, as a token; false while not all are placed, or there are none. Appends. */
bool feed_put_token(const struct feed *feed, struct buf *buf);

#endif
