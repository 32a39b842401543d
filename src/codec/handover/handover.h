/* handover.h - what one process of the server tells the next one that takes its place (docs/decisions/0124): live links with
 * their places, idle connections, the channels that are in memory. Records, one after the other:
 *
 *     record:  kind 1 · length of the body 4 · body
 *
 * Numbers are little-endian, texts have a length of 4 before them. The last record says how many came before it, so a part is
 * not taken for the whole. The format has a version of its own, which both processes compare before anything is written: what
 * is here is version HANDOVER_VERSION, and a record that is not exactly of it is refused.
 *
 * Pure: it knows bytes and bounds. What the numbers stand for is checked here as far as memory could be hurt by it; whether a
 * channel or a key exists is the reader's to find out. */
#ifndef CODEC_HANDOVER_HANDOVER_H
#define CODEC_HANDOVER_HANDOVER_H

#include "base/buf.h"

enum {
    HANDOVER_VERSION        = 3,
    HANDOVER_RECORD_HEAD    = 5,
    HANDOVER_RECORD_MAX     = 64 * 1024 * 1024,  /* bytes of one body */
    HANDOVER_SUBS_MAX       = 65535,             /* of one link */
    HANDOVER_GRANTS_MAX     = 100,               /* of one identity */
    HANDOVER_PRINT_BYTES    = 32,                /* of a fingerprint */
    HANDOVER_BOUNDS_MAX     = 65535,             /* of one link */
    HANDOVER_SEQ_BITS       = 55,                /* of the place of a session */
};

enum handover_kind {
    HANDOVER_LINK = 1,  /* struct handover_link, its subscriptions, its bounds; a descriptor goes with it */
    HANDOVER_HTTP,      /* struct handover_http; a descriptor goes with it */
    HANDOVER_LOOP,      /* struct handover_loop: the first of a loop's */
    HANDOVER_CHANNEL,   /* struct handover_channel, of a namespace that is not durable */
    HANDOVER_MESSAGE,   /* struct handover_message of the channel that was named last */
    HANDOVER_STORE,     /* struct handover_store: the first of what is in memory */
    HANDOVER_END,       /* the number of records before it */
    /* What the two processes say to each other, a record a message: */
    HANDOVER_HELLO,     /* new: struct handover_hello */
    HANDOVER_REFUSAL,   /* either: struct handover_refusal, and that is the end */
    HANDOVER_OFFER,     /* old: struct handover_offer */
    HANDOVER_LISTEN,    /* old: struct handover_listen, and a listening socket of each loop */
    HANDOVER_READY,     /* new: it is prepared, and the old one may stop serving; or old: all was said */
    HANDOVER_PART,      /* old: struct handover_part, and a file with its records */
    HANDOVER_SOCKETS,   /* old: sockets that belong to the records of the part before, in their order */
    HANDOVER_TAKEN,     /* new: it can serve */
    HANDOVER_GONE,      /* old: it serves no more */
    /* Of the state again: */
    HANDOVER_SESSION,   /* struct handover_session, of a device that has a link */
    HANDOVER_PLACE,     /* struct handover_place of the session that was named last */
    HANDOVER_PRESENCE,  /* struct handover_presence of a channel */
    HANDOVER_MEMBER,    /* struct handover_member of the presence that was named last */
    HANDOVER_KINDS,
};

enum handover_transport {
    HANDOVER_WS_JSON, HANDOVER_WS_BIN, HANDOVER_NATIVE, HANDOVER_SSE, HANDOVER_SSE_RAW, HANDOVER_NDJSON, HANDOVER_MULTIPART,
    HANDOVER_TRANSPORTS,
};

/* Who vouches for an identity, so that it can be found again. */
enum handover_origin {
    HANDOVER_NOBODY,      /* who has shown nothing */
    HANDOVER_OPEN,        /* whoever says so: neither keys nor issuers are configured */
    HANDOVER_KEY,         /* an API key: `section` and `print` name it */
    HANDOVER_ISSUER,      /* a key of an issuer: likewise */
    HANDOVER_HOOK,        /* the application, by the connect hook; `print` is of its address */
    HANDOVER_ALONE,       /* nobody but its own end */
    HANDOVER_REVOKED,     /* it has been revoked already */
    HANDOVER_ORIGINS,
};

struct handover_grant {
    struct span match;
    uint32_t    can;
};

/* Spans point into what was read. */
struct handover_identity {
    uint8_t               origin;   /* enum handover_origin */
    struct span           section, print;
    struct span           from, device, jti;  /* `from` as in a message: "user:ann", or the key's name */
    uint32_t              rights, follow_count;
    uint64_t              issued_at, expires_at;
    uint32_t              grant_count;
    struct handover_grant grants[HANDOVER_GRANTS_MAX];
};

enum handover_link_flag {
    HANDOVER_HAS_HOLDER = 1, HANDOVER_IS_CHUNKED = 2, HANDOVER_IS_LET_IN = 4, HANDOVER_IS_FAREWELL = 8, HANDOVER_IS_NOTIFY = 16,
    HANDOVER_IS_NOTED = 32, HANDOVER_IS_USER_NOTED = 64, HANDOVER_HAS_ROW = 128, HANDOVER_IS_ANSWERED = 256,
    HANDOVER_IS_GREETED = 512, HANDOVER_HAS_DEVICE = 1024, HANDOVER_IS_EXPIRY_TOLD = 2048,
    HANDOVER_IS_SHARED = 4096,  /* its frames are those of other links, too */
    HANDOVER_IS_QUIET = 8192,   /* nothing was heard for so long that its device is not present */
    HANDOVER_HAS_JOINED = 16384,
    HANDOVER_LINK_FLAGS = 32767,
};

struct handover_link {
    uint8_t            transport;   /* enum handover_transport */
    uint32_t           flags;       /* of enum handover_link_flag */
    uint64_t           key;         /* of the connection */
    uint32_t           network;
    uint32_t           heard_at, asked_at, next_ms;  /* of its heartbeat; times of the machine's monotonic clock */
    uint8_t            is_asked, beats;
    struct span        words;       /* bytes that wait for the client; they leave before anything else */
    struct span        gathered;    /* the beginning of a frame that has not ended */
    uint64_t           gathered_since;
    struct span        rest, fields;
    struct span        peer;        /* the address of its client, as a proxy has named it; empty: none has */
    uint8_t            window;      /* of a WebSocket: of what is compressed (enum ws_window); 0: nothing is */
    struct span        ws;          /* how far the frames of a WebSocket's client have been read (ws_put_state()) */
    uint64_t           timer_at;    /* of a stream: when it is sent a heartbeat next */
    uint64_t           token_set;
    struct span        boundary;
    struct span        user, device;  /* of its session … */
    uint64_t           generation, since;
    uint32_t           bound_count;
    struct handover_identity holder;
    uint32_t           sub_count;
};

enum handover_sub_flag {
    HANDOVER_IS_TOLD = 1, HANDOVER_IS_UNASKED = 2, HANDOVER_IS_BOUNDED = 4, HANDOVER_IS_OWN = 8, HANDOVER_IS_MOVED = 16,
    HANDOVER_IS_KEPT = 32, HANDOVER_IS_WATCHED = 64, HANDOVER_IS_SUB_NOTIFY = 128, HANDOVER_IS_SUB_NOTED = 256,
    HANDOVER_IS_NAMED = 512, HANDOVER_IS_KEEPING = 1024,
    HANDOVER_IS_HEARD = 2048, HANDOVER_IS_OF_USER = 4096,  /* by it a session hears of its groups */
    HANDOVER_IS_PRESENCE_TOLD = 8192,  /* its client knows who is there, and is told of changes */
    HANDOVER_SUB_FLAGS = 16383,
};

enum { HANDOVER_STARTS = 3, HANDOVER_WINDOWS = 4 };

struct handover_sub {
    struct span channel;
    uint8_t     start;   /* enum start_kind of the hub */
    uint64_t    seq, epoch;
    uint32_t    flags;   /* of enum handover_sub_flag */
    uint32_t    quiet;   /* of a subscription in mode notify */
};

/* What of a channel is for the link of a session, in the groups that its user has left or joined (session/group_follow.h). */
enum handover_bound_kind {
    HANDOVER_BOUND,        /* of a subscription */
    HANDOVER_BOUND_LEFT,   /* of a group that the link has left */
    HANDOVER_BOUND_KNOWN,  /* of the log of the user; it names no channel */
    HANDOVER_BOUND_KINDS,
};

struct handover_bound {
    uint8_t     kind;   /* enum handover_bound_kind */
    struct span channel, spans;
};

struct handover_http {
    uint32_t    served;
    uint32_t    flags;   /* 1: it closes after its first answer */
    struct span peer;    /* as that of a link */
    struct span in;      /* read, and not parsed */
    struct span out;     /* answers that wait for the client */
};

struct handover_loop {
    uint32_t key_number;
};

struct handover_store {
    uint32_t is_durable;  /* 1: it stands for the durable store, where that is in memory, too */
    uint64_t epoch_next, id_next;
};

struct handover_channel {
    struct span name;
    uint64_t    epoch, head;  /* its messages, if there are any, come behind that seq */
};

struct handover_message {
    uint8_t     kind;
    uint64_t    seq, id, target, time, expires_at;
    struct span payload, media, from, event, collapse_key;
};

enum handover_session_flag { HANDOVER_IS_SEEN_DIRTY = 1, HANDOVER_IS_ROAMING = 2, HANDOVER_SESSION_FLAGS = 3 };

struct handover_session {
    struct span user, device, device_class;
    uint64_t    generation, since, seen;
    uint8_t     from_back;
    uint32_t    flags;   /* of enum handover_session_flag */
};

enum handover_place_flag {
    HANDOVER_PLACE_MOVED = 1, HANDOVER_PLACE_DIRTY = 2, HANDOVER_PLACE_NEW = 4, HANDOVER_PLACE_KEPT = 8, HANDOVER_PLACE_GONE = 16,
    HANDOVER_PLACE_FLAGS = 31,
};

struct handover_place {
    struct span channel;
    uint64_t    epoch, seq;
    uint32_t    flags;   /* of enum handover_place_flag */
};

struct handover_presence {
    struct span channel;
    uint32_t    is_over;  /* 1: those who are told of changes were not told all */
};

struct handover_member {
    struct span user, device, transport;
    uint64_t    since;
};

struct handover_hello {
    uint32_t    version;  /* HANDOVER_VERSION; if it is another one, nothing else is read */
    uint32_t    loops;
    struct span program;  /* its version */
    struct span data;     /* which data it serves */
};

struct handover_refusal {
    struct span why;  /* a sentence for the operator */
};

struct handover_offer {
    struct span program;
    uint64_t    hash_keys[2];  /* of channel names, and of the keys of connections */
    uint64_t    incarnation;
    uint64_t    started_wall;
    uint32_t    listen_count;
};

struct handover_listen {
    struct span scheme, address;
};

struct handover_part {
    uint32_t number;  /* of the loop; as many as there are loops: what is in memory */
    uint32_t sockets;
};

/* --- writing: appends one record --- */

void handover_put_hello(struct buf *buf, const struct handover_hello *hello);
void handover_put_refusal(struct buf *buf, const struct handover_refusal *refusal);
void handover_put_offer(struct buf *buf, const struct handover_offer *offer);
void handover_put_listen(struct buf *buf, const struct handover_listen *listen);
void handover_put_part(struct buf *buf, const struct handover_part *part);
/* A word without a body: READY, SOCKETS, TAKEN, GONE. */
void handover_put_word(struct buf *buf, enum handover_kind word);

/* The subscriptions follow by handover_put_sub(), as many as link->sub_count says, and the bounds of a session by
 * handover_put_bound(), as many as link->bound_count says. */
void handover_put_link(struct buf *buf, const struct handover_link *link);
void handover_put_sub(struct buf *buf, const struct handover_sub *sub);
void handover_put_bound(struct buf *buf, const struct handover_bound *bound);
/* Behind the last of them: writes the length of its record, which began at `at` of the buffer. */
void handover_end_link(struct buf *buf, size_t at);

void handover_put_http(struct buf *buf, const struct handover_http *http);
void handover_put_loop(struct buf *buf, const struct handover_loop *loop);
void handover_put_store(struct buf *buf, const struct handover_store *store);
void handover_put_channel(struct buf *buf, const struct handover_channel *channel);
void handover_put_message(struct buf *buf, const struct handover_message *message);
void handover_put_session(struct buf *buf, const struct handover_session *session);
void handover_put_place(struct buf *buf, const struct handover_place *place);
void handover_put_presence(struct buf *buf, const struct handover_presence *presence);
void handover_put_member(struct buf *buf, const struct handover_member *member);
void handover_put_end(struct buf *buf, uint64_t count);

/* --- reading --- */

/* The next record of *bytes, which moves behind it. False: there is no whole one. */
bool handover_next(struct span *bytes, enum handover_kind *ret_kind, struct span *ret_body);

/* False: the body is not what such a record is. What they write is undefined then. */
bool handover_get_link(struct span *body, struct handover_link *ret);  /* *body moves to the subscriptions */
bool handover_get_sub(struct span *body, struct handover_sub *ret);
bool handover_get_bound(struct span *body, struct handover_bound *ret);  /* behind the last one *body is empty */
bool handover_get_hello(struct span body, struct handover_hello *ret);
bool handover_get_refusal(struct span body, struct handover_refusal *ret);
bool handover_get_offer(struct span body, struct handover_offer *ret);
bool handover_get_listen(struct span body, struct handover_listen *ret);
bool handover_get_part(struct span body, struct handover_part *ret);
bool handover_get_http(struct span body, struct handover_http *ret);
bool handover_get_loop(struct span body, struct handover_loop *ret);
bool handover_get_store(struct span body, struct handover_store *ret);
bool handover_get_channel(struct span body, struct handover_channel *ret);
bool handover_get_message(struct span body, struct handover_message *ret);
bool handover_get_session(struct span body, struct handover_session *ret);
bool handover_get_place(struct span body, struct handover_place *ret);
bool handover_get_presence(struct span body, struct handover_presence *ret);
bool handover_get_member(struct span body, struct handover_member *ret);

/* Is all of it in order, from the first record to the END that counts them? *ret_links: how many records a descriptor goes
 * with. */
bool handover_check(struct span bytes, size_t *ret_links);

/* Has each link of these parts, which are in order, a key of its own, that is not 0? */
bool handover_keys_differ(const struct span *parts, size_t count);

#endif
