/* outgoing.h - a message on its way to the server, until its answer. One block of memory. */
#ifndef CLIENT_OUTGOING_H
#define CLIENT_OUTGOING_H

#include "base/list.h"
#include "base/msec.h"
#include "base/span.h"
#include "longwire.h"

enum { KEY_BYTES_MAX = 200, COLLAPSE_KEY_BYTES = 64, MADE_KEY_BYTES = 32 };

struct outgoing {
    struct list      link;
    uint64_t         ref;         /* of the frame, on every link the same */
    bool             is_sent;     /* on this link */
    bool             is_key_made; /* by the library: a replay is our own repeat */
    msec             not_before;  /* the server has put it off */
    unsigned         tries;       /* so often */
    uint64_t         ttl_s;
    enum lw_priority priority;
    struct span      channel, media, event, key, collapse_key, data;  /* in bytes; channel ends with a NUL */
    lw_published_fn *answer;
    void            *arg;
    size_t           size;        /* of all, for bounds */
    char             bytes[];
};

/* `made_key` (MADE_KEY_BYTES at most) stands for a key that the application did not give. NULL: an argument can't be used. */
struct outgoing *outgoing_new(const struct lw_publish *publish, const char *made_key,
                              lw_published_fn *answer, void *arg);
void             outgoing_free(struct outgoing *outgoing);  /* NULL is fine */

#endif
