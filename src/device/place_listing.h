/* place_listing.h - where a user stands, as it is stored: the acknowledged places of all devices, or the read marks, each with
 * the channel's head. For people who look (GET /v1/users/{user}/places and …/marks). */
#ifndef DEVICE_PLACE_LISTING_H
#define DEVICE_PLACE_LISTING_H

#include "device/device_command.h"

enum { PLACE_LISTING_MAX = 500 };

struct place_listing {
    struct command  command;
    struct devices *devices;
    bool            is_of_marks;
    uint32_t        limit;       /* 1 … PLACE_LISTING_MAX */
    struct listed_place {
        char                 device[DEVICE_TEXT_MAX + 1];  /* of a place */
        struct channel_name *name;                         /* owns a reference */
        uint64_t             epoch, seq;
        msec                 wall;                         /* when it was stored */
        bool                 is_kept;
        uint64_t             head_epoch, head;             /* of the channel now; head_epoch 0: it can't be read */
        bool                 is_left;                      /* a group that the user has left: what is theirs ends at `last` */
        uint64_t             last;
    }              *at;          /* owned */
    size_t          count;
    bool            is_away;     /* the ledger can't be asked */
    void          (*answered)(struct place_listing *listing);
    void           *owner;
    struct place_listing_work *work;  /* the devices' */
    struct span     next;        /* where the next page begins, in `more`; empty: this was the last */
    char            more[LEDGER_KEY_BYTES_MAX];
    struct span     user, after; /* in `words` */
    char            words[];
};

/* `after`: the `next` of the page before, or empty; at most LEDGER_KEY_BYTES_MAX / 2 bytes. */
struct place_listing *place_listing_new(struct devices *devices, struct span user, bool is_of_marks, struct span after,
                                        uint32_t limit);

#endif
