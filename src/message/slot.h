/* slot.h - which of 4,096 slots a channel or a row of the ledger lies in. Slots are spread over databases and Redis
 * instances; which slot a name has is part of what is stored, so this never changes.
 *
 * What belongs together commits together: `user:U`, `device:U/D` and the rows that begin with U have the slot of U;
 * `group:G` and the rows that begin with G have that of G; any other channel has the slot of its whole text. */
#ifndef MESSAGE_SLOT_H
#define MESSAGE_SLOT_H

#include "base/span.h"

enum { SLOT_COUNT = 4096 };

/* Of a channel's whole text, "topic:prices". 0 … SLOT_COUNT - 1. */
unsigned slot_of_channel(struct span channel);

/* Of a row's key (store/ledger.h): by its first name, which ends at the first 0 byte or with the key. */
unsigned slot_of_row(struct span key);

/* The name that routes are kept by (route/interest.h): "user:U" for `user:U` and for `device:U/D`, because whoever follows
 * one follows the other; else the channel itself. Points into `channel` or into `scratch`. */
enum { ROUTE_NAME_BYTES_MAX = 256 };
struct span route_name(struct span channel, char scratch[ROUTE_NAME_BYTES_MAX]);

#endif
