/* Recalls: finds the target as it is at that moment, in the commit or on disk, and decides whether it can be
 * recalled. */
#include "store/rocks_commit.h"

struct row recalled_row(const struct row *old, const struct message *recall)
{
    return (struct row){
        .kind        = MESSAGE_RECALLED,
        .id          = old->id,
        .time        = old->time,
        .expires_at  = old->expires_at,
        .target      = recall->seq,
        .answer_id   = recall->id,
        .answer_time = recall->time,
    };
}

/* Finds the row of this commit that was numbered `seq`, or the recall in it whose target is `seq`. NULL: there is
 * none. */
static const struct commit_row *commit_find(const struct commit *commit, const struct rocks_channel *channel,
                                            uint64_t seq, bool is_recall_of)
{
    for (uint32_t at = channel->change.row_last; at != 0; at = commit->rows[at - 1].before) {
        const struct message *message = commit->rows[at - 1].append->message;
        if (is_recall_of ? message->kind == MESSAGE_RECALL && message->target == seq : message->seq == seq)
            return &commit->rows[at - 1];
    }
    return NULL;
}

/* Finds the target as it is now, in the commit or on disk. *ret_slice owns its bytes if they come from the disk.
 * RC_GONE: there is none. */
static enum rc target_find(struct rocks *rocks, const struct commit *commit, const struct rocks_channel *channel,
                           uint64_t seq, struct row *ret, rocksdb_pinnableslice_t **ret_slice)
{
    const struct commit_row *row = commit_find(commit, channel, seq, true);
    if (row != NULL) {
        *ret = (struct row){ .kind        = MESSAGE_RECALLED,
                             .target      = row->append->message->seq,
                             .answer_id   = row->append->message->id,
                             .answer_time = row->append->message->time };
        return RC_OK;
    }
    row = commit_find(commit, channel, seq, false);
    if (row != NULL) {
        *ret = row_of_message(row->append->message);
        return RC_OK;
    }
    if (seq > channel->now.head || channel->now.number == 0)
        return RC_GONE;

    struct row_key           key   = row_key(channel->now.number, seq);
    rocksdb_pinnableslice_t *slice = NULL;
    enum rc                  rc = rocks_db_get(&rocks->db, FAMILY_MESSAGES, rocks->db.get, row_key_span(&key), &slice);
    if (rc != RC_OK || slice == NULL)
        return rc == RC_OK || rc == RC_CORRUPT ? RC_GONE : rc;
    struct span value;
    value.at = rocksdb_pinnableslice_value(slice, &value.len);
    if (!row_get(value, channel->now.number, seq, ret)) {
        rocksdb_pinnableslice_destroy(slice);
        return RC_GONE;
    }
    *ret_slice = slice;
    return RC_OK;
}

enum rc row_floor(struct rocks *rocks, const struct commit_row *row, msec wall, uint64_t *ret)
{
    struct rocks_channel *channel = row->channel;

    pthread_mutex_lock(&rocks->table.lock);
    const struct channel_state was = channel->now;
    pthread_mutex_unlock(&rocks->table.lock);

    struct channel_state state = was;
    enum rc              rc    = state_apply_age(rocks, channel->name->space, wall, &state);
    if (rc == RC_OK)
        channel_raise_floor(rocks, channel->name, &was, &state);
    *ret = state.floor > channel->change.floor ? state.floor : channel->change.floor;
    return rc;
}

enum rc recall_check(struct rocks *rocks, const struct commit *commit, const struct commit_row *row, msec wall,
                     struct row *ret_old)
{
    struct append           *append = row->append;
    uint64_t                 target = append->message->target, floor = 0;
    rocksdb_pinnableslice_t *slice = NULL;

    append->outcome = APPEND_NO_TARGET;
    /* What readers no longer see can't be recalled. */
    enum rc rc = row_floor(rocks, row, wall, &floor);
    if (rc == RC_OK)
        rc = target < floor ? RC_GONE : target_find(rocks, commit, row->channel, target, ret_old, &slice);
    if (rc != RC_OK && rc != RC_GONE)
        append->outcome = APPEND_BROKEN;
    if (rc != RC_OK)
        return rc;

    if (ret_old->kind == MESSAGE_RECALL || ret_old->kind == ROW_EXPIRED ||
        (ret_old->expires_at != 0 && ret_old->expires_at <= wall)) {
        rc = RC_GONE;
    } else if (ret_old->kind == MESSAGE_RECALLED) {
        append->outcome = APPEND_REPLAYED;
        append->first =
            (struct append_answer){ rocks->epoch, ret_old->target, ret_old->answer_id, ret_old->answer_time };
        rc = RC_GONE;
    }
    row->channel->change.bytes_less += rc == RC_OK ? ret_old->payload.len : 0;
    ret_old->media = ret_old->from = ret_old->payload = (struct span){ 0 };  /* the bytes are freed with the slice */
    rocksdb_pinnableslice_destroy(slice);
    return rc;
}
