/* event_outbox_priv.h - what the parts of the outbox ask of each other. Private to this module.
 *
 *     event_outbox.c   lanes, and rows that are deleted      event_sweep.c   rows that were left behind
 *                                                            event_lost.c    links that were */
#ifndef DEVICE_EVENT_OUTBOX_PRIV_H
#define DEVICE_EVENT_OUTBOX_PRIV_H

#include "device/event_outbox.h"

struct event_debt {
    struct list in_line;   /* in event_outbox.debts, or outbox_batch.debts */
    uint32_t    holders;
    size_t      key_len;
    char        key[];
};

enum { OUTBOX_BUSY = 1024 };  /* events that wait: there is enough to do without those of others */

/* A link of a start of a node that has ended: its `disconnected`, and the end of its row. */
void outbox_link_lost(struct event_outbox *outbox, const struct link_row *row);

struct lost_links *lost_links_new(struct event_outbox *outbox);
void               lost_links_free(struct lost_links *lost);
void               lost_links_tick(struct lost_links *lost);
void               lost_links_hurry(struct lost_links *lost);

struct event_sweep *event_sweep_new(struct event_outbox *outbox);
void                event_sweep_free(struct event_sweep *sweep);
void                event_sweep_tick(struct event_sweep *sweep);

/* A command that is lent to the store is never freed as a command. */
void outbox_command_lent(struct command *command);

#endif
