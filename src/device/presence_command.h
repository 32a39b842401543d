/* presence_command.h - what loops tell and ask the presence (presence.h), and what they are told: commands
 * (node/command.h) of kinds of their own.
 *
 *     loop                                     presence (writer's thread)
 *      ── presence_change: come, go ─────────▶
 *      ── presence_change: watch, unwatch ───▶
 *      ◀──────────────────── presence_news ──   to loops with clients that are told
 *      ── presence_listing ──────────────────▶  a page of a channel's set, and back
 *      ── presence_question ─────────────────▶  which of these users are there, and back
 */
#ifndef DEVICE_PRESENCE_COMMAND_H
#define DEVICE_PRESENCE_COMMAND_H

#include "device/presence.h"
#include "message/user_name.h"
#include "node/command.h"
#include "node/shard.h"

struct devices;

/* WATCH_ON: the client was told of changes before, by another process (presence_move.h). */
enum presence_change_kind { PRESENCE_COME, PRESENCE_GO, PRESENCE_WATCH, PRESENCE_WATCH_ON, PRESENCE_UNWATCH };

/* Freed at the writer. */
struct presence_change {
    struct command            command;
    struct presence          *presence;
    enum presence_change_kind kind;
    struct channel_name      *name;   /* owns a reference */
    struct presence_who       who;    /* COME, GO; its names lie in `words` */
    enum presence_end         end;    /* GO */
    struct presence_home     *home;   /* the others */
    char                      words[];
};

/* Shares the name; copies the names of `who`, which is NULL for the others. */
struct presence_change *presence_change_new(struct presence *presence, enum presence_change_kind kind,
                                            struct channel_name *name, const struct presence_who *who);

enum { PRESENCE_CHANGES_MAX = 256 };  /* told one by one in one turn */

/* One change, as clients are told of it. Without a user: the number alone. */
struct presence_note {
    struct span channel, user, device;
    bool        is_join;
    bool        is_beginning;  /* the number, for clients that have just begun to be told */
    uint64_t    count;   /* of devices in the set, behind this change */
};

struct presence_news {
    struct command        command;
    struct presence_home *home;
    struct channel_name  *name;          /* owns a reference */
    uint32_t              note_count;    /* at least one */
    struct presence_note *notes;         /* borrow from `words` and from the name */
    char                 *words;         /* owned, and of the same memory as the notes */
};

struct presence_news *presence_news_new(struct channel_name *name, uint32_t note_count, size_t word_bytes);

enum { PRESENCE_LIST_MAX = 1000 };

/* GET /v1/channels/{channel}/subscribers. */
struct presence_listing {
    struct command       command;
    struct presence     *presence;
    struct channel_name *name;       /* owns a reference */
    uint64_t             after;
    uint32_t             limit;
    void               (*answered)(struct presence_listing *listing);  /* on the loop; takes it */
    void                *owner;
    void                *page;       /* the asker's, too */

    uint64_t             count;      /* the whole set */
    uint64_t             next;       /* 0: this was the last page */
    struct listed_subscriber {
        char        user[USER_NAME_BYTES_MAX + 1], device[DEVICE_NAME_BYTES_MAX + 1];
        const char *transport;
        msec        since;           /* wall clock */
        uint64_t    number;          /* its place in the set: a page behind it begins with the next one */
    }                   *at;         /* owned */
    uint32_t             at_count;
};

struct presence_listing *presence_listing_new(struct presence *presence, struct channel_name *name, uint64_t after,
                                              uint32_t limit);
void shard_list_presence(struct shard *shard, struct presence_listing *listing);

/* What another node tells or asks of a channel, PEER_PRESENCE, at a loop. Takes it. */
void shard_serve_presence(struct shard *shard, struct presence *presence, struct peer_call *call);

enum { PRESENCE_USERS_MAX = 1000 };

/* POST /v1/presence: how many devices of each of these users are there, by a session or in any channel. */
struct presence_question {
    struct command    command;
    struct presence  *presence;
    struct devices   *devices;
    void            (*answered)(struct presence_question *question);  /* on the loop; takes it */
    void             *owner;
    bool              wants_marks;
    size_t            count;
    struct asked_user {
        struct span user;
        uint32_t    devices;  /* the answer */
    }                *at;     /* owned, with the names; in their order, each once */
    /* With wants_marks: what the names of all these devices hash to, those of the first user first, by which one that is
     * there by way of two nodes is counted once. */
    uint64_t         *marks;  /* owned */
    size_t            mark_count, mark_cap;
};

/* Copies the names: 1 to PRESENCE_USERS_MAX. */
struct presence_question *presence_question_new(struct presence *presence, struct devices *devices,
                                                const struct span *users, size_t count);
void shard_ask_presence(struct shard *shard, struct presence_question *question);

#endif
