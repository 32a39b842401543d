/* row.h - the bytes of keys and values of the rows that row_kind.h lists. Pure.
 *
 * Values begin with a byte that is their version. All numbers are big-endian. A value that can't be read is damaged, or
 * of a newer server: its reader treats it as absent and says so. A session's value has version 2 where it names a node, and
 * version 1 where it does not. */
#ifndef DEVICE_ROW_H
#define DEVICE_ROW_H

#include "base/buf.h"
#include "base/msec.h"

enum {
    DEVICE_TEXT_MAX        = 64,  /* bytes of a device name */
    DEVICE_CLASS_BYTES_MAX = 32,  /* of what `devices = one_per_class` compares */
    DEVICE_NODE_BYTES_MAX  = 64,  /* of the name of a node */
};

/* Appends `first`, and each of the others behind a 0 byte; an empty `second` ends the key with the 0 byte, as the prefix of
 * a scan. */
void row_key_put(struct buf *buf, struct span first, struct span second);
void row_key_put_third(struct buf *buf, struct span third);
/* The last name of a key: what follows its last 0 byte. */
struct span row_key_last(struct span key);

/* In the year 6429: a row that names a later time is damaged. */
#define SESSION_TIME_MAX ((msec)((UINT64_C(1) << 47) - 1))

struct session_row {
    msec        since;     /* wall clock: when the session began. A session that ended and began again has another one, so
                            * that tickets of the earlier one stay refused */
    msec        seen;      /* when a link of it last began or ended */
    uint64_t    from;      /* the generation that the opener of the present one named; 0: none */
    bool        is_ended;  /* kept only so that its generation is not given again */
    struct span device_class;  /* empty: none. Borrowed from the value */
    struct span node;      /* of a cluster: the node that has the link. Empty: none has it, or nobody said. Borrowed likewise */
    uint64_t    incarnation;  /* … and which start of it */
    bool        is_roaming;   /* the session is polled: each poll may come to another node, and `node` is the first one's */
};

/* An acknowledged place of a session in a channel. Its seq is the row's generation - 1. */
struct place_row {
    uint64_t epoch;
    msec     wall;      /* when it was stored */
    bool     is_kept;   /* the session follows the channel because a client subscribed to it with `keep` */
};

void session_row_put(struct buf *buf, const struct session_row *row);
bool session_row_get(struct span value, struct session_row *ret);
void place_row_put(struct buf *buf, const struct place_row *row);
bool place_row_get(struct span value, struct place_row *ret);

#endif
