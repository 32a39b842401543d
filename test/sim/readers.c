#include "readers.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/pool.h"
#include "sim_node.h"
#include "model.h"
#include "purger.h"
#include "store_sim.h"

enum { SLOW_MS_MAX = 400, STAY_MS_MAX = 600, AWAY_MS_MAX = 200, LIE_EPOCH = 7777777 };

struct reader {
    struct subscription sub;
    struct world       *world;
    unsigned            no, channel, loop;
    bool                is_here, is_ready;
    bool                is_live;    /* it had all there was when it looked last, and was never slow since */
    msec                move_at, slow_until, came_at;

    bool                has_place;  /* epoch and seq are known: what comes next must be seq + 1 */
    uint64_t            epoch, seq;
    uint64_t            before;     /* the seq before the last entry … */
    bool                may_rewind; /* … which may be taken back to there */
    struct start        start;      /* what was asked for at last */
    bool                is_lying;   /* … and it is not what was given … */
    bool                is_lying_about_epoch;
};

struct readers {
    struct world  *world;
    msec           moved_at;
    unsigned       count;
    struct pool    pool;            /* of readers: subscriptions are pointed at by near.h */
    struct reader *at[READERS_MAX];
};

struct readers *readers_new(struct world *world)
{
    struct readers *readers = calloc(1, sizeof *readers);

    must(readers != NULL);
    readers->world = world;
    readers->count = 2 + (unsigned)draw(world, OF_PLAN, READERS_MAX - 1);
    pool_init(&readers->pool, sizeof(struct reader));
    for (unsigned i = 0; i < readers->count; i++) {
        readers->at[i]  = pool_take(&readers->pool);
        *readers->at[i] = (struct reader){
            .world = world, .no = i, .channel = (unsigned)draw(world, OF_PLAN, world->channel_count),
            .move_at = (msec)draw(world, OF_PLAN, STAY_MS_MAX),
        };
    }
    return readers;
}

void readers_free(struct readers *readers)
{
    for (unsigned i = 0; i < readers->count; i++)
        pool_give(&readers->pool, readers->at[i]);
    pool_fini(&readers->pool);
    free(readers);
}

void reader_on_ready(void *owner)
{
    ((struct reader *)owner)->is_ready = true;
}

static const char *channel_text(const struct reader *reader)
{
    return reader->world->channels[reader->channel]->text;
}

static struct hub *reader_hub(const struct reader *reader)
{
    return &world_shard(reader->world, reader->loop)->hub;
}

/* --- coming and going --- */

static struct start reader_start_anew(struct reader *reader)
{
    reader->has_place = reader->is_lying = false;
    switch (draw(reader->world, OF_READERS, 3)) {
    case 0: return (struct start){ .kind = START_NOW };
    case 1: return (struct start){ .kind = START_LAST, .seq = draw(reader->world, OF_READERS, 30) };
    default: return (struct start){ .kind = START_AFTER };
    }
}

static struct start reader_start_lying(struct reader *reader)
{
    static const uint64_t lies[] = { 1, 2, 5000, UINT64_C(1) << 53, UINT64_MAX };
    uint64_t              lie    = lies[draw(reader->world, OF_READERS, sizeof lies / sizeof lies[0])];

    reader->has_place = true;
    if (reader->is_lying)
        return (struct start){ .kind = START_AFTER, .seq = reader->seq, .epoch = reader->epoch };
    reader->is_lying             = true;
    reader->is_lying_about_epoch = one_in(reader->world, OF_READERS, 2);
    if (reader->is_lying_about_epoch)
        reader->epoch += LIE_EPOCH;
    else
        reader->seq = lie == UINT64_MAX ? lie : reader->seq + lie;
    return (struct start){ .kind = START_AFTER, .seq = reader->seq, .epoch = reader->epoch };
}

static struct start reader_draw_start(struct reader *reader)
{
    struct world *world = reader->world;

    if (!reader->has_place || one_in(world, OF_READERS, 8))
        return reader_start_anew(reader);
    if (reader->is_lying || (world->faults.lying_readers && !world->is_healing && one_in(world, OF_READERS, 3)))
        return reader_start_lying(reader);
    bool is_off = world->plant == PLANT_SKIP_CURSOR && world_log(world, reader->channel).head > reader->seq;
    return (struct start){ .kind = START_AFTER, .seq = reader->seq + is_off, .epoch = reader->epoch };
}

static const char *start_text(const struct start *start)
{
    return start->kind == START_NOW ? "now" : start->kind == START_LAST ? "the last" : "after";
}

static void reader_come(struct reader *reader)
{
    struct world *world = reader->world;

    reader->start   = reader_draw_start(reader);
    reader->is_here = true;
    reader->is_live = false;
    reader->came_at = world->readers->moved_at = world->now;
    reader->move_at = world->now + (msec)draw(world, OF_READERS, STAY_MS_MAX);
    tell(world, "reader %u comes to %s on loop %u: %s %" PRIu64 " of epoch %" PRIu64 "%s", reader->no,
         channel_text(reader), reader->loop, start_text(&reader->start), reader->start.seq, reader->start.epoch,
         reader->is_lying ? " (a lie)" : "");
    reader->sub = (struct subscription){ 0 };
    subscription_open(&reader->sub, reader_hub(reader), world->channels[reader->channel], reader->start, reader);
}

/* What a session would write into a cursor token now is what the reader remembers. */
static void reader_check_token(const struct reader *reader)
{
    if (!reader->has_place || reader->is_lying || reader->world->plant == PLANT_SKIP_CURSOR)
        return;
    promise(reader->world,
            subscription_seen(&reader->sub) == reader->seq && subscription_seen_epoch(&reader->sub) == reader->epoch,
            "reader %u stands at %" PRIu64 "/%" PRIu64 ", the hub would resume it at %" PRIu64 "/%" PRIu64, reader->no,
            reader->epoch, reader->seq, subscription_seen_epoch(&reader->sub), subscription_seen(&reader->sub));
}

static void reader_go(struct reader *reader)
{
    struct world *world = reader->world;

    reader_check_token(reader);
    tell(world, "reader %u goes, has %" PRIu64 " of epoch %" PRIu64, reader->no, reader->seq, reader->epoch);
    subscription_close(&reader->sub, reader_hub(reader), world->now);
    reader->is_here = reader->is_ready = false;
    world->readers->moved_at = world->now;
    reader->move_at = world->now + (msec)draw(world, OF_READERS, AWAY_MS_MAX);
    reader->loop    = draw_loop(world, OF_READERS);
}

/* --- what it is given --- */

static uint64_t entry_first(const struct entry *entry)
{
    return entry->message != NULL ? entry->message->seq : entry->gap.from;
}

/* The first of a reader that asked for all, or the last few: it begins no later than what is kept now. */
static void reader_check_begin(const struct reader *reader, const struct entry *entry, const struct log_now *log)
{
    uint64_t wanted = 1;

    if (reader->start.kind == START_LAST)
        wanted = log->head < reader->start.seq ? 1 : log->head - reader->start.seq + 1;
    wanted = model_first_kept(reader->world->model, reader->channel, log, wanted);
    promise(reader->world, entry_first(entry) <= wanted, "reader %u asked for all from %" PRIu64 ", gets %" PRIu64,
            reader->no, wanted, entry_first(entry));
}

static void reader_take_epoch(struct reader *reader, const struct gap *gap, const struct log_now *log)
{
    struct world *world = reader->world;
    uint64_t      epoch = subscription_epoch(&reader->sub);

    promise(world, gap->from == 1 && (log->epoch != epoch || gap->to < log->first),
            "reader %u hears that %" PRIu64 " of the new log is not to be had", reader->no, gap->to);
    if (reader->has_place)
        promise(world, reader->is_lying || reader->epoch < epoch,
                "epochs rise: reader %u had %" PRIu64 ", hears %" PRIu64, reader->no, reader->epoch, epoch);
    reader->epoch    = epoch;
    reader->seq      = gap->to;
    reader->is_lying = false;
}

static void reader_take_ahead(struct reader *reader, const struct gap *gap)
{
    promise(reader->world, reader->is_lying && gap->to == reader->seq,
            "reader %u has %" PRIu64 " and is told that this was never written", reader->no, reader->seq);
    reader->epoch    = subscription_epoch(&reader->sub);
    reader->seq      = gap->from - 1;
    reader->is_lying = false;
}

static void reader_take_next(struct reader *reader, const struct entry *entry, const struct log_now *log)
{
    struct world *world = reader->world;

    /* A small lie may have come true in the meantime. */
    promise(world, !reader->is_lying || !reader->is_lying_about_epoch, "reader %u lies, and is believed", reader->no);
    reader->is_lying = false;
    if (reader->has_place)
        promise(world, entry_first(entry) == reader->seq + 1,
                "no hole, nothing twice: reader %u of %s has %" PRIu64 ", gets %" PRIu64, reader->no,
                channel_text(reader), reader->seq, entry_first(entry));
    else if (log->epoch == subscription_epoch(&reader->sub) && reader->start.kind != START_NOW)
        reader_check_begin(reader, entry, log);
    if (entry->message == NULL) {
        promise(world, reader->has_place || reader->start.kind == START_NOW || entry->gap.why != GAP_TRIMMED,
                "who asks for all that is kept has lost nothing: reader %u hears of trimmed %" PRIu64, reader->no,
                entry->gap.from);
        if (log->epoch == subscription_epoch(&reader->sub))
            model_check_gap(world->model, reader->channel, &entry->gap, log);
    } else {
        enum gap_why why;
        promise(world, !reader->has_place || entry->message->epoch == reader->epoch,
                "reader %u gets a message of epoch %" PRIu64 " in epoch %" PRIu64, reader->no, entry->message->epoch,
                reader->epoch);
        promise(world, !message_is_past(entry->message, world_loop_wall(world, reader->loop), &why),
                "what is over is not delivered: %s %" PRIu64, channel_text(reader), entry->message->seq);
        model_saw(world->model, reader->channel, entry->message, reader->came_at);
        purger_check(world->purger, reader->channel, reader->loop, entry->message, world->now);
    }
    reader->epoch = subscription_epoch(&reader->sub);
    reader->seq   = entry_last(entry);
}

static void reader_take(struct reader *reader, const struct entry *entry)
{
    struct log_now log = world_log(reader->world, reader->channel);

    reader->before     = reader->seq;
    reader->may_rewind = reader->has_place && entry->message != NULL;
    if (entry->message != NULL)
        tell(reader->world, "reader %u gets %s %" PRIu64, reader->no, channel_text(reader), entry->message->seq);
    else
        tell(reader->world, "reader %u is told of a gap in %s: %" PRIu64 " to %" PRIu64 ", %s", reader->no,
             channel_text(reader), entry->gap.from, entry->gap.to, gap_why_text(entry->gap.why));
    if (entry->message == NULL && entry->gap.why == GAP_EPOCH)
        reader_take_epoch(reader, &entry->gap, &log);
    else if (entry->message == NULL && entry->gap.why == GAP_AHEAD)
        reader_take_ahead(reader, &entry->gap);
    else
        reader_take_next(reader, entry, &log);
    reader->has_place = true;
}

static unsigned reader_draw_credit(struct reader *reader)
{
    struct world *world = reader->world;

    if (!world->faults.slow_readers || world->is_healing || one_in(world, OF_READERS, 2))
        return 1000;
    return (unsigned)draw(world, OF_READERS, 6);
}

/* The socket did not take the last frame: it will be drawn again. */
static void reader_rewind(struct reader *reader)
{
    struct subscription_mark mark = subscription_mark(&reader->sub);
    mark.next                     = reader->before + 1;
    subscription_rewind(&reader->sub, reader_hub(reader), &mark);
    tell(reader->world, "reader %u did not get %" PRIu64 " after all", reader->no, reader->seq);
    reader->seq        = reader->before;
    reader->may_rewind = false;
}

static void reader_be_slow(struct reader *reader)
{
    if (reader->may_rewind && one_in(reader->world, OF_READERS, 2))
        reader_rewind(reader);
    subscription_let_go(&reader->sub);
    promise(reader->world, subscription_is_lean(&reader->sub), "a slow reader costs a cursor");
    reader->is_live    = false;
    reader->slow_until = reader->world->now + 1 + (msec)draw(reader->world, OF_READERS, SLOW_MS_MAX);
    reader->is_ready   = true;
    tell(reader->world, "reader %u is slow", reader->no);
}

/* Every hint comes, in its order, and all of them fit. */
static bool mail_is_sound(const struct world *world)
{
    const struct faults *faults = &world->faults;

    return !faults->lost_hints && !faults->late_hints && !faults->broken && !faults->tight &&
           !faults->stuck && world->node_count == 1 && !purger_is_active(world->purger);
}

/* Retention on a slow disk: a message was let go before its writer knew that it was written. */
static bool reader_lost_its_next(const struct reader *reader)
{
    return world_log(reader->world, reader->channel).first > reader->seq + 1;
}

/* The socket takes so much, then it's full for a while: what was read is let go. */
static void reader_draw(struct reader *reader)
{
    struct entry entry;
    msec         wall = reader->world->plant == PLANT_OLD_CLOCK ? 0 : world_loop_wall(reader->world, reader->loop);

    reader->is_ready = reader->may_rewind = false;
    for (unsigned credit = reader_draw_credit(reader); credit > 0; credit--) {
        switch (subscription_look(&reader->sub, wall, &entry)) {
        case LOOK_ENTRY:
            reader->is_live = reader->is_live && entry.message != NULL;
            reader_take(reader, &entry);
            subscription_step(&reader->sub, &entry);
            reader_check_token(reader);
            break;
        case LOOK_WAIT:
            if (subscription_is_placed(&reader->sub) && !reader->has_place) {
                reader->has_place = true;
                reader->epoch     = subscription_seen_epoch(&reader->sub);
                reader->seq       = subscription_seen(&reader->sub);
            }
            reader->is_live = subscription_is_placed(&reader->sub);
            if (reader->is_live && !reader->is_lying_about_epoch)
                reader->is_lying = false;
            return;
        case LOOK_UNREAD:
            promise(reader->world, !reader->is_live || !mail_is_sound(reader->world) || reader_lost_its_next(reader),
                    "who is up to date is given what comes, and need not ask: reader %u of %s has %" PRIu64, reader->no,
                    channel_text(reader), reader->seq);
            subscription_read(&reader->sub, reader_hub(reader));
            return;
        case LOOK_READING:
            return;
        }
    }
    reader_be_slow(reader);
}

static void reader_turn(struct reader *reader)
{
    struct world *world = reader->world;

    if (!reader->is_here && (reader->move_at <= world->now || world->is_healing))
        reader_come(reader);
    else if (reader->is_here && world->faults.moving_readers && !world->is_healing && reader->move_at <= world->now)
        reader_go(reader);
    if (reader->is_here && reader->is_ready && (reader->slow_until <= world->now || world->is_healing))
        reader_draw(reader);
}

void readers_turn(struct readers *readers, unsigned loop)
{
    for (unsigned i = 0; i < readers->count; i++)
        if (readers->at[i]->loop == loop)
            reader_turn(readers->at[i]);
}

void readers_cut(struct readers *readers, struct loop_range range)
{
    for (unsigned i = 0; i < readers->count; i++)
        if (readers->at[i]->is_here && loop_is_in(range, readers->at[i]->loop))
            reader_go(readers->at[i]);
}

void readers_move(struct readers *readers, struct loop_range range)
{
    readers_cut(readers, range);
    for (unsigned i = 0; i < readers->count; i++)
        if (loop_is_in(range, readers->at[i]->loop))
            readers->at[i]->loop = draw_loop(readers->world, OF_READERS);
}

size_t readers_here(const struct readers *readers, unsigned channel, struct loop_range range)
{
    size_t count = 0;

    for (unsigned i = 0; i < readers->count; i++)
        count += readers->at[i]->is_here && readers->at[i]->channel == channel && loop_is_in(range, readers->at[i]->loop);
    return count;
}

msec readers_moved_at(const struct readers *readers)
{
    return readers->moved_at;
}

bool readers_are_complete(const struct readers *readers)
{
    for (unsigned i = 0; i < readers->count; i++) {
        const struct reader *reader = readers->at[i];
        struct log_now       log    = world_log(readers->world, reader->channel);
        if (!reader->is_here || !reader->has_place || reader->is_lying || reader->epoch != log.epoch ||
            reader->seq != log.head)
            return false;
    }
    return true;
}

void readers_check_end(struct readers *readers)
{
    for (unsigned i = 0; i < readers->count; i++) {
        const struct reader *reader = readers->at[i];
        struct log_now       log    = world_log(readers->world, reader->channel);
        promise(readers->world, reader->is_here && reader->has_place && !reader->is_lying, "reader %u has a place", i);
        promise(readers->world, reader->epoch == log.epoch && reader->seq == log.head,
                "calm after healing: reader %u has %" PRIu64 "/%" PRIu64 " of %s, the log %" PRIu64 "/%" PRIu64, i,
                reader->epoch, reader->seq, channel_text(reader), log.epoch, log.head);
        promise(readers->world, subscription_is_lean(&reader->sub) && !subscription_is_reading(&reader->sub),
                "nothing is held for reader %u", i);
    }
}
