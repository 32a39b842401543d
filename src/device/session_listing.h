/* session_listing.h - all sessions that are stored, page by page, for GET /v1/sessions. */
#ifndef DEVICE_SESSION_LISTING_H
#define DEVICE_SESSION_LISTING_H

#include "device/device_facts.h"
#include "node/shard.h"

enum {
    SESSION_LISTING_MAX       = 500,  /* sessions of a page */
    SESSION_LISTINGS_AWAY_MAX = 16,   /* pages under way; others are LISTING_BUSY */
};

enum session_listing_outcome { LISTING_DONE, LISTING_BUSY, LISTING_AWAY };

struct session_listing {
    struct command        command;
    struct devices       *devices;
    uint32_t              limit;        /* rows that are looked at, 1 … SESSION_LISTING_MAX */
    bool                  is_of_online; /* only those that are there now … */
    bool                  takes_all;    /* … by way of any node: the asker leaves out the others */
    /* Where the page begins, behind the device D of the user U ("U/D"); empty: at the first. Answered: where the next one
     * begins; empty: this was the last. */
    char                  place[USER_NAME_BYTES_MAX + 1 + DEVICE_NAME_BYTES_MAX + 1];
    void                (*answered)(struct session_listing *listing);  /* on the loop; takes the command */
    void                 *owner;

    enum session_listing_outcome outcome;
    struct device_facts  *at;           /* owned; in the order of users and devices; without a place in a channel */
    size_t                count;
    struct session_listing_work *work;  /* the devices' */
};

struct session_listing *session_listing_new(struct devices *devices);
/* Is it a place, as above? Sets it. */
bool session_listing_set_place(struct session_listing *listing, struct span place);
/* answered() is called with it, never at once. Takes it. */
void shard_list_sessions(struct shard *shard, struct session_listing *listing);

#endif
