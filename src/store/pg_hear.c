/* What other processes publish by longwire.publish(): one connection listens for it. A notice names a transaction,
 * longwire.moved has the channels that it published to, and their heads as they are now are told. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "store/pg_priv.h"

enum { HEAR_AGAIN_MS = 1000, HEADS_A_TIME = 4096 };

void pg_hear(struct store *store, const struct store_ear *ear)
{
    struct pg *pg = pg_of(store);

    pthread_mutex_lock(&pg->lock);
    must(pg->lists.ear.heard == NULL);
    pg->lists.ear = *ear;
    pthread_mutex_unlock(&pg->lock);
    pg_wake(pg);
}

/* The connection is made once somebody wants to hear. */
void hear_begin(struct pg *pg)
{
    if (pg->ear.heard != NULL)
        return;
    pthread_mutex_lock(&pg->lock);
    pg->ear = pg->lists.ear;
    pthread_mutex_unlock(&pg->lock);
    for (size_t i = 0; i < pg->lane_count && pg->ear.heard != NULL; i++)
        if (pg->lanes[i].class == LANE_HEAR)
            pg->lanes[i].due = 1;
}

void hear_take_notices(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;
    PGnotify  *notice;

    while (lane->conn != NULL && (notice = PQnotifies(lane->conn)) != NULL) {
        char    *end         = NULL;
        uint64_t transaction = strtoull(notice->extra, &end, 10);
        if (strcmp(notice->relname, "longwire") == 0 && transaction != 0 && *end == '\0') {
            if (pg->notice_count < PG_NOTICES_COUNT)
                pg->notices[pg->notice_count++] = transaction;
            else
                pg->has_more_notices = true;
        }
        PQfreemem(notice);
    }
}

const struct pg_work *take_hearing(struct pg *pg, const struct pg_lane *lane)
{
    bool is_wanted = lane->is_listening ? pg->notice_count > 0 : pg_now() >= pg->hear_after;

    return lane->state == LANE_IDLE && is_wanted ? &pg_hear_work : NULL;
}

/* Some of what was published is not known: all heads must be compared. */
static void hear_miss(struct pg *pg)
{
    pg->ear.missed(pg->ear.ctx);
}

static void send_notices(struct pg_lane *lane, enum pg_statement statement)
{
    struct pg *pg = lane->pg;

    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "i");
    for (size_t i = 0; i < pg->asked_count; i++)
        pg_push_i64(&lane->args, 0, (int64_t)pg->asked[i]);
    lane_send(lane, statement);
}

/* What comes while the question is under way waits for the next one. */
static void hear_start(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;

    if (!lane->is_listening) {
        pg_args_clear(&lane->args);
        lane_send(lane, SQL_LISTEN);
        lane_sync(lane);
        return;
    }
    memcpy(pg->asked, pg->notices, pg->notice_count * sizeof pg->notices[0]);
    pg->asked_count  = pg->notice_count;
    pg->notice_count = 0;
    send_notices(lane, SQL_MOVED_COUNT);
    send_notices(lane, SQL_MOVED);
    lane_sync(lane);
}

static void hear_tell(struct pg *pg, const PGresult *heads, int row)
{
    struct channel_name *name = NULL;

    if (channel_name_new(pg->options.spaces, &pg->options.hash_key, pg_bytes(heads, row, 0), &name) != CHANNEL_NAME_OK)
        return;  /* of a namespace that this process does not know: nobody here follows it */
    known_put(pg, name, pg_i64(heads, row, 3));
    if (name->space->durability == DURABLE)
        pg->ear.heard(pg->ear.ctx, name, (uint64_t)pg_i64(heads, row, 2), (uint64_t)pg_i64(heads, row, 1));
    channel_name_unref(name);
}

static void hear_answered(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;

    must(lane->result_count == 2);
    const PGresult *heads  = lane->results[1];
    bool            is_all = pg_i64(lane->results[0], 0, 0) == (int64_t)pg->asked_count && !pg->has_more_notices &&
                  PQntuples(heads) <= HEADS_A_TIME;

    for (int i = 0; i < PQntuples(heads); i++)
        hear_tell(pg, heads, i);
    pg->has_more_notices = false;
    if (!is_all)
        hear_miss(pg);
}

/* Whatever was published while nobody listened is found by comparing heads. */
static void hear_step(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;

    if (lane->has_failed)
        pg->hear_after = pg_now() + HEAR_AGAIN_MS;
    if (!lane->is_listening) {
        lane->is_listening = !lane->has_failed;
        hear_miss(pg);
    } else if (lane->has_failed) {
        hear_miss(pg);
    } else {
        hear_answered(lane);
    }
    lane_release(lane);
}

/* Another connection will listen anew, and then all heads are compared. */
static void hear_refuse(struct pg_lane *lane)
{
    lane_release(lane);
}

const struct pg_work pg_hear_work = { hear_start, hear_step, hear_refuse };
