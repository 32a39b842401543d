/* writer_priv.h - what the parts of the writer ask of each other. Private to the node.
 *
 *     writer.c          life, turns, numbers       writer_append.c   publishes, lanes, deadlines
 *     writer_follow.c   who follows; heads         writer_deliver.c  messages and moved heads to the loops
 *     writer_read.c     pages                      writer_list.c     which channels there are
 *     writer_purge.c    what a purge tells loops */
#ifndef NODE_WRITER_PRIV_H
#define NODE_WRITER_PRIV_H

#include "node/command_priv.h"
#include "node/writer.h"

static inline bool name_is_durable(const struct channel_name *name)
{
    return name->space->durability == DURABLE;
}

/* May everyone follow it, so that one message in it is for many? */
static inline bool name_is_wide(const struct channel_name *name)
{
    return strcmp(name->space->name, "all") == 0;
}

static inline struct writer_store *writer_store_of(struct writer *writer, const struct channel_name *name)
{
    return name_is_durable(name) ? &writer->durable : &writer->memory;
}

/* Do other nodes hear of this log by the cluster? Not of a connection's own: only its node has followers of it, and what is
 * published to it elsewhere is published there (conn_publish.c). */
static inline bool writer_is_routed(struct writer *writer, const struct channel_name *name)
{
    return writer->cluster != NULL && writer_store_of(writer, name)->is_shared &&
           name->space->membership != MEMBER_IS_LINK;
}

static inline size_t writer_bucket_of(const struct channel_name *name)
{
    return (name->hash >> 32) % WRITER_BUCKETS;
}

/* The lane whose batch under way may have appends to this channel; NULL: none. */
static inline struct lane *writer_lane_of(struct writer *writer, const struct channel_name *name)
{
    struct writer_store *from   = writer_store_of(writer, name);
    uint8_t              holder = from->holders[writer_bucket_of(name)];

    return holder == 0 ? NULL : &from->lanes[holder - 1];
}

/* A command of a kind that lives inside the writer's own structures is never freed as a command. */
void never_free(struct command *command);

/* --- writer_append.c --- */
void writer_answer(struct writer *writer, struct publish_command *publish, enum publish_outcome outcome);
void writer_append_init(struct writer *writer);
void writer_append_fini(struct writer *writer);
void writer_submit(struct writer *writer, msec wall);
void writer_tick_deadlines(struct writer *writer);
bool writer_has_waiting_quick(const struct writer *writer);
size_t writer_batch_count(const struct lane *lane);  /* appends in the batch under way */

/* --- writer_follow.c --- */
void writer_follow_fini(struct writer *writer);
void writer_put_questions(struct writer *writer);
void writer_tick_heads(struct writer *writer);
/* The batch under way in this lane has ended, or is late: looks at the answers and takes the commands that waited for it. */
void writer_take_held(struct writer *writer, struct lane *lane);
/* The known head of this tail may be old: the store is asked within a heartbeat, or as soon as a loop needs the
 * head. */
void writer_outdate(struct writer *writer, struct tail *tail);
void writer_outdate_all(struct writer *writer, const struct writer_store *from);

/* --- writer_purge.c --- */
/* The store has emptied a channel: lets go of its tail, tells the loops that follow, and then answers, unless that was
 * done when the deadline passed. Takes it. */
/* It is known that this log is empty up to `head`: the tail, and the loops that follow, let go. */
void writer_purge_known(struct writer *writer, struct tail *tail, uint64_t epoch, uint64_t head);
void writer_take_purge(struct writer *writer, struct publish_command *publish, bool is_late);

/* --- writer_deliver.c --- */
/* A message that its store has numbered and, if it's durable, synced: to the tail and to the loops that follow. */
void writer_spread(struct writer *writer, struct message *message);
/* Sends a command that tells a loop about a log, behind the messages of this turn that it counts. */
void writer_send_view(struct writer *writer, struct command *command);
void writer_send_deliveries(struct writer *writer);
/* Tells loops that the head has moved without the messages: by one of the next ticks. */
void writer_owe_head(struct writer *writer, struct tail *tail, uint64_t loops);
void writer_tick_moved(struct writer *writer);
void writer_deliver_fini(struct writer *writer);

#endif
