/* cluster_hear.c - what other nodes send: frames, judged by their numbers, and then item by item. */
#include "base/must.h"
#include "cluster/cluster_priv.h"

/* The channel of the last item: neighbours often have the same. */
struct heard_name {
    struct channel_name *channel;  /* owns a reference; NULL: none yet */
};

/* NULL: it is no name, or of a namespace that this node does not have. */
static struct channel_name *heard_name_get(struct cluster *cluster, struct heard_name *last, struct span text)
{
    if (last->channel != NULL && span_eq(channel_name_span(last->channel), text))
        return last->channel;
    struct channel_name *channel =
        writer_known_name(cluster->writer, hash_bytes(cluster->setup.hash_key, text), text);
    if (channel != NULL)
        channel_name_ref(channel);
    else if (channel_name_new(cluster->setup.spaces, cluster->setup.hash_key, text, &channel) != CHANNEL_NAME_OK)
        return NULL;
    channel_name_unref(last->channel);
    last->channel = channel;
    return channel;
}

static bool hear_message(struct cluster *cluster, struct heard_name *last, const struct bus_item *item)
{
    struct channel_name *channel = heard_name_get(cluster, last, item->channel);
    struct message      *message = channel == NULL ? NULL : bus_message_get(item, channel);

    if (channel == NULL || item->epoch == 0 || item->seq == 0)
        return false;
    if (message == NULL) {  /* of a later release: whoever reads the log is told what it can */
        writer_hear_head(cluster->writer, channel, item->epoch, item->seq);
        return true;
    }
    counter_add(&cluster->counters.messages_heard, 1);
    writer_hear(cluster->writer, message);
    message_unref(message);
    return true;
}

static bool hear_head(struct cluster *cluster, struct heard_name *last, const struct bus_item *item)
{
    struct channel_name *channel = heard_name_get(cluster, last, item->channel);

    if (channel == NULL || item->epoch == 0)
        return false;
    counter_add(&cluster->counters.heads_heard, 1);
    writer_hear_head(cluster->writer, channel, item->epoch, item->seq);
    return true;
}

static bool hear_purge(struct cluster *cluster, struct heard_name *last, const struct bus_item *item)
{
    struct channel_name *channel = heard_name_get(cluster, last, item->channel);

    if (channel == NULL || item->epoch == 0)
        return false;
    writer_hear_purge(cluster->writer, channel, item->epoch, item->seq);
    return true;
}

static bool hear_question(struct cluster *cluster, const struct node_id *from, struct heard_name *last,
                          const struct bus_item *item)
{
    struct channel_name *channel = item->channel.len == 0 ? NULL : heard_name_get(cluster, last, item->channel);

    if (item->channel.len == 0 || channel != NULL)
        cluster_ask_take(cluster->ask, from, item, channel, cluster->now);
    return true;
}

static bool hear_item(struct cluster *cluster, const struct node_id *from, struct heard_name *last,
                      const struct bus_item *item)
{
    switch (item->kind) {
    case BUS_MESSAGE: return hear_message(cluster, last, item);
    case BUS_HEAD: return hear_head(cluster, last, item);
    case BUS_PURGE: return hear_purge(cluster, last, item);
    case BUS_QUESTION:
    case BUS_ANSWER:
    case BUS_NOTICE: return hear_question(cluster, from, last, item);
    case BUS_BEAT: return true;
    case BUS_TOLD: cluster_told_hear(cluster, from, item->life, item->is_all); return true;
    }
    return true;
}

/* What can't be read is lost like what did not come. */
static void hear_items(struct cluster *cluster, const struct node_id *from, struct span rest)
{
    struct heard_name last = { NULL };
    struct bus_item   item;
    bool              is_good = true;

    while (bus_item_get(&rest, &item))
        is_good &= hear_item(cluster, from, &last, &item);
    channel_name_unref(last.channel);
    if (is_good && rest.len == 0)
        return;
    counter_add(&cluster->counters.malformed, 1);
    cluster_doubt(cluster, DOUBT_MALFORMED);
}

/* False: the frame is to be dropped. */
static bool hear_number(struct cluster *cluster, const struct node_id *from, uint64_t number)
{
    switch (bus_links_take(cluster->links, from, number)) {
    case BUS_NEXT: return true;
    case BUS_FIRST:
        counter_add(&cluster->counters.firsts, 1);
        if (number > 1)
            cluster_doubt(cluster, DOUBT_GAP);
        return true;
    case BUS_HOLE:
        counter_add(&cluster->counters.holes, 1);
        cluster_doubt(cluster, DOUBT_GAP);
        return true;
    case BUS_OLD: break;
    }
    counter_add(&cluster->counters.old_frames, 1);
    return false;
}

void cluster_take_frame(struct cluster *cluster, struct span frame)
{
    struct node_id    from = { 0 };
    struct bus_header header;

    if (cluster->has_left)
        return;
    if (!bus_header_get(&frame, &header)) {
        counter_add(&cluster->counters.malformed, 1);
        return;
    }
    if (header.receiver != cluster->setup.self.id.incarnation) {
        counter_add(&cluster->counters.old_frames, 1);
        return;
    }
    must(header.name.len < sizeof from.name);
    memcpy(from.name, header.name.at, header.name.len);
    from.incarnation = header.incarnation;
    if (cluster_is_self(cluster, &from)) {
        cluster_take_canaries(cluster, header.number);
        return;
    }
    counter_add(&cluster->counters.frames_heard, 1);
    if (hear_number(cluster, &from, header.number))
        hear_items(cluster, &from, frame);
}
