/* bin_alias.h - the receiver's half of aliases (docs/protocol.md 9.5): what each alias stands for on one link, and messages by
 * alias made whole again.
 *
 * Aliases that were never announced, or numbers beyond BIN_ALIAS_COUNT, are faults of the sender. */
#ifndef CODEC_BIN_BIN_ALIAS_H
#define CODEC_BIN_BIN_ALIAS_H

#include "codec/bin/bin.h"

struct bin_alias;

struct bin_aliases {
    struct bin_alias **at;      /* by number; owned. NULL: not announced */
    uint32_t           count;
};

void bin_aliases_init(struct bin_aliases *aliases);  /* holds no memory until the first announcement */
void bin_aliases_fini(struct bin_aliases *aliases);

/* To be called with every frame that bin_read() gave, in their order. BIN_ALIAS: keeps it. BIN_MESSAGE: completes it, so
 * that it has the fields of a BIN_FULL (its type becomes that); what it borrows from the table holds until the next call.
 * Other frames that name an alias instead of a channel get their channel. False: no such alias, or a number out of range. */
bool bin_aliases_take(struct bin_aliases *aliases, struct bin_frame *frame);

#endif
