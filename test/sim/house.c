#include "house.h"

#include <stdlib.h>

#include "base/must.h"
#include "hub/channel.h"
#include "readers.h"
#include "store/mem.h"
#include "store_sim.h"

enum { REST_MS_MAX = 25 };

/* A letter on its way. */
struct parcel {
    struct list    link;
    struct letter *letter;
    msec           due;
    unsigned       turn;      /* of the writer, when it was sent */
    bool           is_stray;  /* may be overtaken */
};

static void mail_put(struct house *house, struct list *box, struct letter *letter, msec delay, bool is_stray)
{
    struct parcel *parcel = malloc(sizeof *parcel);

    must(parcel != NULL);
    *parcel = (struct parcel){
        .letter = letter, .due = house->world->now + delay, .turn = house->turn, .is_stray = is_stray,
    };
    list_push(box, &parcel->link);
}

static bool parcel_is_due(const struct house *house, const struct list *box, const struct parcel *parcel)
{
    /* A turn takes the mail that is there when it begins. */
    bool is_of_this_turn = box == &house->writer_mail && parcel->turn == house->turn;

    return parcel->due <= house->world->now && !is_of_this_turn;
}

/* The first letter that is due; what isn't a stray waits for those before it. */
static struct letter *mail_take(struct house *house, struct list *box)
{
    for (struct list *link = box->next; link != box; link = link->next) {
        struct parcel *parcel = container_of(link, struct parcel, link);
        bool           is_due = parcel_is_due(house, box, parcel);
        if (!is_due && parcel->is_stray)
            continue;
        if (!is_due)
            return NULL;
        struct letter *letter = parcel->letter;
        list_take(link);
        free(parcel);
        return letter;
    }
    return NULL;
}

static msec mail_delay(struct house *house)
{
    if (!house->world->faults.slow_mail || house->world->is_healing)
        return 0;
    return one_in(house->world, OF_MAIL, 4) ? (msec)draw(house->world, OF_MAIL, 40) : 0;
}

/* --- hints --- */

static struct letter *deliver_copy(const struct deliver_letter *deliver)
{
    struct deliver_letter *copy = malloc(sizeof *copy);

    must(copy != NULL);
    *copy = *deliver;
    for (uint32_t i = 0; i < copy->count; i++)
        message_ref(copy->messages[i]);
    return &copy->letter;
}

static void house_send_hint(struct house *house, unsigned loop, struct letter *letter)
{
    struct world *world = house->world;
    struct list  *box   = &house->mail[loop];

    if (world->faults.lost_hints && !world->is_healing && one_in(world, OF_MAIL, 6)) {
        tell(world, "mail: a hint to loop %u is lost", loop);
        letter_free(letter);
        return;
    }
    if (world->faults.doubled_hints && !world->is_healing && one_in(world, OF_MAIL, 6))
        mail_put(house, box, deliver_copy(container_of(letter, struct deliver_letter, letter)),
                 (msec)draw(world, OF_MAIL, LATE_MS_MAX), true);
    if (world->faults.late_hints && !world->is_healing && one_in(world, OF_MAIL, 4))
        mail_put(house, box, letter, (msec)draw(world, OF_MAIL, LATE_MS_MAX), true);
    else
        mail_put(house, box, letter, mail_delay(house), false);
}

/* --- ports --- */

static void house_on_send_to_loop(void *ctx, unsigned loop, struct letter *letter)
{
    struct house *house = ctx;

    if (house->is_dying)
        letter_free(letter);
    else if (letter->kind == LETTER_DELIVER)
        house_send_hint(house, loop, letter);
    else
        mail_put(house, &house->mail[loop], letter, mail_delay(house), false);
}

static void house_on_post(void *ctx, struct letter *letter)
{
    struct house *house = ctx;
    struct world *world = house->world;
    bool          late  = world->faults.late_answers && !world->is_healing && !house->is_in_turn &&
                one_in(world, OF_MAIL, 4);

    mail_put(house, &house->writer_mail, letter, late ? (msec)draw(world, OF_MAIL, LATE_MS_MAX) : 0, true);
}

static const struct writer_port writer_port = { .send = house_on_send_to_loop, .post = house_on_post };

static void house_on_send_to_writer(void *ctx, struct letter *letter)
{
    struct house *house = ctx;

    if (house->world->plant == PLANT_MISCOUNT && letter->kind == LETTER_COUNT)
        container_of(letter, struct count_letter, letter)->count++;
    if (house->is_dying)
        letter_free(letter);
    else
        mail_put(house, &house->writer_mail, letter, house->delay[letter->loop], false);
}

static void house_on_ready(void *ctx, struct subscription *sub)
{
    (void)ctx;
    reader_on_ready(sub->owner);
}

static const struct shard_port shard_port = { .send = house_on_send_to_writer, .ready = house_on_ready };

/* --- life --- */

static void house_draw_limits(struct house *house)
{
    bool is_tight = house->world->faults.tight;

    house->writer_limits = (struct writer_limits){
        .waiting_count_max = is_tight ? 4 : 1000,
        .waiting_bytes_max = is_tight ? 500 : 1 << 20,
        .batch_count_max   = is_tight ? 2 : 100,
        .batch_bytes_max   = is_tight ? 600 : 1 << 16,
        .tail_bytes_max    = is_tight ? 1000 : 1 << 16,
        .tail_messages_max = is_tight ? 5 : 64,
    };
    house->shard_limits = (struct shard_limits){
        .hub            = { .window_messages_max = is_tight ? 3 : 64, .window_bytes_max = is_tight ? 700 : 1 << 16,
                            .linger_ms = house->world->linger_ms },
        .page_count_max = is_tight ? 4 : 20,
        .publish_count_max = is_tight ? 3 : 1000,
        .publish_bytes_max = 1024 * 1024,
        .page_bytes_max = is_tight ? 1200 : 1 << 16,
        .pages_away_max = is_tight ? 5 : 64,
        .pages_store_away_max = is_tight ? 2 : 16,
    };
}

struct house *house_new(struct world *world, unsigned loop_count, unsigned life)
{
    struct house             *house   = calloc(1, sizeof *house);
    struct mem_store_options  options = {
         .epoch_first       = 1 + life * UINT64_C(1000000),
         .id_first          = 1,
         .hash_key          = world->hash_key,
         .channel_count_max = world->faults.forgetful ? 1 : 0,
    };

    must(house != NULL);
    house->world      = world;
    house->loop_count = loop_count;
    house->memory     = mem_store_new(&options);
    house_draw_limits(house);
    list_init(&house->writer_mail);
    writer_init(&house->writer, &writer_port, house, store_sim_port(world->disk), house->memory, &house->writer_limits,
                loop_count);
    for (unsigned i = 0; i < loop_count; i++) {
        list_init(&house->mail[i]);
        list_init(&house->held[i]);
        shard_init(&house->shards[i], i, &shard_port, house, &house->shard_limits);
        shard_turn_begin(&house->shards[i], world->now, world_wall(world));
    }
    return house;
}

/* The writer must have back what its own structures lent to the store; nobody hears of the rest. */
static void house_drain(struct house *house)
{
    struct list *link;

    while ((link = list_pop(&house->writer_mail)) != NULL) {
        struct parcel *parcel  = container_of(link, struct parcel, link);
        struct letter *letter  = parcel->letter;
        bool           is_back = letter->kind == LETTER_COMMITTED || letter->kind == LETTER_HEAD ||
                       (letter->kind == LETTER_READ && container_of(letter, struct read_letter, letter)->is_done);
        free(parcel);
        if (is_back)
            writer_take(&house->writer, letter, world_wall(house->world));
        else
            letter_free(letter);
    }
}

static void mail_free(struct list *box)
{
    struct list *link;

    while ((link = list_pop(box)) != NULL) {
        struct parcel *parcel = container_of(link, struct parcel, link);
        letter_free(parcel->letter);
        free(parcel);
    }
}

void house_free(struct house *house)
{
    house->is_dying = true;
    house_drain(house);
    for (unsigned i = 0; i < house->loop_count; i++) {
        mail_free(&house->mail[i]);
        mail_free(&house->held[i]);
        shard_fini(&house->shards[i]);
    }
    writer_fini(&house->writer);
    house->memory->ops->close(house->memory);
    free(house);
}

void house_writer_turn(struct house *house)
{
    msec           wall = world_wall(house->world);
    struct letter *letter;

    house->turn++;
    house->is_in_turn = true;
    while ((letter = mail_take(house, &house->writer_mail)) != NULL) {
        writer_take(&house->writer, letter, wall);
        if (house->world->plant == PLANT_FORGET_REFUSAL)
            house->writer.is_refusing = false;
    }
    if (house->tend_at <= house->world->now) {
        house->tend_at = house->world->now + WRITER_TEND_MS;
        writer_tend(&house->writer, wall);
    }
    writer_turn_end(&house->writer, wall);
    house->is_in_turn = false;
}

static bool house_is_beat(const struct house *house, const struct shard *shard)
{
    if (house->world->plant == PLANT_NO_BEAT && shard->hub.subscription_count > 0)
        return false;
    return house->beat_at <= house->world->now;
}

static bool loop_rests(const struct house *house, unsigned loop)
{
    return house->rest_until[loop] > house->world->now && !house->world->is_healing;
}

static bool letter_waits(const struct house *house, const struct letter *letter)
{
    return house->world->plant == PLANT_OVERTAKE ? letter->kind == LETTER_DELIVER : letter_tells_of_log(letter);
}

static void house_read_mail(struct house *house, unsigned loop)
{
    struct shard  *shard = &house->shards[loop];
    struct letter *letter;

    while (!loop_rests(house, loop) && (letter = mail_take(house, &house->held[loop])) != NULL)
        shard_take(shard, letter);
    while ((letter = mail_take(house, &house->mail[loop])) != NULL) {
        if (loop_rests(house, loop) && letter_waits(house, letter))
            mail_put(house, &house->held[loop], letter, 0, false);
        else
            shard_take(shard, letter);
    }
}

void house_loop_begin(struct house *house, unsigned loop)
{
    struct shard *shard = &house->shards[loop];

    house->delay[loop] = mail_delay(house);
    shard_turn_begin(shard, house->world->now, world_wall(house->world));
    house_read_mail(house, loop);
    if (house_is_beat(house, shard)) {
        if (loop == house->loop_count - 1)
            house->beat_at = house->world->now + BEAT_MS;
        shard_tend(shard);
    }
    shard_tell(shard);
}

void house_loop_end(struct house *house, unsigned loop)
{
    struct world *world = house->world;

    if (world->faults.rests && one_in(world, OF_MAIL, 5))
        house->rest_until[loop] = world->now + 1 + (msec)draw(world, OF_MAIL, REST_MS_MAX);
    shard_turn_end(&house->shards[loop]);
}

/* --- checks --- */

void house_check_bounds(struct house *house)
{
    const struct writer *writer = &house->writer;

    promise(house->world, writer->waiting_count <= writer->limits.waiting_count_max, "the writer's queue is bounded");
    promise(house->world, writer->waiting_bytes <= writer->limits.waiting_bytes_max, "the writer's queue is bounded");
    promise(house->world, writer->tails.bytes <= writer->limits.tail_bytes_max, "tails are bounded");
    for (unsigned i = 0; i < house->loop_count; i++)
        promise(house->world, list_is_empty(&house->shards[i].hub.touched), "windows live for a turn");
}

void house_check_quiet(struct house *house)
{
    promise(house->world, writer_is_idle(&house->writer), "the writer comes to rest");
    promise(house->world, house->writer.waiting_bytes == 0, "nothing waits, but %zu bytes are counted",
            house->writer.waiting_bytes);
    for (unsigned i = 0; i < house->loop_count; i++)
        promise(house->world, house->shards[i].away_count == 0, "loop %u gets every letter back, %zu are away", i,
                house->shards[i].away_count);
}

void house_check_empty(struct house *house)
{
    for (unsigned i = 0; i < house->loop_count; i++) {
        promise(house->world, hub_channel_count(&house->shards[i].hub) == 0, "loop %u lets go of its channels", i);
        promise(house->world, house->shards[i].hub.subscription_count == 0, "loop %u counts its subscriptions", i);
    }
    promise(house->world, house->writer.tails.followed_count == 0, "the writer counts its followers, %zu are left",
            house->writer.tails.followed_count);
}
