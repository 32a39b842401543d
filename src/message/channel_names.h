/* channel_names.h - names of channels that were asked for lately.
 *
 * Who publishes names the same channels again and again, and each message keeps its name for as long as a log has it. A name that is
 * found here is neither checked nor copied. At most CHANNEL_NAMES_MAX are kept, each until another one has its place. */
#ifndef MESSAGE_CHANNEL_NAMES_H
#define MESSAGE_CHANNEL_NAMES_H

#include "message/channel_name.h"

enum { CHANNEL_NAMES_MAX = 4096 };

struct channel_names {
    struct channel_name **at;  /* two by two, by a hash of their text; NULL: nobody has asked yet */
};

/* A zeroed struct is empty, and fine. */
void channel_names_fini(struct channel_names *names);

/* As channel_name_new(), with the same set and key each time. */
enum channel_name_fault channel_names_get(struct channel_names *names, struct namespaces *set, const struct hash_key *key,
                                          struct span text, struct channel_name **ret);

#endif
