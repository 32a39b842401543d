/* member_count.h - how many members a group has, and how many groups a user: so that neither grows without bound.
 *
 * A count is read once from the rows, page by page, and then kept by what this process commits. Where other processes
 * change the same rows a count drifts; so it is read again before anybody is refused because of it, if it is older than
 * MEMBER_COUNT_FRESH_MS. The counts of MEMBER_COUNTS_MAX groups and users are in memory, those that were used last.
 *
 * Belongs to the writer's thread. */
#ifndef DEVICE_MEMBER_COUNT_H
#define DEVICE_MEMBER_COUNT_H

#include "base/map.h"
#include "device/group_spans.h"
#include "node/writer.h"

enum { MEMBER_COUNTS_MAX = 4096, MEMBER_COUNT_FRESH_MS = 60 * 1000 };

struct member_count {
    struct map_node       node;
    struct list           recent;     /* in member_counts.recent */
    struct command        command;    /* brings back what was read */
    struct member_counts *counts;
    struct writer        *writer;     /* while it is read */
    struct channel_name  *of;         /* a group's or a user's channel; owns a reference */
    struct ledger_read    read;
    struct buf            from;       /* the next page begins behind this key */
    char                  prefix[LEDGER_KEY_BYTES_MAX];
    enum row_kind         kind;
    struct mail          *waiting;    /* commands that go on when it is read, the newest first */
    uint64_t              count;
    msec                  read_at;    /* wall */
    bool                  is_known;
    bool                  is_reading;
};

struct member_counts {
    struct map  map;
    struct list recent;  /* the one that was used last at the end */
};

void member_counts_init(struct member_counts *counts);
void member_counts_fini(struct member_counts *counts);

enum member_count_answer {
    MEMBER_COUNT_ROOM,     /* there is room for one more */
    MEMBER_COUNT_FULL,
    MEMBER_COUNT_LATER,    /* it is being read: the command comes back to the writer */
};

/* `of`: user:U, whose groups count, or group:G, whose members do. Takes the command if the answer is LATER. */
enum member_count_answer member_count_look(struct member_counts *counts, struct writer *writer,
                                           struct channel_name *of, enum row_kind kind, uint64_t max,
                                           struct command *command);

/* One more or one less was committed. */
void member_count_move(struct member_counts *counts, const struct channel_name *of, int by);

#endif
