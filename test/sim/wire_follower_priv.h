/* wire_follower_priv.h - between the files of a simulated follower.
 *
 *   wire_follower.c   comes, asks, goes; all of them together
 *   wire_place.c      what it has handled, and whether what comes next is right
 *   wire_streams.c    SSE, NDJSON, multipart and long polls, as a client reads them
 *   wire_socket.c     its side of longwire.json.v1
 *   wire_native.c     its side of longwire.bin.v1 */
#ifndef SIM_WIRE_FOLLOWER_PRIV_H
#define SIM_WIRE_FOLLOWER_PRIV_H

#include "codec/bin/bin_alias.h"
#include "wire_client.h"
#include "wire_follower.h"

enum { FOLLOWERS_MAX = 5, TOKEN_TEXT_MAX = 512 };

enum follower_way { BY_WS, BY_SSE, BY_NDJSON, BY_MULTIPART, BY_POLL, BY_NATIVE, WAY_COUNT };

enum follower_state { IS_AWAY, IS_ASKING, IS_HEARING };

/* Where it begins in a channel of which it has no place. */
enum beginning { BEGIN_NOW, BEGIN_LAST, BEGIN_KEPT };

struct follower {
    struct followers   *all;
    struct wire_world  *wire;
    unsigned            no;
    struct client_link  link;
    enum follower_way   way;
    enum follower_state state;
    msec                at;          /* away: until then; else it goes then */
    msec                came_at;
    bool                follows[CHANNELS_MAX];
    enum beginning      beginning;
    struct kept_place at_place[CHANNELS_MAX];  /* behind what it has handled */
    char                token[TOKEN_TEXT_MAX + 1];
    struct kept_place token_place[CHANNELS_MAX];  /* what it had handled when it was given the token */
    bool                has_token;
    bool                is_told;     /* WS, native: that the server stops; multipart: the last delimiter */
    unsigned            retry_count; /* SSE: how often it was told when to come again */
    bool                is_placed[CHANNELS_MAX];    /* WS, native: has said subscribed on this link */
    bool                wants_cursor;
    bool                is_turned_away;  /* native: nobody knew in time who it is */
    struct bin_aliases  aliases;
    unsigned            ref;
    struct buf          text;        /* the body of a stream, not understood yet */
    char                boundary[80];
    bool                is_begun;    /* multipart: the first delimiter was read */
};

struct followers {
    struct wire_world *wire;
    unsigned           count;
    bool               are_leaving;
    struct object_reader objects;
    struct follower    at[FOLLOWERS_MAX];
};

const char *follower_way_text(enum follower_way way);
const char *follower_channel_text(const struct follower *follower, unsigned channel);

/* --- wire_follower.c */

void follower_ask_by_http(struct follower *follower);
void follower_go(struct follower *follower, const char *why);

/* --- wire_place.c */

const struct json_token *follower_read(struct follower *follower, struct span text);
void follower_take_place(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t seq);
/* The next message or gap. */
void follower_take(struct follower *follower, struct heard *heard);
void follower_take_object(struct follower *follower, const struct json_token *object);
/* The token names the place behind all that was handled, no less and no more. */
void follower_take_token(struct follower *follower, struct span token);
/* The place that the token names is the place to go on from, though more may have been handled since. */
void follower_go_back_to_token(struct follower *follower);

/* --- wire_streams.c: reads what has come */

void follower_hear_stream_head(struct follower *follower, const struct reply *reply);
void follower_hear_stream(struct follower *follower);
void follower_hear_poll(struct follower *follower);

/* --- wire_native.c */

void follower_ask_natively(struct follower *follower);
void follower_hear_native(struct follower *follower);
void follower_native_speak(struct follower *follower);

/* --- wire_socket.c */

void follower_hear_ws(struct follower *follower);
/* The channel has said subscribed. */
void follower_take_subscribed(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t head);
/* Asks for a token now and then. */
void follower_ws_speak(struct follower *follower);

#endif
