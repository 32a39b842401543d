/* why_steps.h - what became of one message for one device, as an operator reads it: a state, and steps in the order of
 * their times. Pure.
 *
 * Each step is true. What the server does not know the time of has none, and what it does not know at all is not said. */
#ifndef DEVICE_WHY_STEPS_H
#define DEVICE_WHY_STEPS_H

#include "device/device_facts.h"
#include "device/group_spans.h"

/* How the device comes to follow the channel. */
enum why_way {
    WHY_OWN,    /* its session follows it by itself: user:U, device:U/D */
    WHY_MEMBER, /* likewise, as long as its user is a member: group:G */
    WHY_ASKED,  /* if a client asks for it: any other channel */
};

struct why_facts {
    /* The message. */
    struct receipt_message message;
    const char            *gone;           /* it is no longer kept, and why: "expired", "trimmed" …; NULL: it is kept */
    msec                   expires_at;     /* 0: never, or it is gone */
    bool                   is_recalled;    /* only its place is left … */
    msec                   recalled;       /* … since then; 0: not known */
    bool                   is_collapsible; /* it has a collapse key */
    /* The device. */
    enum why_way               way;
    const struct device_facts *device;     /* generation 0: it has no session … */
    bool                       has_ended;  /* … any more, since device->seen */
    const struct group_spans  *spans;      /* WHY_MEMBER */
    uint64_t                   spans_seq;  /* of the newest membership message in the user's log */
    msec                       joined, left;  /* when the membership message of why_membership_of() was stored; 0: not
                                               * known */
    msec                       linked;     /* when the connection of the link came; 0: there is none */
    msec                       now;
};

enum { WHY_STEPS_MAX = 12 };

struct why_step {
    const char *what;   /* a word of the list in docs/http-api.md; static */
    msec        time;   /* 0: not known */
    uint64_t    seq;    /* how far it is; 0: says nothing of that */
    bool        is_of_link;
};

struct why_told {
    const char     *state;  /* likewise */
    struct why_step steps[WHY_STEPS_MAX];
    size_t          count;
};

void why_tell(const struct why_facts *facts, struct why_told *ret);

/* Which membership messages of the user's log say why the user is, or is not, to get the message; 0: none, or not known. */
struct why_membership {
    uint64_t joined, left;  /* seqs in the log of the user */
    bool     is_member_then, is_later, is_earlier;  /* was a member when it was published; joined after; left before */
};
struct why_membership why_membership_of(const struct group_spans *spans, uint64_t spans_seq,
                                        const struct receipt_message *message);

#endif
