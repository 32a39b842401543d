#include "uplink/forwarder.h"

#include <stdlib.h>

#include "base/must.h"
#include "uplink/forwarder_priv.h"
#include "uplink/webhook.h"

enum { COUNT_TICKS = 10 };

/* --- channels ------------------------------------------------------------------------------------------------------- */

static bool is_channel(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct forwarder_channel, node)->name, key);
}

struct forwarder_channel *forwarder_channel_find(const struct forwarder *forwarder, const struct channel_name *name)
{
    struct map_node *node = map_find(&forwarder->channels, name->hash, is_channel, name);

    return node == NULL ? NULL : container_of(node, struct forwarder_channel, node);
}

struct forwarder_channel *forwarder_channel_get(struct forwarder_part *part, struct channel_name *name)
{
    struct forwarder         *forwarder = part->forwarder;
    struct forwarder_channel *channel   = forwarder_channel_find(forwarder, name);

    if (channel != NULL)
        return channel;
    if (forwarder->channel_count >= FORWARDER_CHANNELS_MAX) {
        msec soon = forwarder->set->now + FORWARDER_SWEEP_MS;
        forwarder->sweep_at = forwarder->sweep_at < soon ? forwarder->sweep_at : soon;
        return NULL;
    }
    channel = calloc(1, sizeof *channel);
    must(channel != NULL);
    channel->part = part;
    channel->name = channel_name_ref(name);
    map_add(&forwarder->channels, &channel->node, name->hash);
    list_push(&part->channels, &channel->in_part);
    list_push(&forwarder->unread, &channel->link);
    forwarder->channel_count++;
    return channel;
}

/* It is being read, or a batch of it is under way: it is freed when that comes back. */
static bool channel_is_lent(const struct forwarder_channel *channel)
{
    return channel->batch != NULL || (channel->state == CHANNEL_NEW && !list_is_linked(&channel->link));
}

/* It counts for nothing any more. */
static void channel_leave(struct forwarder_channel *channel)
{
    struct forwarder *forwarder = channel->part->forwarder;

    forwarder->channel_count--;
    forwarder->idle_count -= channel->state == CHANNEL_IDLE;
    forwarder->refused_count -= channel->state == CHANNEL_REFUSED;
    counter_sub(&forwarder->counters.backlog, forwarder_channel_behind(channel));
    map_take(&forwarder->channels, &channel->node);
    list_take(&channel->in_part);
    channel->is_gone = true;
}

static void channel_let_go(struct forwarder_channel *channel)
{
    list_take(&channel->link);
    channel_name_unref(channel->name);
    free(channel);
}

void forwarder_channel_drop(struct forwarder_channel *channel)
{
    bool is_lent = channel_is_lent(channel);

    if (!channel->is_gone)
        channel_leave(channel);
    if (is_lent && channel->batch != NULL)
        forwarder_batch_cancel(channel->batch);
    if (!is_lent)
        channel_let_go(channel);
}

void forwarder_channel_back(struct forwarder_channel *channel)
{
    must(channel->is_gone && channel->batch == NULL);
    channel_let_go(channel);
}

uint64_t forwarder_channel_behind(const struct forwarder_channel *channel)
{
    if (channel->state == CHANNEL_NEW || channel->is_gone)
        return 0;
    if (channel->epoch != channel->cursor.epoch)
        return channel->head;
    return channel->head > channel->cursor.seq ? channel->head - channel->cursor.seq : 0;
}

void forwarder_count_behind(struct forwarder_channel *channel, uint64_t before)
{
    struct counter *backlog = &channel->part->forwarder->counters.backlog;

    counter_set(backlog, counter_get(backlog) + forwarder_channel_behind(channel) - before);
}

bool forwarder_wants(const struct forwarder_options *options, const struct message *message)
{
    return options->body == FORWARDER_LINES || webhook_wants(options->kinds, message);
}

static void channel_forget_oldest(struct forwarder *forwarder)
{
    while (forwarder->idle_count > FORWARDER_IDLE_MAX)
        forwarder_channel_drop(container_of(forwarder->idle.next, struct forwarder_channel, link));
}

static void channel_enter(struct forwarder_channel *channel, enum channel_state state, struct list *list)
{
    struct forwarder *forwarder = channel->part->forwarder;
    uint64_t          before    = forwarder_channel_behind(channel);

    forwarder->idle_count += (state == CHANNEL_IDLE) - (channel->state == CHANNEL_IDLE);
    forwarder->refused_count += (state == CHANNEL_REFUSED) - (channel->state == CHANNEL_REFUSED);
    channel->state = state;
    list_take(&channel->link);
    list_push(list, &channel->link);
    forwarder_count_behind(channel, before);
}

void forwarder_channel_settle(struct forwarder_channel *channel)
{
    struct forwarder *forwarder = channel->part->forwarder;

    if (channel->is_dirty || channel->epoch != channel->cursor.epoch || channel->head > channel->cursor.seq) {
        channel_enter(channel, CHANNEL_READY, &forwarder->ready);
        return;
    }
    channel->since = 0;
    channel_enter(channel, CHANNEL_IDLE, &forwarder->idle);
    channel_forget_oldest(forwarder);
}

void forwarder_channel_wait(struct forwarder_channel *channel, msec until)
{
    channel->until = until;
    channel_enter(channel, CHANNEL_REFUSED, &channel->part->forwarder->refused);
}

void forwarder_channel_loaded(struct forwarder_channel *channel, const struct cursor_row *row, uint64_t version)
{
    channel->cursor  = *row;
    channel->version = version;
    if (channel->epoch == 0)
        channel->epoch = row->epoch;
    channel->state = CHANNEL_BUSY;  /* it counts from now on; settle() says as what */
    forwarder_count_behind(channel, 0);
    forwarder_channel_settle(channel);
}

void forwarder_channel_heard(struct forwarder_channel *channel, uint64_t epoch, uint64_t head, msec since)
{
    uint64_t before = forwarder_channel_behind(channel);

    if (channel->epoch != epoch || channel->head < head)
        channel->head = head;
    channel->epoch = epoch;
    if (before == 0)
        channel->since = since != 0 ? since : channel->part->forwarder->set->writer->wall;
    forwarder_count_behind(channel, before);
    if (channel->state == CHANNEL_IDLE)
        forwarder_channel_settle(channel);
}

/* --- how much is under way -------------------------------------------------------------------------------------------- */

bool forwarder_has_ready(const struct forwarder *forwarder)
{
    return !list_is_empty(&forwarder->ready);
}

msec forwarder_retry_ms(const struct forwarder *forwarder, uint32_t failures)
{
    msec most = forwarder->options.retry_ms_max, wait = FORWARDER_RETRY_MS;

    for (uint32_t i = 1; i < failures && wait < most; i++)
        wait *= 2;
    wait += (msec)rng_below(&forwarder->set->random, (uint64_t)wait / 10 + 1);
    return wait < most ? wait : most;
}

void forwarder_took(struct forwarder *forwarder)
{
    forwarder->failures = 0;
    if (forwarder->window < FORWARDER_WINDOW_MAX)
        forwarder->window++;
}

/* What fails at one moment, because it was under way together, counts once. */
void forwarder_failed(struct forwarder *forwarder, bool is_down, msec at_least_ms)
{
    msec now = forwarder->set->now;

    if (now < forwarder->paused_until && at_least_ms == 0)
        return;
    forwarder->failures++;
    forwarder->window = forwarder->window > 1 ? forwarder->window / 2 : 1;
    if (!is_down && forwarder->failures < 3)
        return;
    msec wait         = forwarder_retry_ms(forwarder, forwarder->failures);
    wait              = wait > at_least_ms ? wait : at_least_ms;
    forwarder->window = 1;
    if (forwarder->paused_until < now + wait)
        forwarder->paused_until = now + wait;
}

static void forwarder_pump(struct forwarder *forwarder)
{
    struct list *next;

    if (forwarder->set->now < forwarder->paused_until || forwarder->refused_count >= FORWARDER_REFUSED_MAX)
        return;
    for (struct list *at = forwarder->ready.next; at != &forwarder->ready && forwarder->under_way < forwarder->window; at = next) {
        struct forwarder_channel *channel = container_of(at, struct forwarder_channel, link);
        next                              = at->next;
        if (channel->part->state != PART_HELD || !channel->part->is_wanted)
            continue;
        list_take(&channel->link);
        forwarder_batch_begin(channel);
    }
}

static void forwarder_wake_refused(struct forwarder *forwarder)
{
    struct list *next;

    for (struct list *at = forwarder->refused.next; at != &forwarder->refused; at = next) {
        struct forwarder_channel *channel = container_of(at, struct forwarder_channel, link);
        next                              = at->next;
        if (channel->until <= forwarder->set->now)
            channel_enter(channel, CHANNEL_READY, &forwarder->ready);
    }
}

/* --- numbers ---------------------------------------------------------------------------------------------------------- */

static void note_oldest(const struct list *list, size_t most, msec *oldest)
{
    for (const struct list *at = list->next; at != list && most > 0; at = at->next, most--) {
        const struct forwarder_channel *channel = container_of(at, struct forwarder_channel, link);
        if (channel->since != 0 && (*oldest == 0 || channel->since < *oldest))
            *oldest = channel->since;
    }
}

static void forwarder_count(struct forwarder *forwarder)
{
    struct forwarder_counters *counters = &forwarder->counters;
    msec                       now = forwarder->set->now, oldest = 0;

    note_oldest(&forwarder->busy, FORWARDER_WINDOW_MAX, &oldest);
    note_oldest(&forwarder->ready, FORWARDER_WINDOW_MAX, &oldest);
    note_oldest(&forwarder->refused, FORWARDER_REFUSED_MAX, &oldest);
    counter_set(&counters->oldest, (uint64_t)oldest);
    counter_set(&counters->channels, forwarder->channel_count);
    counter_set(&counters->under_way, forwarder->under_way);
    counter_set(&counters->window, forwarder->window);
    counter_set(&counters->paused_until,
                now < forwarder->paused_until ? (uint64_t)(forwarder->set->writer->wall + forwarder->paused_until - now) : 0);
}

size_t forwarders_count(const struct forwarders *set)
{
    return (size_t)counter_get(&set->shown);
}

const char *forwarder_name(const struct forwarders *set, size_t at)
{
    return set->at[at]->name;
}

const struct forwarder_counters *forwarder_counters(const struct forwarders *set, size_t at)
{
    return &set->at[at]->counters;
}

/* --- life ------------------------------------------------------------------------------------------------------------- */

void forwarders_init(struct forwarders *set, const struct forwarders_setup *setup)
{
    *set = (struct forwarders){
        .writer = setup->writer, .spaces = setup->spaces, .hash_key = setup->hash_key, .port = setup->port, .ctx = setup->ctx,
        .self = setup->self, .has_role = setup->has_role, .random = { setup->seed },
    };
    list_init(&set->writes);
    list_init(&set->announced);
    must(channel_name_new(set->spaces, set->hash_key, SPAN("sys:dead"), &set->dead) == CHANNEL_NAME_OK);
}

static struct forwarder *forwarder_new(struct forwarders *set, const char *name)
{
    struct forwarder *forwarder = calloc(1, sizeof *forwarder);

    must(forwarder != NULL);
    memcpy(forwarder->name, name, sizeof forwarder->name);
    forwarder->set    = set;
    forwarder->window = FORWARDER_WINDOW_FIRST;
    map_init(&forwarder->channels);
    list_init(&forwarder->unread);
    list_init(&forwarder->ready);
    list_init(&forwarder->idle);
    list_init(&forwarder->busy);
    list_init(&forwarder->refused);
    forwarder_parts_init(forwarder);
    return forwarder;
}

static void forwarder_free(struct forwarder *forwarder)
{
    for (unsigned i = 0; i < FORWARDER_PARTS; i++)
        while (!list_is_empty(&forwarder->parts[i].channels))
            forwarder_channel_drop(container_of(forwarder->parts[i].channels.next, struct forwarder_channel, in_part));
    map_fini(&forwarder->channels);
    free(forwarder);
}

void forwarders_fini(struct forwarders *set)
{
    must(set->away_count == 0);
    forwarders_untell(set);
    for (size_t i = 0; i < set->count; i++)
        forwarder_free(set->at[i]);
    channel_name_unref(set->dead);
    *set = (struct forwarders){ 0 };
}

static struct forwarder *forwarder_find(struct forwarders *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->at[i]->name, name) == 0)
            return set->at[i];
    return NULL;
}

static bool forwarders_add(struct forwarders *set, const struct forwarder_options *options)
{
    struct forwarder *forwarder = forwarder_find(set, options->name);

    if (forwarder == NULL && set->count == FORWARDERS_MAX)
        return false;
    if (forwarder == NULL) {
        forwarder = set->at[set->count++] = forwarder_new(set, options->name);
        counter_set(&set->shown, set->count);
    }
    forwarder->options   = *options;
    forwarder->is_active = true;
    return true;
}

static void forwarders_judge(struct forwarders *set)
{
    for (size_t i = 0; i < set->count; i++)
        forwarder_parts_judge(set->at[i]);
}

/* One that is gone gives its leases up, and is kept without any, because whoever reads the counters may look at it. */
bool forwarders_configure(struct forwarders *set, const struct forwarder_options *options, size_t count)
{
    bool is_whole = true;

    for (size_t i = 0; i < set->count; i++)
        set->at[i]->is_active = false;
    for (size_t i = 0; i < count; i++)
        is_whole &= forwarders_add(set, &options[i]);
    forwarders_judge(set);
    return is_whole;
}

void forwarders_turn_begin(struct forwarders *set, msec now)
{
    set->now = now;
}

/* --- hints -------------------------------------------------------------------------------------------------------------- */

static bool forwarder_carries(const struct forwarder *forwarder, const struct channel_name *name)
{
    return forwarder->is_active && name->space == forwarder->options.space &&
           span_starts(channel_name_span(name), span_str(forwarder->options.prefix));
}

/* False: this node does not carry the part. */
static bool forwarder_hear(struct forwarder *forwarder, struct channel_name *name, uint64_t epoch, uint64_t head, msec since)
{
    struct forwarder_channel *channel = forwarder_channel_find(forwarder, name);
    struct forwarder_part    *part    = channel != NULL ? channel->part : forwarder_part_of(forwarder, name);

    if (part->state != PART_HELD)
        return false;
    if (channel == NULL)
        channel = forwarder_channel_get(part, name);
    if (channel != NULL)
        forwarder_channel_heard(channel, epoch, head, since);
    return true;
}

void forwarder_hear_told(struct forwarder *forwarder, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    if (forwarder_carries(forwarder, name))
        forwarder_hear(forwarder, name, epoch, head, forwarder->set->writer->wall);
}

void forwarders_committed(struct forwarders *set, struct message *message)
{
    for (size_t i = 0; i < set->count; i++)
        if (forwarder_carries(set->at[i], message->channel) &&
            !forwarder_hear(set->at[i], message->channel, message->epoch, message->seq, message->time))
            forwarder_announce(forwarder_part_of(set->at[i], message->channel), message->channel, message->epoch, message->seq);
}

/* --- turns -------------------------------------------------------------------------------------------------------------- */

void forwarders_turn_end(struct forwarders *set)
{
    for (size_t i = 0; i < set->count && !set->is_holding; i++) {
        forwarder_load(set->at[i]);
        forwarder_pump(set->at[i]);
    }
    forwarders_tell(set);
    forwarders_submit(set);
}

static void forwarder_tick(struct forwarder *forwarder)
{
    forwarder_wake_refused(forwarder);
    forwarder_parts_tick(forwarder);
    forwarder_sweep_tick(forwarder);
}

void forwarders_tick(struct forwarders *set)
{
    const struct registry *registry = set->port->registry == NULL ? NULL : set->port->registry(set->ctx);

    if (registry != NULL && registry->version != set->registry_seen) {
        set->registry_seen = registry->version;
        forwarders_judge(set);
    }
    for (size_t i = 0; i < set->count && !set->is_holding; i++)
        forwarder_tick(set->at[i]);
    if (set->writer->tick % COUNT_TICKS == 0)
        for (size_t i = 0; i < set->count; i++)
            forwarder_count(set->at[i]);
}

/* --- the stop ----------------------------------------------------------------------------------------------------------- */

static void forwarder_cancel_all(struct forwarder *forwarder)
{
    struct list *next;

    for (struct list *at = forwarder->busy.next; at != &forwarder->busy; at = next) {
        next = at->next;
        forwarder_batch_cancel(container_of(at, struct forwarder_channel, link)->batch);
    }
}

void forwarders_stop(struct forwarders *set)
{
    if (set->is_stopping)
        return;
    set->is_stopping = true;
    forwarders_judge(set);
    for (size_t i = 0; i < set->count; i++)
        forwarder_cancel_all(set->at[i]);
}

bool forwarders_is_idle(const struct forwarders *set)
{
    if (set->away_count > 0)
        return false;
    for (size_t i = 0; i < set->count; i++)
        if (!forwarder_parts_are_quiet(set->at[i]))
            return false;
    return true;
}

bool forwarders_is_still(const struct forwarders *set)
{
    return set->away_count == counter_get(&set->calls);
}
