/* link_end.h - why the server ends a link of its own accord, and what it says before: one row for each close code of ours
 * (docs/protocol.md). Pure. */
#ifndef SESSION_LINK_END_H
#define SESSION_LINK_END_H

#include "base/buf.h"

enum link_end {
    LINK_END_REPLACED,  /* a newer link of the same session is there */
    LINK_END_CUT_OFF,   /* somebody with the right to do so ended this connection */
    LINK_END_EXPIRED,   /* the client's token ran out */
    LINK_END_REVOKED,   /* the client's token, user or device was revoked */
    LINK_END_SHORT_MEMORY,  /* the server holds nearly all of the memory that it may hold */
    LINK_END_COUNT
};

struct link_end_words {
    uint16_t    code;          /* the close code */
    const char *type;          /* of the last frame, and of the last event of a stream */
    const char *reason;
    bool        may_come_again;  /* then the last frame is `reconnect`, and a stream just ends */
};

const struct link_end_words *link_end_words(enum link_end end);

/* The last frame as the beginning of a JSON object, which the caller ends. */
void link_end_put(struct buf *buf, const struct link_end_words *words);

#endif
