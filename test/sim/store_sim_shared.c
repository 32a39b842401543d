/* store_sim_shared.c - what the simulated disk does beside if it is a database that nodes share, as PostgreSQL is. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim_node.h"
#include "store_sim_priv.h"

/* --- ids ------------------------------------------------------------------------------------------------------- */

uint64_t port_next_id(struct sim_port *port)
{
    struct store_sim *sim = port->sim;

    if (!sim->is_shared)
        return ++sim->id;
    if (port->id_next == port->id_end) {
        port->id_next = sim->id + 1;
        port->id_end  = port->id_next + ID_BLOCK;
        sim->id += ID_BLOCK;
    }
    return port->id_next++;
}

/* --- commits whose outcome is not known -------------------------------------------------------------------------- */

static void late_free(struct late_append *late)
{
    message_unref(late->append.message);
    if (late->append.write != NULL)
        ledger_write_fini(late->append.write);
    free(late->append.write);
    free(late);
}

/* Its numbers are written later, so that nobody else may hold the message: the writer has let go of it by then. */
static void late_put(struct sim_port *port, const struct append *append, msec due, msec wall)
{
    struct late_append *late = calloc(1, sizeof *late);

    must(late != NULL);
    late->due  = due;
    late->wall = wall;
    late->append.is_purge = append->is_purge;
    late->append.message  = port->sim->world->resends ? message_told_in(append->message, append->message->epoch)
                                                      : message_ref(append->message);
    late->append.write    = append->write == NULL ? NULL : ledger_write_copy(append->write);
    snprintf(late->key, sizeof late->key, "%.*s", SPAN_ARG(append->key));
    late->append.key       = span_str(late->key);
    must(append->publisher.len < sizeof late->publisher);
    snprintf(late->publisher, sizeof late->publisher, "%.*s", SPAN_ARG(append->publisher));
    late->append.publisher = span_str(late->publisher);
    list_push(&port->late, &late->link);
}

/* The server has read the statements, and is slow. */
static void batch_put_late(struct sim_port *port, struct append_batch *batch)
{
    struct world *world = port->sim->world;
    msec          due   = world->now + (msec)draw(world, OF_DISK, LATE_COMMIT_MS_MAX);

    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
        late_put(port, container_of(link, struct append, link), due, batch->wall);
}

void port_lose_commit(struct sim_port *port, struct append_batch *batch)
{
    static const char *const texts[] = { "written", "lost", "still to come" };
    struct store_sim        *sim     = port->sim;
    uint64_t                 outcome = draw(sim->world, OF_DISK, 3);

    tell(sim->world, "disk: node %u loses its connection, %zu are %s", port->node, batch->count, texts[outcome]);
    if (outcome == 0) {
        sim_write_batch(port, batch);
        sim_show(sim);
    }
    if (outcome == 2 || (outcome == 0 && sim->is_memory && sim->world->resends))
        batch_put_late(port, batch);
    batch_fail(batch, APPEND_BROKEN);
}

void port_turn_late(struct sim_port *port)
{
    struct store_sim *sim = port->sim;
    struct list      *link;

    while (!sim->is_broken && (link = port->late.next) != &port->late) {
        struct late_append *late = container_of(link, struct late_append, link);
        if (late->due > sim->world->now)
            return;
        list_take(link);
        sim_append_one(port, &late->append, late->wall);
        tell(sim->world, "disk: a commit of node %u comes late", port->node);
        late_free(late);
        sim_show(sim);
    }
}

bool store_sim_expects_late(const struct store_sim *sim)
{
    for (unsigned i = 0; i < NODES_SIM_MAX; i++)
        if (!list_is_empty(&sim->ports[i].late) || !list_is_empty(&sim->ports[i].late_rows))
            return true;
    return false;
}

void port_drop_late(struct sim_port *port)
{
    struct list *link;

    while ((link = list_pop(&port->late)) != NULL)
        late_free(container_of(link, struct late_append, link));
    ledger_port_drop_late(port);
}

/* --- failover ---------------------------------------------------------------------------------------------------- */

void store_sim_fail_over(struct store_sim *sim)
{
    struct world *world = sim->world;
    size_t        lost  = draw(world, OF_DISK, LOST_RECORDS_MAX);
    bool          is_emptied = sim->is_memory && one_in(world, OF_DISK, 2);

    must(sim->is_shared);
    if (sim->failover_count == FAILOVERS_MAX)
        return;
    for (unsigned i = 0; i < world->node_count; i++) {
        port_cut(&sim->ports[i], false);
        port_drop_late(&sim->ports[i]);
    }
    if (lost > sim->journal_count || is_emptied)
        lost = sim->journal_count;
    tell(world, "%s, %zu records are lost", sim->is_memory ? "memory: begins anew" : "disk: a replica takes over", lost);
    journal_cut(sim, sim->journal_count - lost);
    for (size_t i = 0; sim->is_memory && i < sim->journal_count; i++)
        sim->journal[i].key[0] = '\0';
    sim->wipes += !world->keeps_epoch;
    sim_read_journal(sim);
    for (unsigned i = 0; i < CHANNELS_MAX; i++)
        sim->kept[sim->failover_count][i] = sim->logs[i].head;
    sim->failover_count++;
}

bool store_sim_has_lost(const struct store_sim *sim, unsigned channel, uint64_t epoch, uint64_t seq)
{
    for (uint64_t i = epoch - EPOCH_FIRST; sim->is_shared && i < sim->failover_count; i++)
        if (seq > sim->kept[i][channel])
            return true;
    return false;
}

/* --- trouble ----------------------------------------------------------------------------------------------------- */

void store_sim_refuse(struct store_sim *sim, unsigned node, msec span)
{
    sim->ports[node].away_until = sim->world->now + span;
    tell(sim->world, "disk: refuses node %u for %lld ms", node, (long long)span);
}

void sim_draw_shared_trouble(struct store_sim *sim)
{
    struct world *world = sim->world;

    if (world->faults.stalls && one_in(world, OF_DISK, 150)) {
        sim->stalled_until = world->now + (msec)draw(world, OF_DISK, STUCK_MS_MAX);
        tell(world, "disk: stalls");
    }
    if (world->faults.refused && one_in(world, OF_DISK, 80))
        store_sim_refuse(sim, (unsigned)draw(world, OF_DISK, world->node_count),
                         (msec)draw(world, OF_DISK, STUCK_MS_MAX));
    if (world->faults.failover && one_in(world, OF_DISK, 300))
        store_sim_fail_over(sim);
}
