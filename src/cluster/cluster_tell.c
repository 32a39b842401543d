/* cluster_tell.c - heads for all nodes, while the engine may not know who follows what. An engine that was emptied finds nobody until
 * each node has registered its routes anew. So that a message of this time comes all the same, each node tells all others the heads of
 * what it commits, for TELL_MS from the moment that it notices the engine's new life; and at that moment the heads of what the
 * emptied engine may have been asked for already. Then it says whether that was all. It is bounded; where something is left out, nodes
 * compare heads (cluster_told.c). */
#include "base/must.h"
#include "cluster/cluster_priv.h"

/* --- what was committed last ------------------------------------------------------------------------------------------ */

static struct told_head *tell_newest(struct cluster_tell *tell)
{
    return tell->count == 0 ? NULL : &tell->heads[(tell->first + tell->count - 1) % TELL_KEPT];
}

static struct told_head tell_pop(struct cluster_tell *tell)
{
    struct told_head head = tell->heads[tell->first];

    must(tell->count > 0);
    tell->first = (tell->first + 1) % TELL_KEPT;
    tell->count--;
    return head;
}

static bool is_told(const struct message *message)
{
    return message->channel->space->durability == DURABLE;  /* a log that others can read */
}

void cluster_tell_forget(struct cluster *cluster, uint64_t round)
{
    if (cluster->tell.forgotten < round)
        cluster->tell.forgotten = round;
}

static void tell_drop(struct cluster *cluster)
{
    struct told_head head = tell_pop(&cluster->tell);

    cluster_tell_forget(cluster, head.round);
    channel_name_unref(head.channel);
}

void cluster_tell_note(struct cluster *cluster, const struct message *message, uint64_t round)
{
    struct cluster_tell *tell   = &cluster->tell;
    struct told_head    *newest = tell_newest(tell);

    if (!is_told(message))
        return;
    if (newest == NULL || newest->channel != message->channel) {
        if (tell->count == TELL_KEPT)
            tell_drop(cluster);
        newest = &tell->heads[(tell->first + tell->count++) % TELL_KEPT];
        newest->channel = channel_name_ref(message->channel);
    }
    newest->epoch = message->epoch;
    newest->seq   = message->seq;
    newest->round = round;
    newest->at    = cluster->now;
}

/* --- telling ----------------------------------------------------------------------------------------------------------- */

/* To all nodes but those with the newest mark. */
static void tell_item(struct cluster *cluster, const struct bus_item *item)
{
    const struct registry *registry = &cluster->registry;

    for (size_t i = 0; i < registry->count; i++) {
        const struct node_id *id = &registry->nodes[i].record.id;
        if (registry->nodes[i].state == NODE_LOST || cluster_is_self(cluster, id) || cluster_is_marked(cluster, id))
            continue;
        if (cluster->tell.left == 0) {
            cluster->tell.is_short = cluster->tell.is_all;
            cluster->tell.is_all   = false;
            return;
        }
        cluster->tell.left--;
        counter_add(&cluster->counters.heads_sent, 1);
        must(cluster_put_item(cluster, id, item));
    }
}

static void tell_head(struct cluster *cluster, enum bus_item_kind kind, const struct told_head *head)
{
    tell_item(cluster, &(const struct bus_item){ .kind    = kind,
                                                 .channel = channel_name_span(head->channel),
                                                 .epoch   = head->epoch,
                                                 .seq     = head->seq });
}

void cluster_tell_unmarked(struct cluster *cluster, const struct message *message)
{
    if (cluster_tells_all(cluster) && is_told(message))
        tell_head(cluster, BUS_HEAD, &(const struct told_head){ message->channel, message->epoch, message->seq, 0, 0 });
}

void cluster_tell_purge(struct cluster *cluster, struct channel_name *channel, uint64_t epoch, uint64_t head)
{
    if (cluster_tells_all(cluster))
        tell_head(cluster, BUS_PURGE, &(const struct told_head){ channel, epoch, head, 0, 0 });
}

bool cluster_tells_all(const struct cluster *cluster)
{
    return cluster->now < cluster->tell.until;
}

/* Behind the heads, on the same links: who reads it has read those, or finds a hole. */
static void tell_said(struct cluster *cluster)
{
    const struct registry *registry = &cluster->registry;

    for (size_t i = 0; i < registry->count; i++) {
        const struct node_id *id = &registry->nodes[i].record.id;
        if (registry->nodes[i].state != NODE_LOST && !cluster_is_self(cluster, id))
            must(cluster_put_item(cluster, id, &(const struct bus_item){ .kind = BUS_TOLD, .life = cluster->life,
                                                                         .is_all = cluster->tell.is_all }));
    }
    cluster->tell.is_short = false;
}

/* The newest first: they are what a bound must not leave out. While an earlier life's heads are still told, what was left out of
 * those is left out of these. */
void cluster_tell_begin(struct cluster *cluster, uint64_t since)
{
    struct cluster_tell *tell = &cluster->tell;

    tell->is_all = tell->forgotten < since && (!cluster_tells_all(cluster) || tell->is_all);
    tell->until  = cluster->now + TELL_MS;
    tell->left   = TELL_ITEMS_FIRST;
    cluster->mark++;
    for (size_t i = tell->count; i > 0; i--) {
        const struct told_head *head = &tell->heads[(tell->first + i - 1) % TELL_KEPT];
        if (cluster->now - head->at <= TELL_BACK_MS || head->round >= since)
            tell_head(cluster, BUS_HEAD, head);
    }
    tell_said(cluster);
}

void cluster_tell_tick(struct cluster *cluster)
{
    struct cluster_tell *tell = &cluster->tell;

    if (tell->is_short && cluster->is_up)
        tell_said(cluster);
    tell->left = TELL_ITEMS_A_TICK;
    while (tell->count > 0 && cluster->now - tell->heads[tell->first].at > TELL_BACK_MS)
        tell_drop(cluster);
}

void cluster_tell_fini(struct cluster *cluster)
{
    while (cluster->tell.count > 0)
        channel_name_unref(tell_pop(&cluster->tell).channel);
}
