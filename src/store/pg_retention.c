/* One step of retention for each tick: longwire.tend() does it in the database, and only one node at a time. */
#include <string.h>

#include "base/must.h"
#include "store/pg_priv.h"

enum { SIZES_EVERY = 30, KEEP_UP_EVERY = 60, CLOCK_TRIP_MS = 1000, TICK_TENDS = 0, TICK_TRIES_ROOM };

static const char DISK_FULL[] = "53100";

static void push_space(struct pg_args *args, struct span name, const struct namespace *space)
{
    pg_push_bytes(args, 2, name);
    pg_push_i64(args, 3, space->keep_ms);
    pg_push_i64(args, 4, pg_keep_count(space));
    pg_push_i64(args, 5, space->keep_bytes > INT64_MAX ? 0 : (int64_t)space->keep_bytes);
}

static void push_policy(struct pg_args *args, struct span name, const struct namespace *space)
{
    const int64_t numbers[] = { space->durability == DURABLE, space->is_servers, space->id_kind, space->keep_ms,
                                space->payload_bytes_max, space->ttl_s_default };

    pg_push_bytes(args, 1, name);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        pg_push_i64(args, 2 + i, numbers[i]);
}

static void push_own_spaces(struct pg_args *args, const struct namespaces *spaces)
{
    char        text[OWN_POLICY_TEXT];
    struct span channel;

    for (size_t i = 0; i < OWN_POLICIES; i++) {
        const struct namespace *space = namespaces_own(spaces, i, text, &channel);
        push_space(args, channel, space);
    }
}

static void push_own_policies(struct pg_args *args, const struct namespaces *spaces)
{
    char        text[OWN_POLICY_TEXT];
    struct span channel;

    for (size_t i = 0; i < OWN_POLICIES; i++) {
        const struct namespace *space = namespaces_own(spaces, i, text, &channel);
        push_policy(args, channel, space);
    }
}

/* For callers of longwire.publish(), and so that each day's partition is there before its first message. */
static void send_keep_up(struct pg_lane *lane, msec wall)
{
    const struct namespaces *spaces = lane->pg->options.spaces;

    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, wall);
    pg_args_arrays(&lane->args, "biiiiii");
    push_own_policies(&lane->args, spaces);
    for (size_t i = 0; i < spaces->count; i++)
        push_policy(&lane->args, span_str(spaces->at[i].name), &spaces->at[i]);
    pg_args_i64(&lane->args, lane->pg->options.key_keep_ms);
    lane_send(lane, SQL_KEEP_UP);
    lane_sync(lane);
}

static void pg_tick_start(struct pg_lane *lane)
{
    struct pg               *pg     = lane->pg;
    const struct namespaces *spaces = pg->options.spaces;

    pthread_mutex_lock(&pg->lock);
    msec wall = pg->lists.tick_wall;
    msec at   = pg->lists.tick_after - pg->options.tend_ms;
    pthread_mutex_unlock(&pg->lock);
    lane->phase        = TICK_TENDS;
    pg->tick_sent      = pg_now();
    pg->tick_sent_wall = wall + pg->tick_sent - at;
    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, wall);
    lane_send(lane, SQL_DROP_DAY);
    lane_sync(lane);
    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, wall);
    pg_args_i64(&lane->args, pg->tend_from);
    pg_args_arrays(&lane->args, "biii");
    push_own_spaces(&lane->args, spaces);
    for (size_t i = 0; i < spaces->count; i++)
        push_space(&lane->args, span_str(spaces->at[i].name), &spaces->at[i]);
    lane_send(lane, SQL_TEND);
    lane_sync(lane);
    uint32_t tick = pg->tick_count++;
    if (tick % SIZES_EVERY != 0)
        return;
    pg_args_clear(&lane->args);
    lane_send(lane, SQL_SIZES);
    lane_sync(lane);
    if (tick % KEEP_UP_EVERY == 0)
        send_keep_up(lane, wall);
}

/* PostgreSQL said what time it has, at some moment between question and answer. */
static void compare_clocks(struct pg *pg, msec told)
{
    msec took = pg_now() - pg->tick_sent;

    if (took <= CLOCK_TRIP_MS)
        counter_set(&pg->clock_ahead_ms, (uint64_t)(pg->tick_sent_wall + took / 2 - told));
}

/* Whether there is room, and whether anything can be written at all, does not depend on whether somebody publishes here: a load
 * balancer that asks for readiness sends nobody until then. */
static bool must_try_room(const struct pg *pg)
{
    return counter_get(&pg->is_broken) != 0 || (counter_get(&pg->is_full) != 0 && pg_now() - pg->full_at >= pg->options.room_ms);
}

static void try_room(struct pg_lane *lane)
{
    const enum pg_statement statements[] = { SQL_BEGIN, SQL_TRY_ROOM, SQL_ROLLBACK };

    lane->phase = TICK_TRIES_ROOM;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        pg_args_clear(&lane->args);
        lane_send(lane, statements[i]);
        lane_sync(lane);
    }
}

static void room_was_tried(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;

    if (!lane->has_failed) {
        counter_set(&pg->is_full, 0);
        counter_set(&pg->is_broken, 0);
    } else if (strcmp(lane->sqlstate, DISK_FULL) == 0) {
        pg->full_at = pg_now();
    }
}

/* A step that failed is made again by the next tick; its failure stands in the stats. */
static void pg_tick_step(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;

    if (lane->phase == TICK_TRIES_ROOM) {
        room_was_tried(lane);
        lane_release(lane);
        return;
    }
    if (!lane->has_failed) {
        pg->tend_from = pg_i64(lane->results[1], 0, 0);
        if (lane->result_count > 2) {
            counter_set(&pg->channel_count, (uint64_t)pg_i64(lane->results[2], 0, 0));
            counter_set(&pg->disk_bytes, (uint64_t)pg_i64(lane->results[2], 0, 1));
            compare_clocks(pg, pg_i64(lane->results[2], 0, 2));
        }
    }
    if (must_try_room(pg))
        try_room(lane);
    else
        lane_release(lane);
}

static void pg_tick_refuse(struct pg_lane *lane)
{
    lane_release(lane);
}

const struct pg_work pg_tick_work = { pg_tick_start, pg_tick_step, pg_tick_refuse };
