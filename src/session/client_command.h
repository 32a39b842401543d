/* client_command.h - what a client asks for, and what it is sent beside messages: the same for every wire. A dialect
 * (dialect.h) reads commands and writes events; commands.c carries commands out. Pure.
 *
 * All spans are borrowed: a command's until the next read of its dialect, an event's until it is written. */
#ifndef SESSION_CLIENT_COMMAND_H
#define SESSION_CLIENT_COMMAND_H

#include "base/backoff.h"
#include "base/known_words.h"
#include "codec/token/token.h"
#include "hub/hub.h"
#include "message/message.h"
#include "publish/request_json.h"
#include "session/link_end.h"
#include "session/notify.h"
#include "store/store.h"

enum client_command_kind {
    CLIENT_CONNECT,
    CLIENT_SUBSCRIBE,
    CLIENT_UNSUBSCRIBE,
    CLIENT_PUBLISH,
    CLIENT_CURSOR,
    CLIENT_PING,
    CLIENT_PONG,
    CLIENT_ACK,
    CLIENT_READ,
    CLIENT_REQUEST,
    CLIENT_CANCEL,
    CLIENT_COMMAND_COUNT
};

/* One channel that a client had before, and where it stood. */
struct client_place {
    struct span  channel;
    struct start start;
    const char  *fault;   /* NULL, or why this one can't be read */
    struct span  unknown; /* empty, or a member that no place has */
};

/* Of a place. */
extern const struct known_words client_place_words;

struct client_connect {
    struct span                token;       /* empty: none was shown */
    struct span                user, device;  /* what the client says of itself; empty: nothing */
    struct span                ticket;      /* that resumes a session; empty: none */
    struct span                device_class;
    bool                       wants_session;
    struct span                cursor;      /* places that the frame `cursor` gave; empty: none */
    const struct client_place *places;
    size_t                     place_count;
    bool                       is_resuming; /* it named at least one channel */
    bool                       has_beats;   /* it offers to beat by itself … */
    msec                       beat_ms;     /* … so often; 0: as the server likes */
    enum delivery_mode         mode;        /* of channels that the link follows from now on */
};

struct client_subscribe {
    struct span  channel;
    struct start start;
    bool         is_kept;  /* the session shall follow it from now on */
    bool         is_watched;  /* it wants to be told which devices come and go */
    enum delivery_mode mode;
};

struct client_publish {
    struct span channel, payload, media, key, event;  /* key and event empty: none */
    struct span collapse_key, priority;             /* empty: none */
    bool        has_ttl;
    uint64_t    ttl_s;
};

struct client_ping {
    msec     next_ms;       /* when the next one comes; 0: not said */
    bool     has_digest;
    bool     wants_places;  /* its answer shall name them */
    uint64_t digest;        /* of the places where the client is (message/place_digest.h) */
};

struct client_ack {  /* and of `read`, too */
    struct span channel;
    uint64_t    epoch;  /* 0: not said */
    uint64_t    seq;
};

struct client_command {
    enum client_command_kind kind;
    struct span              ref;   /* to be echoed in the answer, in the dialect's own form; empty: none */
    struct span              request_id;  /* of a request, or of the cancelling of one; to be echoed in an error; empty: none */
    union {
        struct client_connect   connect;
        struct client_subscribe subscribe;
        struct span             unsubscribe;  /* the channel; one that can't be read is empty */
        struct client_publish   publish;
        struct client_ping      ping;
        struct client_ack       ack;
        const struct request_asked *request;
    };
};

/* Why a frame is no command. */
struct client_fault {
    unsigned    code;
    const char *reason;        /* NULL: there is no `error`, only the close */
    const char *close_reason;  /* NULL, or: the link ends, with this reason … */
    uint16_t    close_code;    /* … and this code; 0: that of CLIENT_CLOSE_POLICY */
};

enum client_event_kind {
    EVENT_CONNECTED,
    EVENT_SUBSCRIBED,
    EVENT_UNSUBSCRIBED,
    EVENT_PUBLISHED,
    EVENT_CURSOR,
    EVENT_PONG,
    EVENT_ERROR,
    EVENT_RECONNECT,
    EVENT_CLOSING,
    EVENT_EXPIRING,
    EVENT_ACK,
    EVENT_READ,
    EVENT_PRESENCE,
    EVENT_ACCEPTED,
    EVENT_REPLAYED,
};

struct presence_note;  /* device/presence_command.h */

/* The session that outlives the link, in `connected`. */
struct connected_session {
    struct span user, device;
    uint64_t    generation;
    struct span ticket;       /* empty: none */
    bool        is_unfenced;  /* the database is away: the link is not the session's yet */
};

struct client_event {
    enum client_event_kind kind;
    struct span            ref;   /* of the command that it answers; empty: none */
    union {
        struct {
            uint64_t                        key;
            msec                            heartbeat_ms;
            bool                            is_resumed;
            uint32_t                        frame_bytes_max;
            const struct backoff           *reconnect;
            const struct connected_session *session;  /* NULL: the link has none */
        } connected;
        struct { struct span channel; uint64_t seq; } ack;
        struct { struct span channel; uint64_t epoch, head; bool has_after; uint64_t after; } subscribed;
        struct span unsubscribed;   /* the channel */
        struct { const struct channel_name *channel; const struct append_answer *answer; bool is_replayed; } published;
        struct span cursor;         /* the token */
        struct {
            bool                has_digest;  /* the server's, which differs from the client's */
            bool                has_places;
            uint64_t            digest;
            const struct place *places;
            size_t              place_count;
        } pong;
        struct { unsigned code; const char *reason; struct span request_id; msec after_ms; } error;  /* request_id empty: of none;
                                                                                               * after_ms 0: not said */
        struct span accepted;       /* the id of the request */
        const struct message *replayed;  /* the response that the request has had before */
        struct { msec after_ms; struct span where; } reconnect;  /* where: addresses of other nodes, with commas; empty: any */
        uint32_t    expiring_s;
        const struct link_end_words *closing;
        const struct presence_note  *presence;
    };
};

#endif
