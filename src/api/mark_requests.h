/* mark_requests.h - the read marks that one call sets: the member `read` of POST /v1/ack. Private to this module. */
#ifndef API_MARK_REQUESTS_H
#define API_MARK_REQUESTS_H

#include "api/call.h"

enum { MARKS_A_CALL_MAX = 100 };

struct mark_requests {
    struct mark_request {
        struct mark_requests  *of;
        struct channel_name *name;          /* owns a reference */
        uint64_t             seq;           /* as it stands, once it is done */
        bool                 needs_member;
    }           *at;                        /* owned */
    size_t       count, waiting;
    unsigned     status;                    /* 200, or why a mark was not set … */
    const char  *detail;                    /* … in words */
    bool         is_engine_away;            /* … for want of the store */
    void       (*done)(struct mark_requests *requests);
};

/* The object {"CHANNEL":SEQ, …} that stands in `raw`. False: answered with the refusal; nothing is set. */
bool mark_requests_read(struct mark_requests *requests, const struct call *call, struct span raw, struct buf *strings);
void mark_requests_fini(struct mark_requests *requests);

/* Sets them; done() is called later, or at once if there are none. They stay where they are until then. */
void mark_requests_set(struct mark_requests *requests, struct api *api, struct span user, struct span device);

/* {"CHANNEL":SEQ, …} as they stand. */
void mark_requests_put(const struct mark_requests *requests, struct buf *buf);

#endif
