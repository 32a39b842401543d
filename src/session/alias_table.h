/* alias_table.h - the aliases of one loop: short numbers that stand for channels in binary frames (docs/protocol.md 9.5), and
 * the bases that the numbers of a message are told by. Pure.
 *
 * An alias belongs to a channel and the loop, never to a link, so that the frame of one message is made once for all readers
 * of the loop. A link has to be told an alias before the first frame that uses it: in an announcement. Each announcement has
 * a number of its own, and a subscription remembers the last one that its link was told (subscription.told_alias). When the
 * bases move, or a number gets another channel, that is a new announcement, and every link is told anew.
 *
 * Bases move forward only, to a message that would take too many bytes by the old ones. Readers that catch up with older
 * messages get these by differences that are subtracted. An alias that no message has used for ALIAS_KEPT_S is dropped,
 * so an idle channel costs nothing here. */
#ifndef SESSION_ALIAS_TABLE_H
#define SESSION_ALIAS_TABLE_H

#include "base/list.h"
#include "base/map.h"
#include "codec/bin/bin.h"
#include "message/message.h"

enum {
    ALIAS_PAYLOAD_BYTES_MOST = 4096,  /* longer messages are told in full. So a frame that may have to be made again after
                                       * it was cut depends on its message alone */
    ALIAS_NUMBERS_BYTES_MOST = 9,     /* of alias, seq, id and time together; with length and type that is 12 */
    ALIAS_ODD_MOST           = 8,     /* messages in a row whose media or sender is not the alias's, before it takes theirs */
    ALIAS_KEPT_S             = 600,
};

struct alias {
    struct map_node      node;          /* in alias_table.map */
    struct list          in_used;       /* in alias_table.used */
    struct channel_name *name;          /* owns a reference */
    uint64_t             epoch, seq, id, time;  /* the bases; time is a msec */
    uint32_t             announcement;  /* never the same twice; never 0 */
    uint32_t             used_s;
    uint16_t             number;
    uint8_t              odd_count;     /* messages in a row that were not of its media or sender */
    uint8_t              media_len, from_len;
    char                 text[];        /* media, from */
};

struct alias_table {
    struct map     map;            /* by channel */
    struct list    used;           /* the one used longest ago is the first */
    struct alias **at;             /* by number; NULL: free. Owned */
    uint16_t      *free_numbers;   /* below `count`; the next one to be given is the last */
    uint32_t       count, free_count, count_max;
    uint32_t       last_announcement;
    uint32_t       now_s;
};

void alias_table_init(struct alias_table *table, uint32_t count_max);  /* holds no memory until the first alias */
void alias_table_fini(struct alias_table *table);
/* About once a second: drops what was not used for long. */
void alias_table_tick(struct alias_table *table);

/* The alias by which this message is told, made, or its bases moved, if that is needed. Borrowed until the next call.
 * NULL: the message is told in full. */
const struct alias *alias_table_get(struct alias_table *table, const struct message *message);

/* Does the number still mean what this announcement said? */
bool alias_table_is_current(const struct alias_table *table, uint16_t number, uint32_t announcement);

/* --- frames, each with its length ---------------------------------------------------------------------------------- */

void alias_put_announcement(struct buf *buf, const struct alias *alias);
/* The message with all its fields, whatever aliases there are. */
void alias_full_frame(struct bin_frame *frame, const struct message *message);
/* `alias`: what alias_table_get() gave for this message, NULL included. */
void alias_put_message(struct buf *buf, const struct alias *alias, const struct message *message);

#endif
