/* event_facts.h - what an event says, as the JSON object that a message of sys:events/N holds, and which N that is. Pure. */
#ifndef MESSAGE_EVENT_FACTS_H
#define MESSAGE_EVENT_FACTS_H

#include "base/buf.h"
#include "base/msec.h"
#include "message/event_kind.h"

enum { EVENT_TEXT_BYTES = 4096 };  /* no event is longer */

struct event_facts {
    enum event_kind kind;
    struct span     user, device;  /* empty: none */
    uint64_t        connection;    /* 0: none */
    struct span     channel;       /* empty: none */
    uint64_t        seq;           /* 0: none, or not known yet */
    const char     *reason;        /* NULL: none */
};

/* {"type","time","user","device","connection","channel","reason","seq"}; members that there are. `time` is the wall clock in ms. */
void event_facts_put(struct buf *out, const struct event_facts *facts, msec wall);

/* Adds `seq` to such an object that was made before it was known. */
void event_text_add_seq(struct buf *text, uint64_t seq);

/* N: it follows from the user alone, or from the connection of nobody, or else from the channel, by a rule that never changes. So all events of a user,
 * and of each of its devices, are in one log. */
unsigned event_facts_log(const struct event_facts *facts);

#endif
