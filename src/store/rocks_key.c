/* Idempotency keys: one row for each key, written in the same commit as the messages. */
#include "base/must.h"
#include "store/digest.h"
#include "store/rocks_commit.h"

/* The key as it is stored on disk: channel number, publisher's length, publisher, key. */
static struct span key_encode(struct buf *buf, uint64_t number, const struct append *append)
{
    struct row_key place = row_key(number, append->publisher.len);

    buf_clear(buf);
    buf_put(buf, row_key_span(&place));
    buf_put(buf, append->publisher);
    buf_put(buf, append->key);
    must(!buf_is_over(buf));
    return buf_span(buf);
}

static uint64_t key_hash(const struct rocks *rocks, const struct append *append)
{
    struct hash_key key = rocks->options.hash_key;

    key.k0 ^= append->message->channel->hash;
    key.k0 ^= hash_bytes(&key, append->publisher);
    return hash_bytes(&key, append->key);
}

static bool keyed_row_is(const struct map_node *node, const void *key)
{
    const struct append *seen = container_of(node, struct commit_row, key_node)->append, *append = key;

    return channel_name_eq(seen->message->channel, append->message->channel) &&
           span_eq(seen->publisher, append->publisher) && span_eq(seen->key, append->key);
}

static void append_answer_as(struct append *append, uint64_t digest, struct append_answer first)
{
    append->outcome = digest == append_digest(append) ? APPEND_REPLAYED : APPEND_KEY_CONFLICT;
    if (append->outcome == APPEND_REPLAYED)
        append->first = first;
}

static struct append_answer answer_of(const struct message *message)
{
    return (struct append_answer){ message->epoch, message->seq, message->id, message->time };
}

static bool key_is_in_commit(struct rocks *rocks, struct commit *commit, struct append *append)
{
    struct map_node *node = map_find(&commit->keys, key_hash(rocks, append), keyed_row_is, append);
    if (node == NULL)
        return false;

    const struct append *seen = container_of(node, struct commit_row, key_node)->append;
    append_answer_as(append, append_digest(seen), answer_of(seen->message));
    return true;
}

bool key_decides(struct rocks *rocks, struct commit *commit, const struct commit_row *row, msec wall)
{
    struct append *append = row->append;
    uint64_t       seen[KEY_COUNT];

    if (key_is_in_commit(rocks, commit, append))
        return true;
    if (row->channel->now.number == 0)
        return false;
    struct span key = key_encode(&commit->key, row->channel->now.number, append);
    enum rc     rc  = rocks_db_get_record(&rocks->db, FAMILY_KEYS, rocks->db.get, key, seen, KEY_COUNT);
    if (rc == RC_GONE || (rc == RC_OK && (msec)seen[KEY_FORGET_AT] <= wall))
        return false;
    if (rc != RC_OK)
        append->outcome = APPEND_BROKEN;
    else
        append_answer_as(append, seen[KEY_DIGEST], (struct append_answer){ seen[KEY_EPOCH], seen[KEY_SEQ], seen[KEY_ID],
                                                                           (msec)seen[KEY_TIME] });
    return true;
}

void key_save(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall)
{
    const struct append  *append  = row->append;
    const struct message *message = append->message;
    const uint64_t        seen[KEY_COUNT] = {
        [KEY_DIGEST]    = append_digest(append),
        [KEY_EPOCH]     = message->epoch,
        [KEY_SEQ]       = message->seq,
        [KEY_ID]        = message->id,
        [KEY_TIME]      = (uint64_t)message->time,
        [KEY_FORGET_AT] = (uint64_t)(wall + rocks->options.key_keep_ms),
    };

    struct span key = key_encode(&commit->key, row->channel->change.number, append);
    rocks_db_put_record(&rocks->db, commit->write, FAMILY_KEYS, key, seen, KEY_COUNT);
    map_add(&commit->keys, &row->key_node, key_hash(rocks, append));
    row->is_keyed = true;
}
