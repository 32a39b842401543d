/* why.h - all that is known of one message and one device: the question that GET /v1/why asks, by way of the writer. What
 * the answer says is decided in why_steps.h. */
#ifndef DEVICE_WHY_H
#define DEVICE_WHY_H

#include "device/device_facts.h"
#include "device/group_spans.h"
#include "node/shard.h"

enum { WHYS_AWAY_MAX = 64 };  /* questions under way; others are WHY_BUSY */

enum why_outcome {
    WHY_DONE,
    WHY_BUSY,  /* too many are asked at the moment */
    WHY_AWAY,  /* the ledger can't be read now */
};

struct why_command {
    struct command         command;
    struct devices        *devices;
    struct channel_name   *channel;  /* owns a reference */
    struct receipt_message message;
    struct device_facts    facts;    /* asked: the names */
    void                 (*answered)(struct why_command *command);  /* on the loop; takes the command */
    void                  *owner;

    enum why_outcome       outcome;
    bool                   has_ended;  /* there is no session now, but there was one until facts.seen */
    /* Of a group: */
    struct group_spans     spans;           /* none: the user is no member, and was none as far as is remembered */
    uint64_t               spans_seq;       /* seq of the newest membership message in the user's log */
    struct why_work       *work;            /* the devices' */
};

/* Shares the name of the channel, and copies the others, which are valid. */
struct why_command *why_command_new(struct devices *devices, struct channel_name *channel, struct span user,
                                    struct span device);
/* answered() is called with it, never at once. Takes it. */
void shard_ask_why(struct shard *shard, struct why_command *command);

#endif
