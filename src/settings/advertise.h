/* advertise.h - the addresses that clients are told of this node: [SCHEME://]HOST[:PORT], several with commas. The schemes
 * are http, https, tcp and tcps; an address without one is http. Pure. */
#ifndef SETTINGS_ADVERTISE_H
#define SETTINGS_ADVERTISE_H

#include "base/span.h"

bool advertise_is_valid(struct span list);

/* The first address of a scheme, with its scheme if it was written; empty: there is none. */
struct span advertise_find(struct span list, struct span scheme);

#endif
