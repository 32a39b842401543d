/* One step of retention for each tick: longwire.tend() does it in the database, and only one node at a time. */
#include "base/must.h"
#include "store/pg_priv.h"

enum { SIZES_EVERY = 30 };

static void push_space(struct pg_args *args, struct span name, const struct namespace *space)
{
    pg_push_bytes(args, 2, name);
    pg_push_i64(args, 3, space->keep_ms);
    pg_push_i64(args, 4, pg_keep_count(space));
    pg_push_i64(args, 5, space->keep_bytes > INT64_MAX ? 0 : (int64_t)space->keep_bytes);
}

static void pg_tick_start(struct pg_lane *lane)
{
    struct pg               *pg     = lane->pg;
    const struct namespaces *spaces = pg->options.spaces;

    pthread_mutex_lock(&pg->lock);
    msec wall = pg->lists.tick_wall;
    pthread_mutex_unlock(&pg->lock);
    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, wall);
    lane_send(lane, SQL_DROP_DAY);
    lane_sync(lane);
    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, wall);
    pg_args_i64(&lane->args, pg->tend_from);
    pg_args_arrays(&lane->args, "biii");
    push_space(&lane->args, SPAN("sys:control"), &spaces->control);
    for (size_t i = 0; i < spaces->count; i++)
        push_space(&lane->args, span_str(spaces->at[i].name), &spaces->at[i]);
    lane_send(lane, SQL_TEND);
    lane_sync(lane);
    if (pg->tick_count++ % SIZES_EVERY != 0)
        return;
    pg_args_clear(&lane->args);
    lane_send(lane, SQL_SIZES);
    lane_sync(lane);
}

/* A step that failed is made again by the next tick; its failure stands in the stats. */
static void pg_tick_step(struct pg_lane *lane)
{
    struct pg *pg = lane->pg;

    if (!lane->has_failed) {
        pg->tend_from = pg_i64(lane->results[1], 0, 0);
        if (lane->result_count > 2) {
            counter_set(&pg->channel_count, (uint64_t)pg_i64(lane->results[2], 0, 0));
            counter_set(&pg->disk_bytes, (uint64_t)pg_i64(lane->results[2], 0, 1));
        }
    }
    lane_release(lane);
}

static void pg_tick_refuse(struct pg_lane *lane)
{
    lane_release(lane);
}

const struct pg_work pg_tick_work = { pg_tick_start, pg_tick_step, pg_tick_refuse };
