/* batch.h - many messages in one call (docs/http-api.md): each has a result of its own, in the order of the messages.
 * Private to this module: batch_read.c reads them, batch.c answers. */
#ifndef API_BATCH_H
#define API_BATCH_H

#include "api/call.h"

/* One message of the batch, and what became of it. */
struct batch_item {
    struct batch        *batch;
    struct channel_name *name;        /* owns a reference; NULL if it was refused before */
    struct append_answer answer;
    char                *why;         /* owned; NULL: stored */
    unsigned             status;
    uint32_t             inner;       /* of one with `channels`: how many items behind it are its own results */
    bool                 is_replayed;
};

struct batch {
    struct api           *api;
    struct http_exchange *exchange;
    struct batch_item    *items;
    size_t                count, cap;
    size_t                inner_left; /* how many inner results there may still be */
    size_t                waiting;    /* publishes under way */
    struct buf            strings;    /* what the message that is being read says, decoded */
    bool                  is_ndjson;
    bool                  is_read;    /* all messages have been read: the last answer ends it */
};

struct batch *batch_new(const struct call *call, bool is_ndjson);

/* Room for so many messages, and for the results of their `channels`; once, before the first is added. */
void batch_make_room(struct batch *batch, size_t messages);

struct batch_item *batch_add(struct batch *batch);
/* Copies the reason. */
void item_refuse(struct batch_item *item, unsigned status, const char *why);

/* publish_command.answered of an item's command. */
void item_answered(struct publish_command *command);

/* No more is added. The answer is given when nothing is under way any more, perhaps at once; then the batch is gone. */
void batch_seal(struct batch *batch);

#endif
