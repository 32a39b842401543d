#include "main/writer_thread.h"

#include <stdio.h>

#include "base/must.h"
#include "main/cluster_host.h"
#include "main/command_mail.h"
#include "main/hand_over_gate.h"
#include "main/limits.h"

/* A commit of so many publishes or writes is carried out by the store's thread, which is then late for its next commit by less than a wake
 * takes. Of more the next commit would be late, and the wake is shared by many. */
enum { ENDED_AT_ONCE = 48 };

static void writer_send(void *ctx, unsigned loop, struct command *command)
{
    struct writer_thread *thread = ctx;

    must(loop < thread->writer.loop_count);
    bundle_add(&thread->bundles[loop], &command->mail);
}

static void writer_post(void *ctx, struct command *command);

static const struct writer_port writer_thread_port = { .send = writer_send, .post = writer_post };

/* The writer needs nothing of a configuration but its limits. */
void writer_thread_adopt(struct command *command, struct writer *writer)
{
    struct writer_thread *thread   = container_of(writer, struct writer_thread, writer);
    struct snapshot      *snapshot = snapshot_command_open(command);

    must(snapshot->number > counter_get(&thread->adopted));
    thread->writer.limits  = writer_limits_of(&snapshot->settings);
    thread->devices.limits = devices_limits_of(&snapshot->settings);
    thread->presence.limits = presence_limits_of(&snapshot->settings);
    thread->events.kinds    = settings_event_kinds(&snapshot->settings);
    offline_tasks_adopt(&thread->offline);
    cluster_host_adopt(thread->cluster, &snapshot->settings);
    backend_host_adopt(&thread->backends, &snapshot->settings);
    uplink_host_adopt(&thread->uplink, &snapshot->settings);
    counter_set(&thread->adopted, snapshot->number);
    snapshot_unref(snapshot);
}

static void writer_on_turn_begin(void *ctx)
{
    struct writer_thread *thread = ctx;

    writer_lock_take(&thread->lock);
    thread->is_last_mail = atomic_load(&thread->is_stopping);
    backend_host_turn_begin(&thread->backends, thread->loop.now);
    uplink_host_hold(&thread->uplink, gate_phase(thread->gate) == GATE_HOLD || gate_phase(thread->gate) == GATE_PARK);
    uplink_host_turn_begin(&thread->uplink, thread->loop.now);
    cluster_host_turn_begin(thread->cluster, thread->loop.now, thread->loop.wall);
}

static void writer_on_mail(void *ctx, struct mail *mail)
{
    struct writer_thread *thread = ctx;

    writer_take(&thread->writer, command_of(mail), thread->loop.wall);
}

static bool helpers_are_idle(const struct writer_thread *thread)
{
    return devices_is_idle(&thread->devices) && offline_tasks_are_idle(&thread->offline) &&
           occupancies_are_idle(&thread->occupancies) && event_outbox_is_idle(&thread->events);
}

/* Has everything that the writer has begun come to its end? */
static bool writer_thread_is_idle(const struct writer_thread *thread)
{
    return writer_is_idle(&thread->writer) && helpers_are_idle(thread);
}

/* Calls to back ends can't end any more while the loops stand still, and leases are given up only at a stop: all who wait for a
 * delivery would wait for them. */
static bool writer_thread_is_still(const struct writer_thread *thread)
{
    return writer_is_still(&thread->writer) && helpers_are_idle(thread);
}

/* Another process takes the server's place, and all loops stand still. Looks again each turn, until what is under way has come
 * to its end, or it is time. */
static void writer_stand_still_if_asked(struct writer_thread *thread)
{
    struct hand_over_gate *gate = thread->gate;

    thread->loop.wake_at = 0;
    if (gate_phase(gate) != GATE_PARK || !gate_loops_are_parked(gate, thread->writer.loop_count)) {
        thread->is_last_word_taken = false;
        return;
    }
    /* What the loops said before they stood still came in this turn, or comes in the next one. */
    if (!thread->is_last_word_taken) {
        thread->is_last_word_taken = true;
        thread->loop.wake_at       = 1;
        return;
    }
    if (writer_thread_is_still(thread) || clock_now() >= gate_settle_by(gate))
        gate_park_writer(gate);
    else
        thread->loop.wake_at = gate_settle_by(gate);
}

static void writer_post_bundles(struct writer_thread *thread)
{
    for (unsigned i = 0; i < thread->writer.loop_count; i++)
        mailbox_put(thread->mailboxes[i], &thread->bundles[i]);
}

/* What the commands of a turn have led to; then the loops get what the writer says to them. */
static void writer_finish_turn(struct writer_thread *thread, msec now, msec wall)
{
    thread->turned_at   = now;
    thread->turned_wall = wall;
    backend_host_turn(&thread->backends);
    thread->presence.is_holding = gate_phase(thread->gate) != GATE_OPEN;
    presence_turn_end(&thread->presence);
    offline_tasks_turn(&thread->offline);
    occupancies_turn(&thread->occupancies);
    devices_turn_end(&thread->devices);
    event_outbox_turn_end(&thread->events);
    writer_turn_end(&thread->writer, wall);
    backend_host_turn_end(&thread->backends);
    writer_lock_note(&thread->lock);
    writer_post_bundles(thread);
}

static void writer_on_turn_end(void *ctx)
{
    struct writer_thread *thread = ctx;

    if (thread->is_last_mail) {
        devices_loops_ended(&thread->devices);
        uplink_host_stop(&thread->uplink);
    }
    if (gate_phase(thread->gate) == GATE_HOLD && clock_now() >= gate_answer_by(thread->gate))
        uplink_host_break_off_links(&thread->uplink);
    writer_finish_turn(thread, thread->loop.now, thread->loop.wall);
    if (thread->is_last_mail && writer_thread_is_idle(thread) && backend_host_is_idle(&thread->backends) &&
        cluster_host_leave(thread->cluster))
        loop_stop(&thread->loop);
    writer_stand_still_if_asked(thread);
    writer_lock_give(&thread->lock);
}

static void be_lean_if_wanted(struct writer_thread *thread)
{
    const bool is_lean = counter_get(&thread->wants_lean) != 0;

    if (is_lean != thread->is_lean)
        writer_be_lean(&thread->writer, is_lean);
    thread->is_lean = is_lean;
}

static void writer_on_tick(struct timer *timer, msec now)
{
    struct writer_thread *thread = container_of(timer, struct writer_thread, tick);

    counter_set(&thread->ticked_at, (uint64_t)now);
    be_lean_if_wanted(thread);
    cluster_host_tick(thread->cluster);
    writer_tick(&thread->writer, thread->loop.wall);
    devices_tick(&thread->devices);
    offline_tasks_tick(&thread->offline);
    occupancies_tick(&thread->occupancies);
    event_outbox_tick(&thread->events);
    presence_tick(&thread->presence, now, thread->loop.wall);
    wheel_arm(&thread->loop.wheel, timer, now + WRITER_TICK_MS);
}

static const struct loop_hooks writer_thread_hooks = {
    .turn_begin = writer_on_turn_begin, .mail = writer_on_mail, .turn_end = writer_on_turn_end,
};

static void *writer_main(void *ctx)
{
    struct writer_thread *thread = ctx;

    pthread_setname_np(pthread_self(), "lw-writer");
    thread->tick.fire = writer_on_tick;
    wheel_arm(&thread->loop.wheel, &thread->tick, thread->loop.now + WRITER_TICK_MS);
    loop_run(&thread->loop);
    wheel_disarm(&thread->loop.wheel, &thread->tick);
    return NULL;
}

enum rc writer_thread_open(struct writer_thread *thread, const struct snapshot *snapshot, const struct stores *stores,
                           struct namespaces *namespaces, const struct hash_key *hash_key, uint64_t incarnation, struct fetch *fetch,
                           unsigned loop_count, char *why, size_t why_size)
{
    const struct writer_limits  limits  = writer_limits_of(&snapshot->settings);
    const struct devices_limits devices = devices_limits_of(&snapshot->settings);
    const struct presence_limits presence = presence_limits_of(&snapshot->settings);
    enum rc                     rc      = loop_init(&thread->loop, &writer_thread_hooks, thread);

    must(loop_count > 0 && loop_count <= LOOPS_MAX);
    if (rc != RC_OK) {
        snprintf(why, why_size, "can't make the writer's loop: %s", rc_text(rc));
        return rc;
    }
    writer_lock_init(&thread->lock, &thread->writer, &thread->loop.mailbox);
    loop_compare_clock(&thread->loop, stores_wall_seen(stores, &snapshot->settings));
    counter_set(&thread->adopted, snapshot->number);
    writer_init(&thread->writer, &writer_thread_port, thread, stores->durable, stores->memory, &limits, loop_count);
    head_ear_begin(&thread->ear, &thread->writer);
    event_outbox_init(&thread->events, &thread->writer, namespaces, hash_key, thread->loop.wall, incarnation);
    thread->events.kinds = settings_event_kinds(&snapshot->settings);
    memberships_init(&thread->memberships);
    thread->memberships.events  = &thread->events;
    thread->memberships.devices = &thread->devices;
    devices_init(&thread->devices, &thread->writer, namespaces, hash_key, &devices);
    presence_init(&thread->presence, &writer_thread_port, thread, loop_count, hash_key, &presence);
    presence_tick(&thread->presence, thread->loop.now, thread->loop.wall);
    thread->devices.presence = &thread->presence;
    thread->devices.events   = &thread->events;
    offline_tasks_init(&thread->offline, &thread->devices, &thread->events);
    occupancies_init(&thread->occupancies, &thread->events, &thread->presence, namespaces, hash_key);
    thread->presence.occupancies = &thread->occupancies;
    backend_host_open(&thread->backends, fetch, &thread->writer, &thread->loop.mailbox, &snapshot->settings);
    return RC_OK;
}

void writer_thread_connect(struct writer_thread *thread, unsigned loop, struct mailbox *mailbox)
{
    must(loop < thread->writer.loop_count && !thread->is_started);
    thread->mailboxes[loop] = mailbox;
}

enum rc writer_thread_start(struct writer_thread *thread)
{
    for (unsigned i = 0; i < thread->writer.loop_count; i++)
        must(thread->mailboxes[i] != NULL);
    if (pthread_create(&thread->thread, NULL, writer_main, thread) != 0)
        return RC_NOMEM;
    thread->is_started = true;
    return RC_OK;
}

void writer_thread_stop(struct writer_thread *thread)
{
    if (!thread->is_started)
        return;
    atomic_store(&thread->is_stopping, true);
    mailbox_ring(&thread->loop.mailbox);
    must(pthread_join(thread->thread, NULL) == 0);
    thread->is_started = false;
}

void writer_thread_close(struct writer_thread *thread)
{
    must(!thread->is_started);
    if (thread->loop.input == NULL)
        return;
    uplink_host_close(&thread->uplink);
    backend_host_close(&thread->backends);
    offline_tasks_fini(&thread->offline);
    occupancies_fini(&thread->occupancies);
    devices_fini(&thread->devices);
    presence_fini(&thread->presence);
    writer_fini(&thread->writer);
    event_outbox_fini(&thread->events);
    memberships_fini(&thread->memberships);
    command_mail_free(mailbox_take(&thread->loop.mailbox));
    writer_lock_fini(&thread->lock);
    loop_fini(&thread->loop);
}

/* --- turns that a loop makes --- */

static void visitor_publishes(void *ctx, struct mail *commands, msec now, msec wall)
{
    struct writer_thread *thread = ctx;

    (void)now;
    writer_publish_at_once(&thread->writer, commands, wall);
    writer_post_bundles(thread);
}

/* The node is alone, so that the cluster has no part in it. */
static void visitor_makes_turn(void *ctx, struct mail *commands, msec now, msec wall)
{
    struct writer_thread *thread = ctx;

    backend_host_turn_begin(&thread->backends, now);
    uplink_host_turn_begin(&thread->uplink, now);
    while (commands != NULL) {
        struct mail *next = commands->next;
        writer_take(&thread->writer, command_of(commands), wall);
        commands = next;
    }
    writer_finish_turn(thread, now, wall);
}

static const struct writer_turn visitors_turn = { .publish = visitor_publishes, .whole = visitor_makes_turn };

bool writer_thread_send(struct writer_thread *thread, struct bundle *bundle, msec now, msec wall)
{
    if (bundle->newest == NULL)
        return false;
    if (writer_lock_visit(&thread->lock, bundle, &visitors_turn, thread, now, wall))
        return true;
    writer_lock_tell(&thread->lock, bundle);
    return false;
}

/* --- turns that a thread of the store or of the engine makes --- */

/* One that stops or stands still is woken by whatever ends, so that it looks whether this was the last. */
static bool writer_may_be_visited(const struct writer_thread *thread)
{
    return thread->turned_at != 0 && !atomic_load(&thread->is_stopping) && gate_phase(thread->gate) == GATE_OPEN;
}

static bool writer_may_be_visited_by_store(const struct writer_thread *thread)
{
    return writer_may_be_visited(thread) && thread->writer.cluster == NULL && thread->writer.durable.store->has_one_writer;
}

/* The wall clock is the writer's own, which nobody but its thread looks at: it has gone on since the last turn as the monotonic one. */
static msec visitors_wall(const struct writer_thread *thread, msec now)
{
    return thread->turned_wall + (now - thread->turned_at);
}

static bool store_makes_turn(struct writer_thread *thread, struct command *command)
{
    const msec now = clock_now();

    if (!writer_lock_try(&thread->lock))
        return false;
    const bool may = writer_may_be_visited_by_store(thread);
    if (may) {
        command->mail.next = NULL;
        visitor_makes_turn(thread, &command->mail, now, visitors_wall(thread, now));
    }
    writer_lock_give(&thread->lock);
    return may;
}

/* On a thread of the store. */
static void writer_post(void *ctx, struct command *command)
{
    struct writer_thread *thread = ctx;
    const struct command_kind *kind = command->kind;

    if (kind->ended_count != NULL && kind->ended_count(command) <= ENDED_AT_ONCE && store_makes_turn(thread, command))
        return;
    command_mail_put(&thread->loop.mailbox, command);
}

bool writer_thread_visit(struct writer_thread *thread, void (*carry_out)(void *ctx), void *ctx)
{
    const msec now = clock_now();

    if (!writer_lock_try(&thread->lock))
        return false;
    const bool may = writer_may_be_visited(thread);
    if (may) {
        const msec wall = visitors_wall(thread, now);
        backend_host_turn_begin(&thread->backends, now);
        uplink_host_turn_begin(&thread->uplink, now);
        cluster_host_turn_begin(thread->cluster, now, wall);
        carry_out(ctx);
        writer_finish_turn(thread, now, wall);
    }
    writer_lock_give(&thread->lock);
    return may;
}
