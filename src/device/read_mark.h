/* read_mark.h - up to where a user has read a channel: a mark for people, beside the places that devices acknowledge.
 *
 * A mark belongs to a user in a channel, whichever device set it. It only rises within an epoch, and never stands beyond
 * the channel's head. A change of it is one commit: the control message `read` in `user:U` carries the row (row_kind.h),
 * so all devices of the user learn of it in order, online or not:
 *
 *     loop ──▶ row (and whether the user is a member) ──▶ head ──▶ append to user:U, with the row ──▶ answer
 *               ▲                                                     │
 *               └──────── another change came first (STALE) ──────────┘
 *
 * A mark that stands there already, or beyond, is the answer, and nothing is written. How often a client may set one is
 * the caller's to bound. */
#ifndef DEVICE_READ_MARK_H
#define DEVICE_READ_MARK_H

#include "device/device_command.h"

enum {
    READ_MARKS_AWAY_MAX  = 20000,  /* changes under way, of all users */
    READ_MARK_TRIES_MAX  = 10,
    READ_MARK_KEEP_DAYS  = 400,    /* a mark that nobody moves for so long is forgotten */
};

enum read_mark_outcome {
    READ_MARK_DONE,         /* epoch and seq are the mark now, durably; seq 0: there is none */
    READ_MARK_NO_MEMBER,    /* only a member may read the channel, and the user is none */
    READ_MARK_BUSY,         /* too much is under way, or too many changes race */
    READ_MARK_NO_SPACE,     /* the disk is full; nothing changed */
    READ_MARK_AWAY,         /* the store can't be asked now; nothing changed */
    READ_MARK_BROKEN,       /* perhaps changed, perhaps not */
    READ_MARK_NOT_DURABLE,  /* the namespace `user` is configured not to be durable: marks can't be kept */
};

struct read_mark_command {
    struct command         command;
    struct devices        *devices;
    struct channel_name   *user, *channel;  /* user:U, and what was read; own a reference each */
    bool                   needs_member;    /* of the group with the channel's name */
    uint64_t               epoch, seq;      /* asked: epoch 0: not said. Answered: the mark */
    size_t                 device_len;
    char                   device[DEVICE_TEXT_MAX];  /* which one set it, for the message */

    enum read_mark_outcome outcome;
    void                 (*answered)(struct read_mark_command *mark);  /* on the loop; takes the command */
    void                  *owner;
    struct read_mark_work *work;            /* the devices' */
};

/* Shares the channel's name. `device`: at most DEVICE_TEXT_MAX bytes, or empty. */
struct read_mark_command *read_mark_command_new(struct devices *devices, struct span user, struct span device,
                                                struct channel_name *channel);

/* answered() is called with it, never at once. Takes it. */
void shard_set_read_mark(struct shard *shard, struct read_mark_command *mark);

#endif
