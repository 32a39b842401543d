/* device_facts.h - what is known of one device and one channel, and what that says of one message there. Pure. */
#ifndef DEVICE_DEVICE_FACTS_H
#define DEVICE_DEVICE_FACTS_H

#include "device/device_command.h"
#include "message/user_name.h"

struct device_facts {
    char        user[USER_NAME_BYTES_MAX + 1], device[DEVICE_NAME_BYTES_MAX + 1];
    /* The session. */
    uint64_t    generation;     /* 0: there is none */
    msec        since, seen;    /* when it began; when a link of it last began or ended */
    bool        is_online;
    const char *transport;      /* of the last link; static; NULL: not known here */
    uint64_t    key;            /* of the connection of the link; 0: no link */
    /* Its acknowledged place in the channel, as it is stored: what memory alone knows may be lost in a crash, and a receipt
     * never goes back (threat 18). */
    bool        has_place;
    bool        is_kept;        /* the session follows the channel because a client asked for that */
    uint64_t    place_epoch, place_seq;
    msec        place_wall;     /* when this place was stored */
    /* The link's. */
    bool             is_link_told;  /* its loop has answered */
    struct link_view link;
};

enum receipt_state {
    RECEIPT_PENDING,       /* the message is to be delivered, as far as the server knows */
    RECEIPT_WRITTEN,       /* it was handed to the socket of the link */
    RECEIPT_ACKNOWLEDGED,  /* the device has named a place at or behind it */
    RECEIPT_NOT_MEANT,     /* the session began behind it */
};

/* One message, or what was one. */
struct receipt_message {
    uint64_t epoch, seq;
    msec     time;  /* when it was accepted; 0: not known, because it is no longer kept */
};

/* Has the device named a place at or behind the message? */
bool receipt_is_acknowledged(const struct device_facts *facts, const struct receipt_message *message);

/* *ret_time: since when the server knows; 0: nothing has happened. `now` is the time of the answer. */
enum receipt_state receipt_judge(const struct device_facts *facts, const struct receipt_message *message, msec now,
                                 msec *ret_time);

const char *receipt_state_text(enum receipt_state state);

#endif
