/* engine.h - the client as a machine. Orders of the application and bytes of the server come in; bytes for the server and
 * calls of the application's functions go out. Pure: it has no socket and no clock, and randomness is handed in.
 *
 *               due              opened            `connected`
 *     WAITING ------> CONNECTING ------> GREETING ------------> UP
 *        ^                |                  |                   |     the server ends it for good, or lw_close():
 *        +----------------+------------------+-------------------+-->  ENDED
 *                       the link is lost or refused
 *
 * The owner opens a link when engine_wants_link() says so, tells engine_opened(), and hands in what comes. When it says no
 * again the link is to be closed. Whatever is in engine->out is to be sent. */
#ifndef CLIENT_ENGINE_H
#define CLIENT_ENGINE_H

#include "base/rng.h"
#include "codec/bin/bin.h"
#include "codec/bin/bin_alias.h"
#include "codec/json/json.h"
#include "followed.h"
#include "inbox.h"
#include "pace.h"
#include "retry.h"
#include "server_list.h"
#include "text.h"

enum {
    ENGINE_GREETING_MS = 30 * 1000,  /* `connected` must come so soon: the server may have to ask its own back end */
    ENGINE_ASKING_MS   = 10 * 1000,  /* no longer for a router, the way to it included */
    ENGINE_ANSWER_MS   = 10 * 1000,  /* … and a sign of life after a heartbeat of ours */
    ENGINE_WAKE_MS     = 5 * 1000,   /* … when the application has asked for it */
    ENGINE_LEAVE_MS    = 5 * 1000,   /* an orderly end takes no longer */
    ENGINE_ACK_MS      = 200,        /* acknowledgements are sent at most so often */
    ENGINE_OUT_BYTES   = 256 * 1024, /* with more in `out` no further publish is put there */
    ENGINE_REPLAYS     = 256,
    ENGINE_CONTROL_BYTES_MAX = 64 * 1024, /* a longer control message comes as a message */
};

/* With `allocate` a link to the router comes before each link: CONNECTING, ASKING, WAITING; its `is_asking` is true meanwhile. */
enum engine_state { ENGINE_WAITING, ENGINE_CONNECTING, ENGINE_ASKING, ENGINE_GREETING, ENGINE_UP, ENGINE_ENDED };

/* Why the link ended, for the application. */
struct engine_end {
    unsigned code;
    char     reason[256];
};

/* Where a response stands that was repeated. */
struct engine_replay {
    uint64_t epoch, seq;
};

struct engine {
    enum engine_state     state;
    struct lw_options     options;    /* its texts are owned: by `texts`, or each by its own member below */
    struct lw_callbacks   on;
    struct buf            texts;
    char                 *token, *ticket;    /* owned; NULL: none */
    struct inbox         *inbox;      /* told of answered publishes; borrowed */
    struct rng            rng;

    struct server_list    servers;
    struct server_list    redirect;   /* where the server sent us; used once */
    size_t                server;     /* index of the one to try */
    size_t                failed_count;  /* servers that could not be reached, one after the other, since the last wait */
    struct server_entry   target;     /* the one that is tried or connected */
    uint64_t              link_count; /* links that were wanted so far: another number, another link */
    struct server_entry   router;     /* of `allocate` */
    bool                  has_router, is_asking, is_allocated;  /* is_allocated: it was asked since the last link */
    msec                  ask_until;  /* is_asking */
    bool                  has_tls;    /* a server that needs it may be tried */
    bool                  is_secure;  /* … and none without it: the application named none */
    struct retry          retry;
    msec                  wait_until; /* WAITING */
    msec                  after_ms;   /* -1, or the wait that the server has asked for */
    struct engine_end     end;        /* what the server has said about it */
    bool                  is_final;   /* … and no link shall follow */

    struct followed_table table;
    struct list           publishes;  /* outgoing.link: all without an answer, oldest first */
    struct list           requests;   /* request.link: likewise */
    msec                  request_due;  /* the earliest moment at which a request is due that was put off; 0: none is */
    struct engine_replay  replays[ENGINE_REPLAYS];  /* a ring of responses that were told because they were repeated … */
    size_t                replay_count;             /* … so many since the start. They may come once more, from their log */
    char                  device_log[CHANNEL_BYTES_MAX + 1];  /* that requests make a link follow which has no session; "": not known */
    uint64_t              ref;        /* the last one given */
    uint64_t              connect_ref;  /* of the last `connect` */

    struct buf            in, out;
    size_t                in_used;    /* bytes of `in` that are dealt with */
    struct bin_aliases    aliases;
    struct bin_frame      frame;      /* the one that is read */
    struct buf            names;      /* of the message that is told */
    struct json_doc       json;
    uint64_t              frame_bytes_max;  /* that the server takes */
    bool                  has_ticket_shown; /* this link began with a ticket */
    bool                  is_ticket_kept;   /* it may be of another user than the token: an earlier run was given it, or the token is newer */
    bool                  has_session;      /* this link has one */
    bool                  is_unfenced;      /* … which is not its own yet: the server acknowledges nothing */
    bool                  has_fresh_token;  /* GREETING: it came after `connect`, and is to be shown behind it */
    bool                  wants_leave;      /* lw_close() */
    bool                  is_leave_asked;   /* a ping was put behind all that was to be sent … */
    bool                  is_leave_heard;   /* … and its pong has come */
    msec                  leave_until;

    msec                  greet_until;      /* GREETING */
    msec                  heartbeat_ms;     /* UP; 0: none */
    msec                  promise_ms;       /* what lw_heartbeat() has promised; 0: nothing */
    bool                  has_new_promise;  /* … and the server has not been told */
    msec                  heard_at, sent_at;
    msec                  answer_until;     /* UP: a sign of life must come; 0: none is waited for */
    bool                  has_compared;     /* the last ping had a digest */
    unsigned              heal_count;       /* heals in a row that did not bring agreement, up to a bound … */
    unsigned              compare_pause;    /* … and how many heartbeats go without a digest because of them */
    msec                  ack_at;           /* the earliest moment of the next acknowledgements */
    struct pace           publish_pace, follow_pace;
    bool                  has_unasked;      /* channels wait for follow_pace before the server is asked for them */
    msec                  put_off_until;    /* the earliest moment at which a publish is due that was put off; 0: none is */
};

/* Copies the options. NULL: fine; else a sentence that says what can't be used; then engine_fini() all the same. */
const char *engine_init(struct engine *engine, const struct lw_options *options, struct inbox *inbox, uint64_t seed);
void        engine_fini(struct engine *engine);

/* Carries one out, and frees it. */
void engine_order(struct engine *engine, struct order *order, msec now);

/* Does what is due. */
void engine_turn(struct engine *engine, msec now);
/* When engine_turn() has something to do; -1: no such moment. */
msec engine_deadline(const struct engine *engine);

static inline bool engine_wants_link(const struct engine *engine)
{
    return engine->state == ENGINE_CONNECTING || engine->state == ENGINE_ASKING || engine->state == ENGINE_GREETING ||
           engine->state == ENGINE_UP;
}

void engine_opened(struct engine *engine, msec now);
void engine_feed(struct engine *engine, struct span bytes, msec now);
/* The link is lost or could not be opened. Nothing happens where the engine has given it up itself. */
void engine_lost(struct engine *engine, const char *why, msec now);
/* Bytes of `out` were sent. */
void engine_sent(struct engine *engine, size_t count, msec now);

#endif
