/* engine_compare.c - a heartbeat compares places with the server, and what differs is healed (docs/protocol.md, 5.3).
 *
 * What is compared is the place on the link: behind the last message or gap that came over it, whether the application was
 * told of it or not. The server's answer is compared when it comes: by then all is there that was written before it. */
#include "engine_priv.h"
#include "message/place_digest.h"

enum { PAUSE_STEPS_MAX = 6 };  /* after so many heals in a row, every 64th heartbeat compares */

static uint64_t digest_of(const struct engine *engine)
{
    uint64_t digest = 0;

    for (const struct list *link = engine->table.all.next; link != &engine->table.all; link = link->next) {
        const struct followed *followed = container_of(link, struct followed, link);
        if (followed->is_on_link)
            digest += place_digest_term(followed_name(followed), followed->link_epoch, followed->link_seq);
    }
    return digest;
}

void engine_set_digest(struct engine *engine, struct bin_frame *ping)
{
    engine->has_compared = engine->compare_pause == 0 && !engine->wants_leave;
    if (engine->compare_pause > 0)
        engine->compare_pause--;
    if (engine->has_compared)
        bin_set_number(ping, BIN_DIGEST, digest_of(engine));
}

/* --- healing ------------------------------------------------------------------------------------------------------- */

/* A difference that comes again and again is a fault that healing doesn't mend: it must not become a load. */
static void note_heal(struct engine *engine)
{
    if (engine->heal_count < PAUSE_STEPS_MAX)
        engine->heal_count++;
    engine->compare_pause = (1u << engine->heal_count) - 1;
}

static bool come_again(struct engine *engine, msec now)
{
    note_heal(engine);
    engine_fail(engine, 0, SPAN("a heartbeat showed that something was lost; asked again on a new link"), now);
    return false;
}

/* What the application or this library has already put an end to is in order as soon as the server has answered. */
static bool is_followed_now(const struct followed *followed)
{
    return followed->leaving == 0 && (followed->state == FOLLOWED_ASKED || followed->state == FOLLOWED_ON);
}

/* False: the link has ended. */
static bool heal_place(struct engine *engine, struct followed *followed, msec now)
{
    if (!is_followed_now(followed))
        return true;
    if (followed->is_own && engine->has_session)
        return come_again(engine, now);
    note_heal(engine);
    engine_put_unsubscribe(engine, followed);
    engine_put_subscribe(engine, followed);
    return true;
}

/* The server has a channel that this client has not. */
static bool heal_stray(struct engine *engine, struct span channel, msec now)
{
    if (engine->has_session)
        return come_again(engine, now);
    note_heal(engine);
    engine_put_leave(engine, channel);
    return true;
}

/* The client has a channel that the server has not. If that is right, the answer will say so. */
static void heal_missing(struct engine *engine, struct followed *followed)
{
    followed->is_on_link = false;
    if (!is_followed_now(followed))
        return;
    note_heal(engine);
    followed->is_own = false;
    engine_put_subscribe(engine, followed);
}

static bool compare_place(struct engine *engine, const struct bin_place *place, msec now)
{
    struct followed *followed = followed_find(&engine->table, place->channel);

    if (followed == NULL)
        return heal_stray(engine, place->channel, now);
    followed->is_compared = true;
    if (followed->is_on_link && followed->link_epoch == place->epoch && followed->link_seq == place->seq)
        return true;
    return heal_place(engine, followed, now);
}

static void look_for_missing(struct engine *engine)
{
    for (struct list *link = engine->table.all.next; link != &engine->table.all; link = link->next) {
        struct followed *followed = container_of(link, struct followed, link);
        if (followed->is_on_link && !followed->is_compared)
            heal_missing(engine, followed);
    }
}

static bool compare_all(struct engine *engine, struct span places, msec now)
{
    struct bin_place place;

    for (struct list *link = engine->table.all.next; link != &engine->table.all; link = link->next)
        container_of(link, struct followed, link)->is_compared = false;
    while (places.len > 0 && bin_next_place(&places, &place))
        if (!compare_place(engine, &place, now))
            return false;
    look_for_missing(engine);
    return true;
}

bool engine_on_pong(struct engine *engine, const struct bin_frame *frame, msec now)
{
    const bool has_compared = engine->has_compared;

    engine->has_compared   = false;
    engine->is_leave_heard = engine->is_leave_asked;
    if (bin_has(frame, BIN_RESUME))
        return compare_all(engine, bin_bytes(frame, BIN_RESUME), now);
    if (!bin_has(frame, BIN_DIGEST) || bin_number(frame, BIN_DIGEST) == digest_of(engine)) {
        if (has_compared)
            engine->heal_count = 0;
        return true;
    }
    /* A digest of 0 is that of no places. */
    if (bin_number(frame, BIN_DIGEST) == 0)
        return compare_all(engine, SPAN(""), now);
    engine_put_places_wanted(engine);
    return true;
}
