/* The work of append and ledger lanes: one transaction in two steps, and what follows when it fails. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "store/digest.h"
#include "store/pg_priv.h"

enum { DAY_MS = 24 * 3600 * 1000, DAY_NEVER = INT32_MAX, DAYS_A_STEP = 16, PHASE_ASK = 0, PHASE_WRITE, PHASE_ROLLBACK, PHASE_DIRECT,
       PHASE_LOOK_UP };

/* The lane's state while a commit is begun anew because a channel or a partition has to be made first. */
static const char AGAIN[] = "40000";

/* --- days ------------------------------------------------------------------------------------------------------- */

int32_t day_of(const struct message *message)
{
    msec keep_ms = message->channel->space->keep_ms;

    return keep_ms == 0 ? DAY_NEVER : (int32_t)((message->time + keep_ms) / DAY_MS);
}

static bool day_is_known(const struct pg *pg, int32_t day)
{
    for (size_t i = pg->day_count; i-- > 0;)
        if (pg->days[i] == day)
            return true;
    return day == DAY_NEVER;
}

static void day_note(struct pg *pg, int32_t day)
{
    if (pg->day_count == PG_DAYS_COUNT)
        pg->day_count = 0;
    pg->days[pg->day_count++] = day;
}

/* A day of the commit's messages whose partition may be missing; 0: none. */
static int32_t day_missing(const struct pg *pg, const struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->append_count; i++) {
        int32_t day = day_of(commit->appends[i].append->message);
        if (!commit->appends[i].append->is_purge && !day_is_known(pg, day))
            return day;
    }
    return 0;
}

/* --- the first step: lock and ask --------------------------------------------------------------------------------- */

static void send_channel_names(struct pg_lane *lane, enum pg_statement statement)
{
    struct pg_commit *commit = &lane->commit;
    struct pg_args   *args   = &lane->args;

    pg_args_clear(args);
    pg_args_arrays(args, statement == SQL_MAKE_CHANNELS ? "b" : "bi");
    if (statement == SQL_MAKE_CHANNELS) {
        for (size_t i = 0; i < commit->append_count; i++)
            if (!commit->appends[i].append->is_purge && commit->appends[i].append->message->kind == MESSAGE_PLAIN)
                pg_push_bytes(args, 0, channel_name_span(commit->appends[i].channel->name));
    } else {
        for (size_t i = 0; i < commit->channel_count; i++) {
            pg_push_bytes(args, 0, channel_name_span(commit->channels[i].name));
            pg_push_i64(args, 1, (int64_t)i);
        }
    }
    lane_send(lane, statement);
}

static void send_ids(struct pg_lane *lane)
{
    size_t counts[ID_KIND_COUNT] = { 0 };

    for (size_t i = 0; i < lane->commit.append_count; i++)
        if (!lane->commit.appends[i].append->is_purge)
            counts[lane->commit.appends[i].append->message->channel->space->id_kind]++;
    pg_args_clear(&lane->args);
    for (size_t i = 0; i < ID_KIND_COUNT; i++)
        pg_args_i64(&lane->args, (int64_t)((counts[i] + PG_ID_BLOCK - 1) / PG_ID_BLOCK));
    lane_send(lane, SQL_IDS);
}

static void send_keys(struct pg_lane *lane)
{
    struct pg_args *args = &lane->args;

    pg_args_clear(args);
    pg_args_arrays(args, "bbbi");
    for (size_t i = 0; i < lane->commit.append_count; i++) {
        const struct append *append = lane->commit.appends[i].append;
        if (append->key.len == 0)
            continue;
        pg_push_bytes(args, 0, channel_name_span(append->message->channel));
        pg_push_bytes(args, 1, append->publisher);
        pg_push_bytes(args, 2, append->key);
        pg_push_i64(args, 3, (int64_t)i);
    }
    lane_send(lane, SQL_USED_KEYS);
}

static void send_targets(struct pg_lane *lane)
{
    struct pg_args *args = &lane->args;

    pg_args_clear(args);
    pg_args_arrays(args, "bii");
    for (size_t i = 0; i < lane->commit.append_count; i++) {
        const struct message *message = lane->commit.appends[i].append->message;
        if (message->kind != MESSAGE_RECALL || message->target > INT64_MAX)
            continue;
        pg_push_bytes(args, 0, channel_name_span(message->channel));
        pg_push_i64(args, 1, (int64_t)message->target);
        pg_push_i64(args, 2, (int64_t)i);
    }
    lane_send(lane, SQL_TARGETS);
}

static void send_firsts(struct pg_lane *lane)
{
    struct pg_args *args = &lane->args;

    pg_args_clear(args);
    pg_args_arrays(args, "biii");
    for (size_t i = 0; i < lane->commit.append_count; i++) {
        const struct pg_append *mine = &lane->commit.appends[i];
        if (!mine->append->is_purge)
            continue;
        pg_push_bytes(args, 0, channel_name_span(mine->channel->name));
        pg_push_i64(args, 1, pg_keep_count(mine->channel->name->space));
        pg_push_i64(args, 2, pg_oldest_kept(mine->channel->name->space, mine->wall));
        pg_push_i64(args, 3, (int64_t)(mine->channel - lane->commit.channels));
    }
    lane_send(lane, SQL_FIRSTS);
}

static void send_rows(struct pg_lane *lane)
{
    struct pg_args *args = &lane->args;

    pg_args_clear(args);
    pg_args_arrays(args, "i");
    for (size_t i = 0; i < lane->commit.row_count; i++)
        pg_push_i64(args, 0, (int64_t)row_bucket(&lane->commit.rows[i].key));
    lane_send(lane, SQL_LOCK_ROWS);
    pg_args_clear(args);
    pg_args_arrays(args, "ibi");
    for (size_t i = 0; i < lane->commit.row_count; i++) {
        if (!lane->commit.rows[i].is_asked || lane->commit.rows[i].is_raised)
            continue;
        pg_push_i64(args, 0, lane->commit.rows[i].key.kind);
        pg_push_bytes(args, 1, lane->commit.rows[i].key.bytes);
        pg_push_i64(args, 2, (int64_t)i);
    }
    lane_send(lane, SQL_ROWS);
}

static void send_plain(struct pg_lane *lane, enum pg_statement statement)
{
    pg_args_clear(&lane->args);
    lane_send(lane, statement);
}

static void send_before(struct pg_lane *lane)
{
    struct pg_commit *commit = &lane->commit;

    if (commit->makes_channels) {
        send_channel_names(lane, SQL_MAKE_CHANNELS);
        lane_sync(lane);
    }
    commit->makes_channels = false;
    for (int32_t day, count = 0; count < DAYS_A_STEP && (day = day_missing(lane->pg, commit)) != 0; count++) {
        pg_args_clear(&lane->args);
        pg_args_i64(&lane->args, day);
        lane_send(lane, SQL_MAKE_DAY);
        lane_sync(lane);
        day_note(lane->pg, day);
    }
}

static void commit_ask(struct pg_lane *lane)
{
    struct pg_commit *commit = &lane->commit;

    lane->phase = PHASE_ASK;
    send_before(lane);
    send_plain(lane, SQL_BEGIN);
    if (commit->channel_count > 0) {
        send_channel_names(lane, SQL_LOCK_CHANNELS);
        send_plain(lane, SQL_EPOCH);
        send_ids(lane);
    }
    if (commit->has_key)
        send_keys(lane);
    if (commit->has_recall)
        send_targets(lane);
    if (commit->has_purge)
        send_firsts(lane);
    if (commit->row_count > 0)
        send_rows(lane);
    lane_sync(lane);
}

static uint64_t commit_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void commit_go_direct(struct pg_lane *lane)
{
    lane->phase          = PHASE_DIRECT;
    lane->commit.sent_us = commit_clock_us();
    direct_send(lane);
    lane_sync(lane);
}

static void commit_look_up(struct pg_lane *lane)
{
    lane->phase = PHASE_LOOK_UP;
    direct_ask(lane);
}

static void commit_start(struct pg_lane *lane)
{
    if (lane->commit.numbered_by != 0) {
        commit_look_up(lane);
        return;
    }
    lane->commit.sent_us = 0;
    commit_reset(lane->pg, &lane->commit);
    if (commit_is_direct(lane->pg, &lane->commit) && day_missing(lane->pg, &lane->commit) == 0)
        commit_go_direct(lane);
    else
        commit_ask(lane);
}

/* --- what the first step found ------------------------------------------------------------------------------------ */

static struct append_answer answer_at(const PGresult *result, int row, int column)
{
    return (struct append_answer){ .epoch = (uint64_t)pg_i64(result, row, column),
                                   .seq   = (uint64_t)pg_i64(result, row, column + 1),
                                   .id    = (uint64_t)pg_i64(result, row, column + 2),
                                   .time  = pg_i64(result, row, column + 3) };
}

static void take_channels(struct pg *pg, struct pg_commit *commit, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct pg_channel *channel = &commit->channels[pg_i64(result, i, 0)];
        channel->is_found          = true;
        channel->id                = pg_i64(result, i, 1);
        channel->head = channel->head_before = (uint64_t)pg_i64(result, i, 2);
        channel->floor                       = (uint64_t)pg_i64(result, i, 3);
        channel->bytes                       = (uint64_t)pg_i64(result, i, 4);
        known_put(pg, channel->name, channel->id);
    }
}

static void take_ids(struct pg_commit *commit, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        int64_t kind = pg_i64(result, i, 0);
        must(kind < ID_KIND_COUNT && commit->id_blocks[kind] < commit->id_cap);
        commit->ids[kind][commit->id_blocks[kind]++] = pg_i64(result, i, 1);
    }
}

static void take_keys(struct pg_commit *commit, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++)
        commit->appends[pg_i64(result, i, 0)].use = (struct pg_key_use){
            .is_found = true, .digest = (uint64_t)pg_i64(result, i, 1), .answer = answer_at(result, i, 2),
            .forget_at = pg_i64(result, i, 6),
        };
}

static void take_targets(struct pg_commit *commit, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++)
        commit->appends[pg_i64(result, i, 0)].target = (struct pg_target){
            .is_found = true, .kind = (uint8_t)pg_i64(result, i, 1), .time = pg_i64(result, i, 2),
            .expires_at = pg_i64(result, i, 3), .payload_len = (uint64_t)pg_i64(result, i, 4),
            .recall = { .seq = (uint64_t)pg_i64(result, i, 5), .id = (uint64_t)pg_i64(result, i, 6),
                        .time = pg_i64(result, i, 7) },
        };
}

static void take_firsts(struct pg_commit *commit, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++)
        commit->channels[pg_i64(result, i, 0)].first = (uint64_t)pg_i64(result, i, 1);
}

static void take_rows(struct pg_commit *commit, const PGresult *result)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct pg_row *row = &commit->rows[pg_i64(result, i, 0)];
        row->generation    = (uint64_t)pg_i64(result, i, 1);
        row->expires_at    = pg_i64(result, i, 2);
        row->value         = pg_bytes(result, i, 3);
    }
}

/* The results stand in the order in which commit_ask() sent its statements. */
static void commit_take(struct pg_lane *lane)
{
    struct pg_commit *commit = &lane->commit;
    size_t            at     = lane->result_count - 1 - (commit->channel_count > 0 ? 3 : 0) - commit->has_key -
                commit->has_recall - commit->has_purge - (commit->row_count > 0 ? 2 : 0);

    at++;  /* begin */
    commit->epoch = lane->epoch;
    if (commit->channel_count > 0) {
        take_channels(lane->pg, commit, lane->results[at++]);
        commit->epoch = (uint64_t)pg_i64(lane->results[at++], 0, 0);
        take_ids(commit, lane->results[at++]);
    }
    if (commit->has_key)
        take_keys(commit, lane->results[at++]);
    if (commit->has_recall)
        take_targets(commit, lane->results[at++]);
    if (commit->has_purge)
        take_firsts(commit, lane->results[at++]);
    if (commit->row_count > 0) {
        take_rows(commit, lane->results[at + 1]);
        commit->rows_result   = lane->results[at + 1];
        lane->results[at + 1] = NULL;
        at += 2;
    }
    must(at == lane->result_count);
}

/* --- the second step: write and commit ---------------------------------------------------------------------------- */

static void push_message(struct pg_args *args, const struct pg_append *mine)
{
    const struct message *message = mine->append->message;
    bool                  is_rest = mine->recalled_by != NULL;
    const int64_t         numbers[] = {
        mine->channel->id, (int64_t)message->seq, day_of(message), (int64_t)message->id,
        is_rest ? MESSAGE_RECALLED : message->kind, message->time, message->expires_at,
        (int64_t)(is_rest ? mine->recalled_by->append->message->seq : message->target),
    };
    const struct span texts[] = { message_payload(message), message_media(message), message_from(message),
                                  message_event(message), message_collapse_key(message) };

    for (size_t i = 0; i < 8; i++)
        pg_push_i64(args, i, numbers[i]);
    for (size_t i = 0; i < 5; i++)
        pg_push_bytes(args, 8 + i, is_rest ? SPAN("") : texts[i]);
}

/* Messages of durability NONE are numbered, and that is all. */
static bool append_is_kept(const struct append *append)
{
    return append->message->channel->space->durability != NONE;
}

static size_t send_messages(struct pg_lane *lane)
{
    size_t count = 0;

    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "iiiiiiiibbbbb");
    for (size_t i = 0; i < lane->commit.append_count; i++)
        if (lane->commit.appends[i].append->outcome == APPEND_DONE && append_is_kept(lane->commit.appends[i].append)) {
            push_message(&lane->args, &lane->commit.appends[i]);
            count++;
        }
    if (count > 0)
        lane_send(lane, SQL_INSERT);
    return count;
}

/* Of recalled messages that were there before this commit. */
static void send_recalls(struct pg_lane *lane)
{
    size_t count = 0;

    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "iii");
    for (size_t i = 0; i < lane->commit.append_count; i++) {
        const struct pg_append *mine    = &lane->commit.appends[i];
        const struct message   *message = mine->append->message;
        if (mine->append->outcome != APPEND_DONE || message->kind != MESSAGE_RECALL ||
            message->target > mine->channel->head_before)
            continue;
        pg_push_i64(&lane->args, 0, mine->channel->id);
        pg_push_i64(&lane->args, 1, (int64_t)message->target);
        pg_push_i64(&lane->args, 2, (int64_t)message->seq);
        count++;
    }
    if (count > 0)
        lane_send(lane, SQL_RECALL);
}

static size_t send_channels(struct pg_lane *lane)
{
    size_t count = 0;

    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "iiii");
    for (size_t i = 0; i < lane->commit.channel_count; i++) {
        const struct pg_channel *channel = &lane->commit.channels[i];
        if (!channel->has_changed)
            continue;
        pg_push_i64(&lane->args, 0, channel->id);
        pg_push_i64(&lane->args, 1, (int64_t)channel->head);
        pg_push_i64(&lane->args, 2, (int64_t)channel->floor);
        pg_push_i64(&lane->args, 3, (int64_t)channel->bytes);
        count++;
    }
    if (count > 0)
        lane_send(lane, SQL_SET_CHANNELS);
    return count;
}

static void push_key(struct pg *pg, struct pg_args *args, const struct pg_append *mine)
{
    const struct message *message   = mine->append->message;
    const int64_t         numbers[] = { (int64_t)append_digest(mine->append), (int64_t)message->epoch,
                                        (int64_t)message->seq, (int64_t)message->id, message->time,
                                        mine->wall + pg->options.key_keep_ms };

    pg_push_i64(args, 0, mine->channel->id);
    pg_push_bytes(args, 1, mine->append->publisher);
    pg_push_bytes(args, 2, mine->append->key);
    for (size_t i = 0; i < 6; i++)
        pg_push_i64(args, 3 + i, numbers[i]);
}

static void send_used_keys(struct pg_lane *lane)
{
    size_t count = 0;

    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "ibbiiiiii");
    for (size_t i = 0; i < lane->commit.append_count; i++)
        if (lane->commit.appends[i].is_keyed) {
            push_key(lane->pg, &lane->args, &lane->commit.appends[i]);
            count++;
        }
    if (count > 0)
        lane_send(lane, SQL_KEEP_KEYS);
}

static enum pg_statement row_statement(const struct pg_row *row)
{
    if (row->generation == 0)
        return SQL_DELETE_ROWS;
    return row->is_raised ? SQL_RAISE_ROWS : SQL_PUT_ROWS;
}

/* The changed rows that this statement writes. */
static size_t send_changed_rows(struct pg_lane *lane, enum pg_statement statement)
{
    struct pg_args *args  = &lane->args;
    size_t          count = 0;
    msec            wall  = 0;

    pg_args_clear(args);
    pg_args_arrays(args, statement == SQL_DELETE_ROWS ? "ib" : "ibiib");
    for (size_t i = 0; i < lane->commit.row_count; i++) {
        const struct pg_row *row = &lane->commit.rows[i];
        if (!row->has_changed || row_statement(row) != statement)
            continue;
        pg_push_i64(args, 0, row->key.kind);
        pg_push_bytes(args, 1, row->key.bytes);
        count++;
        if (statement == SQL_DELETE_ROWS)
            continue;
        pg_push_i64(args, 2, (int64_t)row->generation);
        pg_push_i64(args, 3, row->expires_at);
        pg_push_bytes(args, 4, row->value);
        wall = row->wall > wall ? row->wall : wall;
    }
    if (statement == SQL_RAISE_ROWS)
        pg_args_i64(args, wall);
    if (count > 0)
        lane_send(lane, statement);
    return count;
}

static void commit_send_writes(struct pg_lane *lane)
{
    size_t changed = send_messages(lane);

    if (lane->commit.has_recall)
        send_recalls(lane);
    changed += send_channels(lane);
    if (lane->commit.has_key)
        send_used_keys(lane);
    if (lane->commit.row_count > 0)
        changed += send_changed_rows(lane, SQL_PUT_ROWS) + send_changed_rows(lane, SQL_RAISE_ROWS) +
                   send_changed_rows(lane, SQL_DELETE_ROWS);
    lane->phase          = PHASE_WRITE;
    lane->commit.sent_us = commit_clock_us();
    if (changed > 0) {
        pg_args_clear(&lane->args);
        pg_args_i64(&lane->args, (int64_t)lane->writer);
        pg_args_i64(&lane->args, (int64_t)++lane->commit_sent);
        lane_send(lane, SQL_MARK);
    }
    send_plain(lane, SQL_COMMIT);
    lane_sync(lane);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

void pg_batch_refuse(struct append_batch *batch, enum append_outcome outcome)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        struct append *append = container_of(link, struct append, link);
        append->outcome       = outcome;
        append->message->epoch = append->message->seq = append->message->id = 0;
        if (append->write != NULL && append->write->outcome == LEDGER_STALE)
            ledger_write_fini(append->write);
        if (append->write != NULL)
            append->write->outcome = LEDGER_WAITING;
    }
}

void pg_ledger_batch_refuse(struct ledger_batch *batch, enum ledger_outcome outcome)
{
    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        if (write->outcome == LEDGER_STALE)
            ledger_write_fini(write);
        write->outcome = outcome;
    }
}

/* Hands the batches back, with the outcomes that they have. The lane is free before: done() may submit more. */
static void commit_answer_all(struct pg_lane *lane)
{
    struct list batches, ledger_batches;
    uint64_t    done = 0;

    for (size_t i = 0; i < lane->commit.append_laid; i++)
        done += lane->commit.appends[i].append->outcome == APPEND_DONE;
    counter_add(&lane->pg->append_count, done);
    list_init(&batches);
    list_init(&ledger_batches);
    list_move(&batches, &lane->commit.batches);
    list_move(&ledger_batches, &lane->commit.ledger_batches);
    commit_clear_found(&lane->commit);
    lane->commit.append_count = lane->commit.change_count = 0;
    lane->commit.try_count                                = 0;
    lane->commit.must_ask                                 = false;
    lane->commit.numbered_by                              = 0;
    lane->doubt_until                                     = 0;
    lane_release(lane);
    for (struct list *link; (link = list_pop(&batches)) != NULL;) {
        struct append_batch *batch = container_of(link, struct append_batch, link);
        counter_add(&lane->pg->batch_count, 1);
        batch->done(batch);
    }
    for (struct list *link; (link = list_pop(&ledger_batches)) != NULL;) {
        struct ledger_batch *batch = container_of(link, struct ledger_batch, link);
        batch->done(batch);
    }
}

static void commit_refuse_all(struct pg_lane *lane, enum append_outcome outcome, enum ledger_outcome ledger_outcome)
{
    for (struct list *at = lane->commit.batches.next; at != &lane->commit.batches; at = at->next)
        pg_batch_refuse(container_of(at, struct append_batch, link), outcome);
    for (struct list *at = lane->commit.ledger_batches.next; at != &lane->commit.ledger_batches; at = at->next)
        pg_ledger_batch_refuse(container_of(at, struct ledger_batch, link), ledger_outcome);
    commit_answer_all(lane);
}

static void sync_note(struct pg *pg, uint64_t us)
{
    size_t bucket = 0;

    while (bucket + 1 < sizeof pg->sync_us_buckets / sizeof pg->sync_us_buckets[0] && us >= UINT64_C(32) << bucket)
        bucket++;
    counter_add(&pg->sync_count, 1);
    counter_add(&pg->sync_us_sum, us);
    counter_add(&pg->sync_us_buckets[bucket], 1);
}

/* It says nothing of room: on a full disk rows still find some in pages that are there already. */
static void commit_finish(struct pg_lane *lane)
{
    lane->commit_done = lane->commit_sent;
    counter_set(&lane->pg->is_broken, 0);
    sync_note(lane->pg, commit_clock_us() - lane->commit.sent_us);
    commit_answer_all(lane);
}

/* --- failures --------------------------------------------------------------------------------------------------- */

static bool state_is(const struct pg_lane *lane, const char *state)
{
    return strncmp(lane->sqlstate, state, strlen(state)) == 0;
}

/* Deadlocks, conflicts, a lock that was not got, a channel or a partition that another node made or dropped, an id that is
 * another channel's. */
static bool may_try_again(const struct pg_lane *lane)
{
    return state_is(lane, "40") || state_is(lane, "55P03") || state_is(lane, "23") || state_is(lane, "42P07") ||
           state_is(lane, "LW003");
}

static void commit_rolled_back(struct pg_lane *lane)
{
    lane->commit_sent = lane->commit_done;
    if (!state_is(lane, AGAIN))
        lane->pg->day_count = 0;
    if (may_try_again(lane) && ++lane->commit.try_count < PG_COMMIT_TRIES) {
        commit_start(lane);
    } else if (state_is(lane, "53100")) {
        counter_set(&lane->pg->is_full, 1);
        lane->pg->full_at = pg_now();
        commit_refuse_all(lane, APPEND_NO_SPACE, LEDGER_NO_SPACE);
    } else {
        commit_refuse_all(lane, APPEND_AWAY, LEDGER_AWAY);
    }
}

/* For the reason `state`, which commit_rolled_back() then finds. */
static void commit_roll_back(struct pg_lane *lane, const char *state)
{
    char keep[sizeof lane->sqlstate];

    snprintf(keep, sizeof keep, "%s", state);
    lane->phase = PHASE_ROLLBACK;
    send_plain(lane, SQL_ROLLBACK);
    lane_sync(lane);
    memcpy(lane->sqlstate, keep, sizeof keep);
}

/* Channels of plain appends must be there. */
static bool channels_are_there(const struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->append_count; i++) {
        const struct pg_append *mine = &commit->appends[i];
        if (!mine->append->is_purge && mine->append->message->kind == MESSAGE_PLAIN && !mine->channel->is_found)
            return false;
    }
    return true;
}

static void commit_asked(struct pg_lane *lane)
{
    struct pg_commit *commit = &lane->commit;

    commit_take(lane);
    commit->makes_channels = !channels_are_there(commit);
    if (commit->makes_channels || day_missing(lane->pg, commit) != 0) {
        commit_roll_back(lane, AGAIN);
        return;
    }
    commit_decide(lane->pg, commit);
    commit_send_writes(lane);
}

static void commit_step(struct pg_lane *lane)
{
    if (lane->phase == PHASE_ROLLBACK) {
        commit_rolled_back(lane);
    } else if (state_is(lane, "LW001") || state_is(lane, "57P") || state_is(lane, "25P03")) {
        lane_lose(lane, "the connection was ended by the database");
    } else if (lane->phase == PHASE_LOOK_UP) {
        commit_turned_out(lane, !lane->has_failed && direct_found(&lane->commit, lane->results[0]), 0);
    } else if (lane->has_failed) {
        lane->commit.must_ask = true;
        commit_roll_back(lane, lane->sqlstate);
    } else if (lane->phase == PHASE_ASK) {
        commit_asked(lane);
    } else {
        if (lane->phase == PHASE_DIRECT)
            direct_take(&lane->commit, lane->results[lane->result_count - 1]);
        else
            must(strcmp(PQcmdStatus(lane->results[lane->result_count - 1]), "COMMIT") == 0);
        commit_finish(lane);
    }
}

/* No connection can be made. */
static void commit_answer_away(struct pg_lane *lane)
{
    if (lane->doubt_until == 0 && lane->commit.numbered_by == 0)
        commit_refuse_all(lane, APPEND_AWAY, LEDGER_AWAY);
    else
        commit_turned_out(lane, false, 0);
}

void commit_turned_out(struct pg_lane *lane, bool is_done, uint64_t writer)
{
    if (is_done && writer != 0 && lane->phase == PHASE_DIRECT) {
        lane->commit.numbered_by = writer;
        lane->state              = LANE_WORKING;
        commit_look_up(lane);
    } else if (is_done) {
        commit_finish(lane);
    } else {
        counter_set(&lane->pg->is_broken, 1);
        counter_add(&lane->pg->unresolved_count, 1);
        commit_refuse_all(lane, APPEND_BROKEN, LEDGER_BROKEN);
    }
}

const struct pg_work pg_commit_work = { commit_start, commit_step, commit_answer_away };
