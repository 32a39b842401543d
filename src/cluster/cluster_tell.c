/* cluster_tell.c - heads for all nodes, while the engine may not know who follows what. An engine that was emptied finds nobody until
 * each node has registered its routes anew, and the sweep over all followed heads comes behind that. So that a message of this time
 * does not wait for the sweep, each node tells all others the heads of what it commits, for TELL_MS from the moment that it notices
 * the engine's new life; and at that moment the heads of what it has committed last.
 *
 * That is for soon, not for sure: it is bounded, and what it leaves out is found by the sweep. */
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

void cluster_tell_note(struct cluster *cluster, const struct message *message)
{
    struct cluster_tell *tell   = &cluster->tell;
    struct told_head    *newest = tell_newest(tell);

    if (!is_told(message))
        return;
    if (newest == NULL || newest->channel != message->channel) {
        if (tell->count == TELL_KEPT)
            channel_name_unref(tell_pop(tell).channel);
        newest = &tell->heads[(tell->first + tell->count++) % TELL_KEPT];
        newest->channel = channel_name_ref(message->channel);
    }
    newest->epoch = message->epoch;
    newest->seq   = message->seq;
    newest->at    = cluster->now;
}

/* --- telling ----------------------------------------------------------------------------------------------------------- */

/* To all nodes but those with the newest mark. */
static void tell_head(struct cluster *cluster, const struct told_head *head)
{
    const struct registry *registry = &cluster->registry;

    for (size_t i = 0; i < registry->count && cluster->tell.left > 0; i++) {
        const struct node_id *id = &registry->nodes[i].record.id;
        if (registry->nodes[i].state == NODE_LOST || cluster_is_self(cluster, id) || cluster_is_marked(cluster, id))
            continue;
        cluster->tell.left--;
        counter_add(&cluster->counters.heads_sent, 1);
        must(cluster_put_item(cluster, id, &(const struct bus_item){ .kind    = BUS_HEAD,
                                                                     .channel = channel_name_span(head->channel),
                                                                     .epoch   = head->epoch,
                                                                     .seq     = head->seq }));
    }
}

void cluster_tell_unmarked(struct cluster *cluster, const struct message *message)
{
    if (cluster->now < cluster->tell.until && is_told(message))
        tell_head(cluster, &(const struct told_head){ message->channel, message->epoch, message->seq, cluster->now });
}

bool cluster_tells_all(const struct cluster *cluster)
{
    return cluster->now < cluster->tell.until;
}

/* The newest first: they are what a bound must not leave out. */
void cluster_tell_begin(struct cluster *cluster)
{
    struct cluster_tell *tell = &cluster->tell;

    tell->until = cluster->now + TELL_MS;
    tell->left  = TELL_ITEMS_A_TICK;
    cluster->mark++;
    for (size_t i = tell->count; i > 0; i--) {
        const struct told_head *head = &tell->heads[(tell->first + i - 1) % TELL_KEPT];
        if (cluster->now - head->at > TELL_BACK_MS)
            return;
        tell_head(cluster, head);
    }
}

void cluster_tell_tick(struct cluster *cluster)
{
    struct cluster_tell *tell = &cluster->tell;

    tell->left = TELL_ITEMS_A_TICK;
    while (tell->count > 0 && cluster->now - tell->heads[tell->first].at > TELL_BACK_MS)
        channel_name_unref(tell_pop(tell).channel);
}

void cluster_tell_fini(struct cluster *cluster)
{
    while (cluster->tell.count > 0)
        channel_name_unref(tell_pop(&cluster->tell).channel);
}
