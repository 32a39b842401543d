#include "followed.h"

#include <stdlib.h>

#include "base/must.h"

void followed_table_init(struct followed_table *table, struct hash_key key)
{
    *table = (struct followed_table){ .key = key };
    map_init(&table->map);
    list_init(&table->all);
    list_init(&table->to_ack);
    list_init(&table->gone);
}

static void gone_remove(struct followed_table *table, struct followed *gone)
{
    list_take(&gone->link);
    list_take(&gone->to_ack);
    table->gone_count--;
    free(gone);
}

void followed_table_fini(struct followed_table *table)
{
    while (!list_is_empty(&table->all))
        followed_remove(table, container_of(table->all.next, struct followed, link));
    while (!list_is_empty(&table->gone))
        gone_remove(table, container_of(table->gone.next, struct followed, link));
    map_fini(&table->map);
}

static bool followed_is(const struct map_node *node, const void *key)
{
    const struct followed *followed = container_of(node, struct followed, node);

    return span_eq(followed_name(followed), *(const struct span *)key);
}

struct followed *followed_find(const struct followed_table *table, struct span name)
{
    struct map_node *node = map_find(&table->map, hash_bytes(&table->key, name), followed_is, &name);

    return node == NULL ? NULL : container_of(node, struct followed, node);
}

struct followed *followed_find_gone(const struct followed_table *table, struct span name)
{
    for (struct list *link = table->gone.next; link != &table->gone; link = link->next) {
        struct followed *gone = container_of(link, struct followed, link);
        if (span_eq(followed_name(gone), name))
            return gone;
    }
    return NULL;
}

static void take_floor(struct followed_table *table, struct followed *followed)
{
    struct followed *gone = followed_find_gone(table, followed_name(followed));

    if (gone == NULL)
        return;
    followed->floor_epoch = gone->epoch;
    followed->floor_seq   = gone->seq;
    followed->floor_ack   = gone->ack_seq;
    gone_remove(table, gone);
}

struct followed *followed_add(struct followed_table *table, struct span name)
{
    struct followed *followed = calloc(1, sizeof *followed + name.len + 1);

    must(followed != NULL);
    memcpy(followed->name, name.at, name.len);
    followed->name_len = name.len;
    map_add(&table->map, &followed->node, hash_bytes(&table->key, name));
    list_push(&table->all, &followed->link);
    table->count++;
    take_floor(table, followed);
    return followed;
}

void followed_remove(struct followed_table *table, struct followed *followed)
{
    map_take(&table->map, &followed->node);
    list_take(&followed->link);
    list_take(&followed->to_ack);
    table->count--;
    free(followed);
}

void followed_go(struct followed_table *table, struct followed *followed)
{
    if (!followed->is_placed) {
        followed->epoch   = followed->floor_epoch;
        followed->seq     = followed->floor_seq;
        followed->ack_seq = followed->floor_ack;
    }
    followed->read_seq = 0;
    map_take(&table->map, &followed->node);
    list_take(&followed->link);
    list_push(&table->gone, &followed->link);
    table->count--;
    if (++table->gone_count > FOLLOWED_GONE_MAX)
        gone_remove(table, container_of(table->gone.next, struct followed, link));
}

void followed_gone_lost(struct followed_table *table)
{
    for (struct list *link = table->gone.next; link != &table->gone; link = link->next)
        list_take(&container_of(link, struct followed, link)->to_ack);
}

static bool is_below_floor(const struct followed *followed, uint64_t epoch, uint64_t seq)
{
    return !followed->is_placed && followed->floor_seq > 0 && epoch == followed->floor_epoch && seq <= followed->floor_seq;
}

bool followed_was_acked(const struct followed *followed, uint64_t seq)
{
    return !followed->is_placed && seq <= followed->floor_ack;
}

static void move_to(struct followed *followed, uint64_t epoch, uint64_t seq)
{
    followed->is_placed = followed->is_dense = true;
    followed->epoch     = epoch;
    followed->seq       = seq;
}

bool followed_ends_with_link(struct span name)
{
    return span_starts(name, SPAN("conn:"));
}

/* In between the user may have been no member of the group that the session follows: who joins again begins at the place of the
 * join, without a gap. */
static bool may_skip(const struct followed *followed)
{
    return followed->is_own && span_starts(followed_name(followed), SPAN("group:"));
}

/* The first message of a link in a channel of the session's own lies where the session stands, whatever came before. */
static bool has_skipped(const struct followed *followed, uint64_t epoch, uint64_t seq, struct lw_gap *ret_skipped)
{
    bool is_same_log = followed->epoch == epoch;

    *ret_skipped = (struct lw_gap){
        .channel = followed->name,
        .epoch   = epoch,
        .from    = is_same_log ? followed->seq + 1 : 1,
        .to      = seq - 1,
        .why     = is_same_log ? LW_GAP_UNFOLLOWED : LW_GAP_EPOCH,
    };
    return !is_same_log || ret_skipped->from <= ret_skipped->to;
}

enum followed_verdict followed_message(struct followed *followed, uint64_t epoch, uint64_t seq, bool *ret_has_skipped,
                                       struct lw_gap *ret_skipped)
{
    bool is_same_log = followed->epoch == 0 || followed->epoch == epoch;

    *ret_has_skipped = false;
    if (is_below_floor(followed, epoch, seq)) {
        followed->epoch = epoch;
        followed->seq   = seq;
        return FOLLOWED_DROP;
    }
    if (followed->is_placed) {
        if (is_same_log && seq <= followed->seq)
            return FOLLOWED_DROP;
        if (followed->is_dense && (!is_same_log || (seq != followed->seq + 1 && !may_skip(followed))))
            return FOLLOWED_HOLE;  /* a new life of a log is told by a gap first */
        if (!followed->is_dense || may_skip(followed))
            *ret_has_skipped = has_skipped(followed, epoch, seq, ret_skipped);
    }
    if (!is_same_log)
        followed->ack_seq = followed->read_seq = 0;
    move_to(followed, epoch, seq);
    return FOLLOWED_TELL;
}

static void gap_new_log(struct followed *followed, const struct lw_gap *gap)
{
    followed->ack_seq = followed->read_seq = 0;
    followed->seq     = gap->to;
}

static enum followed_verdict gap_seqs(struct followed *followed, struct lw_gap *gap)
{
    if (is_below_floor(followed, gap->epoch, gap->to))
        return FOLLOWED_DROP;
    if (followed->is_placed && gap->to <= followed->seq)
        return FOLLOWED_DROP;
    if (followed->is_placed && followed->is_dense && !may_skip(followed) && gap->from > followed->seq + 1)
        return FOLLOWED_HOLE;
    if (followed->is_placed && gap->from <= followed->seq)
        gap->from = followed->seq + 1;
    followed->seq = gap->to;
    return FOLLOWED_TELL;
}

enum followed_verdict followed_gap(struct followed *followed, struct lw_gap *gap)
{
    enum followed_verdict verdict = FOLLOWED_TELL;

    if (gap->why == LW_GAP_EPOCH || (followed->is_placed && followed->epoch != 0 && followed->epoch != gap->epoch))
        gap_new_log(followed, gap);
    else if (gap->why == LW_GAP_AHEAD)
        followed->seq = gap->from - 1;
    else
        verdict = gap_seqs(followed, gap);
    if (verdict != FOLLOWED_TELL)
        return verdict;
    move_to(followed, gap->epoch, followed->seq);
    return verdict;
}

void followed_place(struct followed *followed, uint64_t epoch, uint64_t head)
{
    bool is_from_now = followed->place == LW_FROM_NOW ||
                       (followed->place == LW_LAST && (followed->place_seq == 0 || head == 0));

    if (followed->is_placed || !is_from_now || followed->is_own)
        return;
    move_to(followed, epoch, head);
}

void followed_on_link(struct followed *followed, uint64_t epoch, uint64_t seq)
{
    followed->is_on_link = true;
    followed->link_epoch = epoch;
    followed->link_seq   = seq;
}

static void to_ack(struct followed_table *table, struct followed *followed)
{
    if (!list_is_linked(&followed->to_ack))
        list_push(&table->to_ack, &followed->to_ack);
}

void followed_link_lost(struct followed_table *table, struct followed *followed)
{
    if (followed->state == FOLLOWED_ASKED || followed->state == FOLLOWED_ON)
        followed->state = FOLLOWED_IDLE;
    followed->is_dense = followed->is_placed && !followed->is_own;
    followed->leaving  = 0;
    followed->is_on_link = false;
    if (followed->is_acked || followed->read_seq != 0)
        to_ack(table, followed);
    followed->is_acked = followed->is_read_sent = false;
}

void followed_ack(struct followed_table *table, struct followed *followed, uint64_t seq)
{
    if (seq > followed->seq)
        seq = followed->seq;  /* nobody can have dealt with what was not told */
    if (seq <= followed->ack_seq)
        return;
    followed->ack_seq = seq;
    to_ack(table, followed);
}

void followed_read(struct followed_table *table, struct followed *followed, uint64_t seq)
{
    followed->read_seq     = seq;
    followed->is_read_sent = false;
    to_ack(table, followed);
}
