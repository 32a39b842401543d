/* forwarder_part.c - the parts of a forwarder: which of them this node carries. */
#include <stdlib.h>

#include "base/must.h"
#include "uplink/forwarder_priv.h"

enum { LEASE_READ_BYTES = 4096 };

/* A part's row while it is read. */
struct part_io {
    struct forwarder_read  read;
    struct forwarder_part *part;
    struct ledger_key      key;
    struct buf             bytes;
};

struct forwarder_part *forwarder_part_of(struct forwarder *forwarder, const struct channel_name *name)
{
    return &forwarder->parts[work_lease_part(channel_name_span(name))];
}

void forwarder_parts_init(struct forwarder *forwarder)
{
    for (unsigned i = 0; i < FORWARDER_PARTS; i++) {
        struct forwarder_part *part = &forwarder->parts[i];
        *part                       = (struct forwarder_part){ .forwarder = forwarder, .index = i };
        list_init(&part->channels);
    }
}

/* --- who is to carry it --------------------------------------------------------------------------------------------- */

static bool node_may_carry(const struct forwarder *forwarder)
{
    const struct forwarders *set = forwarder->set;

    return forwarder->is_active && set->has_role && !set->is_stopping;
}

static void part_note_carrier(struct forwarder_part *part, const struct node_id *id)
{
    part->carrier[0]          = '\0';
    part->carrier_incarnation = 0;
    if (id == NULL)
        return;
    memcpy(part->carrier, id->name, sizeof part->carrier);
    part->carrier_incarnation = id->incarnation;
}

static void part_judge(struct forwarder_part *part, const struct registry *registry)
{
    struct forwarder *forwarder  = part->forwarder;
    bool              was_wanted = part->is_wanted;

    part->is_wanted = node_may_carry(forwarder);
    if (registry != NULL) {
        const struct registry_node *owner = work_lease_owner(registry, span_str(forwarder->name), part->index);
        part_note_carrier(part, owner == NULL ? NULL : &owner->record.id);
        part->is_wanted &= owner != NULL && node_id_eq(&owner->record.id, &forwarder->set->self);
    }
    if (part->is_wanted && !was_wanted)
        part->wanted_at = part->look_at = forwarder->set->now;
}

void forwarder_parts_judge(struct forwarder *forwarder)
{
    const struct forwarders *set      = forwarder->set;
    const struct registry   *registry = set->port->registry == NULL ? NULL : set->port->registry(set->ctx);

    for (unsigned i = 0; i < FORWARDER_PARTS; i++)
        part_judge(&forwarder->parts[i], registry);
}

/* --- taking it over --------------------------------------------------------------------------------------------------- */

static void part_is_foreign(struct forwarder_part *part, msec look_in_ms)
{
    part->state   = PART_FOREIGN;
    part->look_at = part->forwarder->set->now + look_in_ms;
}

static void part_took(struct forwarder_write *write)
{
    struct forwarder_part *part    = write->owner;
    enum ledger_outcome    outcome = write->write.outcome;

    forwarder_write_free(write);
    if (outcome != LEDGER_DONE) {
        part_is_foreign(part, WORK_LEASE_AGAIN_MS);
        return;
    }
    part->number++;
    part->state                  = PART_HELD;
    part->forwarder->needs_sweep = true;
    counter_add(&part->forwarder->counters.takeovers, 1);
    counter_add(&part->forwarder->counters.parts, 1);
}

static void part_take(struct forwarder_part *part)
{
    const struct node_id *self = &part->forwarder->set->self;

    part->state = PART_TAKING;
    forwarder_write_send(forwarder_write_lease(part, span_str(self->name), self->incarnation), part, part_took);
}

static void part_row_came(struct forwarder_part *part, const struct ledger_row *row)
{
    const struct forwarders *set = part->forwarder->set;
    const struct registry   *registry = set->port->registry == NULL ? NULL : set->port->registry(set->ctx);
    struct lease_row         lease;
    bool                     is_known = row->generation != 0 && lease_row_get(row->value, &lease);

    part->number = row->generation;
    if (!part->is_wanted ||
        work_lease_judge(is_known ? &lease : NULL, registry, &set->self, set->now - part->wanted_at) == WORK_LEASE_WAIT)
        part_is_foreign(part, WORK_LEASE_AGAIN_MS);
    else
        part_take(part);
}

static void part_read_came(struct forwarder_read *read)
{
    struct part_io        *io   = container_of(read, struct part_io, read);
    struct forwarder_part *part = io->part;

    part->io = NULL;
    if (read->read.rc == RC_OK && read->read.row_count == 1)
        part_row_came(part, &read->read.rows[0]);
    else
        part_is_foreign(part, WORK_LEASE_AGAIN_MS);
    ledger_read_fini(&read->read);
    buf_fini(&io->bytes);
    free(io);
}

static void part_read(struct forwarder_part *part)
{
    struct part_io *io = calloc(1, sizeof *io);

    must(io != NULL && part->io == NULL);
    buf_init(&io->bytes, LEDGER_KEY_BYTES_MAX);
    work_lease_put_key(&io->bytes, span_str(part->forwarder->name), part->index);
    io->part       = part;
    io->key        = (struct ledger_key){ ROW_LEASE, buf_span(&io->bytes) };
    io->read.read  = (struct ledger_read){ .way = LEDGER_GET, .keys = &io->key, .key_count = 1, .bytes_max = LEASE_READ_BYTES };
    part->io       = io;
    part->state    = PART_READING;
    forwarder_read_send(part->forwarder->set, &io->read, part_read_came);
}

/* --- giving it up ----------------------------------------------------------------------------------------------------- */

static void part_drop_channels(struct forwarder_part *part)
{
    struct list *next;

    for (struct list *at = part->channels.next; at != &part->channels; at = next) {
        next = at->next;
        forwarder_channel_drop(container_of(at, struct forwarder_channel, in_part));
    }
}

static void part_is_held_no_more(struct forwarder_part *part)
{
    counter_sub(&part->forwarder->counters.parts, 1);
    part_drop_channels(part);
}

void forwarder_part_lost(struct forwarder_part *part)
{
    if (part->state != PART_HELD)
        return;
    counter_add(&part->forwarder->counters.losses, 1);
    part_is_held_no_more(part);
    part_is_foreign(part, WORK_LEASE_AGAIN_MS);
    part->wanted_at = part->forwarder->set->now;  /* whoever took it may have a reason that is not known here yet */
}

/* If it could not be written, the next carrier waits WORK_LEASE_WAIT_MS, or until the node is lost. */
static void part_gave(struct forwarder_write *write)
{
    struct forwarder_part *part = write->owner;

    forwarder_write_free(write);
    part_is_foreign(part, 0);
}

static void part_give(struct forwarder_part *part)
{
    part_is_held_no_more(part);
    part->state = PART_GIVING;
    forwarder_write_send(forwarder_write_lease(part, SPAN(""), 0), part, part_gave);
}

static void part_tick(struct forwarder_part *part)
{
    switch (part->state) {
    case PART_FOREIGN:
        if (part->is_wanted && part->forwarder->set->now >= part->look_at)
            part_read(part);
        break;
    case PART_HELD:
        if (!part->is_wanted && part->busy_count == 0)
            part_give(part);
        break;
    case PART_READING:
    case PART_TAKING:
    case PART_GIVING: break;
    }
}

void forwarder_parts_tick(struct forwarder *forwarder)
{
    for (unsigned i = 0; i < FORWARDER_PARTS; i++)
        part_tick(&forwarder->parts[i]);
}

bool forwarder_parts_are_quiet(const struct forwarder *forwarder)
{
    for (unsigned i = 0; i < FORWARDER_PARTS; i++)
        if (forwarder->parts[i].state != PART_FOREIGN || forwarder->parts[i].busy_count > 0)
            return false;
    return true;
}
