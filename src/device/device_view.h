/* device_view.h - what this node alone knows of some devices: whether they are there by way of it, and how far their links are in a
 * channel. Asked for other nodes' receipts, whys and listings of sessions, which have read the ledger themselves. */
#ifndef DEVICE_DEVICE_VIEW_H
#define DEVICE_DEVICE_VIEW_H

#include "device/device_facts.h"
#include "node/shard.h"

enum { DEVICE_VIEW_MAX = 500 };

struct device_view {
    struct command       command;
    struct devices      *devices;
    struct channel_name *channel;  /* owns a reference; NULL: the links are not asked */
    struct device_facts *at;       /* owned; asked: the names. Answered: also generation, is_online, transport, key, seen, link */
    size_t               count;
    void               (*answered)(struct device_view *view);  /* on the loop; takes it */
    void                *owner;
    struct device_view_work *work; /* the devices' */
};

/* Shares the name; at most DEVICE_VIEW_MAX devices, whose names are to be filled in. */
struct device_view *device_view_new(struct devices *devices, struct channel_name *channel, size_t count);
/* answered() is called with it, never at once. Takes it. */
void shard_ask_view(struct shard *shard, struct device_view *view);

#endif
