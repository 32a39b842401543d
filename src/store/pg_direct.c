/* Commits that need no question: plain messages for channels whose ids are known. One statement numbers and stores them, in one
 * flight, and is a transaction by itself: PostgreSQL commits it at the sync behind it, and says so by answering that.
 *
 * It is not known then, when it is sent, which numbers the messages get. If its outcome has to be looked up, they
 * are found by their ids: the row of the writer names the blocks of ids that its last commit took. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "store/pg_priv.h"

enum { KNOWN_WAYS = 8 };

/* --- ids of channels ---------------------------------------------------------------------------------------------- */

/* A name has KNOWN_WAYS places, those of its hash; the newest stands first. What is known may be wrong: two names may have the
 * same hash, and a database that was restored has other ids. The statement compares the names. */
static struct pg_known *known_places(struct pg *pg, const struct channel_name *name)
{
    return &pg->known[name->hash % (PG_KNOWN_COUNT / KNOWN_WAYS) * KNOWN_WAYS];
}

static size_t known_at(const struct pg_known *places, const struct channel_name *name)
{
    size_t at = 0;

    while (at < KNOWN_WAYS && places[at].hash != name->hash)
        at++;
    return at;
}

void known_put(struct pg *pg, const struct channel_name *name, int64_t id)
{
    struct pg_known *places = known_places(pg, name);
    size_t           at     = known_at(places, name);

    memmove(&places[1], places, (at < KNOWN_WAYS ? at : KNOWN_WAYS - 1) * sizeof places[0]);
    places[0] = (struct pg_known){ name->hash, id };
}

int64_t known_find(struct pg *pg, const struct channel_name *name)
{
    const struct pg_known *places = known_places(pg, name);
    size_t                 at     = known_at(places, name);

    return at < KNOWN_WAYS ? places[at].id : 0;
}

/* --- may it go so? ------------------------------------------------------------------------------------------------ */

static bool channels_are_known(struct pg *pg, struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->channel_count; i++)
        if ((commit->channels[i].id = known_find(pg, commit->channels[i].name)) == 0)
            return false;
    return true;
}

bool commit_is_direct(struct pg *pg, struct pg_commit *commit)
{
    if (commit->must_ask || commit->append_count == 0 || commit->row_count > 0 || commit->has_key || commit->has_recall ||
        commit->has_purge || !channels_are_known(pg, commit))
        return false;
    for (size_t i = 0; i < commit->append_count; i++)
        if (commit->appends[i].append->message->channel->space->durability == NONE)
            return false;  /* numbered, but not stored */
    return true;
}

/* --- the statement ------------------------------------------------------------------------------------------------ */

static int by_id(const void *one, const void *two)
{
    const struct pg_channel *const *a = one, *const *b = two;

    return ((*a)->id > (*b)->id) - ((*a)->id < (*b)->id);
}

/* Locks are taken in the order of ids. */
static void channels_order(struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->channel_count; i++)
        commit->order[i] = &commit->channels[i];
    qsort(commit->order, commit->channel_count, sizeof commit->order[0], by_id);
    for (size_t i = 0; i < commit->channel_count; i++) {
        commit->order[i]->at          = i;
        commit->order[i]->added_count = commit->order[i]->added_bytes = 0;
    }
}

/* Which number of its channel, and which id of the blocks, each message gets. Blocks are of one kind of id; those of the
 * lower kind come first. */
static void appends_place(struct pg_commit *commit)
{
    size_t counts[ID_KIND_COUNT] = { 0 }, first = 0;

    for (size_t i = 0; i < commit->append_count; i++) {
        struct pg_append     *mine    = &commit->appends[i];
        const struct message *message = mine->append->message;
        mine->nth                     = ++mine->channel->added_count;
        mine->channel->added_bytes += message->payload_len;
        mine->id_at = counts[message->channel->space->id_kind]++;
    }
    for (size_t kind = 0; kind < ID_KIND_COUNT; kind++) {
        commit->id_first[kind]  = first;
        commit->id_blocks[kind] = (counts[kind] + PG_ID_BLOCK - 1) / PG_ID_BLOCK;
        first += commit->id_blocks[kind] * PG_ID_BLOCK;
    }
    for (size_t i = 0; i < commit->append_count; i++)
        commit->appends[i].id_at += commit->id_first[commit->appends[i].append->message->channel->space->id_kind];
}

static void push_blocks(struct pg_args *args, size_t at, const struct pg_commit *commit)
{
    for (size_t kind = 0; kind < ID_KIND_COUNT; kind++)
        for (size_t i = 0; i < commit->id_blocks[kind]; i++)
            pg_push_i64(args, at, (int64_t)kind);
}

/* What is the same for most messages: an array stays empty if it would say only that. */
enum rare { RARE_NTH, RARE_DAY, RARE_ID, RARE_MEDIA, RARE_EXPIRES_AT, RARE_FROM, RARE_EVENT, RARE_COLLAPSE, RARE_COUNT };

static const char rare_types[] = "iiibibbb";

static void rare_find(const struct pg_commit *commit, bool ret_has[RARE_COUNT])
{
    const struct message *first = commit->appends[0].append->message;

    memset(ret_has, 0, RARE_COUNT * sizeof ret_has[0]);
    for (size_t i = 0; i < commit->append_count; i++) {
        const struct pg_append *mine    = &commit->appends[i];
        const struct message   *message = mine->append->message;
        ret_has[RARE_NTH] |= mine->nth != 1;
        ret_has[RARE_DAY] |= day_of(message) != day_of(first);
        ret_has[RARE_ID] |= mine->id_at != i;
        ret_has[RARE_MEDIA] |= !span_eq(message_media(message), message_media(first));
        ret_has[RARE_EXPIRES_AT] |= message->expires_at != 0;
        ret_has[RARE_FROM] |= message_from(message).len > 0;
        ret_has[RARE_EVENT] |= message_event(message).len > 0;
        ret_has[RARE_COLLAPSE] |= message_collapse_key(message).len > 0;
    }
}

/* Nothing differs but channel, time and payload: then no array but those has anything to say. */
static bool commit_is_plain(const bool has[RARE_COUNT])
{
    for (size_t i = 0; i < RARE_COUNT; i++)
        if (has[i])
            return false;
    return true;
}

static void push_channels(struct pg_args *args, size_t at, const struct pg_commit *commit, const bool has[RARE_COUNT])
{
    for (size_t i = 0; i < commit->channel_count; i++) {
        const struct pg_channel *channel = commit->order[i];
        pg_push_bytes(args, at, channel_name_span(channel->name));
        pg_push_i64(args, at + 1, channel->id);
        pg_push_i64(args, at + 2, (int64_t)channel->added_bytes);
        if (has[RARE_NTH])
            pg_push_i64(args, at + 3, (int64_t)channel->added_count);
    }
}

static void push_appends(struct pg_args *args, size_t at, const struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->append_count; i++) {
        const struct message *message = commit->appends[i].append->message;
        pg_push_i64(args, at, (int64_t)commit->appends[i].channel->at + 1);
        pg_push_i64(args, at + 1, message->time);
        pg_push_bytes(args, at + 2, message_payload(message));
    }
}

static void push_rare(struct pg_args *args, size_t at, const struct pg_append *mine, const bool has[RARE_COUNT])
{
    const struct message *message              = mine->append->message;
    const int64_t         numbers[RARE_COUNT] = {
        [RARE_NTH] = (int64_t)mine->nth, [RARE_DAY] = day_of(message), [RARE_ID] = (int64_t)mine->id_at,
        [RARE_EXPIRES_AT] = message->expires_at,
    };
    const struct span texts[RARE_COUNT] = {
        [RARE_MEDIA] = message_media(message), [RARE_FROM] = message_from(message), [RARE_EVENT] = message_event(message),
        [RARE_COLLAPSE] = message_collapse_key(message),
    };

    for (size_t i = 0; i < RARE_COUNT; i++) {
        if (has[i] && rare_types[i] == 'i')
            pg_push_i64(args, at + i, numbers[i]);
        else if (has[i])
            pg_push_bytes(args, at + i, texts[i]);
    }
}

/* Each message is the only one of its channel, and all have one kind of id: so both were laid out side by side. */
static void push_plain(struct pg_args *args, size_t at, struct pg_commit *commit)
{
    must(commit->channel_count == commit->append_count);
    for (size_t i = 0; i < commit->channel_count; i++) {
        struct pg_append     *mine    = &commit->appends[commit->order[i] - commit->channels];
        const struct message *message = mine->append->message;
        must(mine->channel == commit->order[i]);
        mine->id_at = i;
        pg_push_bytes(args, at, channel_name_span(mine->channel->name));
        pg_push_i64(args, at + 1, mine->channel->id);
        pg_push_i64(args, at + 2, message->time);
        pg_push_bytes(args, at + 3, message_payload(message));
    }
}

static void plain_send(struct pg_lane *lane)
{
    pg_args_arrays(&lane->args, "biib");
    push_blocks(&lane->args, 3, &lane->commit);
    push_plain(&lane->args, 6, &lane->commit);
    lane_send(lane, SQL_STORE_PLAIN);
}

static void mixed_send(struct pg_lane *lane, const bool has[RARE_COUNT])
{
    const struct pg_commit *commit = &lane->commit;

    pg_args_arrays(&lane->args, "biii" "iib");
    pg_args_arrays(&lane->args, rare_types);
    push_blocks(&lane->args, 3, commit);
    push_channels(&lane->args, 6, commit, has);
    push_appends(&lane->args, 10, commit);
    for (size_t i = 0; i < commit->append_count; i++)
        push_rare(&lane->args, 13, &commit->appends[i], has);
    lane_send(lane, SQL_STORE);
}

void direct_send(struct pg_lane *lane)
{
    struct pg_commit     *commit = &lane->commit;
    const struct message *first  = commit->appends[0].append->message;
    bool                  has[RARE_COUNT];

    channels_order(commit);
    appends_place(commit);
    rare_find(commit, has);
    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, (int64_t)lane->writer);
    pg_args_i64(&lane->args, (int64_t)++lane->commit_sent);
    pg_args_i64(&lane->args, (int64_t)commit->channel_count);
    pg_args_arrays(&lane->args, "i");
    pg_args_i64(&lane->args, day_of(first));
    pg_args_bytes(&lane->args, message_media(first));
    if (commit_is_plain(has))
        plain_send(lane);
    else
        mixed_send(lane, has);
}

/* --- its answer --------------------------------------------------------------------------------------------------- */

static void append_number(struct pg_append *mine, int64_t epoch, int64_t seq, int64_t id)
{
    struct message *message = mine->append->message;

    message->epoch        = (uint64_t)epoch;
    message->seq          = (uint64_t)seq;
    message->id           = (uint64_t)id;
    mine->append->outcome = APPEND_DONE;
}

void direct_take(struct pg_commit *commit, const PGresult *said)
{
    must(PQntuples(said) == 1);
    for (size_t i = 0; i < commit->append_count; i++) {
        struct pg_append *mine = &commit->appends[i];
        append_number(mine, pg_i64(said, 0, 0), pg_array_i64(said, 0, 1, mine->channel->at) + (int64_t)mine->nth,
                      pg_array_i64(said, 0, 2, mine->id_at / PG_ID_BLOCK) + (int64_t)(mine->id_at % PG_ID_BLOCK));
    }
}

/* --- a COMMIT that was looked up and had happened ------------------------------------------------------------------ */

void direct_ask(struct pg_lane *lane)
{
    struct pg_commit *commit = &lane->commit;

    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, (int64_t)commit->numbered_by);
    pg_args_arrays(&lane->args, "iii");
    for (size_t i = 0; i < commit->append_count; i++) {
        pg_push_i64(&lane->args, 1, (int64_t)i);
        pg_push_i64(&lane->args, 2, commit->appends[i].channel->id);
        pg_push_i64(&lane->args, 3, (int64_t)commit->appends[i].id_at);
    }
    lane_send(lane, SQL_STORED);
    lane_sync(lane);
}

bool direct_found(struct pg_commit *commit, const PGresult *said)
{
    if ((size_t)PQntuples(said) != commit->append_count)
        return false;  /* retention or a purge was faster */
    for (int i = 0; i < PQntuples(said); i++)
        append_number(&commit->appends[pg_i64(said, i, 0)], pg_i64(said, i, 1), pg_i64(said, i, 2), pg_i64(said, i, 3));
    return true;
}
