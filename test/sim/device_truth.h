/* device_truth.h - what is on the disk, as phones may count on it: who was a member of what, and which seqs are whose.
 *
 * It reads the journal of the disk, and nothing that the product made of it. The spans of a member are built from the
 * membership messages, which are checked: against the heads of the group, and against the calls that asked for them. */
#ifndef SIM_DEVICE_TRUTH_H
#define SIM_DEVICE_TRUTH_H

#include "device_world.h"

#define UNTIL_NOW UINT64_MAX

enum { SPANS_MAX = 64 };

/* What of a group's log is a member's: behind `after`, up to `until`. A link that was there may have got more before the
 * user left: up to `seen`, and what was sent before the leave was answered. Where hints are lost, or the disk does not say what
 * became of a write, its loop may hear of a leave later than of messages: up to a heartbeat more. */
struct member_span {
    uint64_t after, until, seen;
    msec     left_at;   /* INT64_MAX: not answered */
};

struct member_truth {
    unsigned           count;
    struct member_span spans[SPANS_MAX];
    bool               is_busy;   /* somebody is changing it */
    msec               quiet_until;  /* a request that was repeated may still be carried out */
    uint64_t           low_head;  /* of the group, when the first request since the last change was sent */
    uint64_t           seq;       /* of the last membership message */
};

struct truth {
    struct device_world *all;
    size_t               scanned;
    uint64_t             heads[CHANNELS_MAX];
    struct member_truth  members[USERS_MAX][GROUPS_MAX];
    struct object_reader *objects;
};

struct truth *truth_new(struct device_world *all);
void          truth_free(struct truth *truth);

/* Reads what has been written since. */
void truth_scan(struct truth *truth);

/* Somebody was told that the user is a member, or is not. */
void truth_answered(struct truth *truth, unsigned user, unsigned group);
bool truth_is_member(const struct truth *truth, unsigned user, unsigned group);

/* May the user's phone be given this? */
bool     truth_may(const struct truth *truth, unsigned user, unsigned channel, uint64_t seq);
/* The first seq from here on that it must be given, or UINT64_MAX. */
uint64_t truth_next(const struct truth *truth, unsigned user, unsigned channel, uint64_t from);
/* … that is there. 0: none. */
uint64_t truth_next_written(const struct truth *truth, unsigned user, unsigned channel, uint64_t from);

#endif
