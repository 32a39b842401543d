/* device_look.h - how far devices are in one channel: what their sessions have acknowledged, and what was handed to the
 * sockets of their links. Private to this module.
 *
 *     ledger ── rows of places ──▶ look ◀── links, in memory
 *                                   │ ▲
 *                       link_ask ───▼ │     to each loop that has one of the links, and back
 *                                  loops
 *
 * A loop is asked for a part of its links at a time, so that it never looks for long. A loop that does not answer within
 * LOOK_TICKS is not waited for: what is known without it is the answer. */
#ifndef DEVICE_DEVICE_LOOK_H
#define DEVICE_DEVICE_LOOK_H

#include "device/device_facts.h"
#include "device/devices_priv.h"

enum {
    LOOK_TICKS        = 15,     /* of devices_tick(): 1.5 s */
    LOOK_DEVICES_MAX  = 500,
    LINK_ASK_MAX      = 64,     /* links of one command */
    LINK_ASK_COST_MAX = 10000,  /* subscriptions that a loop may have to pass by for one command */
};

/* One question about some devices. The owner keeps it, and all that it points at, until done(). */
struct device_look {
    struct devices      *devices;
    struct channel_name *channel;     /* borrowed */
    struct receipt_message message;   /* in it; who has acknowledged it is looked for no further */
    struct device_facts *at;          /* borrowed; names and session are filled in */
    size_t               count;       /* at most LOOK_DEVICES_MAX */
    /* The ledger could not be asked: RC_IO, RC_FULL; else RC_OK. Never called at once, unless count is 0. */
    void               (*done)(struct device_look *look, enum rc rc);
    void               (*drop)(struct device_look *look);  /* the server ends: frees it with its owner */

    /* Its own. */
    struct device_read   read;
    struct ledger_key   *keys;
    struct buf           key_bytes;
    size_t               read_at;     /* the first device whose row has not come */
    struct list          in_devices;  /* of devices.looks.waiting, while loops are asked */
    uint64_t             id;
    uint32_t             tick;        /* when it began to wait */
    size_t               asks;        /* commands on their way */
};

void device_look_begin(struct device_look *look);
/* The same without the ledger: no place is looked for, only links. */
void device_look_at_links(struct device_look *look);
void device_look_fini(struct device_look *look);

/* What is in memory of its session: whether it is there now, and its link. */
void device_facts_remember(const struct devices *devices, struct device_facts *facts);

/* The session that this row of the user's holds, as facts without a place. False: it is none, or one that has ended. */
bool device_session_of(const struct devices *devices, struct span user, const struct ledger_row *row,
                       struct device_facts *ret);

#endif
