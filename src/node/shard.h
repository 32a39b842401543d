/* shard.h - one loop's share of the node: its hub, and its commands to and from the writer.
 *
 * Sessions and the API talk to this and to nothing else of the node. One thread: that of the loop. */
#ifndef NODE_SHARD_H
#define NODE_SHARD_H

#include "base/counter.h"
#include "hub/hub.h"
#include "node/command.h"

struct connection_command;  /* connection_command.h */
struct peer_call;           /* peer_question.h */
struct connection_keys;     /* connection_key.h */

struct shard_port {
    /* To the writer; takes the command. */
    void (*send)(void *ctx, struct command *command);
    /* A subscription has something to say; draw it before the turn ends. */
    void (*ready)(void *ctx, struct subscription *sub);
    /* Somebody asks for a connection that this loop has, if it is there: fills in the answer, and ends the connection if
     * the asker wants that. NULL: this loop has no connections. */
    void (*connection)(void *ctx, struct connection_command *question);
    /* Somebody publishes to conn:KEY, and this loop has the connection KEY, if it is there at all: it is to follow that
     * channel. True: the publish was taken; it goes on by shard_send_on() once the connection follows. False: it goes on
     * now. NULL: this loop has no connections. */
    bool (*address)(void *ctx, struct publish_command *publish);
    /* Somebody publishes to a connection of another node, one with this tag (connection_key.h): takes it, and gives it to
     * shard_forwarded() in a later turn. NULL: there are no other nodes. */
    void (*forward)(void *ctx, struct publish_command *publish, uint16_t tag);
    /* The user user:U is no longer a member of group:G. NULL: nobody here follows anything as a member. */
    void (*left)(void *ctx, struct channel_name *user, struct channel_name *group);
    /* Another node asks, or tells (peer_question.h): takes it, and gives it back by peer_call_answer(). NULL: nothing is known
     * here that others ask for. */
    void (*peer_call)(void *ctx, struct peer_call *call);
};

struct shard_limits {
    struct hub_limits hub;
    uint32_t          page_count_max;  /* entries read for one subscription at a time */
    size_t            page_bytes_max;
    uint32_t          pages_away_max;        /* of this loop, at a time; further ones wait for their turn */
    uint32_t          pages_store_away_max;  /* of them, such as the durable store may have to read */
    uint32_t          publish_count_max;  /* of this loop, on their way at a time; then PUBLISH_BUSY */
    size_t            publish_bytes_max;
};

/* Pages for subscriptions. A page is held until the turn in which it came has drawn it, and one from the disk is bytes,
 * where one from memory only shares them. So only so many are away at a time: ten thousand readers that lag cost no
 * more than a few. What memory has is not held up by what the disk must read:
 *
 *     wanted ──► asked for ───────────────────────────────► here
 *                   │ all of the store's places are taken,    ▲
 *                   │ and memory has not got it               │
 *                   └──► cold, waits for a place ──► asked for again */
struct pages {
    struct list wanted;
    struct list cold;
    uint32_t    away;        /* commands */
    uint32_t    store_away;  /* of them, those that the store may be reading */
};

enum { SHARD_TEXT_BYTES = 256 };

/* What keeps the messages, if that is no part of this process ("postgres"); else NULL. */
struct shard_engines {
    const char *durable, *memory;  /* of durable namespaces and of the ledger; of other namespaces */
};

struct shard {
    struct hub               hub;
    const struct shard_port *port;
    void                    *ctx;
    struct shard_limits      limits;
    unsigned                 loop;
    msec                     now, wall;   /* of this turn */
    size_t                   away_count;  /* commands under way that the writer answers soon, whatever the store does. A
                                           * FOLLOW is not one: it may wait for a store that can't be read */
    uint32_t                 publish_count;  /* of them, publishes */
    size_t                   publish_bytes;
    struct pages             pages;
    const struct connection_keys *connection_keys;  /* borrowed. NULL: no connection is addressed */
    uint64_t                 hint_number; /* of the newest hint that came */
    bool                     is_hint_lost; /* one before it did not: all heads are asked for at the next heartbeat */
    bool                     is_beating;  /* a heartbeat is under way */
    /* for the rest of the turn: what comes later must not overtake what was refused */
    bool                     is_refusing;
    struct counter           refused;     /* publishes answered PUBLISH_BUSY here */
    struct shard_engines     engines;     /* set by the owner behind shard_init() */
    char                     text[SHARD_TEXT_BYTES];  /* of shard_engine_text() and shard_memory_text() */
};

void shard_init(struct shard *shard, unsigned loop, const struct shard_port *port, void *ctx,
                const struct shard_limits *limits);
void shard_fini(struct shard *shard);

/* Time for this turn. */
void shard_turn_begin(struct shard *shard, msec now, msec wall);

/* command->answered() is called with it, also if command->owner has been nulled since: in a later turn or, with too
 * much on its way already, at once. Takes it. */
void shard_publish(struct shard *shard, struct publish_command *command);
/* From shard_port.forward: it was answered, as its outcome says; or no node could be asked, and it is published here, where
 * nobody gets it. */
void shard_forwarded(struct shard *shard, struct publish_command *command, bool is_answered);
/* The same for questions, but never at once. */
void shard_read(struct shard *shard, struct read_command *command);
void shard_count(struct shard *shard, struct count_command *command);
void shard_list(struct shard *shard, struct listing_command *command);
void shard_ask_stats(struct shard *shard, struct stats_command *command);

/* Sends a command of a module above to the writer: a question, or back what the writer sent. Takes it. It is not among
 * those that a stop waits for. */
void shard_send_own(struct shard *shard, struct command *command);

/* The same for a question of a kind of a module above (command.h). Its kind calls shard_end_question() when the answer
 * has come to this loop. */
void shard_ask_question(struct shard *shard, struct command *command);
void shard_end_question(struct shard *shard);

/* Sends a command on to the writer that came from there for another loop. Takes it. */
void shard_send_on(struct shard *shard, struct command *command);

/* For who is refused because a store can't be asked: `text`, which ends with the name of the engine that keeps this
 * channel (NULL: that keeps the ledger), if it has one. Borrowed until the next call. */
const char *shard_engine_text(struct shard *shard, const struct channel_name *channel, const char *text);

/* Likewise for the store of all channels that are not durable. */
const char *shard_memory_text(struct shard *shard, const char *text);

/* Is it the channel of a connection, by a key of the server's own? */
bool conn_channel_key(const struct channel_name *channel, uint64_t *ret_key);

/* One command from the writer. Takes it. */
void shard_take(struct shard *shard, struct command *command);

/* After the commands of a turn: says ready() for what came; then, when the owners have drawn, lets go of it. */
void shard_tell(struct shard *shard);
void shard_turn_end(struct shard *shard);

/* The heartbeat, about once a second: has every hint come? It costs one command, however many channels are followed; if
 * one was lost, the writer tells all heads that this loop follows. */
void shard_tick(struct shard *shard);

#endif
