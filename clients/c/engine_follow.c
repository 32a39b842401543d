/* engine_follow.c - subscriptions. */
#include <stdio.h>

#include "engine_priv.h"

static void tell(struct engine *engine, const struct lw_subscription *subscription)
{
    if (engine->on.subscription != NULL)
        engine->on.subscription(engine->options.arg, subscription);
}

static void tell_refused(struct engine *engine, const char *channel, unsigned code, const char *reason)
{
    tell(engine, &(struct lw_subscription){ .channel = channel, .code = code, .reason = reason });
}

/* --- what the server says --------------------------------------------------------------------------------------------- */

/* A place that the server tells counts before one that was asked for. */
static uint64_t begins_behind(const struct followed *followed, const struct bin_frame *frame)
{
    if (bin_has(frame, BIN_AFTER))
        return bin_number(frame, BIN_AFTER);
    if (bin_has(frame, BIN_REF) && followed->asked_after != FOLLOWED_NOWHERE)
        return followed->asked_after;
    return bin_number(frame, BIN_HEAD);
}

void engine_on_subscribed(struct engine *engine, const struct bin_frame *frame)
{
    struct span      name     = bin_bytes(frame, BIN_CHANNEL);
    struct followed *followed = followed_find(&engine->table, name);
    uint64_t         epoch = bin_number(frame, BIN_EPOCH), head = bin_number(frame, BIN_HEAD);
    bool             is_answer = bin_has(frame, BIN_REF);

    if (is_answer)
        pace_answered(&engine->follow_pace);
    bool             is_log    = !is_answer && !engine->has_session && span_starts(name, SPAN("device:"));

    if (is_log)
        snprintf(engine->device_log, sizeof engine->device_log, "%.*s", SPAN_ARG(name));  /* a request makes the link follow it */
    if (followed == NULL)
        followed = followed_add(&engine->table, name);
    followed_on_link(followed, epoch, begins_behind(followed, frame));
    if (is_answer && followed->ref != bin_number(frame, BIN_REF))
        return;  /* of a subscribe that was taken back */
    if (followed->state == FOLLOWED_LEAVING || followed->state == FOLLOWED_SNAPSHOT)
        return;
    if (!is_answer)
        followed->is_own = engine->has_session || !is_log;  /* by the session, or on this link alone: a back end has told so */
    followed->state = FOLLOWED_ON;
    followed_place(followed, epoch, head);
    tell(engine, &(struct lw_subscription){
        .channel = followed->name, .is_followed = true, .epoch = epoch, .head = head });
}

/* Unasked: the user has left the group. Its place means nothing to somebody who joins again, but it says what was told. */
void engine_on_unsubscribed(struct engine *engine, const struct bin_frame *frame)
{
    struct followed *followed  = followed_find(&engine->table, bin_bytes(frame, BIN_CHANNEL));
    bool             is_answer = bin_has(frame, BIN_REF);

    if (followed == NULL)
        return;
    followed->is_on_link = false;
    if (is_answer && followed->leaving > 0)
        followed->leaving--;
    if (is_answer && (followed->leaving > 0 || followed->state != FOLLOWED_LEAVING))
        return;  /* it is followed again already, or waits for a snapshot */
    tell(engine, &(struct lw_subscription){ .channel = followed->name });
    if (!is_answer && engine->has_session && followed->is_own)
        followed_go(&engine->table, followed);
    else
        followed_remove(&engine->table, followed);
}

static struct followed *find_by_ref(const struct engine *engine, uint64_t ref)
{
    for (struct list *link = engine->table.all.next; link != &engine->table.all; link = link->next) {
        struct followed *followed = container_of(link, struct followed, link);
        if (followed->ref == ref)
            return followed;
    }
    return NULL;
}

enum { CODE_FOLLOWED_ALREADY = 409, CODE_SESSIONS_OWN = 409 };

/* A limit of the server: it is asked again when it says so. */
static void ask_later(struct engine *engine, struct followed *followed, msec after_ms, msec now)
{
    pace_refused(&engine->follow_pace, after_ms, now);
    if (followed == NULL || followed->state != FOLLOWED_ASKED)
        return;
    followed->state     = FOLLOWED_IDLE;
    engine->has_unasked = true;
}

void engine_on_subscribe_error(struct engine *engine, const struct bin_frame *frame, msec now)
{
    struct followed *followed = find_by_ref(engine, bin_number(frame, BIN_REF));
    unsigned         code     = (unsigned)bin_number(frame, BIN_CODE);

    if (code == 429 && bin_has(frame, BIN_AFTER_MS)) {
        ask_later(engine, followed, (msec)(bin_number(frame, BIN_AFTER_MS) % (24 * 3600 * 1000)), now);
        return;
    }
    pace_answered(&engine->follow_pace);
    if (followed == NULL || followed->state == FOLLOWED_SNAPSHOT)
        return;
    if (code == CODE_FOLLOWED_ALREADY && engine->has_session) {
        followed->is_own = true;  /* the session follows it by itself, from its own place */
        followed->state  = FOLLOWED_ON;
        return;
    }
    buf_clear(&engine->names);
    buf_put(&engine->names, bin_bytes(frame, BIN_REASON));
    buf_putc(&engine->names, '\0');
    tell_refused(engine, followed->name, code, engine->names.at);
    followed_remove(&engine->table, followed);
}

/* The server didn't follow it (any more). */
void engine_on_unsubscribe_error(struct engine *engine, const struct bin_frame *frame)
{
    struct followed *followed = find_by_ref(engine, bin_number(frame, BIN_REF));

    if (followed == NULL)
        return;
    if (followed->leaving > 0)
        followed->leaving--;
    if (followed->state != FOLLOWED_LEAVING)
        return;
    bool stays = bin_number(frame, BIN_CODE) == CODE_SESSIONS_OWN;
    tell(engine, &(struct lw_subscription){
        .channel = followed->name,
        .is_followed = stays,
        .epoch  = followed->epoch,
        .head   = followed->seq,
        .code   = stays ? CODE_SESSIONS_OWN : 0,
        .reason = stays ? "the session follows it by itself" : NULL,
    });
    if (stays)
        followed->state = FOLLOWED_ON;
    else
        followed_remove(&engine->table, followed);
}

static void ask(struct engine *engine, struct followed *followed)
{
    if (followed->state != FOLLOWED_IDLE || engine->state != ENGINE_UP)
        return;
    if (engine->follow_pace.gap_us == 0)
        engine_put_subscribe(engine, followed);
    else
        engine->has_unasked = true;  /* by engine_put_follows(), in this turn or later */
}

void engine_put_follows(struct engine *engine, msec now)
{
    for (struct list *link = engine->table.all.next; engine->has_unasked && link != &engine->table.all; link = link->next) {
        struct followed *followed = container_of(link, struct followed, link);
        if (followed->state != FOLLOWED_IDLE || followed->is_own)
            continue;
        if (!pace_allows(&engine->follow_pace, now))
            return;
        engine_put_subscribe(engine, followed);
        pace_sent(&engine->follow_pace, now);
    }
    engine->has_unasked = false;
}

void engine_follow_all(struct engine *engine)
{
    for (struct list *link = engine->table.all.next; link != &engine->table.all; link = link->next) {
        struct followed *followed = container_of(link, struct followed, link);
        if (followed->state == FOLLOWED_IDLE && !followed->is_own)
            ask(engine, followed);
        if (followed->state == FOLLOWED_LEAVING)
            engine_put_unsubscribe(engine, followed);
    }
}

/* --- what the application says -------------------------------------------------------------------------------------------- */

static void set_up(struct engine *engine, struct followed *followed, const struct lw_subscribe *subscribe)
{
    followed->is_wanted      = true;
    followed->is_own         = false;
    followed->state          = FOLLOWED_IDLE;
    followed->keep           = subscribe->keep;
    followed->mode           = subscribe->mode;
    followed->presence       = subscribe->presence;
    followed->place          = subscribe->place;
    followed->place_seq      = subscribe->seq;
    followed->needs_snapshot = subscribe->needs_snapshot;
    followed->is_placed = followed->is_dense =
        subscribe->place == LW_AFTER && (subscribe->seq > 0 || subscribe->epoch != 0);
    followed->seq       = followed->is_placed ? subscribe->seq : 0;
    followed->epoch     = followed->is_placed ? subscribe->epoch : 0;
    followed->ack_seq = followed->read_seq = 0;
    if (followed->needs_snapshot)
        engine_want_snapshot(engine, followed, NULL);
    else
        ask(engine, followed);
}

void engine_order_subscribe(struct engine *engine, const struct order *order)
{
    struct followed *followed = followed_find(&engine->table, order_text(order));

    if (followed == NULL && engine->table.count >= engine->options.channel_count_max) {
        tell_refused(engine, order->text, 400, "too many channels: channel_count_max are followed");
    } else if (followed == NULL) {
        set_up(engine, followed_add(&engine->table, order_text(order)), &order->subscribe);
    } else if (followed->state == FOLLOWED_LEAVING) {
        set_up(engine, followed, &order->subscribe);
    } else if (followed->is_own && !followed->is_wanted) {
        followed->is_wanted = true;
        followed->keep      = order->subscribe.keep;
        tell(engine, &(struct lw_subscription){
            .channel = followed->name, .is_followed = true, .epoch = followed->epoch, .head = followed->seq });
    } else {
        tell_refused(engine, order->text, CODE_FOLLOWED_ALREADY, "this channel is followed already");
    }
}

void engine_order_unsubscribe(struct engine *engine, const struct order *order)
{
    struct followed *followed = followed_find(&engine->table, order_text(order));
    if (followed == NULL || followed->state == FOLLOWED_LEAVING) {
        tell_refused(engine, order->text, 404, "this channel is not followed");
        return;
    }
    bool is_on_server = followed->state == FOLLOWED_ASKED || followed->state == FOLLOWED_ON || followed->keep;

    if (!is_on_server) {
        tell(engine, &(struct lw_subscription){ .channel = followed->name });
        followed_remove(&engine->table, followed);
        return;
    }
    followed->state = FOLLOWED_LEAVING;
    if (engine->state == ENGINE_UP)
        engine_put_unsubscribe(engine, followed);
}

/* --- snapshots ---------------------------------------------------------------------------------------------------------------- */

void engine_want_snapshot(struct engine *engine, struct followed *followed, const struct lw_gap *lost)
{
    bool is_on_server = followed->state == FOLLOWED_ASKED || followed->state == FOLLOWED_ON;

    if (is_on_server && engine->state == ENGINE_UP)
        engine_put_unsubscribe(engine, followed);
    followed->state   = FOLLOWED_SNAPSHOT;
    followed->is_lost = lost != NULL;
    if (lost != NULL)
        followed->lost = *lost;
    if (engine->on.snapshot != NULL)
        engine->on.snapshot(engine->options.arg, followed->name);
}

/* What the snapshot does not hold is told as a gap after all. *seq becomes the place behind both. */
static void heal(struct engine *engine, struct followed *followed, uint64_t *epoch, uint64_t *seq)
{
    const struct lw_gap *lost    = &followed->lost;
    bool                 is_same = *epoch == 0 || *epoch == lost->epoch;

    followed->is_lost = false;
    *epoch            = lost->epoch;
    if (is_same && *seq >= lost->to)
        return;
    *seq = lost->to;
    if (engine->on.gap != NULL)
        engine->on.gap(engine->options.arg, lost);
}

void engine_order_snapshot_taken(struct engine *engine, const struct order *order)
{
    struct followed *followed = followed_find(&engine->table, order_text(order));
    uint64_t         epoch = order->epoch, seq = order->seq;

    if (followed == NULL || followed->state != FOLLOWED_SNAPSHOT)
        return;
    if (followed->is_lost)
        heal(engine, followed, &epoch, &seq);
    followed->is_placed = followed->is_dense = true;
    followed->epoch     = epoch;
    followed->seq       = seq;
    followed->ack_seq   = 0;
    followed->state     = FOLLOWED_IDLE;
    ask(engine, followed);
}
