/* receipts.h - for which devices a message is, and how far it came with each of them: a page of an answer, gathered from
 * ledger, memory and loops by way of the writer.
 *
 * A message of `user:U` is for the devices of U that have a session, one of `device:U/D` for that device, one of
 * `group:G` for the devices of those members of G who were members when it was published. A session that began behind
 * the message is left out.
 *
 * The work of a page is bounded: so many members are looked at, whether they have devices or not. So a page can be short,
 * even empty, and have a next one. */
#ifndef DEVICE_RECEIPTS_H
#define DEVICE_RECEIPTS_H

#include "device/device_facts.h"
#include "node/shard.h"

enum {
    RECEIPTS_LIMIT_MAX     = 500,  /* devices of a page */
    RECEIPTS_MEMBERS_MAX   = 256,  /* members that one page looks at */
    RECEIPTS_AWAY_MAX      = 16,   /* pages under way; others are RECEIPTS_BUSY */
    RECEIPTS_PLACE_MAX     = USER_NAME_BYTES_MAX + 1 + DEVICE_NAME_BYTES_MAX,  /* bytes of `next` */
};

enum receipts_outcome {
    RECEIPTS_DONE,
    RECEIPTS_BUSY,  /* too many are asked for at the moment */
    RECEIPTS_AWAY,  /* the ledger can't be read now */
};

struct receipt {
    enum receipt_state  state;   /* never RECEIPT_NOT_MEANT */
    msec                time;    /* since when that is known; 0: nothing has happened */
    struct device_facts facts;
};

/* Has a channel of this name receipts? */
bool receipts_are_of(const struct channel_name *channel);

struct receipts_command {
    struct command         command;
    struct devices        *devices;
    struct channel_name   *channel;  /* owns a reference */
    struct receipt_message message;
    uint32_t               limit;    /* 1 … RECEIPTS_LIMIT_MAX */
    /* Where the page begins: behind the device D of the user U ("U/D"), or behind the user ("U/"); empty: at the
     * first. Answered: where the next one begins; empty: this was the last. */
    char                   place[RECEIPTS_PLACE_MAX + 1];
    void                 (*answered)(struct receipts_command *command);  /* on the loop; takes the command */
    void                  *owner;

    enum receipts_outcome  outcome;
    struct receipt        *at;       /* owned; in the order of users and devices */
    size_t                 count;
    struct receipts_work  *work;     /* the devices' */
};

/* Shares the name. */
struct receipts_command *receipts_command_new(struct devices *devices, struct channel_name *channel);
/* Is it a place, as above? Sets it. */
bool receipts_set_place(struct receipts_command *command, struct span place);
/* answered() is called with it, never at once. Takes it. */
void shard_ask_receipts(struct shard *shard, struct receipts_command *command);

#endif
