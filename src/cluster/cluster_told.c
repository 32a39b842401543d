/* cluster_told.c - may a node that registered its routes anew leave out the comparison of heads? After FLUSHALL nobody was found for a
 * while. A message of that time is told to all nodes by the node that committed it (cluster_tell.c), so that nothing is missing
 * if each node which may have committed something has said that it told all.
 *
 *     the life is another one ──▶ routes stand ──▶ NODES: who has a lease? ──▶ all of them have told ──▶ nothing is compared
 *                TOLD_ROUTES          TOLD_NODES                 TOLD_WORDS
 *
 * Who has to tell: those that were known when the life was noticed, and those that the list has which is asked for when the
 * routes stand; whoever looks up has a lease (cluster_seek()). A node that is lost, a hole in the numbers, a lost connection, a
 * lease that lapsed, a node that left something out or does not tell in time: all end in a comparison, as ever.
 *
 * Time. A node tells for TELL_MS from the moment that it notices the life. This node may have noticed later than others, by a pause that is
 * shorter than its lease, or else the lease has lapsed; and an answer may have lain with the other node for as long. */
#include <stdlib.h>

#include "base/must.h"
#include "cluster/cluster_priv.h"

static struct told_word *told_word_find(const struct cluster_told *told, const struct node_id *id)
{
    for (size_t i = 0; i < told->count; i++)
        if (node_id_eq(&told->words[i].id, id))
            return &told->words[i];
    return NULL;
}

/* What was said of former lives is of no use any more. */
static void told_forget(struct cluster_told *told, uint64_t life)
{
    size_t kept = 0;

    for (size_t i = 0; i < told->count; i++)
        if (told->words[i].life == life)
            told->words[kept++] = told->words[i];
    told->count = kept;
}

static struct told_word *told_word_get(struct cluster *cluster, const struct node_id *id)
{
    struct cluster_told *told = &cluster->told;
    struct told_word    *word = told_word_find(told, id);

    if (word != NULL)
        return word;
    if (told->count == NODES_MAX)
        told_forget(told, cluster->life);
    if (told->count == NODES_MAX)
        return NULL;
    told->words = reallocarray(told->words, told->count + 1, sizeof told->words[0]);
    must(told->words != NULL);
    told->words[told->count] = (struct told_word){ .id = *id };
    return &told->words[told->count++];
}

/* It may come before this node notices the life, or when its comparison was left out already. */
void cluster_told_hear(struct cluster *cluster, const struct node_id *from, uint64_t life, bool is_all)
{
    struct told_word *word = told_word_get(cluster, from);

    if (!is_all && life == cluster->life && cluster->told.stage == TOLD_NOT && !cluster->is_rebuilding)
        cluster_doubt(cluster, DOUBT_LEFT_OUT);
    if (word == NULL)
        return;
    word->life   = life;
    word->is_all = is_all;
}

static void told_add_teller(struct cluster_told *told, const struct node_id *id)
{
    for (size_t i = 0; i < told->teller_count; i++)
        if (node_id_eq(&told->tellers[i], id))
            return;
    told->tellers = reallocarray(told->tellers, told->teller_count + 1, sizeof told->tellers[0]);
    must(told->tellers != NULL);
    told->tellers[told->teller_count++] = *id;
}

/* A node that is lost is a reason to compare of its own. */
static void told_add_tellers(struct cluster *cluster)
{
    const struct registry *registry = &cluster->registry;

    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state != NODE_LOST && !cluster_is_self(cluster, &registry->nodes[i].record.id))
            told_add_teller(&cluster->told, &registry->nodes[i].record.id);
}

void cluster_told_begin(struct cluster *cluster)
{
    struct cluster_told *told = &cluster->told;

    told_forget(told, cluster->life);
    told->teller_count = 0;
    told->is_listing   = false;
    told->since        = cluster->now;
    told->stage        = TOLD_ROUTES;
    told_add_tellers(cluster);
}

void cluster_told_end(struct cluster *cluster, enum doubt_reason why)
{
    cluster->told.stage = TOLD_NOT;
    cluster->told.why   = why;
}

static bool told_is_in_time(const struct cluster *cluster)
{
    return cluster->now - cluster->told.since + 2 * cluster->setup.limits.lease_ms + TOLD_LATE_MS < TELL_MS;
}

void cluster_told_stands(struct cluster *cluster)
{
    if (cluster->told.stage == TOLD_ROUTES && !told_is_in_time(cluster))
        cluster_told_end(cluster, DOUBT_LATE);
    if (cluster->told.stage != TOLD_ROUTES) {
        cluster_doubt(cluster, cluster->told.why);
        return;
    }
    cluster->told.stage = TOLD_NODES;
}

void cluster_told_list(struct cluster *cluster)
{
    cluster->told.is_listing = cluster->told.stage == TOLD_NODES;
}

static void told_give_up(struct cluster *cluster, enum doubt_reason why)
{
    cluster_told_end(cluster, why);
    cluster_doubt(cluster, why);
}

void cluster_told_listed(struct cluster *cluster, bool is_answered)
{
    struct cluster_told *told = &cluster->told;

    if (!told->is_listing || told->stage != TOLD_NODES)
        return;
    told->is_listing = false;
    if (!is_answered) {
        told_give_up(cluster, DOUBT_LIST);
        return;
    }
    told_add_tellers(cluster);
    told->listed_at = cluster->now;
    told->stage     = TOLD_WORDS;
}

enum told_judgement { TOLD_ALL, TOLD_WAITS, TOLD_LACKS };

/* ret_why: what would end it. */
static enum told_judgement told_judge(const struct cluster *cluster, enum doubt_reason *ret_why)
{
    const struct cluster_told *told  = &cluster->told;
    enum told_judgement        judge = TOLD_ALL;

    for (size_t i = 0; i < told->teller_count; i++) {
        const struct registry_node *node = registry_find_id(&cluster->registry, &told->tellers[i]);
        const struct told_word     *word = told_word_find(told, &told->tellers[i]);
        bool                        has_told = word != NULL && word->life == cluster->life;
        *ret_why = node == NULL || node->state == NODE_LOST ? DOUBT_NODE_LOST : has_told ? DOUBT_LEFT_OUT : DOUBT_NOT_TOLD;
        if (*ret_why == DOUBT_NODE_LOST || (has_told && !word->is_all))
            return TOLD_LACKS;
        if (!has_told)
            judge = TOLD_WAITS;
    }
    return judge;
}

void cluster_told_tick(struct cluster *cluster)
{
    enum doubt_reason why = DOUBT_NOT_TOLD;

    if (cluster->told.stage != TOLD_WORDS)
        return;
    switch (told_judge(cluster, &why)) {
    case TOLD_ALL:
        cluster->told.stage = TOLD_NOT;
        counter_add(&cluster->counters.comparisons_spared, 1);
        writer_compare_memory(cluster->writer);  /* those logs lay in the engine */
        return;
    case TOLD_WAITS:
        if (cluster->now - cluster->told.listed_at < cluster->setup.limits.lease_ms)
            return;
        break;
    case TOLD_LACKS: break;
    }
    told_give_up(cluster, why);
}

void cluster_told_fini(struct cluster *cluster)
{
    free(cluster->told.words);
    free(cluster->told.tellers);
}
