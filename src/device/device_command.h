/* device_command.h - what loops ask of the devices (devices.h), and what they are told.
 *
 * These are commands (node/command.h) of kinds of their own. A loop sends one to the writer, the devices carry it out
 * there, and the same command comes back as the answer.
 *
 *     loop                                   devices (writer's thread)
 *      ── session_open ───────────────────▶  load, raise the generation, fence older links
 *      ◀────────────────── session_fence ──  (to the loop of the older link, and back)
 *      ◀── session_open, answered ─────────
 *      ── session_acks, once a second ────▶  merge, store
 *      ── session_close ──────────────────▶
 */
#ifndef DEVICE_DEVICE_COMMAND_H
#define DEVICE_DEVICE_COMMAND_H

#include "device/group_spans.h"
#include "device/row.h"
#include "node/command.h"

struct devices;
struct standing;
struct session_open;

/* How far a link is in one channel. */
struct link_view {
    bool     is_there;   /* the link, and it follows the channel; else nothing of the rest is said */
    bool     is_own;     /* its session follows the channel by itself */
    bool     is_placed;  /* the channel has answered … */
    bool     is_silent;  /* the client is told of heads alone, and gets no messages by itself */
    uint64_t epoch, seen;  /* … and all up to `seen` of this life of the log was handed to the socket, or stepped over */
};

enum fence_reason {
    FENCE_REPLACED,  /* a newer link of the session has taken over, or the session has ended */
    FENCE_ASTRAY,    /* the ledger knows nothing of this link: its client is to open the session again */
};

/* Where a loop hears of its sessions' links. Outlives all commands. */
struct device_home {
    /* The link is no longer its session's: it neither delivers nor acknowledges any more. It may be gone already. */
    void   (*fence)(struct device_home *home, uint64_t key, enum fence_reason reason);
    /* How far the link with this key is. Returns how many subscriptions the loop may have passed by to find out. */
    size_t (*look)(struct device_home *home, uint64_t key, const struct channel_name *channel, struct link_view *ret);
    unsigned loop;
};

enum open_way {
    OPEN_NEWER,     /* a link that takes the session over: raises the generation. OPEN_STALE, if the present link of this node was
                     * asked for later */
    OPEN_TICKET,    /* the same, if `generation` and `since` are still the session's */
    OPEN_STREAM,    /* … or still those that the opener of the present one named: a stream that was cut before it could
                     * tell its client a newer place */
    OPEN_CURSOR,    /* a poll goes on in the generation that its cursor names */
    OPEN_ACK,       /* no link: acknowledges `named`; fenced by `generation` unless it is 0 */
};

enum open_outcome {
    OPEN_DONE,
    OPEN_STALE,     /* a newer link has taken the session over, or the session has ended and begun anew */
    OPEN_NONE,      /* OPEN_ACK: there is no such session; OPEN_CURSOR: there is none any more */
    OPEN_FULL,      /* the user has devices_max devices */
    OPEN_ASTRAY,    /* OPEN_ACK: the session does not follow the channel `fault_at` of `named` */
    OPEN_NO_SPACE,  /* the disk is full */
    OPEN_BUSY,      /* too many sessions open at the moment */
    OPEN_AWAY,      /* the ledger can't be asked, or nobody knows whether it was written */
};

/* A channel that a session follows by itself, and the place from which. */
struct session_place {
    struct channel_name *name;   /* owns a reference */
    uint64_t             epoch, seq;
    bool                 is_kept;
    bool                 is_of_member;  /* of a group: the user is a member, or something of when the user was is still to come */
    bool                 is_over;  /* of a group that the user has left: not followed. The user's log may tell the link that the user
                                    * had joined it: then the link goes on from this place */
    struct group_spans  *spans;  /* owned; what of the channel is the user's: of a group that the user has left or joined
                                  * several times. NULL: all */
};

struct session_open {
    struct command        command;
    struct devices       *devices;
    struct session_open  *next;          /* the devices': in a line */
    struct device_home   *home;
    uint64_t              key;           /* of the connection */
    enum open_way         way;
    msec                  asked_at;      /* when the client's word for it came, by the clock of this node's loops; 0: not known */
    const char           *transport;     /* static; what the listing says of the link */
    bool                  is_poll;       /* the next one may come to another node */
    bool                  is_abandoned;  /* the devices': its link has ended */
    struct span           user, device;  /* in `words` */
    struct span           device_class;  /* … empty: none */
    uint64_t              generation;    /* asked: of the ticket or cursor. Answered: the session's */
    msec                  since;         /* likewise */
    struct session_place *named;         /* OPEN_ACK: owned; answered: as they stand now. Without a name: no channel, OPEN_ASTRAY */
    size_t                named_count;
    size_t                fault_at;
    void                (*answered)(struct session_open *open);  /* on the loop; takes it; also if `owner` is NULL */
    void                 *owner;         /* who gets the answer; NULL once it is gone */

    enum open_outcome     outcome;
    bool                  is_resumed;    /* the session was there before */
    struct standing      *standing;      /* OPEN_DONE, with a link: handed to session_acks and session_close */
    struct session_place *places;        /* owned; in the order of their names */
    size_t                place_count;
    uint64_t              groups_seq;    /* in the user's log: the places of groups, and their absence, know of all changes of
                                          * membership up to this one */
    struct open_work     *work;          /* the devices' */
    char                  words[];
};

/* The link of an opening has ended before it was answered. If the generation was not raised by then it is not raised any more: the
 * client may have come by a newer link, on another node, and would be told that this one has replaced that. */
struct session_abandon {
    struct command      command;
    struct devices     *devices;
    struct device_home *home;
    uint64_t            key;           /* of the connection */
    struct span         user, device;  /* in `words` */
    char                words[];
};

/* Copies the names of the opening, which is still under way. The devices free it. */
struct session_abandon *session_abandon_new(const struct session_open *open);

/* Copies the names. */
struct session_open *session_open_new(struct devices *devices, struct span user, struct span device,
                                      struct span device_class);
/* The answer's places become the caller's. */
void session_places_free(struct session_place *places, size_t count);

/* A link of a session has ended: one for each session_open that was OPEN_DONE with a link. The devices free it. */
struct session_close {
    struct command   command;
    struct devices  *devices;
    struct standing *standing;
    uint64_t         key, generation;
    bool             is_between;  /* a poll was answered: the session waits for the next one */
    struct session_place *delivered;  /* owned: how far the link was handed the session's channels; to count what comes
                                       * again. Not all of them need to be there */
    size_t           delivered_count;
};

enum { SESSION_DELIVERED_MAX = 64 };

struct session_close *session_close_new(struct devices *devices, struct standing *standing, uint64_t key,
                                        uint64_t generation);

enum { SESSION_ACKS_MAX = 256 };

/* What clients of one loop have acknowledged since the last such command. The devices free it. */
struct session_acks {
    struct command  command;
    struct devices *devices;
    size_t          count;
    struct session_ack {
        struct standing     *standing;    /* its link has not sent session_close */
        uint64_t             generation;
        struct channel_name *name;        /* owns a reference */
        uint64_t             epoch, seq;
        enum session_ack_kind {
            ACK_PLACE,    /* a channel that the session follows, else it is dropped */
            ACK_BEGIN,    /* a group that the user has joined: where the session begins, if it has no place there */
            ACK_KEEP,     /* … from now on, by itself */
            ACK_DROP,     /* … no more by itself */
        } kind;
    } acks[SESSION_ACKS_MAX];
};

struct session_acks *session_acks_new(struct devices *devices);

/* A user's devices, for GET /v1/users/{user}. */
struct device_listing {
    struct command   command;
    struct devices  *devices;
    bool             is_of_node;        /* those alone that are there by way of this node; the ledger is not asked */
    struct listed_device {
        char     device[DEVICE_TEXT_MAX + 1];
        uint64_t generation, key;       /* generation 0: it has no session; key 0: no link */
        msec     since, seen;
        const char *transport;          /* of the last link; NULL: not known here */
        bool     is_online;
        const char *node;               /* the asker's: which other node it is there by; NULL: this one */
    }               *at;                /* owned */
    size_t           count;
    bool             is_away;           /* the ledger can't be asked */
    void           (*answered)(struct device_listing *listing);
    void            *owner;
    struct listing_work *work;          /* the devices' */
    struct span      user;              /* in `words` */
    char             words[];
};

struct device_listing *device_listing_new(struct devices *devices, struct span user);

#endif
