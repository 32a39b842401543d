#include "device/occupancy.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/occupancy_row.h"
#include "device/presence_priv.h"
#include "device/row_kind.h"

enum {
    OCCUPANCY_AGAIN_TICKS = 10,    /* after a refusal */
    WALK_EACH_TICKS       = 3000,
    WALK_SOON_TICKS       = 20,    /* after the start, and after the nodes have changed, on top of presence_return_s */
    WALK_ROWS             = 100,
    WALK_BYTES            = 256 * 1024,
    WALK_BUSY             = 256,   /* channels that wait: there is enough to do */
};

static const unsigned occupancy_kinds = EVENT_KIND_OCCUPIED | EVENT_KIND_VACATED;

/* A channel whose row is to say whether this node has devices there. It reads the row, and changes it until both agree. */
struct occupancy {
    struct map_node      node;        /* in occupancies.works */
    struct list          in_line;     /* in occupancies.line, unless it is away */
    struct occupancies  *all;
    struct channel_name *name;        /* owns a reference */
    unsigned             log;
    bool                 is_again;    /* something has changed since it was read */
    struct command       command;
    void               (*came)(struct occupancy *work);
    struct ledger_read   read;
    struct ledger_key    key;
    struct ledger_batch  batch;       /* of a change without an event */
    struct ledger_write  write;
    struct ledger_change change;
    struct buf           key_bytes, value;
};

struct occupancy_walk {
    struct ledger_read  read;
    struct command      command;
    struct occupancies *all;
    struct buf          after;        /* where the next page begins; empty: at the first row */
    uint32_t            wait;         /* ticks */
    bool                is_busy;
    bool                is_again;
};

static bool occupancies_are_asked(const struct occupancies *all)
{
    return (all->outbox->kinds & occupancy_kinds) != 0 && all->writer->durable.store->ledger != NULL;
}

static void occupancy_lent(struct command *command)
{
    (void)command;
    must(!"occupancies take back what they lent to a store");
}

static void occupancy_came(struct command *command, struct writer *writer)
{
    struct occupancy *work = container_of(command, struct occupancy, command);

    writer->read_count--;
    work->came(work);
}

static const struct command_kind occupancy_kind = { .name = "occupancy", .free = occupancy_lent, .at_writer = occupancy_came };

/* --- works ------------------------------------------------------------------------------------------------------ */

static bool occupancy_is(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct occupancy, node)->name, key);
}

static struct occupancy *occupancy_new(struct occupancies *all, struct channel_name *name)
{
    const struct event_facts facts = { .channel = channel_name_span(name) };
    struct occupancy        *work  = calloc(1, sizeof *work);

    must(work != NULL);
    work->all  = all;
    work->name = channel_name_ref(name);
    work->log  = event_facts_log(&facts);
    buf_init(&work->key_bytes, OCCUPANCY_KEY_BYTES);
    buf_init(&work->value, OCCUPANCY_VALUE_BYTES);
    occupancy_key_put(&work->key_bytes, work->log, channel_name_span(name));
    work->key = (struct ledger_key){ ROW_OCCUPANCY, buf_span(&work->key_bytes) };
    map_add(&all->works, &work->node, name->hash);
    list_push(&all->line, &work->in_line);
    counter_add(&all->works_count, 1);
    return work;
}

static void occupancy_free(struct occupancy *work)
{
    map_take(&work->all->works, &work->node);
    list_take(&work->in_line);
    counter_sub(&work->all->works_count, 1);
    buf_fini(&work->key_bytes);
    buf_fini(&work->value);
    channel_name_unref(work->name);
    free(work);
}

void occupancy_note(struct occupancies *all, struct channel_name *name)
{
    if (!occupancies_are_asked(all))
        return;
    struct map_node *node = map_find(&all->works, name->hash, occupancy_is, name);
    if (node == NULL)
        occupancy_new(all, name);
    else
        container_of(node, struct occupancy, node)->is_again = true;
}

/* A step has ended. */
static void occupancy_end(struct occupancy *work, bool is_done)
{
    work->all->away_count--;
    if (is_done && !work->is_again) {
        occupancy_free(work);
        return;
    }
    list_push(&work->all->line, &work->in_line);
}

static void occupancy_refused(struct occupancy *work)
{
    work->all->pause_ticks = OCCUPANCY_AGAIN_TICKS;
    occupancy_end(work, false);
}

/* --- the change ------------------------------------------------------------------------------------------------- */

static bool has_local_devices(const struct occupancy *work)
{
    const struct presence_channel *channel = presence_channel_find(work->all->presence, work->name);

    return channel != NULL && channel->local.count > 0;
}

static bool occupant_lives(const struct event_outbox *outbox, const struct occupancy_start *start)
{
    const struct link_row row = { .incarnation = start->incarnation, .since = start->since, .node = start->node };

    return outbox->lives != NULL && outbox->lives(outbox->lives_ctx, &row);
}

struct occupants {
    size_t before, after;   /* starts that the row names, and those that it is to name */
    bool   is_changed;
};

/* What the row is to say, into work->value. */
static struct occupants occupancy_put_value(struct occupancy *work, struct span value)
{
    const struct event_outbox *outbox   = work->all->outbox;
    struct occupants           ret      = { 0 };
    struct occupancy_start     start;
    bool                       is_begun = false, is_here = has_local_devices(work), was_here = false;

    buf_clear(&work->value);
    occupancy_value_begin(&work->value);
    while (occupancy_value_next(&value, &is_begun, &start)) {
        bool is_own = start.incarnation == outbox->names.incarnation;
        ret.before++;
        was_here |= is_own;
        if (is_own ? is_here : occupant_lives(outbox, &start)) {
            occupancy_value_add(&work->value, &start);
            ret.after++;
        }
    }
    ret.is_changed = ret.after != ret.before;
    if (is_here && !was_here && ret.after < OCCUPANCY_STARTS_MAX) {
        occupancy_value_add(&work->value, &(struct occupancy_start){ outbox->names.incarnation, work->all->writer->wall,
                                                                     span_str(outbox->node) });
        ret.after++;
        ret.is_changed = true;
    }
    must(!buf_is_over(&work->value));
    return ret;
}

static void occupancy_written(struct occupancy *work)
{
    enum ledger_outcome outcome = work->write.outcome;

    ledger_write_fini(&work->write);
    if (outcome == LEDGER_DONE)
        occupancy_end(work, true);
    else if (outcome == LEDGER_STALE)
        occupancy_end(work, false);
    else
        occupancy_refused(work);
}

static void occupancy_write_done(struct ledger_batch *batch)
{
    struct occupancy *work = container_of(batch, struct occupancy, batch);

    work->all->writer->port->post(work->all->writer->ctx, &work->command);
}

static void occupancy_write(struct occupancy *work)
{
    struct writer *writer = work->all->writer;

    work->came    = occupancy_written;
    work->command = (struct command){ .kind = &occupancy_kind };
    work->batch   = (struct ledger_batch){ .change_count = 1, .wall = writer->wall, .done = occupancy_write_done };
    list_init(&work->batch.writes);
    list_push(&work->batch.writes, &work->write.link);
    writer->read_count++;
    writer->durable.store->ledger->ops->write(writer->durable.store->ledger, &work->batch);
}

/* The change and what it points at, for an append that the store may hold longer than the work lives. */
struct occupancy_rows {
    struct ledger_write  write;
    struct ledger_change change;
    struct occupancy    *work;
    char                 bytes[];
};

static void occupancy_settled(struct publish_command *publish, struct writer *writer)
{
    struct occupancy_rows *rows    = publish->rows;
    struct occupancy      *work    = rows->work;
    enum publish_outcome   outcome = publish->outcome;

    (void)writer;
    command_free(&publish->command);
    if (outcome == PUBLISH_DONE) {
        counter_add(&work->all->outbox->written, 1);
        occupancy_end(work, true);
    } else if (outcome == PUBLISH_STALE) {
        occupancy_end(work, false);
    } else {
        counter_add(&work->all->outbox->refused, 1);
        occupancy_refused(work);
    }
}

static void occupancy_publish(struct occupancy *work, enum event_kind kind)
{
    const struct event_facts facts = { .kind = kind, .channel = channel_name_span(work->name) };
    struct writer           *writer = work->all->writer;
    size_t                   value_len = work->change.op == LEDGER_PUT ? work->value.len : 0;
    struct occupancy_rows   *rows   = malloc(sizeof *rows + work->key_bytes.len + value_len);
    struct buf               text;

    must(rows != NULL);
    memcpy(rows->bytes, work->key_bytes.at, work->key_bytes.len);
    if (value_len > 0)
        memcpy(rows->bytes + work->key_bytes.len, work->value.at, value_len);
    rows->work             = work;
    rows->change           = work->change;
    rows->change.key.bytes = span_of(rows->bytes, work->key_bytes.len);
    rows->change.value     = span_of(rows->bytes + work->key_bytes.len, value_len);
    rows->write            = (struct ledger_write){ .changes = &rows->change, .count = 1 };
    buf_init(&text, EVENT_TEXT_BYTES);
    event_facts_put(&text, &facts, writer->wall);
    must(!buf_is_over(&text));
    struct message *message = message_new_event(work->all->outbox->lanes[work->log].channel, MESSAGE_PLAIN, text.at, (uint32_t)text.len,
                                                SPAN("application/json"), SPAN(""), span_str(event_kind_name(kind)));
    message->time                   = writer->wall;
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));
    buf_fini(&text);
    publish->append.write = &rows->write;
    publish->rows         = rows;
    publish->settled      = occupancy_settled;
    publish_kind.at_writer(&publish->command, writer);
}

static void occupancy_change(struct occupancy *work, const struct ledger_row *row)
{
    struct occupants occupants = occupancy_put_value(work, row->value);
    enum event_kind  kind      = occupants.after > 0 ? EVENT_KIND_OCCUPIED : EVENT_KIND_VACATED;

    if (!occupants.is_changed) {
        occupancy_end(work, true);
        return;
    }
    work->change = (struct ledger_change){
        .op = occupants.after > 0 ? LEDGER_PUT : LEDGER_DELETE, .key = work->key, .is_conditional = true,
        .if_generation = row->generation,
    };
    if (occupants.after > 0) {
        work->change.value      = buf_span(&work->value);
        work->change.generation = row->generation + 1;
    }
    work->write = (struct ledger_write){ .changes = &work->change, .count = 1 };
    if ((occupants.before == 0) != (occupants.after == 0) && event_outbox_wants(work->all->outbox, kind))
        occupancy_publish(work, kind);
    else
        occupancy_write(work);
}

/* --- the row ---------------------------------------------------------------------------------------------------- */

static void occupancy_row_came(struct occupancy *work)
{
    struct ledger_read read = work->read;
    struct ledger_row  none = { .generation = 0 };

    work->read = (struct ledger_read){ 0 };
    if (read.rc == RC_OK && read.row_count == 1)
        occupancy_change(work, read.rows[0].generation == 0 ? &none : &read.rows[0]);
    else
        occupancy_refused(work);
    ledger_read_fini(&read);
}

static void occupancy_read_done(struct ledger_read *read)
{
    struct occupancy *work = container_of(read, struct occupancy, read);

    work->all->writer->port->post(work->all->writer->ctx, &work->command);
}

static void occupancy_begin(struct occupancy *work)
{
    struct writer *writer = work->all->writer;

    work->all->away_count++;
    work->is_again = false;
    work->came     = occupancy_row_came;
    work->command  = (struct command){ .kind = &occupancy_kind };
    work->read     = (struct ledger_read){ .way = LEDGER_GET, .keys = &work->key, .key_count = 1, .bytes_max = WALK_BYTES,
                                           .wall = writer->wall, .done = occupancy_read_done };
    writer->read_count++;
    writer->durable.store->ledger->ops->read(writer->durable.store->ledger, &work->read);
}

void occupancies_turn(struct occupancies *all)
{
    while (all->away_count < OCCUPANCY_AWAY_MAX && all->pause_ticks == 0 && !list_is_empty(&all->line))
        occupancy_begin(container_of(list_pop(&all->line), struct occupancy, in_line));
}

/* --- the walk --------------------------------------------------------------------------------------------------- */

/* Does it name a start that has ended, or say of this one what is not so? Then the work finds out what it is to say. */
static bool row_needs_work(const struct occupancies *all, struct span value)
{
    struct occupancy_start start;
    bool                   is_begun = false;

    while (occupancy_value_next(&value, &is_begun, &start))
        if (start.incarnation != all->outbox->names.incarnation && !occupant_lives(all->outbox, &start))
            return true;
    return false;
}

static void walk_take(struct occupancies *all, const struct ledger_row *row)
{
    struct channel_name *name;

    if (!row_needs_work(all, row->value) ||
        channel_name_new(all->namespaces, all->hash_key, occupancy_key_channel(row->key), &name) != CHANNEL_NAME_OK)
        return;
    occupancy_note(all, name);
    channel_name_unref(name);
}

static void walk_came(struct command *command, struct writer *writer)
{
    struct occupancy_walk *walk = container_of(command, struct occupancy_walk, command);
    struct ledger_read     read = walk->read;

    writer->read_count--;
    walk->is_busy = false;
    walk->read    = (struct ledger_read){ 0 };
    for (size_t i = 0; i < read.row_count; i++)
        walk_take(walk->all, &read.rows[i]);
    if (read.rc == RC_OK || read.next.len > 0) {
        buf_clear(&walk->after);
        buf_put(&walk->after, read.next);
    }
    bool is_over   = read.rc == RC_OK && read.next.len == 0;
    walk->wait     = !is_over ? 1 : walk->is_again ? WALK_SOON_TICKS : WALK_EACH_TICKS;
    walk->is_again = walk->is_again && !is_over;
    ledger_read_fini(&read);
}

static const struct command_kind walk_kind = { .name = "occupancy walk", .free = occupancy_lent, .at_writer = walk_came };

static void walk_done(struct ledger_read *read)
{
    struct occupancy_walk *walk = container_of(read, struct occupancy_walk, read);

    walk->all->writer->port->post(walk->all->writer->ctx, &walk->command);
}

static void walk_page(struct occupancy_walk *walk)
{
    struct writer *writer = walk->all->writer;

    walk->is_busy = true;
    walk->command = (struct command){ .kind = &walk_kind };
    walk->read    = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_OCCUPANCY, .prefix = SPAN(""), .after = buf_span(&walk->after),
                                          .limit = WALK_ROWS, .bytes_max = WALK_BYTES, .wall = writer->wall, .done = walk_done };
    writer->read_count++;
    writer->durable.store->ledger->ops->read(writer->durable.store->ledger, &walk->read);
}

static uint32_t walk_soon(const struct occupancies *all)
{
    return WALK_SOON_TICKS + (uint32_t)(all->presence->limits.return_ms / 100);
}

void occupancies_nodes_changed(struct occupancies *all)
{
    if (all->walk->is_busy || all->walk->after.len > 0)
        all->walk->is_again = true;
    else
        all->walk->wait = walk_soon(all);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void occupancies_tick(struct occupancies *all)
{
    struct occupancy_walk *walk = all->walk;

    if (all->pause_ticks > 0)
        all->pause_ticks--;
    if (!occupancies_are_asked(all) || walk->is_busy)
        return;
    if (walk->wait > 0)
        walk->wait--;
    else if (counter_get(&all->works_count) < WALK_BUSY)
        walk_page(walk);
}

bool occupancies_are_idle(const struct occupancies *all)
{
    return all->away_count == 0 && (list_is_empty(&all->line) || all->pause_ticks > 0);
}

void occupancies_init(struct occupancies *all, struct event_outbox *outbox, const struct presence *presence,
                      struct namespaces *namespaces, const struct hash_key *hash_key)
{
    *all = (struct occupancies){ .writer = outbox->writer, .outbox = outbox, .presence = presence, .namespaces = namespaces,
                                 .hash_key = hash_key };
    map_init(&all->works);
    list_init(&all->line);
    all->walk = calloc(1, sizeof *all->walk);
    must(all->walk != NULL);
    all->walk->all  = all;
    all->walk->wait = walk_soon(all);
    buf_init(&all->walk->after, LEDGER_KEY_BYTES_MAX);
}

void occupancies_fini(struct occupancies *all)
{
    must(all->away_count == 0 && !all->walk->is_busy);
    while (!list_is_empty(&all->line))
        occupancy_free(container_of(all->line.next, struct occupancy, in_line));
    map_fini(&all->works);
    buf_fini(&all->walk->after);
    free(all->walk);
}
